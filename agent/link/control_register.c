
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Services, on the control channel.  Answers to Register carry nothing that
 * tells which they answer, so a queue remembers the order of the requests.
 *
 * A range is registered all or none.  Of its services as many are asked for at
 * a time as are registered already, and one more: the first alone.  When one
 * is refused the others are given back, and it is the first of the next
 * attempt.  So a port that stays taken costs one request each time, and the
 * other ports are left alone.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "config.h"
#include "control_health.h"
#include "control_register.h"
#include "control_ws.h"
#include "link.h"
#include "link_show.h"
#include "log.h"
#include "often.h"
#include "service.h"


#define ZLT_CONTROL_AGAIN  30          /* s, a refused range */
#define ZLT_CONTROL_AHEAD  64          /* Registers of a range at a time */


static void zlt_control_register_more(zlt_control_t *c, zlt_range_t *range);
static void zlt_control_register_ask(zlt_control_t *c,
    zlt_service_t *service);
static uint16_t zlt_control_register_port(const zlt_link_t *l,
    const zlt_service_t *service);
static int zlt_control_register_queue(zlt_control_t *c,
    zlt_service_t *service);
static const char *zlt_control_register_barred(zlt_control_t *c,
    const zlt_service_conf_t *conf);
static void zlt_control_register_refused(zlt_control_t *c, zlt_range_t *range,
    zlt_service_t *service, const char *who, const char *why);
static void zlt_control_register_give_back(zlt_control_t *c,
    zlt_range_t *range);
static void zlt_control_register_take_back(zlt_control_t *c,
    const uint8_t *id);
static zlt_service_t *zlt_control_register_answered(zlt_control_t *c,
    int *gone);
static void zlt_control_register_done(zlt_control_t *c);


void
zlt_control_register(zlt_control_t *c, zlt_range_t *range)
{
    const char  *why;

    why = zlt_control_register_barred(c, &range->conf);

    if (why) {
        range->again = 0;
        range->code = 0;
        zlt_control_register_refused(c, range, NULL, "the server is not told "
                                     "of the service", why);
        return;
    }

    if (range->state == ZLT_SERVICE_REFUSED
        && range->counts[ZLT_SERVICE_PENDING])
    {
        /* once the last answer to what was given back is there */

        range->again = 1;
        range->again_at = 0;
        return;
    }

    range->state = ZLT_SERVICE_PENDING;
    range->spent = 0;
    range->twice = 0;

    zlt_control_register_more(c, range);
}


static void
zlt_control_register_more(zlt_control_t *c, zlt_range_t *range)
{
    unsigned        asked;
    zlt_service_t  *service;

    for ( ;; ) {
        service = zlt_range_next(range);
        asked = range->counts[ZLT_SERVICE_PENDING];

        if (service == NULL || asked > range->counts[ZLT_SERVICE_UP]
            || asked == ZLT_CONTROL_AHEAD)
        {
            break;
        }

        if (zlt_control_register_queue(c, service) == -1) {
            zlt_control_fail(c, ZLT_DOWN_LOST, 0, "out of memory");
            return;
        }

        zlt_control_register_ask(c, service);

        if (!zlt_control_is_up(c)) {
            return;
        }

        range->spent++;
    }

    if (zlt_range_is_up(range)) {
        range->state = ZLT_SERVICE_UP;
        range->again = 0;
        range->refused[0] = '\0';

        zlt_link_show(c->link, range);
    }
}


static void
zlt_control_register_ask(zlt_control_t *c, zlt_service_t *service)
{
    zlt_msg_t            m;
    zlt_service_conf_t  *conf;

    zlt_range_set(service, ZLT_SERVICE_PENDING);

    conf = &service->conf;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_REGISTER;
    m.name.data = (const uint8_t *) conf->name;
    m.name.len = strlen(conf->name);
    m.protocol = conf->protocol;
    m.local_port = conf->port;
    m.remote_port = conf->remote_port;

    if (c->features) {
        m.flags = (uint8_t) zlt_option_host_flags(conf);

        if (m.flags) {
            m.ext |= ZLT_X_FLAGS;
        }

        if (conf->allow_access[0]) {
            m.ext |= ZLT_X_ALLOW;
            m.allow.data = (const uint8_t *) conf->allow_access;
            m.allow.len = strlen(conf->allow_access);
        }

        if (conf->hosts[0]) {
            m.ext |= ZLT_X_HOSTS;
            m.hosts.data = (const uint8_t *) conf->hosts;
            m.hosts.len = strlen(conf->hosts);
        }

        if (conf->remote_port == 0 && !(m.flags & ZLT_R_PRIVATE)) {
            m.preferred_port = zlt_control_register_port(c->link, service);

            if (m.preferred_port) {
                m.ext |= ZLT_X_PREFERRED;
            }
        }

        if (zlt_control_health_put(c, service, &m)) {
            m.ext |= ZLT_X_HEALTH;
        }
    }

    zlt_control_ws_send(c, &m);
}


/* The one that it had last, so that it keeps it if it can; or that it has
   elsewhere, so that it has the same everywhere. */

static uint16_t
zlt_control_register_port(const zlt_link_t *l, const zlt_service_t *service)
{
    uint16_t  port;

    port = service->port ? service->port : l->ops->port(l, service);

    return port ? port : service->conf.preferred_port;
}


/* An answer to it is waited for: 0, or -1 without memory. */

static int
zlt_control_register_queue(zlt_control_t *c, zlt_service_t *service)
{
    unsigned         size;
    zlt_service_t  **pending;

    if (c->npending == c->pending_size) {
        size = c->pending_size ? c->pending_size * 2 : 8;
        pending = realloc(c->pending, size * sizeof(zlt_service_t *));

        if (pending == NULL) {
            return -1;
        }

        c->pending = pending;
        c->pending_size = size;
    }

    zlt_service_hold(service);
    c->pending[c->npending++] = service;

    return 0;
}


/* A server of version 1 takes each service for a public one, and one that knows
   of no hosts would be told of nothing that it understands.  NULL: it may be
   told. */

static const char *
zlt_control_register_barred(zlt_control_t *c, const zlt_service_conf_t *conf)
{
    if (conf->hosts[0] && !(c->features & ZLT_F_HOSTS)) {
        return "it has a host, and the server, an older one, knows only ports";
    }

    if (c->features == 0
        && (conf->flags & (ZLT_R_PRIVATE|ZLT_R_INTERNAL|ZLT_R_OPEN)))
    {
        return "it is not public, and protocol version 1 makes all public";
    }

    return NULL;
}


/* All of the range, for the sake of that service.  A complaint that has not
   changed is made once. */

static void
zlt_control_register_refused(zlt_control_t *c, zlt_range_t *range,
    zlt_service_t *service, const char *who, const char *why)
{
    char         text[ZLT_SERVICE_PUBLIC], again[64];
    unsigned     wait, busy;
    const char  *when;

    range->state = ZLT_SERVICE_REFUSED;

    if (service) {
        zlt_control_register_give_back(c, range);
        zlt_range_set(service, ZLT_SERVICE_DOWN);
        zlt_range_doubt(service);
    }

    /* no more requests than one a second; answers that are on their way make
       one each */

    wait = range->spent + range->counts[ZLT_SERVICE_PENDING];

    if (wait < ZLT_CONTROL_AGAIN) {
        wait = ZLT_CONTROL_AGAIN;
    }

    range->again_at = zlt_io_now() + (uint64_t) wait * 1000;

    if (service && range->conf.ports) {
        (void) snprintf(text, sizeof(text), "port %u: %.250s",
                        (unsigned) (service->conf.remote_port
                                    ? service->conf.remote_port
                                    : service->conf.port), why);

    } else {
        (void) snprintf(text, sizeof(text), "%.270s", why);
    }

    if (strcmp(range->refused, text) == 0) {
        return;
    }

    /* one that reloads has the agent connect to its new workers, at once */

    busy = (range->code == ZLT_E_BUSY);

    (void) strcpy(range->refused, text);
    when = (wait == ZLT_CONTROL_AGAIN) ? "every" : "in";

    (void) snprintf(again, sizeof(again), "; it is tried again %s %u s",
                    busy ? "within" : when, wait);

    zlt_log_link(c->link->owner.label, busy ? ZLT_LOG_WARN : ZLT_LOG_ERROR,
                 "%s \"%s\": %s%s", who, range->conf.name, text,
                 range->again ? again : "");
}


static void
zlt_control_register_give_back(zlt_control_t *c, zlt_range_t *range)
{
    zlt_list_t     *link, *next;
    zlt_service_t  *service;

    zlt_list_each_safe(link, next, &range->services) {
        service = zlt_list_data(link, zlt_service_t, peer);

        if (service->state != ZLT_SERVICE_UP) {
            continue;
        }

        zlt_range_set(service, ZLT_SERVICE_DOWN);

        if (zlt_control_is_up(c)) {
            zlt_control_register_take_back(c, service->ids[0]);
            range->spent++;
        }
    }
}


static void
zlt_control_register_take_back(zlt_control_t *c, const uint8_t *id)
{
    zlt_msg_t  m;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_UNREGISTER;
    m.service_id = id;

    zlt_control_ws_send(c, &m);
}


/* The service that the next answer is for; NULL if it was removed since. */

static zlt_service_t *
zlt_control_register_answered(zlt_control_t *c, int *gone)
{
    zlt_service_t  *service;

    *gone = 0;

    if (c->npending == 0) {
        zlt_often_warn(c->link->owner.label, "", "an answer from the server "
                       "that nothing had asked for is ignored");
        return NULL;
    }

    service = c->pending[0];
    c->npending--;

    memmove(&c->pending[0], &c->pending[1],
            c->npending * sizeof(zlt_service_t *));

    *gone = (service == NULL);

    return service;
}


void
zlt_control_register_ok(zlt_control_t *c, const zlt_msg_t *m)
{
    int             gone;
    zlt_range_t    *range;
    zlt_service_t  *service;

    service = zlt_control_register_answered(c, &gone);
    range = service ? service->range : NULL;

    if (gone) {
        zlt_control_register_take_back(c, m->service_id);
        return;
    }

    if (service == NULL) {
        return;
    }

    if (range == NULL || range->state == ZLT_SERVICE_REFUSED) {

        /* another one of its range was refused meanwhile */

        zlt_range_set(service, ZLT_SERVICE_DOWN);
        zlt_control_register_take_back(c, m->service_id);

    } else {
        zlt_range_set(service, ZLT_SERVICE_UP);
        zlt_service_add_id(service, m->service_id);
        c->link->health_due = 1;

        service->port = (m->ext & ZLT_X_PORT) ? m->port : 0;

        zlt_link_show_take(c->link, m, service, c->features & ZLT_F_CHANNELS);
        zlt_control_register_more(c, range);
    }

    zlt_service_release(service);
    zlt_control_register_done(c);
}


void
zlt_control_register_fail(zlt_control_t *c, const zlt_msg_t *m)
{
    int             gone;
    char            text[ZLT_LOG_TEXT_SIZE];
    unsigned        code;
    zlt_range_t    *range;
    zlt_service_t  *service;

    service = zlt_control_register_answered(c, &gone);

    if (service == NULL) {
        return;
    }

    range = service->range;

    code = (m->ext & ZLT_X_CODE) ? m->code : 0;

    if (range == NULL || range->state == ZLT_SERVICE_REFUSED) {
        zlt_range_set(service, ZLT_SERVICE_DOWN);

    } else if (code == ZLT_E_DUPLICATE && !range->twice) {

        /* one that a reload has removed before it was answered, and that was
           given back when it was */

        range->twice = 1;

        zlt_range_set(service, ZLT_SERVICE_DOWN);
        zlt_range_doubt(service);
        zlt_control_register_more(c, range);

    } else {
        range->code = (uint8_t) code;
        range->again = (code == ZLT_E_PORT_TAKEN || code == ZLT_E_HOST_TAKEN
                        || code == ZLT_E_LIMIT || code == ZLT_E_BUSY);

        zlt_control_register_refused(c, range, service, code == ZLT_E_BUSY
                                     ? "the server puts off the service"
                                     : "the server refuses the service",
                                     zlt_log_text(text, m->reason));
    }

    zlt_service_release(service);
    zlt_control_register_done(c);
}


/* An answer has come: were it the last, the link is what it is. */

static void
zlt_control_register_done(zlt_control_t *c)
{
    if (!zlt_control_is_up(c)) {
        /* it broke with what was said meanwhile */
        return;
    }

    zlt_channel_dial_registered(&c->link->owner);

    if (c->npending) {
        return;
    }

    c->ops->registered(c->link);

    /* the first time for the latency alone */

    if (c->beat == 0 && (c->features & ZLT_F_HEARTBEATS)) {
        zlt_control_heartbeat_probe(c, 0);
    }
}


void
zlt_control_register_end(zlt_control_t *c, zlt_service_t *service)
{
    unsigned  i;

    for (i = 0; i < c->npending; i++) {
        if (c->pending[i] == service) {
            c->pending[i] = NULL;
            zlt_range_set(service, ZLT_SERVICE_DOWN);
            zlt_service_release(service);
            return;
        }
    }

    if (service->state != ZLT_SERVICE_UP || service->nids == 0) {
        return;
    }

    zlt_range_set(service, ZLT_SERVICE_DOWN);
    zlt_control_register_take_back(c, service->ids[0]);
}


/* Ids of other tunnels mean nothing to the server: it ignores them. */

void
zlt_control_register_leave(zlt_control_t *c)
{
    unsigned        i;
    zlt_list_t     *link;
    zlt_service_t  *service;

    zlt_list_each(link, &c->link->owner.services) {
        service = zlt_list_data(link, zlt_service_t, link);

        for (i = 0; i < service->nids && zlt_control_is_up(c); i++) {
            zlt_control_register_take_back(c, service->ids[i]);
        }
    }
}


void
zlt_control_register_withdrawn(zlt_control_t *c, const zlt_msg_t *m)
{
    char            text[ZLT_LOG_TEXT_SIZE];
    zlt_service_t  *service;

    service = zlt_service_by_id(&c->link->owner.services, m->service_id);

    if (service == NULL || service->state != ZLT_SERVICE_UP) {
        return;
    }

    zlt_range_set(service, ZLT_SERVICE_DOWN);

    service->range->again = 0;
    service->range->code = ZLT_E_FORBIDDEN;
    zlt_control_register_refused(c, service->range, service, "the server has "
                                 "withdrawn the service",
                                 zlt_log_text(text, m->reason));

    zlt_control_register_done(c);
}


/* No answer to a Register is waited for any more. */

void
zlt_control_register_lost(zlt_control_t *c)
{
    unsigned  i;

    for (i = 0; i < c->npending; i++) {
        if (c->pending[i]) {
            zlt_range_set(c->pending[i], ZLT_SERVICE_DOWN);
            zlt_service_release(c->pending[i]);
        }
    }

    free(c->pending);

    c->pending = NULL;
    c->npending = 0;
    c->pending_size = 0;
}
