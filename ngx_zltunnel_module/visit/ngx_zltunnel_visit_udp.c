
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Visits of sessions of UDP: two datagram channels, and the frames between.
 *
 * Theory of operation.  The visitor opens sessions and numbers them; its
 * channel has one of the serving agent for itself, so the numbers pass as they
 * are.  Frames are looked at, and passed on if they make sense: DatagramOpen
 * gets the id of the service, the address of the visitor and the target; what
 * belongs to no open session is dropped here.
 *
 * The two sides are served by the same code, in _access_side.c, and so are
 * most frames here.
 *
 * Until the serving agent's channel is there, nothing is read from the visitor.
 * When one of the channels ends, so does the other; the visitor comes again
 * with the next datagram.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_visit_udp.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_visit.h"
#include "ngx_zltunnel_visit_side.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"


static void ngx_zltunnel_visit_carry_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_visit_served_cut(ngx_zltunnel_link_t *link);
static ngx_int_t ngx_zltunnel_visit_frame(ngx_zltunnel_visit_t *visit,
    ngx_uint_t i, zlt_dgram_t *f);
static ngx_int_t ngx_zltunnel_visit_datagram(ngx_zltunnel_visit_t *visit,
    ngx_uint_t i, zlt_dgram_t *f);
static ngx_int_t ngx_zltunnel_visit_open(ngx_zltunnel_visit_t *visit,
    zlt_dgram_t *f);
static ngx_uint_t ngx_zltunnel_visit_admit(ngx_zltunnel_visit_t *visit);
static ngx_int_t ngx_zltunnel_visit_malformed(ngx_zltunnel_visit_t *visit,
    zlt_dgram_t *f);
static ngx_int_t ngx_zltunnel_visit_end(ngx_zltunnel_visit_t *visit,
    ngx_uint_t to, uint32_t number, ngx_uint_t cause);
static ngx_rbtree_node_t *ngx_zltunnel_visit_session(
    ngx_zltunnel_visit_t *visit, uint32_t number);
static void ngx_zltunnel_visit_forget(ngx_zltunnel_visit_t *visit,
    ngx_rbtree_node_t *node);
static void ngx_zltunnel_visit_drop(ngx_zltunnel_visit_t *visit,
    ngx_uint_t cause);


void
ngx_zltunnel_visit_udp_start(ngx_zltunnel_visit_t *visit, u_char *data,
    size_t len)
{
    ngx_connection_t     *c;
    ngx_zltunnel_dial_t  *dial;

    c = visit->end.connection;
    dial = &visit->dial;

    ngx_rbtree_init(&visit->sessions, &visit->sentinel,
                    ngx_rbtree_insert_value);

    dial->registry = visit->registry;
    dial->pool = c->pool;
    dial->log = c->log;
    dial->client_addr = visit->client_addr;
    dial->local = visit->ask.local;
    dial->datagrams = 1;
    dial->handler = ngx_zltunnel_visit_carry_dialled;
    dial->data = visit;

    /* nothing is read until the other channel is there */

    if (ngx_zltunnel_visit_side_keep(&visit->side[0], data, len) != NGX_OK) {
        ngx_zltunnel_visit_close(visit);
        return;
    }

    ngx_zltunnel_visit_dial(visit);
}


static void
ngx_zltunnel_visit_carry_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc)
{
    size_t                   len;
    ngx_zltunnel_visit_t    *visit;
    ngx_zltunnel_channel_t  *channel;

    visit = dial->data;
    channel = dial->channel;

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        ngx_log_error(NGX_LOG_INFO, visit->end.connection->log, 0,
                      "visitor \"%V\" gets no channel to service \"%V\": %s",
                      &visit->ask.visitor, &visit->ask.name,
                      ngx_zltunnel_dial_error(dial, rc));

        ngx_zltunnel_visit_close(visit);
        return;
    }

    visit->carrying = 1;
    dial->link.cut = ngx_zltunnel_visit_served_cut;

    /* the answer to its request may not have been sent yet; and bytes may
       have come behind the last frame of an idle channel */

    len = channel->have - channel->used;

    if (ngx_zltunnel_channel_answer_flush(channel) != NGX_OK
        || ngx_zltunnel_visit_side_keep(&visit->side[1],
                                        channel->frame + channel->used, len)
           != NGX_OK
        || ngx_zltunnel_visit_side_start(visit, &channel->end) != NGX_OK)
    {
        ngx_zltunnel_visit_close(visit);
        return;
    }

    channel->have = 0;
    channel->used = 0;
}


static void
ngx_zltunnel_visit_served_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_visit_cut(ngx_zltunnel_dial_of(link)->data);
}


void
ngx_zltunnel_visit_udp_done(ngx_zltunnel_visit_t *visit)
{
    ngx_uint_t                  i;
    ngx_event_t                *rev;
    ngx_zltunnel_visit_side_t  *side;

    if (visit->sessions.root) {

        while (visit->sessions.root != &visit->sentinel) {
            ngx_zltunnel_visit_forget(visit, visit->sessions.root);
        }
    }

    for (i = 0; i < 2; i++) {
        side = &visit->side[i];

        if (side->in) {
            ngx_free(side->in);
        }

        if (side->out) {
            ngx_free(side->out);
        }
    }

    if (!visit->carrying) {
        return;
    }

    rev = visit->end.connection->read;

    if (rev->posted) {
        ngx_delete_posted_event(rev);
    }

    if (visit->dial.channel) {
        ngx_zltunnel_channel_close(visit->dial.channel);
        visit->dial.channel = NULL;
    }
}


ngx_int_t
ngx_zltunnel_visit_udp_parse(ngx_zltunnel_visit_t *visit, ngx_uint_t i,
    const u_char *data, size_t len)
{
    int                         rc;
    ngx_int_t                   ok;
    zlt_dgram_t                 f;
    const u_char               *end;
    ngx_zltunnel_visit_side_t  *side;

    side = &visit->side[i];
    end = data + len;

    for ( ;; ) {
        rc = zlt_dgram_read(&side->reader, &f, &data, end);

        switch (rc) {

        case ZLT_OK:
            ok = (f.type == ZLT_DATAGRAM)
                 ? ngx_zltunnel_visit_datagram(visit, i, &f)
                 : ngx_zltunnel_visit_frame(visit, i, &f);
            break;

        case ZLT_DGRAM_BAD:
            ok = ngx_zltunnel_visit_malformed(visit, &f);
            break;

        case ZLT_AGAIN:
            return ngx_zltunnel_visit_side_keep(side, data, end - data);

        default:
            ngx_log_error(NGX_LOG_INFO, side->end->connection->log, 0,
                          "bad frame on a datagram channel: %s",
                          zlt_msg_strerror(rc));
            ok = NGX_ERROR;
            break;
        }

        if (ok != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_zltunnel_visit_frame(ngx_zltunnel_visit_t *visit, ngx_uint_t i,
    zlt_dgram_t *f)
{
    switch (f->type) {

    case ZLT_HEARTBEAT:
        return ngx_zltunnel_visit_side_beat(&visit->side[i], ZLT_HEARTBEAT_ACK,
                                            f->timestamp);

    case ZLT_HEARTBEAT_ACK:
        return NGX_OK;

    case ZLT_DATAGRAM_CLOSE:
        return ngx_zltunnel_visit_end(visit, 1 - i, f->session, f->cause);

    case ZLT_DATAGRAM_OPEN:
        if (i == 0) {
            return ngx_zltunnel_visit_open(visit, f);
        }

        break;

    default: /* ZLT_RETIRE */

        if (i == 1) {

            /* sent before it had read what we sent: the visitor comes again,
               and another channel is taken */

            return NGX_ERROR;
        }

        break;
    }

    ngx_log_error(NGX_LOG_INFO, visit->side[i].end->connection->log, 0,
                  "unexpected %s on a datagram channel",
                  zlt_msg_name(f->type));

    return NGX_ERROR;
}


static ngx_int_t
ngx_zltunnel_visit_datagram(ngx_zltunnel_visit_t *visit, ngx_uint_t i,
    zlt_dgram_t *f)
{
    u_char                     *p;
    ngx_zltunnel_visit_side_t  *to;

    if (ngx_zltunnel_visit_session(visit, f->session) == NULL) {
        ngx_zltunnel_visit_drop(visit, NGX_ZLTUNNEL_DROP_SESSION);
        return NGX_OK;
    }

    to = &visit->side[1 - i];

    p = ngx_zltunnel_visit_side_room(to, ZLT_DGRAM_HEADER + f->data.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = zlt_dgram_header(p, f->session, f->data.len);
    p = ngx_cpymem(p, f->data.data, f->data.len);
    to->out_len = p - to->out;

    visit->served->bytes[i] += f->data.len;
    visit->served->datagrams[i]++;
    visit->counter->bytes[i] += f->data.len;
    visit->counter->datagrams[i]++;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_visit_open(ngx_zltunnel_visit_t *visit, zlt_dgram_t *f)
{
    size_t                      size;
    u_char                     *p;
    zlt_str_t                   target;
    ngx_uint_t                  cause;
    ngx_rbtree_node_t          *node;
    ngx_zltunnel_visit_side_t  *to;

    if (f->session <= visit->number) {

        /* numbers rise; a session that is open already ends */

        return ngx_zltunnel_visit_malformed(visit, f);
    }

    visit->number = f->session;

    node = ngx_alloc(sizeof(ngx_rbtree_node_t), ngx_cycle->log);
    if (node == NULL) {
        return NGX_ERROR;
    }

    cause = ngx_zltunnel_visit_admit(visit);

    if (cause) {
        ngx_free(node);

        to = &visit->side[0];
        p = ngx_zltunnel_visit_side_room(to, ZLT_DGRAM_CLOSE_SIZE);

        if (p) {
            to->out_len = zlt_dgram_close(p, f->session, cause) - to->out;
        }

        return p ? NGX_OK : NGX_ERROR;
    }

    node->key = f->session;
    ngx_rbtree_insert(&visit->sessions, node);
    visit->nsessions++;

    to = &visit->side[1];
    size = ZLT_DGRAM_HEADER + ZLT_ID_SIZE + 2 + ZLT_DGRAM_MAX_ADDR
           + 3 + ZLT_MAX_TARGET;

    p = ngx_zltunnel_visit_side_room(to, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    target.data = visit->ask.target.data;
    target.len = visit->ask.target.len;

    p = zlt_dgram_open_target(p, p + size, f->session, visit->dial.service_id,
                              (char *) visit->client_addr.data,
                              visit->client_addr.len, &target);
    if (p == NULL) {
        return NGX_ERROR;
    }

    to->out_len = p - to->out;

    return NGX_OK;
}


/* one more session of the service: 0, or the cause of a DatagramClose */

static ngx_uint_t
ngx_zltunnel_visit_admit(ngx_zltunnel_visit_t *visit)
{
    ngx_uint_t                  cause;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_counter_t  *counter;
    ngx_zltunnel_sh_service_t  *service;

    registry = visit->registry;
    cause = 0;

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, visit->dial.tunnel_id);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel,
                                                  visit->dial.service_id)
                     : NULL;

    if (service == NULL) {
        cause = ZLT_E_UNREACHABLE;

    } else if (ngx_zltunnel_counter_active(service)
               >= registry->max_udp_sessions)
    {
        cause = ZLT_E_LIMIT;

    } else {
        counter = ngx_zltunnel_counter_more(registry, service, visit->served);

        if (counter == NULL) {
            cause = ZLT_E_BUSY;

        } else {
            counter->total++;
            visit->served = counter;
        }
    }

    ngx_zltunnel_zone_unlock(registry);

    if (cause == ZLT_E_LIMIT) {
        ngx_zltunnel_log_complain(visit->end.connection->log,
                                  "visitor's session refused: limit of %s",
                                  "max_udp_sessions");
    }

    return cause;
}


/* the session that it names, if it does, ends on both sides */

static ngx_int_t
ngx_zltunnel_visit_malformed(ngx_zltunnel_visit_t *visit, zlt_dgram_t *f)
{
    ngx_zltunnel_visit_drop(visit, NGX_ZLTUNNEL_DROP_MALFORMED);

    ngx_zltunnel_log_complain(visit->end.connection->log,
                              "malformed %s on a datagram channel",
                              zlt_msg_name(f->type));

    if (!f->has_session
        || ngx_zltunnel_visit_session(visit, f->session) == NULL)
    {
        return NGX_OK;
    }

    if (ngx_zltunnel_visit_end(visit, 0, f->session, ZLT_E_FORBIDDEN)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_zltunnel_visit_end(visit, 1, f->session, ZLT_E_FORBIDDEN);
}


/* a DatagramClose to that side, which may no longer know of the session */

static ngx_int_t
ngx_zltunnel_visit_end(ngx_zltunnel_visit_t *visit, ngx_uint_t to,
    uint32_t number, ngx_uint_t cause)
{
    u_char                     *p;
    ngx_rbtree_node_t          *node;
    ngx_zltunnel_visit_side_t  *side;

    node = ngx_zltunnel_visit_session(visit, number);

    if (node) {
        ngx_zltunnel_visit_forget(visit, node);
    }

    side = &visit->side[to];

    p = ngx_zltunnel_visit_side_room(side, ZLT_DGRAM_CLOSE_SIZE);
    if (p == NULL) {
        return NGX_ERROR;
    }

    side->out_len = zlt_dgram_close(p, number, cause) - side->out;

    return NGX_OK;
}


static ngx_rbtree_node_t *
ngx_zltunnel_visit_session(ngx_zltunnel_visit_t *visit, uint32_t number)
{
    ngx_rbtree_node_t  *node;

    node = visit->sessions.root;

    while (node != &visit->sentinel) {

        if (number == node->key) {
            return node;
        }

        node = (number < node->key) ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_zltunnel_visit_forget(ngx_zltunnel_visit_t *visit, ngx_rbtree_node_t *node)
{
    ngx_rbtree_delete(&visit->sessions, node);
    ngx_free(node);

    ngx_zltunnel_zone_lock(visit->registry);
    ngx_zltunnel_counter_put(visit->registry, visit->served);
    ngx_zltunnel_zone_unlock(visit->registry);

    if (--visit->nsessions == 0) {
        visit->served = NULL;
    }
}


static void
ngx_zltunnel_visit_drop(ngx_zltunnel_visit_t *visit, ngx_uint_t cause)
{
    if (visit->served) {
        visit->served->dropped[cause]++;
    }
}
