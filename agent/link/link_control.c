
/*
 * Copyright (C) zltunnel authors
 */

/* The control channels of a link, one after the other. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/rand.h>

#include "access_all.h"
#include "backoff.h"
#include "config.h"
#include "control_part.h"
#include "exit.h"
#include "io.h"
#include "link.h"
#include "link_control.h"
#include "log.h"
#include "random.h"
#include "service.h"
#include "text.h"
#include "zlt_hex.h"


#define ZLT_LINK_QUICK  200           /* ms, after a sleep */
#define ZLT_LINK_PROBE  5000          /* ms, to answer after one */
#define ZLT_LINK_KEPT   8             /* former control channels, at most */


static void zlt_link_control_connect(zlt_link_t *l);
static void zlt_link_control_up(zlt_link_t *l, zlt_control_t *c);
static void zlt_link_control_down(zlt_link_t *l, zlt_control_t *c,
    zlt_down_e how, uint32_t retry_after, uint64_t healthy);
static void zlt_link_control_token(zlt_link_t *l);
static void zlt_link_control_reconnect(uv_timer_t *timer);
static void zlt_link_control_schedule(zlt_link_t *l, uint32_t delay);
static void zlt_link_control_services_down(zlt_link_t *l);
static void zlt_link_control_hello(const zlt_link_t *l);
static void zlt_link_control_forget(zlt_link_t *l);
static void zlt_link_control_bound(zlt_link_t *l);


static const zlt_control_ops_t  zlt_link_control_ops = {
    zlt_link_control_up,
    zlt_link_control_registered,
    zlt_link_control_down
};


static void
zlt_link_control_connect(zlt_link_t *l)
{
    if (l->owner.stopping || l->control) {
        return;
    }

    zlt_link_control_token(l);

    l->next_at = 0;
    l->control = zlt_control_start(l, &zlt_link_control_ops);
    l->attempted = 1;

    if (l->control == NULL) {
        zlt_log_link(l->owner.label, ZLT_LOG_ERROR, "out of memory");
        zlt_link_control_schedule(l, l->owner.conf->reconnect_interval);
        return;
    }

    zlt_link_state_set(l, ZLT_LINK_CONNECTING);
}


/* Who renews the token's file need not tell us.  What is wrong with it, while
   that is under way, does not count. */

static void
zlt_link_control_token(zlt_link_t *l)
{
    char         error[ZLT_TOKEN_ERROR_SIZE];
    const char  *file;
    zlt_token_t  token;

    file = l->owner.conf->token_file;

    if (!zlt_stamp_changed(&l->token_stamp, file)) {
        return;
    }

    if (zlt_token_read(&token, file, error) == -1) {
        zlt_log_link(l->owner.label, ZLT_LOG_WARN, "the token's file has "
                     "changed, and what was read before is kept: %s", error);
        return;
    }

    l->token = token;
    zlt_token_wipe(&token);

    zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the token's file has changed, "
                 "and was read again");
}


static void
zlt_link_control_reconnect(uv_timer_t *timer)
{
    zlt_link_control_connect(timer->data);
}


static void
zlt_link_control_schedule(zlt_link_t *l, uint32_t delay)
{
    l->next_at = zlt_io_now() + delay;

    (void) uv_timer_start(&l->reconnect, zlt_link_control_reconnect, delay, 0);
}


void
zlt_link_control_retry(zlt_link_t *l)
{
    if (l->control == NULL && !l->owner.stopping) {
        zlt_link_control_schedule(l, 0);
    }
}


void
zlt_link_control_woken(zlt_link_t *l)
{
    if (l->owner.stopping) {
        return;
    }

    if (l->control) {
        zlt_control_heartbeat_probe(l->control, ZLT_LINK_PROBE);
        return;
    }

    /* what it waits for belongs to the time before */

    l->attempts = 0;
    zlt_link_control_schedule(l, zlt_random_below(ZLT_LINK_QUICK));
}


void
zlt_link_control_restart(zlt_link_t *l)
{
    l->attempts = 0;
    l->attempted = 0;
    l->carried = 0;
    l->tried = 0;

    zlt_link_control_forget(l);
    zlt_transport_init(&l->owner.transport, zlt_conf_transport(l->owner.conf),
                       l->owner.label);

    /* its end begins the next one */

    if (l->control) {
        zlt_control_close(l->control, "the agent goes to another server");

    } else {
        zlt_link_control_retry(l);
    }
}


/* What belongs to one server is of no use at another. */

static void
zlt_link_control_forget(zlt_link_t *l)
{
    zlt_list_t  *link, *next;

    l->bare = 0;
    l->resumable = 0;
    l->owner.has_param = 0;
    l->rtt = 0;
    l->srtt = 0;

    if (l->owner.pool) {
        zlt_pool_abandon(l->owner.pool, 1);
        l->owner.pool = NULL;
    }

    zlt_list_each_safe(link, next, &l->kept) {
        zlt_control_close(zlt_control_of_node(link),
                          "the agent goes to another server");
    }
}


/* The former one serves until the server closes it, if the new token is of the
   same name; until its connections have ended, if it is of another; and on, if
   it turns out to be wrong. */

void
zlt_link_control_move(zlt_link_t *l)
{
    zlt_control_t  *c;

    c = l->control;

    if (c == NULL) {
        zlt_link_control_retry(l);
        return;
    }

    if (!zlt_control_is_up(c)) {
        zlt_control_close(c, "the token has changed");
        return;
    }

    l->control = NULL;

    zlt_link_control_services_down(l);

    zlt_control_keep_aside(c, &l->kept, 1);
    zlt_link_control_schedule(l, 0);
}


static void
zlt_link_control_services_down(zlt_link_t *l)
{
    zlt_list_t  *link;

    zlt_list_each(link, &l->owner.services) {
        zlt_range_set(zlt_list_data(link, zlt_service_t, link),
                      ZLT_SERVICE_DOWN);
    }

    zlt_list_each(link, &l->owner.ranges) {
        zlt_list_data(link, zlt_range_t, link)->state = ZLT_SERVICE_DOWN;
    }

    zlt_access_all_down(&l->owner);
}


static void
zlt_link_control_hello(const zlt_link_t *l)
{
    zlt_text_t         text;
    const zlt_conf_t  *conf;

    conf = l->owner.conf;

    memset(&text, 0, sizeof(zlt_text_t));

    zlt_text_printf(&text, "connected");

    if (l->token_name[0]) {
        zlt_text_printf(&text, " as \"%s\"", l->token_name);
    }

    if (conf->nservers > 1) {
        zlt_text_printf(&text, " to %s", conf->server);
    }

    if (conf->nservices) {
        zlt_text_printf(&text, " (%u service%s)", conf->nservices,
                        conf->nservices == 1 ? "" : "s");
    }

    if (conf->via.kind) {
        zlt_text_printf(&text, " through the proxy %s (from %s)",
                        conf->via.name, conf->via.source);
    }

    zlt_log_link(l->owner.label, ZLT_LOG_INFO, "%s",
                 text.failed ? "connected" : text.data);

    zlt_text_free(&text);
}


static void
zlt_link_control_up(zlt_link_t *l, zlt_control_t *c)
{
    char                     id[2 * ZLT_ID_SIZE], text[ZLT_ADDR_TEXT];
    zlt_list_t              *link, *next;
    zlt_range_t             *range;
    const zlt_pool_param_t  *param;

    param = zlt_control_param(c);

    l->refused = 0;
    l->good = 1;
    l->doubles = 0;

    if (param == NULL && ++l->bare < l->owner.conf->nservers) {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "the server %s is one of "
                         "protocol version 1, and cannot carry connections",
                         l->owner.conf->server);
        return;
    }

    l->bare = 0;

    l->ups++;

    zlt_link_control_hello(l);

    /* before anything is registered that the former one has */

    zlt_list_each_safe(link, next, &l->kept) {
        zlt_control_part(zlt_control_of_node(link), c,
                         l->owner.conf->shutdown_timeout);
    }

    if (param == NULL) {
        zlt_log_link(l->owner.label, ZLT_LOG_WARN, "the server is one of "
                     "protocol version 1: it registers services but cannot "
                     "carry connections to them, and does not tell their "
                     "addresses");

        if (l->owner.pool) {
            zlt_pool_abandon(l->owner.pool, 1);
            l->owner.pool = NULL;
        }

    } else {
        zlt_hex_encode(id, param->tunnel_id, ZLT_ID_SIZE);
        zlt_log_link(l->owner.label, ZLT_LOG_DEBUG, "tunnel %.*s at %s",
                     (int) sizeof(id), id,
                     zlt_addr_text(text, &param->way.addr));

        l->owner.param = *param;
        l->owner.has_param = 1;

        if (l->owner.pool && !zlt_pool_is(l->owner.pool, param->tunnel_id)) {
            zlt_pool_abandon(l->owner.pool, 1);
            l->owner.pool = NULL;
        }

        if (l->owner.pool) {
            zlt_pool_update(l->owner.pool, param);

        } else {
            l->owner.pool = zlt_pool_create(&l->owner, param);
        }
    }

    zlt_list_each(link, &l->owner.ranges) {
        range = zlt_list_data(link, zlt_range_t, link);
        range->again = 0;

        zlt_control_register(c, range);

        if (!zlt_control_is_up(c)) {
            /* it broke meanwhile */
            return;
        }
    }

    zlt_access_all_up(&l->owner);

    if (!zlt_control_is_up(c)) {
        return;
    }

    /* there are none, or none that the server is told of */

    if (!zlt_control_registers(c)) {
        zlt_link_control_registered(l);
    }
}


/* Were all refused, there is nothing to serve. */

void
zlt_link_control_registered(zlt_link_t *l)
{
    zlt_list_t   *link;
    zlt_range_t  *r, *refused;

    refused = NULL;

    zlt_list_each(link, &l->owner.ranges) {
        r = zlt_list_data(link, zlt_range_t, link);

        if (r->state != ZLT_SERVICE_REFUSED) {
            refused = NULL;
            l->none_up = 0;
            break;
        }

        refused = r;
    }

    if (refused == NULL) {
        zlt_link_state_set(l, ZLT_LINK_CONNECTED);
        return;
    }

    (void) snprintf(l->reason, sizeof(l->reason),
                    refused->code == ZLT_E_BUSY
                    ? "the server puts off the service \"%.80s\": %.180s"
                    : "the server refuses the service \"%.80s\": %.180s",
                    refused->conf.name, refused->refused);
    zlt_link_state_set(l, ZLT_LINK_FAILED);

    if (l->owner.conf->sole && refused->code != ZLT_E_BUSY && !refused->told) {
        /* somebody waits for it, and it was never there */
        l->ops->finish(l->process, ZLT_EXIT_USAGE);
        return;
    }

    if (!l->none_up) {
        l->none_up = 1;
        zlt_log_link(l->owner.label, ZLT_LOG_WARN, "none of the services is "
                     "registered; staying connected");
    }
}


static void
zlt_link_control_down(zlt_link_t *l, zlt_control_t *c, zlt_down_e how,
    uint32_t retry_after, uint64_t healthy)
{
    uint32_t          delay;
    zlt_link_state_e  state;

    if (c != l->control) {
        /* one that was kept; nothing depends on it */
        zlt_link_check_ended(l);
        return;
    }

    l->control = NULL;

    zlt_link_control_services_down(l);

    if (how == ZLT_DOWN_RECONNECT) {

        /* what belongs to the old workers ends with them */

        zlt_control_keep_aside(c, &l->kept, 0);
        zlt_link_control_bound(l);

        if (l->owner.pool) {
            zlt_pool_abandon(l->owner.pool, 0);
            l->owner.pool = NULL;
        }

    } else if (l->owner.pool) {
        zlt_pool_suspend(l->owner.pool);
    }

    if (l->owner.stopping) {
        zlt_link_check_ended(l);
        return;
    }

    if (l->ops->down(l, how)) {
        return;
    }

    if (how == ZLT_DOWN_REFUSED && l->owner.conf->visitor) {
        /* somebody waits for it */
        l->ops->finish(l->process, l->good ? ZLT_EXIT_FAILED : ZLT_EXIT_USAGE);
        return;
    }

    if (l->owner.conf->visitor == ZLT_CONF_STDIO && !l->good
        && how != ZLT_DOWN_CLOSED && ++l->refusals >= l->owner.conf->nservers)
    {
        /* somebody waits who has a command of his own to try again */
        l->ops->finish(l->process, ZLT_EXIT_FAILED);
        return;
    }

    if (how == ZLT_DOWN_REFUSED && !l->good
        && ++l->refusals >= l->owner.conf->nservers)
    {
        l->ops->refused(l->process);

        if (l->owner.stopping) {
            return;
        }
    }

    if (how == ZLT_DOWN_RECONNECT || how == ZLT_DOWN_CLOSED) {
        state = ZLT_LINK_CONNECTING;

    } else if (how == ZLT_DOWN_LOST && healthy) {
        state = ZLT_LINK_DISCONNECTED;

    } else {
        state = ZLT_LINK_FAILED;
    }

    delay = zlt_backoff_delay(l, how, retry_after, healthy);

    if (delay >= 1000) {
        zlt_log_link(l->owner.label, ZLT_LOG_INFO,
                     "connecting again in %u.%u s", (unsigned) delay / 1000,
                     (unsigned) delay % 1000 / 100);
    }

    zlt_link_control_schedule(l, delay);
    zlt_link_state_set(l, state);
}


/* A server that exits closes those that are kept; one that only asks, again
   and again, would have as many as it likes. */

static void
zlt_link_control_bound(zlt_link_t *l)
{
    unsigned     n;
    zlt_list_t  *link;

    n = 0;

    zlt_list_each(link, &l->kept) {
        n++;
    }

    if (n > ZLT_LINK_KEPT) {
        zlt_control_abort(zlt_control_of_node(l->kept.next));
    }
}
