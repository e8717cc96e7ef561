
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The life of a link: made from its configuration, started, stopped, started
 * again, and freed.
 *
 * What was stopped still finishes the connections that run; it may be started
 * again before that is over.  A link that goes with its configuration is
 * moved to process->ending, and freed when nothing is left.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "access_all.h"
#include "channel.h"
#include "conf.h"
#include "control_msg.h"
#include "control_part.h"
#include "headers.h"
#include "link.h"
#include "log.h"
#include "proxy_choose.h"
#include "service.h"
#include "tls.h"
#include "udp.h"


static void zlt_link_owner_gone(zlt_owner_t *o);
static void zlt_link_owner_refill(zlt_owner_t *o, uint32_t delay);
static void zlt_link_refilled(uv_timer_t *timer);
static int zlt_link_owner_registers(const zlt_owner_t *o);
static void zlt_link_owner_connect_fail(zlt_owner_t *o, uint32_t serial,
    const uint8_t *id, unsigned code, const char *reason);
static const zlt_pool_param_t *zlt_link_owner_param(const zlt_owner_t *o,
    uint32_t serial);
static void zlt_link_ranges_remove(zlt_link_t *l);
static void zlt_link_ended(zlt_link_t *l);
static void zlt_link_totals_tick(zlt_link_t *l, uint64_t now);
static void zlt_link_register(zlt_link_t *l, uint64_t now);
static void zlt_link_handle_closed(uv_handle_t *handle);


static const zlt_owner_ops_t  zlt_link_owner_ops = {
    zlt_link_owner_gone,
    zlt_link_owner_refill,
    zlt_link_owner_registers,
    zlt_link_owner_connect_fail,
    zlt_link_owner_param,
    zlt_udp_session_start,
    zlt_udp_free
};


zlt_link_t *
zlt_link_create(const zlt_link_ops_t *ops, zlt_process_t *process,
    uv_loop_t *loop, zlt_conf_t *conf, const zlt_token_t *token,
    zlt_tls_t *tls)
{
    unsigned      i;
    zlt_link_t   *l;
    zlt_range_t  *r;

    l = calloc(1, sizeof(zlt_link_t));
    if (l == NULL) {
        return NULL;
    }

    l->ops = ops;
    l->process = process;
    l->owner.ops = &zlt_link_owner_ops;
    l->owner.access_ops = &zlt_control_access_ops;
    l->owner.loop = loop;

    zlt_list_init(&l->node);
    zlt_list_init(&l->mate);
    zlt_list_init(&l->owner.services);
    zlt_list_init(&l->owner.ranges);
    zlt_list_init(&l->owner.accesses);
    zlt_list_init(&l->kept);
    zlt_list_init(&l->owner.channels);
    zlt_list_init(&l->owner.early);

    for (i = 0; i < conf->nservices; i++) {
        r = zlt_range_create(&l->owner.ranges, &l->owner.services,
                             &conf->services[i]);

        if (r == NULL) {
            zlt_link_ranges_remove(l);
            free(l);
            return NULL;
        }

        if (r->conf.flags & ZLT_R_OPEN) {
            zlt_allow_move(&zlt_range_first(r)->allow, &conf->allow);
        }
    }

    zlt_link_place_label(l->owner.label, conf, NULL);
    zlt_transport_init(&l->owner.transport, zlt_conf_transport(conf),
                       l->owner.label);

    l->owner.conf = conf;
    zlt_link_token(l, token);
    l->owner.tls = tls;
    l->since = time(NULL);
    l->since_ms = zlt_io_now();

    (void) uv_timer_init(l->owner.loop, &l->reconnect);
    (void) uv_timer_init(l->owner.loop, &l->refill);
    l->reconnect.data = l;
    l->refill.data = l;
    l->open_handles = 2;

    return l;
}


static void
zlt_link_ranges_remove(zlt_link_t *l)
{
    zlt_list_t  *link, *next;

    zlt_list_each_safe(link, next, &l->owner.ranges) {
        zlt_range_remove(zlt_list_data(link, zlt_range_t, link));
    }
}


void
zlt_link_token(zlt_link_t *l, const zlt_token_t *token)
{
    l->token = *token;
    zlt_stamp_take(&l->token_stamp, l->owner.conf->token_file);
}


/* What the channels ask. */

static void
zlt_link_owner_gone(zlt_owner_t *o)
{
    zlt_link_check_ended(zlt_link_of(o));
}


static void
zlt_link_owner_refill(zlt_owner_t *o, uint32_t delay)
{
    (void) uv_timer_start(&zlt_link_of(o)->refill, zlt_link_refilled, delay,
                          0);
}


static void
zlt_link_refilled(uv_timer_t *timer)
{
    zlt_link_t  *l;

    l = timer->data;

    if (l->owner.pool) {
        zlt_pool_refill(l->owner.pool);
    }
}


static int
zlt_link_owner_registers(const zlt_owner_t *o)
{
    const zlt_link_t  *l;

    l = zlt_link_of(o);

    return l->control && zlt_control_registers(l->control);
}


static void
zlt_link_owner_connect_fail(zlt_owner_t *o, uint32_t serial,
    const uint8_t *id, unsigned code, const char *reason)
{
    zlt_link_t     *l;
    zlt_control_t  *c;

    l = zlt_link_of(o);
    c = zlt_control_find(l, serial);

    if (c == NULL && l->control && zlt_control_is_up(l->control)) {
        c = l->control;
    }

    if (c) {
        zlt_control_msg_connect_fail(c, id, code, reason);
    }
}


static const zlt_pool_param_t *
zlt_link_owner_param(const zlt_owner_t *o, uint32_t serial)
{
    zlt_control_t  *c;

    c = zlt_control_find(zlt_link_of(o), serial);

    return c ? zlt_control_param(c) : NULL;
}


int
zlt_link_way(zlt_conf_t *conf, zlt_tls_t **tls, char *error)
{
    int              rc;
    char             label[ZLT_OWNER_LABEL];
    zlt_text_t       headers;
    zlt_tls_param_t  param;

    *tls = NULL;

    if (zlt_proxy_choose(&conf->via, &conf->url, conf->proxy, conf->proxy_file,
                         error)
        == -1)
    {
        return -1;
    }

    memset(&headers, 0, sizeof(zlt_text_t));

    if (conf->header_file) {
        rc = zlt_headers_file(&headers, conf->header_file, 1, error);
        zlt_text_free(&headers);

        if (rc == -1) {
            return -1;
        }
    }

    if (conf->url.tls) {
        zlt_link_place_label(label, conf, NULL);

        param.label = label;
        param.host = conf->url.host;
        param.ca_file = conf->ca_file;
        param.cert = conf->cert;
        param.key = conf->key;
        param.insecure = (int) conf->insecure;

        *tls = zlt_tls_create(&param, error);
    }

    return conf->url.tls && *tls == NULL ? -1 : 0;
}


void
zlt_link_warn(const zlt_link_t *l, int typed)
{
    unsigned           i;
    const zlt_url_t   *url;
    const zlt_conf_t  *conf;

    conf = l->owner.conf;

    for (i = 0; i < conf->nservers; i++) {
        url = &conf->servers[i].url;

        if (url->tls && conf->insecure) {
            zlt_log_link(l->owner.label, ZLT_LOG_WARN, "the server's "
                         "certificate is not verified: anyone on the way to "
                         "%s can read the token and all traffic", url->host);
        }

        if (!url->tls && !url->is_unix
            && (!zlt_url_loopback(url->host)
                || (conf->via.kind && !zlt_url_loopback(conf->via.host))))
        {
            zlt_log_link(l->owner.label, ZLT_LOG_WARN, "ws:// is not "
                         "encrypted: anyone on the way to %s can read the "
                         "token and all traffic; use %swss://", url->host,
                         url->record[0] ? "srv+" : "");
        }
    }

    if (conf->mode != ZLT_CONF_ALL && zlt_conf_is_set(conf, "nodes")) {
        zlt_log_link(l->owner.label, ZLT_LOG_WARN, "nodes = %u has no effect "
                     "without mode = all: one server is used at a time",
                     conf->nodes);
    }

    if (typed && conf->proxy && conf->via.password[0]) {
        zlt_log_link(l->owner.label, ZLT_LOG_WARN, "the proxy's password is "
                     "on the command line, where every user of this machine "
                     "can see it: use --proxy-file");
    }
}


/* From the first server on, as at the very first start. */

void
zlt_link_start(zlt_link_t *l)
{
    l->owner.stopping = 0;
    l->stopped = 0;
    l->attempts = 0;
    l->attempted = 0;
    l->tried = 0;
    l->carried = 0;
    l->refused = 0;

    /* those that have ended with the last stop */

    zlt_access_all_reload(&l->owner, l->owner.conf);
    zlt_link_health_start(l);

    zlt_link_state_reason(l, "");
    zlt_link_state_set(l, ZLT_LINK_PENDING);

    zlt_link_control_retry(l);
}


void
zlt_link_stop(zlt_link_t *l, int unregister, uint32_t timeout,
    const char *reason)
{
    zlt_list_t     *link, *next;
    zlt_channel_t  *ch;

    if (l->owner.stopping) {
        return;
    }

    l->owner.stopping = 1;
    l->stop_at = zlt_io_now() + timeout;
    l->next_at = 0;

    (void) uv_timer_stop(&l->reconnect);
    (void) uv_timer_stop(&l->refill);

    zlt_access_all_stop(&l->owner);
    zlt_link_health_stop(l);

    if (l->owner.pool) {
        zlt_pool_abandon(l->owner.pool, 1);
        l->owner.pool = NULL;
    }

    /* those that are left idle belong to control channels that are kept; those
       with lanes end with the last of them */

    zlt_list_each_safe(link, next, &l->owner.channels) {
        ch = zlt_list_data(link, zlt_channel_t, all);

        if (zlt_channel_is_idle(ch) || zlt_channel_is_shared(ch)) {
            zlt_channel_end_retire(ch);
        }
    }

    if (unregister) {
        zlt_list_each(link, &l->owner.services) {

            if (l->control == NULL || !zlt_control_is_up(l->control)) {
                break;
            }

            zlt_control_register_end(l->control,
                                     zlt_list_data(link, zlt_service_t, link));
        }
    }

    if (l->control) {
        zlt_control_close(l->control, reason);
    }

    zlt_list_each_safe(link, next, &l->kept) {
        zlt_control_close(zlt_control_of_node(link), reason);
    }

    zlt_link_state_reason(l, reason);
    zlt_link_state_set(l, ZLT_LINK_DISCONNECTED);

    zlt_link_check_ended(l);
}


/* Was it the last thing we waited for? */

void
zlt_link_check_ended(zlt_link_t *l)
{
    if (l->owner.stopping && !l->stopped && l->owner.nchannels == 0
        && l->control == NULL && zlt_list_empty(&l->kept))
    {
        zlt_link_ended(l);
    }
}


static void
zlt_link_ended(zlt_link_t *l)
{
    l->stopped = 1;

    l->ops->gone(l->process, l);
}


void
zlt_link_abort(zlt_link_t *l)
{
    zlt_list_t  *link, *next;

    l->owner.stopping = 1;

    zlt_access_all_done(&l->owner);

    /* one may take another one along */

    while (!zlt_list_empty(&l->owner.channels)) {
        zlt_channel_abort(zlt_list_data(l->owner.channels.next, zlt_channel_t,
                                        all));
    }

    if (l->owner.pool) {
        zlt_pool_abandon(l->owner.pool, 0);
        l->owner.pool = NULL;
    }

    if (l->control) {
        zlt_control_abort(l->control);
        l->control = NULL;
    }

    zlt_list_each_safe(link, next, &l->kept) {
        zlt_control_abort(zlt_control_of_node(link));
    }

    zlt_link_check_ended(l);
}


void
zlt_link_destroy(zlt_link_t *l)
{
    zlt_list_t  *link;

    zlt_list_remove(&l->node);

    zlt_access_all_done(&l->owner);

    zlt_list_each(link, &l->owner.services) {
        zlt_udp_service_log(&l->owner,
                                    zlt_list_data(link, zlt_service_t, link));
    }

    zlt_link_ranges_remove(l);

    uv_close((uv_handle_t *) &l->reconnect, zlt_link_handle_closed);
    uv_close((uv_handle_t *) &l->refill, zlt_link_handle_closed);
}


static void
zlt_link_handle_closed(uv_handle_t *handle)
{
    zlt_link_t  *l;

    l = handle->data;

    if (--l->open_handles) {
        return;
    }

    zlt_tls_destroy(l->owner.tls);
    zlt_conf_destroy(l->owner.conf);

    zlt_token_wipe(&l->token);
    OPENSSL_cleanse(l->resume_key, ZLT_KEY_SIZE);
    OPENSSL_cleanse(&l->owner.param, sizeof(zlt_pool_param_t));

    free(l);
}


void
zlt_link_tick(zlt_link_t *l, uint64_t now)
{
    zlt_list_t     *link, *next;
    zlt_control_t  *kept;

    zlt_udp_service_tick(&l->owner);
    zlt_access_all_tick(&l->owner);

    if (l->owner.pool) {
        zlt_pool_tick(l->owner.pool);
    }

    if (zlt_channel_astray_tick(&l->owner) && l->control
        && zlt_control_is_up(l->control))
    {
        zlt_control_fail(l->control, ZLT_DOWN_LOST, 0, "all data channels come "
                         "to another node than the tunnel: it follows them");
    }

    if (l->control) {
        zlt_control_tick(l->control);
    }

    zlt_list_each_safe(link, next, &l->kept) {
        kept = zlt_control_of_node(link);

        if (zlt_control_part_over(kept, now)) {
            zlt_control_close(kept, "the token has changed");
            continue;
        }

        zlt_control_tick(kept);
    }

    zlt_link_totals_tick(l, now);
    zlt_link_register(l, now);
    zlt_link_health_tick(l);

    if (l->owner.stopping && !l->stopped && now >= l->stop_at) {
        zlt_log_link(l->owner.label, ZLT_LOG_WARN,
                     "%u connection%s cut short", l->owner.nchannels,
                     l->owner.nchannels == 1 ? "" : "s");
        zlt_link_abort(l);
    }
}


static void
zlt_link_totals_tick(zlt_link_t *l, uint64_t now)
{
    uint64_t           moved;
    zlt_link_totals_t  t;

    zlt_link_state_totals(l, &t);

    moved = t.bytes_in + t.bytes_out;

    if (moved != l->moved) {
        l->moved = moved;
        l->active = now;
    }
}


/* What was refused may have been so for a while. */

static void
zlt_link_register(zlt_link_t *l, uint64_t now)
{
    zlt_list_t   *link;
    zlt_range_t  *range;

    zlt_list_each(link, &l->owner.ranges) {

        if (l->control == NULL || !zlt_control_is_up(l->control)) {
            return;
        }

        range = zlt_list_data(link, zlt_range_t, link);

        if (range->state == ZLT_SERVICE_REFUSED && range->again
            && now >= range->again_at
            && range->counts[ZLT_SERVICE_PENDING] == 0)
        {
            zlt_control_register(l->control, range);
        }
    }
}
