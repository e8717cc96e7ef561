
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The sessions of the agent that serves: a connected socket each, so that the
 * kernel tells their answers apart, and their errors.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "log.h"
#include "owner.h"
#include "service.h"
#include "udp_out.h"
#include "udp_pass.h"
#include "udp_service.h"
#include "udp_session.h"
#include "udp_session_state.h"


static void zlt_udp_session_open(zlt_udp_t *u, const zlt_dgram_t *f);
static zlt_service_t *zlt_udp_session_service(zlt_udp_t *u,
    const zlt_dgram_t *f, unsigned *cause);
static zlt_udp_session_t *zlt_udp_session_create(zlt_udp_t *u,
    uint32_t number, zlt_service_t *service);
static void zlt_udp_session_drop(zlt_udp_session_t *s);
static void zlt_udp_session_freed(zlt_task_t *task);
static void zlt_udp_session_resolved(zlt_waiter_t *waiter, const char *error);
static void zlt_udp_role_close(zlt_udp_peer_t *p, unsigned cause, int tell);
static void zlt_udp_role_drop(zlt_udp_peer_t *p);
static void zlt_udp_role_complain(zlt_udp_peer_t *p, const char *text);


static const zlt_udp_role_t  zlt_udp_serving = {
    zlt_udp_session_open,
    zlt_udp_out_forward,
    zlt_udp_pass_failed,
    zlt_udp_role_close,
    zlt_udp_role_drop,
    zlt_udp_role_complain
};


int
zlt_udp_session_start(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    return zlt_udp_begin(ch, &zlt_udp_serving, data, len) ? 0 : -1;
}


static void
zlt_udp_session_open(zlt_udp_t *u, const zlt_dgram_t *f)
{
    char                text[ZLT_LOG_TEXT_SIZE];
    unsigned            cause;
    uint8_t             buf[ZLT_DGRAM_CLOSE_SIZE];
    zlt_service_t      *service, *counted;
    zlt_udp_peer_t     *p;
    zlt_udp_session_t  *s;

    if (u->opened && f->session <= u->last) {

        p = zlt_udp_peer_find(u, f->session);

        if (p) {
            zlt_udp_role_complain(p, "a session was opened twice");
            zlt_udp_peer_close(p, ZLT_E_FORBIDDEN, 1);
            return;
        }

        u->owner->udp_unknown++;
        return;
    }

    u->opened = 1;
    u->last = f->session;

    if (u->owner->stopping) {
        cause = ZLT_DGRAM_ENDED;
        goto refused;
    }

    service = zlt_udp_session_service(u, f, &cause);

    if (service == NULL) {
        goto refused;
    }

    counted = service->open ? service->open : service;

    if (counted->nsessions >= u->owner->conf->max_udp_sessions) {
        zlt_udp_service_complain(u, service, "%u session%s open, which is the "
                                 "limit", counted->nsessions,
                                 counted->nsessions == 1 ? "" : "s");
        service->udp.refused++;
        cause = ZLT_E_LIMIT;
        goto release;
    }

    s = zlt_io_ample() ? zlt_udp_session_create(u, f->session, service)
                       : NULL;

    if (s == NULL) {
        zlt_udp_service_complain(u, service, "a session could not be opened: "
                                 "out of descriptors or memory");
        service->udp.refused++;
        cause = ZLT_E_BUSY;
        goto release;
    }

    zlt_log_link(u->owner->label, ZLT_LOG_DEBUG, "a client of \"%s\"%s%s",
                 service->conf.name, f->client_addr.len ? " from " : "",
                 zlt_log_text(text, f->client_addr));

    if (zlt_service_resolve(service, &s->waiter) == 0) {
        zlt_udp_session_resolved(&s->waiter, NULL);
    }

    zlt_service_release(service);

    return;

release:

    zlt_service_release(service);

refused:

    (void) zlt_dgram_close(buf, f->session, cause);
    zlt_udp_out_control(u, buf, sizeof(buf));
}


/* To be released; NULL, with a cause. */

static zlt_service_t *
zlt_udp_session_service(zlt_udp_t *u, const zlt_dgram_t *f, unsigned *cause)
{
    zlt_service_t  *service;

    service = zlt_service_by_id(&u->owner->services, f->service_id);

    if (service == NULL || service->conf.protocol != ZLT_PROTO_UDP) {
        *cause = ZLT_E_UNREACHABLE;
        return NULL;
    }

    *cause = ZLT_E_FORBIDDEN;

    if (!(service->conf.flags & ZLT_R_OPEN) != !f->target.len) {
        zlt_udp_service_complain(u, service, f->target.len
                                 ? "a session has a target, which the service "
                                   "does not take"
                                 : "a session has no target");
        return NULL;
    }

    if (f->target.len) {
        return zlt_service_target(service, f->target);
    }

    zlt_service_hold(service);

    return service;
}


static zlt_udp_session_t *
zlt_udp_session_create(zlt_udp_t *u, uint32_t number, zlt_service_t *service)
{
    zlt_udp_session_t  *s;

    s = calloc(1, sizeof(zlt_udp_session_t));
    if (s == NULL) {
        return NULL;
    }

    s->socket.io.fd = -1;
    s->socket.dropped = &service->udp.kernel;
    u->active = zlt_udp_now;

    s->service = service;
    zlt_service_hold(service);
    service->nsessions++;
    service->udp.sessions++;

    if (service->open) {
        service->open->nsessions++;
    }

    s->waiter.handler = zlt_udp_session_resolved;
    s->task.handler = zlt_udp_pass_turn;

    zlt_list_init(&s->waiter.link);
    zlt_list_init(&s->task.link);

    s->peer.socket = &s->socket;
    s->peer.users = &service->sessions;
    s->peer.count = &service->udp;
    s->peer.bytes_in = &service->udp.bytes_in;
    s->peer.bytes_out = &service->udp.bytes_out;

    zlt_udp_peer_init(&s->peer, &zlt_udp_serving);
    zlt_udp_peer_add(u, &s->peer, number);

    return s;
}


/* The memory stays for this turn, since events may have been fetched. */

static void
zlt_udp_session_drop(zlt_udp_session_t *s)
{
    if (s->peer.closed) {
        return;
    }

    s->peer.closed = 1;

    zlt_udp_peer_remove(&s->peer);
    zlt_io_close(&s->socket.io);

    zlt_list_remove(&s->peer.used);
    zlt_list_remove(&s->waiter.link);

    s->service->nsessions--;

    if (s->service->open) {
        s->service->open->nsessions--;
    }

    zlt_service_release(s->service);
    s->service = NULL;

    s->task.handler = zlt_udp_session_freed;
    zlt_io_later(&s->task);
}


static void
zlt_udp_session_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_udp_session_t, task));
}


static void
zlt_udp_session_resolved(zlt_waiter_t *waiter, const char *error)
{
    zlt_udp_session_t  *s;

    s = zlt_list_data(waiter, zlt_udp_session_t, waiter);

    if (error || s->service->addrs.n == 0) {
        zlt_udp_service_complain(s->peer.udp, s->service,
                                 "a session could not be opened: %s",
                                 error ? error : "no address");
        zlt_service_failed(s->service, error ? error : "no address");
        zlt_udp_peer_close(&s->peer, ZLT_E_UNREACHABLE, 1);
        return;
    }

    s->address = (uint8_t) (s->service->udp_address % s->service->addrs.n);

    if (zlt_udp_session_connect(s) == 0) {
        zlt_udp_peer_resume(&s->socket, s->peer.udp, &s->peer);
    }
}


int
zlt_udp_session_connect(zlt_udp_session_t *s)
{
    int          err;
    unsigned     cause;
    zlt_addr_t  *addr;

    addr = &s->service->addrs.addrs[s->address];
    err = EHOSTUNREACH;
    cause = ZLT_E_UNREACHABLE;
    s->peer.ready = 0;

    while (s->tried < s->service->addrs.n) {

        addr = &s->service->addrs.addrs[s->address];
        s->tried++;

        if (!zlt_service_permits(s->service, addr)) {
            err = EACCES;
            cause = ZLT_E_FORBIDDEN;

        } else if (zlt_udp_socket_connect(&s->socket, &addr->addr.sa,
                                          addr->len, zlt_udp_pass_event)
            == 0)
        {
            s->socket.io.data = s;
            s->peer.ready = 1;
            return 0;

        } else {
            err = errno;
            cause = ZLT_E_UNREACHABLE;
        }

        s->address = (uint8_t) ((s->address + 1) % s->service->addrs.n);
    }

    zlt_udp_session_lost(s, "could not be opened", addr,
                         cause == ZLT_E_FORBIDDEN
                         ? "the target is not allowed" : strerror(err));
    zlt_udp_peer_close(&s->peer, cause, 1);

    return -1;
}


static void
zlt_udp_role_close(zlt_udp_peer_t *p, unsigned cause, int tell)
{
    zlt_udp_session_t  *s;

    s = zlt_udp_session_of(p);

    zlt_log_link(p->udp->owner->label, ZLT_LOG_DEBUG, "session %u of \"%s\" is "
                 "closed by the %s, cause %u", (unsigned) p->number,
                 s->service->conf.name, tell ? "agent" : "server", cause);

    zlt_udp_session_drop(s);
}


static void
zlt_udp_role_drop(zlt_udp_peer_t *p)
{
    zlt_udp_session_drop(zlt_udp_session_of(p));
}


static void
zlt_udp_role_complain(zlt_udp_peer_t *p, const char *text)
{
    zlt_udp_service_complain(p->udp, zlt_udp_session_of(p)->service, "%s",
                             text);
}


void
zlt_udp_session_lost(const zlt_udp_session_t *s, const char *how,
    const zlt_addr_t *addr, const char *why)
{
    char  text[ZLT_ADDR_TEXT], told[ZLT_ADDR_TEXT + 128];

    (void) snprintf(told, sizeof(told), "%s: %s", zlt_addr_text(text, addr),
                    why);

    zlt_service_failed(s->service, told);
    zlt_udp_service_complain(s->peer.udp, s->service, "a session %s: %s", how,
                             told);
}
