
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


#define ZLT_SESSION_AGAIN  30000       /* ms, a refused service */


static zlt_service_t *zlt_session_answered(zlt_session_t *s, int *gone);
static void zlt_session_registered(zlt_session_t *s);


void
zlt_session_register(zlt_session_t *s, zlt_service_t *service)
{
    unsigned             size;
    zlt_msg_t            m;
    zlt_service_t      **pending;
    zlt_service_conf_t  *conf;

    if (s->npending == s->pending_size) {
        size = s->pending_size ? s->pending_size * 2 : 8;
        pending = realloc(s->pending, size * sizeof(zlt_service_t *));

        if (pending == NULL) {
            zlt_log_error("out of memory");
            return;
        }

        s->pending = pending;
        s->pending_size = size;
    }

    zlt_service_hold(service);
    s->pending[s->npending++] = service;

    service->state = ZLT_SERVICE_PENDING;

    conf = &service->conf;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_REGISTER;
    m.name.data = (const uint8_t *) conf->name;
    m.name.len = strlen(conf->name);
    m.protocol = conf->protocol;
    m.local_port = conf->port;
    m.remote_port = conf->remote_port;

    if (s->features) {
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

    zlt_session_send(s, &m);
}


/* The service that the next answer is for; NULL if it was removed since. */

static zlt_service_t *
zlt_session_answered(zlt_session_t *s, int *gone)
{
    zlt_service_t  *service;

    *gone = 0;

    if (s->npending == 0) {
        zlt_log_warn("an answer from the server that nothing had asked for "
                     "is ignored");
        return NULL;
    }

    service = s->pending[0];
    s->npending--;

    memmove(&s->pending[0], &s->pending[1],
            s->npending * sizeof(zlt_service_t *));

    *gone = (service == NULL);

    return service;
}


void
zlt_session_register_ok(zlt_session_t *s, const zlt_msg_t *m)
{
    int             gone;
    char            public_addr[ZLT_SERVICE_PUBLIC],
                    text[ZLT_LOG_TEXT_SIZE];
    zlt_msg_t       un;
    const char     *host;
    zlt_service_t  *service;
    zlt_url_t      *url;

    service = zlt_session_answered(s, &gone);

    if (service == NULL) {
        if (gone) {
            memset(&un, 0, sizeof(zlt_msg_t));
            un.type = ZLT_UNREGISTER;
            un.service_id = m->service_id;
            zlt_session_send(s, &un);
        }

        return;
    }

    service->state = ZLT_SERVICE_UP;
    service->again = 0;
    service->refused[0] = '\0';

    zlt_service_add_id(service, m->service_id);

    service->port = (m->ext & ZLT_X_PORT) ? m->port : 0;

    if (!(s->features & ZLT_F_CHANNELS)) {
        (void) strcpy(public_addr, "unknown");

    } else if (m->ext & ZLT_X_PUBLIC) {
        (void) snprintf(public_addr, sizeof(public_addr), "%.270s",
                        zlt_log_text(text, m->public_addr));

    } else if (service->port) {
        url = &s->link->owner.conf->url;
        host = url->is_unix ? url->authority : url->host;

        (void) snprintf(public_addr, sizeof(public_addr),
                        strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                        (unsigned) service->port);

    } else {
        (void) strcpy(public_addr, "(no port)");
    }

    zlt_agent_announce(service, public_addr);
    zlt_service_release(service);

    zlt_session_registered(s);
}


void
zlt_session_register_fail(zlt_session_t *s, const zlt_msg_t *m)
{
    int             gone;
    char            text[ZLT_LOG_TEXT_SIZE];
    unsigned        code;
    zlt_service_t  *service;

    service = zlt_session_answered(s, &gone);

    if (service == NULL) {
        return;
    }

    code = (m->ext & ZLT_X_CODE) ? m->code : 0;

    service->state = ZLT_SERVICE_REFUSED;
    service->again = (code == ZLT_E_PORT_TAKEN || code == ZLT_E_LIMIT
                      || code == ZLT_E_BUSY);
    service->again_at = zlt_io_now() + ZLT_SESSION_AGAIN;

    (void) zlt_log_text(text, m->reason);

    /* a complaint that has not changed is made once */

    if (strncmp(service->refused, text, sizeof(service->refused) - 1) != 0) {
        (void) snprintf(service->refused, sizeof(service->refused), "%.270s",
                        text);

        zlt_log_error("%sthe server refuses the service \"%s\": %s%s",
                      s->link->label, service->conf.name, text,
                      service->again ? "; it is tried again every 30 s" : "");
    }

    zlt_service_release(service);

    zlt_session_registered(s);
}


/* An answer has come: were it the last, the link is what it is. */

static void
zlt_session_registered(zlt_session_t *s)
{
    zlt_channel_registered(&s->link->owner);

    if (s->npending) {
        return;
    }

    zlt_agent_registered(s->link);

    /* the first time for the latency alone */

    if (s->beat == 0 && (s->features & ZLT_F_HEARTBEATS)) {
        zlt_session_probe(s, 0);
    }
}


void
zlt_session_unregister(zlt_session_t *s, zlt_service_t *service)
{
    unsigned   i;
    zlt_msg_t  m;

    for (i = 0; i < s->npending; i++) {
        if (s->pending[i] == service) {
            s->pending[i] = NULL;
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

    zlt_session_send(s, &m);
}


void
zlt_session_withdraw(zlt_session_t *s, const zlt_msg_t *m)
{
    char            text[ZLT_LOG_TEXT_SIZE];
    zlt_service_t  *service;

    service = zlt_service_by_id(&s->link->owner.services, m->service_id);

    if (service == NULL || service->state != ZLT_SERVICE_UP) {
        return;
    }

    service->state = ZLT_SERVICE_REFUSED;
    service->again = 0;

    (void) zlt_log_text(text, m->reason);
    (void) snprintf(service->refused, sizeof(service->refused), "%.270s",
                    text);

    zlt_log_error("%sthe server has withdrawn the service \"%s\": %s",
                  s->link->label, service->conf.name, text);

    zlt_session_registered(s);
}


/* No answer to a Register is waited for any more. */

void
zlt_control_register_lost(zlt_session_t *s)
{
    unsigned  i;

    for (i = 0; i < s->npending; i++) {
        if (s->pending[i]) {
            s->pending[i]->state = ZLT_SERVICE_DOWN;
            zlt_service_release(s->pending[i]);
        }
    }

    free(s->pending);

    s->pending = NULL;
    s->npending = 0;
    s->pending_size = 0;
}
