
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the messages on a control channel mean, once it is open, and what its
 * end does.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_control_message.h"
#include "ngx_zltunnel_access_control.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_health_control.h"
#include "ngx_zltunnel_register.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>


static void ngx_zltunnel_control_message_acked(
    ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_message_request(
    ngx_zltunnel_control_t *control, zlt_msg_t *m);
static void ngx_zltunnel_control_message_ignored(
    ngx_zltunnel_control_t *control, zlt_msg_t *m);
static void ngx_zltunnel_control_message_heartbeat(
    ngx_zltunnel_control_t *control, zlt_msg_t *m);
static void ngx_zltunnel_control_message_fail(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
static void ngx_zltunnel_control_message_answered(
    ngx_zltunnel_control_t *control, zlt_msg_t *m);


void
ngx_zltunnel_control_message(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    if (m->type == ZLT_HEARTBEAT_ACK) {
        ngx_zltunnel_control_message_acked(control);
    }

    ngx_zltunnel_control_message_heard(control);

    switch (m->type) {

    case ZLT_HEARTBEAT:
        ngx_zltunnel_control_message_heartbeat(control, m);
        return;

    case ZLT_HEARTBEAT_ACK:
        return;

    case ZLT_CONNECT_FAIL:
        ngx_zltunnel_control_message_fail(control, m);
        ngx_zltunnel_control_message_answered(control, m);
        return;

    case ZLT_CONNECT_ACK:
        /* of an agent of version 1, which cannot carry the connection */
        ngx_zltunnel_control_message_answered(control, m);
        return;
    }

    if (ngx_zltunnel_control_charge(control) == NGX_OK) {
        ngx_zltunnel_control_message_request(control, m);
    }
}


static void
ngx_zltunnel_control_message_acked(ngx_zltunnel_control_t *control)
{
    control->acked = ngx_current_msec;

    if (control->beating) {
        control->beating = 0;
        control->rtt = control->acked - control->beaten + 1;

        ngx_zltunnel_figure_heartbeat(control->registry, control->rtt - 1);
    }
}


static void
ngx_zltunnel_control_message_request(ngx_zltunnel_control_t *control,
    zlt_msg_t *m)
{
    switch (m->type) {

    case ZLT_REGISTER:
        ngx_zltunnel_register(control, m);
        break;

    case ZLT_UNREGISTER:
        ngx_zltunnel_register_remove(control, (u_char *) m->service_id);
        break;

    case ZLT_HEALTH:
        if (control->features & ZLT_F_HEALTH) {
            ngx_zltunnel_health_control(control, m);

        } else {
            ngx_zltunnel_control_message_ignored(control, m);
        }

        break;

    case ZLT_ACCESS_OPEN:
    case ZLT_ACCESS_RENEW:
    case ZLT_ACCESS_CLOSE:
        if (control->features & ZLT_F_ACCESS) {
            ngx_zltunnel_access_control(control, m);

        } else {
            ngx_zltunnel_control_message_ignored(control, m);
        }

        break;

    default:
        ngx_zltunnel_control_message_ignored(control, m);
        break;
    }
}


static void
ngx_zltunnel_control_message_ignored(ngx_zltunnel_control_t *control,
    zlt_msg_t *m)
{
    if (ngx_zltunnel_log_paced(control->end.connection->log,
                               "messages that are ignored"))
    {
        ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                      "agent \"%V\" sent %s, ignored",
                      &control->peer->name, zlt_msg_name(m->type));
    }
}


void
ngx_zltunnel_control_message_heard(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_zltunnel_zone_lock_read(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);

    if (tunnel && tunnel->epoch == control->epoch) {
        tunnel->heard = ngx_current_msec;
        tunnel->rtt = control->rtt;
    }

    ngx_zltunnel_zone_unlock(control->registry);
}


static void
ngx_zltunnel_control_message_heartbeat(ngx_zltunnel_control_t *control,
    zlt_msg_t *m)
{
    zlt_msg_t  ack;

    ngx_memzero(&ack, sizeof(zlt_msg_t));

    ack.type = ZLT_HEARTBEAT_ACK;
    ack.timestamp = m->timestamp;

    ngx_zltunnel_control_io_write(control, &ack);
}


static void
ngx_zltunnel_control_message_fail(ngx_zltunnel_control_t *control,
    zlt_msg_t *m)
{
    ngx_uint_t                  slot;
    ngx_zltunnel_ipc_t          msg;
    ngx_zltunnel_sh_pending_t  *pending;

    slot = NGX_ZLTUNNEL_NO_SLOT;

    ngx_zltunnel_zone_lock_read(control->registry);

    pending = ngx_zltunnel_pending_find(control->registry->sh,
                                        (u_char *) m->connection_id);

    if (pending && ngx_memcmp(pending->tunnel_id, control->tunnel_id,
                              ZLT_ID_SIZE) == 0)
    {
        slot = pending->slot;
    }

    ngx_zltunnel_zone_unlock(control->registry);

    if (slot == NGX_ZLTUNNEL_NO_SLOT) {
        return;
    }

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_FAIL;
    msg.code = (m->ext & ZLT_X_CODE) ? m->code : 0;
    ngx_memcpy(msg.connection_id, m->connection_id, ZLT_ID_SIZE);
    msg.text_len = ngx_min(m->reason.len, NGX_ZLTUNNEL_TEXT_MAX);
    ngx_memcpy(msg.text, m->reason.data, msg.text_len);

    (void) ngx_zltunnel_ipc_send(control->registry, slot, &msg, NULL, -1);
}


/* for the sessions of a UDP service nobody waits: one more may be announced */

static void
ngx_zltunnel_control_message_answered(ngx_zltunnel_control_t *control,
    zlt_msg_t *m)
{
    ngx_zltunnel_sh_pending_t  *pending;

    if (control->extended) {
        return;
    }

    ngx_zltunnel_zone_lock(control->registry);

    pending = ngx_zltunnel_pending_find(control->registry->sh,
                                        (u_char *) m->connection_id);

    if (pending && pending->datagrams
        && ngx_memcmp(pending->tunnel_id, control->tunnel_id, ZLT_ID_SIZE)
           == 0)
    {
        ngx_zltunnel_pending_remove(control->registry, pending);
    }

    ngx_zltunnel_zone_unlock(control->registry);
}


void
ngx_zltunnel_control_message_down(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_peer_t       *peer;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    peer = control->peer;

    if (peer == NULL) {
        return;
    }

    control->peer = NULL;

    if (peer->control == control) {
        peer->control = NULL;
    }

    ngx_zltunnel_zone_lock(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);

    if (tunnel && tunnel->epoch == control->epoch
        && tunnel->state == NGX_ZLTUNNEL_LIVE)
    {
        ngx_zltunnel_tunnel_down(control->registry, tunnel, control->why);
    }

    ngx_zltunnel_zone_unlock(control->registry);

    ngx_zltunnel_event_tell(control->end.connection->log);

    ngx_zltunnel_peer_release(peer);
}
