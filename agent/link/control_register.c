
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Services, on the control channel.  Answers to Register carry nothing that
 * tells which they answer, so a queue remembers the order of the requests.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "conf.h"
#include "control_register.h"
#include "control_ws.h"
#include "link.h"
#include "log.h"
#include "often.h"
#include "service.h"


#define ZLT_CONTROL_AGAIN  30000       /* ms, a refused service */


static zlt_service_t *zlt_control_register_answered(zlt_control_t *c,
    int *gone);
static int zlt_control_register_may(zlt_control_t *c,
    const zlt_service_conf_t *conf);
static void zlt_control_register_refused(zlt_control_t *c,
    zlt_service_t *service, const char *who, const char *why);
static void zlt_control_register_done(zlt_control_t *c);


void
zlt_control_register(zlt_control_t *c, zlt_service_t *service)
{
    unsigned             size;
    zlt_msg_t            m;
    zlt_service_t      **pending;
    zlt_service_conf_t  *conf;

    conf = &service->conf;

    if (!zlt_control_register_may(c, conf)) {
        service->again = 0;
        zlt_control_register_refused(c, service, "the server is not told of "
                                     "the service", "it is not public, and "
                                     "protocol version 1 makes all public");
        return;
    }

    if (c->npending == c->pending_size) {
        size = c->pending_size ? c->pending_size * 2 : 8;
        pending = realloc(c->pending, size * sizeof(zlt_service_t *));

        if (pending == NULL) {
            zlt_control_fail(c, ZLT_DOWN_LOST, 0, "out of memory");
            return;
        }

        c->pending = pending;
        c->pending_size = size;
    }

    zlt_service_hold(service);
    c->pending[c->npending++] = service;

    service->state = ZLT_SERVICE_PENDING;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_REGISTER;
    m.name.data = (const uint8_t *) conf->name;
    m.name.len = strlen(conf->name);
    m.protocol = conf->protocol;
    m.local_port = conf->port;
    m.remote_port = conf->remote_port;

    if (c->features) {
        if (conf->flags) {
            m.ext |= ZLT_X_FLAGS;
            m.flags = conf->flags;
        }

        if (conf->allow_access[0]) {
            m.ext |= ZLT_X_ALLOW;
            m.allow.data = (const uint8_t *) conf->allow_access;
            m.allow.len = strlen(conf->allow_access);
        }

        /* the port that it had last, so that it keeps it if it can */

        if (conf->remote_port == 0 && !(conf->flags & ZLT_R_PRIVATE)) {
            m.preferred_port = service->port ? service->port
                                             : conf->preferred_port;
            if (m.preferred_port) {
                m.ext |= ZLT_X_PREFERRED;
            }
        }
    }

    zlt_control_ws_send(c, &m);
}


/* A server of version 1 takes each service for a public one. */

static int
zlt_control_register_may(zlt_control_t *c, const zlt_service_conf_t *conf)
{
    return c->features
           || !(conf->flags & (ZLT_R_PRIVATE|ZLT_R_INTERNAL|ZLT_R_OPEN));
}


/* A complaint that has not changed is made once. */

static void
zlt_control_register_refused(zlt_control_t *c, zlt_service_t *service,
    const char *who, const char *why)
{
    service->state = ZLT_SERVICE_REFUSED;

    if (strncmp(service->refused, why, sizeof(service->refused) - 1) == 0) {
        return;
    }

    (void) snprintf(service->refused, sizeof(service->refused), "%.270s", why);

    zlt_log_link(c->link->owner.label, ZLT_LOG_ERROR, "%s \"%s\": %s%s", who,
                 service->conf.name, why,
                 service->again ? "; it is tried again every 30 s" : "");
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
    char            public_addr[ZLT_SERVICE_PUBLIC],
                    text[ZLT_LOG_TEXT_SIZE];
    zlt_msg_t       un;
    const char     *host;
    zlt_service_t  *service;
    zlt_url_t      *url;

    service = zlt_control_register_answered(c, &gone);

    if (service == NULL) {
        if (gone) {
            memset(&un, 0, sizeof(zlt_msg_t));
            un.type = ZLT_UNREGISTER;
            un.service_id = m->service_id;
            zlt_control_ws_send(c, &un);
        }

        return;
    }

    service->state = ZLT_SERVICE_UP;
    service->again = 0;
    service->refused[0] = '\0';

    zlt_service_add_id(service, m->service_id);

    service->port = (m->ext & ZLT_X_PORT) ? m->port : 0;

    if (!(c->features & ZLT_F_CHANNELS)) {
        (void) strcpy(public_addr, "unknown");

    } else if (m->ext & ZLT_X_PUBLIC) {
        (void) snprintf(public_addr, sizeof(public_addr), "%.270s",
                        zlt_log_text(text, m->public_addr));

    } else if (service->port) {
        url = &c->link->owner.conf->url;
        host = url->is_unix ? url->authority : url->host;

        (void) snprintf(public_addr, sizeof(public_addr),
                        strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                        (unsigned) service->port);

    } else {
        (void) strcpy(public_addr, ZLT_SERVICE_NO_PORT);
    }

    zlt_link_control_announce(c->link, service, public_addr);
    zlt_service_release(service);

    zlt_control_register_done(c);
}


void
zlt_control_register_fail(zlt_control_t *c, const zlt_msg_t *m)
{
    int             gone;
    char            text[ZLT_LOG_TEXT_SIZE];
    unsigned        code;
    zlt_service_t  *service;

    service = zlt_control_register_answered(c, &gone);

    if (service == NULL) {
        return;
    }

    code = (m->ext & ZLT_X_CODE) ? m->code : 0;

    service->again = (code == ZLT_E_PORT_TAKEN || code == ZLT_E_LIMIT
                      || code == ZLT_E_BUSY);
    service->again_at = zlt_io_now() + ZLT_CONTROL_AGAIN;

    zlt_control_register_refused(c, service, "the server refuses the service",
                                 zlt_log_text(text, m->reason));
    zlt_service_release(service);

    zlt_control_register_done(c);
}


/* An answer has come: were it the last, the link is what it is. */

static void
zlt_control_register_done(zlt_control_t *c)
{
    zlt_channel_dial_registered(&c->link->owner);

    if (c->npending) {
        return;
    }

    zlt_link_control_registered(c->link);

    /* the first time for the latency alone */

    if (c->beat == 0 && (c->features & ZLT_F_HEARTBEATS)) {
        zlt_control_heartbeat_probe(c, 0);
    }
}


void
zlt_control_register_end(zlt_control_t *c, zlt_service_t *service)
{
    unsigned   i;
    zlt_msg_t  m;

    for (i = 0; i < c->npending; i++) {
        if (c->pending[i] == service) {
            c->pending[i] = NULL;
            service->state = ZLT_SERVICE_DOWN;
            zlt_service_release(service);
            return;
        }
    }

    if (service->state != ZLT_SERVICE_UP || service->nids == 0) {
        return;
    }

    service->state = ZLT_SERVICE_DOWN;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_UNREGISTER;
    m.service_id = service->ids[0];

    zlt_control_ws_send(c, &m);
}


/* Ids of other tunnels mean nothing to the server: it ignores them. */

void
zlt_control_register_leave(zlt_control_t *c)
{
    unsigned        i;
    zlt_msg_t       m;
    zlt_list_t     *link;
    zlt_service_t  *service;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_UNREGISTER;

    zlt_list_each(link, &c->link->owner.services) {
        service = zlt_list_data(link, zlt_service_t, link);

        for (i = 0; i < service->nids && zlt_control_is_up(c); i++) {
            m.service_id = service->ids[i];
            zlt_control_ws_send(c, &m);
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

    service->state = ZLT_SERVICE_REFUSED;
    service->again = 0;

    (void) zlt_log_text(text, m->reason);
    (void) snprintf(service->refused, sizeof(service->refused), "%.270s",
                    text);

    zlt_log_link(c->link->owner.label, ZLT_LOG_ERROR, "the server has "
                 "withdrawn the service \"%s\": %s", service->conf.name, text);

    zlt_control_register_done(c);
}


/* No answer to a Register is waited for any more. */

void
zlt_control_register_lost(zlt_control_t *c)
{
    unsigned  i;

    for (i = 0; i < c->npending; i++) {
        if (c->pending[i]) {
            c->pending[i]->state = ZLT_SERVICE_DOWN;
            zlt_service_release(c->pending[i]);
        }
    }

    free(c->pending);

    c->pending = NULL;
    c->npending = 0;
    c->pending_size = 0;
}
