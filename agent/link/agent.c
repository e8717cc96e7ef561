
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A link's sessions, one after the other.
 *
 * Reconnecting: random(0, min(cap, base * 2^n)), so that many agents of one
 * server do not return in step; n begins anew after a healthy minute.  When
 * one is lost that had been healthy for 10 s, the first attempt comes within
 * 200 ms; it counts as one what the server asked to move on, at a reload.
 *
 * Where there are several servers the one in use is kept as long as it can be
 * reached.  Otherwise each of the others is tried, in their order, within
 * 200 ms after the failure of the one before, and the wait comes after the
 * round.  A server that is back waits for the next failure: to move a tunnel
 * costs its clients more than the place where it is.
 */


#include <stdio.h>
#include <string.h>
#include <openssl/rand.h>

#include "process.h"
#include "zlt_util.h"


#define ZLT_AGENT_QUICK        200     /* ms, the first retry */
#define ZLT_AGENT_SOUND        10000   /* ms up that earn it */
#define ZLT_AGENT_HEALTHY      60000   /* ms up that end the backoff */
#define ZLT_AGENT_IN_USE       5000    /* ms */


static void zlt_agent_connect(zlt_agent_t *a);
static void zlt_agent_reconnect(uv_timer_t *timer);
static void zlt_agent_refilled(uv_timer_t *timer);
static void zlt_agent_services_down(zlt_agent_t *a);
static void zlt_agent_hello(const zlt_agent_t *a);
static uint32_t zlt_agent_delay(zlt_agent_t *a, zlt_down_e how,
    uint32_t retry_after, uint64_t healthy);
static int zlt_agent_next_server(zlt_agent_t *a, zlt_down_e how,
    uint64_t healthy);
static void zlt_agent_switch(zlt_agent_t *a, unsigned server);
static void zlt_agent_forget(zlt_agent_t *a);
static uint32_t zlt_agent_backoff(zlt_agent_t *a, uint64_t healthy);


uint32_t
zlt_agent_random(uint32_t n)
{
    uint32_t  r;

    if (RAND_bytes((uint8_t *) &r, sizeof(r)) != 1) {
        r = (uint32_t) uv_hrtime();
    }

    return (uint32_t) (((uint64_t) r * n) >> 32);
}


static void
zlt_agent_connect(zlt_agent_t *a)
{
    if (a->stopping || a->session) {
        return;
    }

    a->next_at = 0;
    a->session = zlt_session_start(a);

    if (a->session == NULL) {
        zlt_link_log(a->label, ZLT_LOG_ERROR, "out of memory");
        zlt_agent_schedule(a, a->conf->reconnect_interval);
        return;
    }

    zlt_agent_state(a, ZLT_STATE_CONNECTING);
}


static void
zlt_agent_reconnect(uv_timer_t *timer)
{
    zlt_agent_connect(timer->data);
}


void
zlt_agent_schedule(zlt_agent_t *a, uint32_t delay)
{
    a->next_at = zlt_io_now() + delay;

    (void) uv_timer_start(&a->reconnect, zlt_agent_reconnect, delay, 0);
}


void
zlt_agent_refill(zlt_agent_t *a, uint32_t delay)
{
    (void) uv_timer_start(&a->refill, zlt_agent_refilled, delay, 0);
}


static void
zlt_agent_refilled(uv_timer_t *timer)
{
    zlt_agent_t  *a;

    a = timer->data;

    if (a->pool) {
        zlt_pool_refill(a->pool);
    }
}


void
zlt_agent_retry(zlt_agent_t *a)
{
    if (a->session == NULL && !a->stopping) {
        zlt_agent_schedule(a, 0);
    }
}


void
zlt_agent_restart(zlt_agent_t *a)
{
    a->attempts = 0;
    a->carried = 0;
    a->tried = 0;

    zlt_agent_forget(a);
    zlt_transport_init(&a->transport, zlt_conf_transport(a->conf), a->label);

    /* its end begins the next one */

    if (a->session) {
        zlt_session_close(a->session, "the agent goes to another server");

    } else {
        zlt_agent_retry(a);
    }
}


/* What belongs to one server is of no use at another. */

static void
zlt_agent_forget(zlt_agent_t *a)
{
    zlt_list_t  *link, *next;

    a->warned_v1 = 0;
    a->resumable = 0;
    a->has_param = 0;
    a->rtt = 0;
    a->srtt = 0;

    if (a->pool) {
        zlt_pool_abandon(a->pool, 1);
        a->pool = NULL;
    }

    zlt_list_each_safe(link, next, &a->kept) {
        zlt_session_close(zlt_session_of_link(link),
                          "the agent goes to another server");
    }
}


/* The former session serves until the server closes it, and if the new token
   turns out to be wrong. */

void
zlt_agent_move(zlt_agent_t *a)
{
    zlt_session_t  *s;

    s = a->session;

    if (s == NULL) {
        zlt_agent_retry(a);
        return;
    }

    if (!zlt_session_is_up(s)) {
        zlt_session_close(s, "the token has changed");
        return;
    }

    a->session = NULL;

    zlt_agent_services_down(a);

    zlt_session_keep_aside(s, &a->kept);
    zlt_agent_schedule(a, 0);
}


static void
zlt_agent_services_down(zlt_agent_t *a)
{
    zlt_list_t     *link, *next;
    zlt_watcher_t  *w;
    zlt_service_t  *service;

    zlt_list_each(link, &a->services) {
        service = zlt_list_data(link, zlt_service_t, link);
        service->state = ZLT_SERVICE_DOWN;
    }

    zlt_list_each_safe(link, next, &a->watchers) {
        w = zlt_list_data(link, zlt_watcher_t, link);
        w->down(w, a);
    }
}


static void
zlt_agent_hello(const zlt_agent_t *a)
{
    const zlt_conf_t  *conf;

    conf = a->conf;

    zlt_link_log(a->label, ZLT_LOG_INFO, "connected to the "
                 "server%s%s%s%s%s%s%s", conf->nservers > 1 ? " " : "",
                 conf->nservers > 1 ? conf->server : "",
                 conf->via.kind ? " through the proxy " : "",
                 conf->via.kind ? conf->via.name : "",
                 conf->via.kind ? " (from " : "",
                 conf->via.kind ? conf->via.source : "",
                 conf->via.kind ? ")" : "");
}


void
zlt_agent_up(zlt_agent_t *a, zlt_session_t *s)
{
    char                     id[2 * ZLT_ID_SIZE], text[ZLT_ADDR_TEXT];
    zlt_list_t              *link, *next;
    zlt_service_t           *service;
    zlt_watcher_t           *w;
    const zlt_pool_param_t  *param;

    param = zlt_session_param(s);

    a->refused = 0;

    zlt_agent_hello(a);

    if (param == NULL) {
        if (!a->warned_v1) {
            a->warned_v1 = 1;
            zlt_link_log(a->label, ZLT_LOG_WARN, "the server is one of "
                         "protocol version 1: it registers services but "
                         "cannot carry connections to them, and does not tell "
                         "their addresses");
        }

        if (a->pool) {
            zlt_pool_abandon(a->pool, 1);
            a->pool = NULL;
        }

    } else {
        zlt_hex_encode(id, param->tunnel_id, ZLT_ID_SIZE);
        zlt_link_log(a->label, ZLT_LOG_DEBUG, "tunnel %.*s at %s",
                     (int) sizeof(id), id,
                     zlt_addr_text(text, &param->way.addr));

        a->param = *param;
        a->has_param = 1;

        if (a->pool && !zlt_pool_is(a->pool, param->tunnel_id)) {
            zlt_pool_abandon(a->pool, 1);
            a->pool = NULL;
        }

        if (a->pool) {
            zlt_pool_update(a->pool, param);

        } else {
            a->pool = zlt_pool_create(a, param);
        }
    }

    zlt_list_each(link, &a->services) {
        service = zlt_list_data(link, zlt_service_t, link);
        service->again = 0;

        zlt_session_register(s, service);

        if (!zlt_session_is_up(s)) {
            /* it broke meanwhile */
            return;
        }
    }

    zlt_list_each_safe(link, next, &a->watchers) {
        w = zlt_list_data(link, zlt_watcher_t, link);
        w->up(w, a, s);

        if (!zlt_session_is_up(s)) {
            return;
        }
    }

    if (zlt_list_empty(&a->services)) {
        zlt_agent_registered(a);
    }
}


/* Were all refused, there is nothing to serve. */

void
zlt_agent_registered(zlt_agent_t *a)
{
    zlt_list_t     *link;
    zlt_service_t  *s, *refused;

    refused = NULL;

    zlt_list_each(link, &a->services) {
        s = zlt_list_data(link, zlt_service_t, link);

        if (s->state != ZLT_SERVICE_REFUSED) {
            refused = NULL;
            a->none_up = 0;
            break;
        }

        refused = s;
    }

    if (refused == NULL) {
        zlt_agent_state(a, ZLT_STATE_CONNECTED);
        return;
    }

    (void) snprintf(a->reason, sizeof(a->reason), "the server refuses the "
                    "service \"%.80s\": %.180s", refused->conf.name,
                    refused->refused);
    zlt_agent_state(a, ZLT_STATE_FAILED);

    if (!a->none_up) {
        a->none_up = 1;
        zlt_link_log(a->label, ZLT_LOG_WARN, "none of the services is "
                     "registered; staying connected");
    }
}


void
zlt_agent_down(zlt_agent_t *a, zlt_session_t *s, zlt_down_e how,
    uint32_t retry_after, uint64_t healthy)
{
    uint32_t     delay;
    zlt_state_e  state;

    if (s != a->session) {
        /* one that was kept; nothing depends on it */
        zlt_agent_channel_gone(a);
        return;
    }

    a->session = NULL;

    zlt_agent_services_down(a);

    if (how == ZLT_DOWN_RECONNECT) {

        /* what belongs to the old workers ends with them */

        zlt_session_keep_aside(s, &a->kept);

        if (a->pool) {
            zlt_pool_abandon(a->pool, 0);
            a->pool = NULL;
        }

    } else if (a->pool) {
        zlt_pool_suspend(a->pool);
    }

    if (a->stopping) {
        zlt_agent_channel_gone(a);
        return;
    }

    if (how == ZLT_DOWN_REFUSED && a->conf->visitor) {
        /* somebody waits for it */
        zlt_process_finish(a->process, 1);
        return;
    }

    if (how == ZLT_DOWN_RECONNECT || how == ZLT_DOWN_CLOSED) {
        state = ZLT_STATE_CONNECTING;

    } else if (how == ZLT_DOWN_LOST && healthy) {
        state = ZLT_STATE_DISCONNECTED;

    } else {
        state = ZLT_STATE_FAILED;
    }

    delay = zlt_agent_delay(a, how, retry_after, healthy);

    if (delay >= 1000) {
        zlt_link_log(a->label, ZLT_LOG_INFO, "connecting again in %u.%u s",
                     (unsigned) delay / 1000, (unsigned) delay % 1000 / 100);
    }

    zlt_agent_schedule(a, delay);
    zlt_agent_state(a, state);
}


/* How long to wait for the next attempt, in ms. */

static uint32_t
zlt_agent_delay(zlt_agent_t *a, zlt_down_e how, uint32_t retry_after,
    uint64_t healthy)
{
    uint32_t  delay;

    if (retry_after > ZLT_RETRY_MAX) {
        retry_after = ZLT_RETRY_MAX;
    }

    healthy += a->carried;
    a->carried = 0;

    if (zlt_agent_next_server(a, how, healthy)) {
        return zlt_agent_random(ZLT_AGENT_QUICK);
    }

    switch (how) {

    case ZLT_DOWN_RECONNECT:
        a->carried = healthy;
        return retry_after;

    case ZLT_DOWN_REFUSED:

        /* slowly, but for the first time: the server follows its token
           file with a delay, and this token may just have been added */

        delay = a->refused ? a->conf->max_reconnect_interval
                           : a->conf->reconnect_interval;
        a->refused = 1;

        return retry_after > delay ? retry_after : delay;

    case ZLT_DOWN_IN_USE:
        return retry_after ? retry_after : ZLT_AGENT_IN_USE;

    case ZLT_DOWN_CLOSED:
        return 0;

    default:

        /* not so at a reload: then it is the same network */

        zlt_transport_anew(&a->transport);

        delay = zlt_agent_backoff(a, healthy);

        if (retry_after) {
            /* not all of them at the same moment */
            delay = retry_after + zlt_agent_random(retry_after / 4 + 1);
        }

        return delay;
    }
}


/* 1 if there is a server that was not tried yet in this round. */

static int
zlt_agent_next_server(zlt_agent_t *a, zlt_down_e how, uint64_t healthy)
{
    if (a->conf->nservers < 2
        || (how != ZLT_DOWN_LOST && how != ZLT_DOWN_REFUSED))
    {
        return 0;
    }

    if (healthy >= ZLT_AGENT_SOUND) {
        a->tried = 0;

        if (how == ZLT_DOWN_LOST) {
            /* what broke may be the connection only */
            return 0;
        }
    }

    zlt_agent_switch(a, (a->conf->current + 1) % a->conf->nservers);

    if (++a->tried < a->conf->nservers) {
        return 1;
    }

    a->tried = 0;

    return 0;
}


/* It may be the same one by another address, so the resume key and the pool
   are kept until AuthOk tells. */

static void
zlt_agent_switch(zlt_agent_t *a, unsigned server)
{
    char        error[ZLT_CONF_ERROR_SIZE];
    unsigned    former;
    zlt_tls_t  *tls;
    zlt_via_t   via;

    via = a->conf->via;
    former = a->conf->current;

    zlt_conf_use(a->conf, server);

    if (zlt_agent_way(a->conf, &tls, error) == -1) {
        zlt_link_log(a->label, ZLT_LOG_ERROR, "the server %s cannot be tried: "
                     "%s", a->conf->server, error);
        zlt_conf_use(a->conf, former);
        a->conf->via = via;
        zlt_via_wipe(&via);
        return;
    }

    zlt_via_wipe(&via);

    zlt_tls_destroy(a->tls);
    a->tls = tls;

    zlt_transport_init(&a->transport, zlt_conf_transport(a->conf), a->label);

    a->warned_v1 = 0;
    a->rtt = 0;
    a->srtt = 0;

    zlt_link_log(a->label, ZLT_LOG_INFO, "the next server is %s",
                 a->conf->server);
}


static uint32_t
zlt_agent_backoff(zlt_agent_t *a, uint64_t healthy)
{
    unsigned  i;
    uint64_t  most;

    if (healthy >= ZLT_AGENT_HEALTHY) {
        a->attempts = 0;
    }

    if (healthy >= ZLT_AGENT_SOUND) {
        return zlt_agent_random(ZLT_AGENT_QUICK);
    }

    most = a->conf->reconnect_interval;

    for (i = 0; i < a->attempts && most < a->conf->max_reconnect_interval;
         i++)
    {
        most *= 2;
    }

    a->attempts++;

    if (most > a->conf->max_reconnect_interval) {
        most = a->conf->max_reconnect_interval;
    }

    return zlt_agent_random((uint32_t) most + 1);
}


void
zlt_agent_announce(zlt_agent_t *a, zlt_service_t *s, const char *public_addr)
{
    const char  *protocol;

    (void) a;

    protocol = s->conf.protocol == ZLT_PROTO_UDP ? "udp" : "tcp";

    zlt_link_log(a->label, ZLT_LOG_DEBUG, "the service \"%s\" is registered: "
                 "%s", s->conf.name, public_addr);

    /* once, and again when it has moved */

    if (strcmp(s->shown, public_addr) == 0) {
        return;
    }

    (void) snprintf(s->shown, sizeof(s->shown), "%s", public_addr);

    (void) printf("%s  %s  %s  ->  %s\n", s->conf.name, protocol,
                  s->conf.local, public_addr);
    (void) fflush(stdout);
}
