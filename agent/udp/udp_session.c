
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The sessions of the agent that serves: a connected socket each, so that the
 * kernel tells their answers apart, and their errors.
 *
 * A service's sessions are in the order in which they were used last, to the
 * second, so that the idle ones are at the front.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "log.h"
#include "often.h"
#include "owner.h"
#include "service.h"
#include "udp.h"
#include "udp_session.h"


#define ZLT_UDP_READS    4             /* receives a turn, a session */
#define ZLT_UDP_REPORT   60            /* s, between reports of drops */

/* what an error of the socket means */
#define ZLT_UDP_DEAD     -1            /* the session is closed */
#define ZLT_UDP_SKIP     0             /* that datagram is lost */
#define ZLT_UDP_AGAIN    1             /* the same once more */
#define ZLT_UDP_WAIT     2             /* until there is room */


typedef struct {
    zlt_udp_peer_t       peer;
    zlt_udp_socket_t     socket;
    zlt_service_t       *service;
    zlt_waiter_t         waiter;
    zlt_task_t           task;         /* the next turn; frees it */
    zlt_list_t           used;         /* service->sessions */

    uint32_t             active;       /* s */
    uint8_t              address;      /* of the service, in use */
    uint8_t              tried;        /* addresses */
    unsigned             answered:1;
    unsigned             waiting:1;    /* for room in the socket */
} zlt_udp_session_t;


#define zlt_udp_session_of(p)  zlt_list_data(p, zlt_udp_session_t, peer)


static void zlt_udp_session_open(zlt_udp_t *u, const zlt_dgram_t *f);
static zlt_service_t *zlt_udp_session_service(zlt_udp_t *u,
    const zlt_dgram_t *f, unsigned *cause);
static zlt_udp_session_t *zlt_udp_session_create(zlt_udp_t *u,
    uint32_t number, zlt_service_t *service);
static void zlt_udp_session_close(zlt_udp_session_t *s, unsigned cause,
    int tell);
static void zlt_udp_session_drop(zlt_udp_session_t *s);
static void zlt_udp_session_freed(zlt_task_t *task);
static void zlt_udp_session_resolved(zlt_waiter_t *waiter, const char *error);
static int zlt_udp_session_connect(zlt_udp_session_t *s);
static void zlt_udp_session_event(zlt_io_t *io);
static void zlt_udp_session_turn(zlt_task_t *task);
static void zlt_udp_session_read(zlt_udp_session_t *s);
static void zlt_udp_session_message(zlt_udp_session_t *s,
    const zlt_udp_message_t *message);
static void zlt_udp_session_resume(zlt_udp_session_t *s);
static int zlt_udp_session_failed(zlt_udp_session_t *s, int err);
static int zlt_udp_session_refused(zlt_udp_session_t *s, int err);
static void zlt_udp_session_lost(const zlt_udp_session_t *s, const char *how,
    const zlt_addr_t *addr, const char *why);
static void zlt_udp_session_used(zlt_udp_session_t *s);
static void zlt_udp_session_complain(const zlt_udp_t *u,
    const zlt_service_t *service, const char *fmt, ...)
    zlt_printf_like(3, 4);
static void zlt_udp_session_service_tick(const zlt_owner_t *o,
    zlt_service_t *service, uint32_t timeout);
static void zlt_udp_session_service_report(const zlt_owner_t *o,
    zlt_service_t *service);
static void zlt_udp_role_send(zlt_udp_peer_t *p, struct iovec *iov,
    unsigned n);
static void zlt_udp_role_close(zlt_udp_peer_t *p, unsigned cause, int tell);
static void zlt_udp_role_drop(zlt_udp_peer_t *p);
static void zlt_udp_role_complain(zlt_udp_peer_t *p, const char *text);


static const zlt_udp_role_t  zlt_udp_serving = {
    zlt_udp_session_open,
    zlt_udp_role_send,
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
            zlt_udp_role_close(p, ZLT_E_FORBIDDEN, 1);
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
        zlt_udp_session_complain(u, service, "%u session%s open, which is the "
                                 "limit", counted->nsessions,
                                 counted->nsessions == 1 ? "" : "s");
        service->udp.refused++;
        cause = ZLT_E_LIMIT;
        goto release;
    }

    s = zlt_io_ample() ? zlt_udp_session_create(u, f->session, service)
                       : NULL;

    if (s == NULL) {
        zlt_udp_session_complain(u, service, "a session could not be opened: "
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
    zlt_udp_control(u, buf, sizeof(buf));
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
        zlt_udp_session_complain(u, service, f->target.len
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
    s->active = zlt_udp_now;
    u->active = zlt_udp_now;

    s->service = service;
    zlt_service_hold(service);
    service->nsessions++;
    service->udp.sessions++;

    if (service->open) {
        service->open->nsessions++;
    }

    s->waiter.handler = zlt_udp_session_resolved;
    s->task.handler = zlt_udp_session_turn;

    zlt_list_init(&s->waiter.link);
    zlt_list_init(&s->task.link);
    zlt_list_append(&service->sessions, &s->used);

    zlt_udp_queue_flow_init(&s->peer.to_local, &service->udp.full_in,
                            &service->udp.late_in);
    zlt_udp_queue_flow_init(&s->peer.to_server, &service->udp.full_out,
                            &service->udp.late_out);
    s->peer.in = &service->udp.in;
    s->peer.bytes_in = &service->udp.bytes_in;
    s->peer.failed = &service->udp.failed;

    zlt_udp_peer_add(u, &s->peer, number);

    return s;
}


static void
zlt_udp_session_close(zlt_udp_session_t *s, unsigned cause, int tell)
{
    uint8_t     buf[ZLT_DGRAM_CLOSE_SIZE];
    zlt_udp_t  *u;

    u = s->peer.udp;

    zlt_log_link(u->owner->label, ZLT_LOG_DEBUG, "session %u of \"%s\" is "
                 "closed by the %s, cause %u", (unsigned) s->peer.number,
                 s->service->conf.name, tell ? "agent" : "server", cause);

    if (tell) {
        (void) zlt_dgram_close(buf, s->peer.number, cause);
    }

    zlt_udp_session_drop(s);

    if (tell) {
        zlt_udp_control(u, buf, sizeof(buf));
    }
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

    zlt_list_remove(&s->used);
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
        zlt_udp_session_complain(s->peer.udp, s->service,
                                 "a session could not be opened: %s",
                                 error ? error : "no address");
        zlt_service_failed(s->service, error ? error : "no address");
        zlt_udp_session_close(s, ZLT_E_UNREACHABLE, 1);
        return;
    }

    s->address = (uint8_t) (s->service->udp_address % s->service->addrs.n);

    if (zlt_udp_session_connect(s) == 0) {
        zlt_udp_session_resume(s);
    }
}


/* To the address that is next; 0, or -1: the session is closed. */

static int
zlt_udp_session_connect(zlt_udp_session_t *s)
{
    int          err;
    unsigned     cause;
    zlt_addr_t  *addr;

    addr = &s->service->addrs.addrs[s->address];
    err = EHOSTUNREACH;
    cause = ZLT_E_UNREACHABLE;
    s->peer.ready = 0;
    s->waiting = 0;

    while (s->tried < s->service->addrs.n) {

        addr = &s->service->addrs.addrs[s->address];
        s->tried++;

        if (!zlt_service_permits(s->service, addr)) {
            err = EACCES;
            cause = ZLT_E_FORBIDDEN;

        } else if (zlt_udp_socket_connect(&s->socket, &addr->addr.sa,
                                          addr->len, zlt_udp_session_event)
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
    zlt_udp_session_close(s, cause, 1);

    return -1;
}


static void
zlt_udp_session_event(zlt_io_t *io)
{
    zlt_udp_session_t  *s;

    s = io->data;

    if (!zlt_udp_queue_flow_empty(&s->peer.to_local)
        && (io->ready & ZLT_IO_WRITE))
    {
        zlt_udp_session_resume(s);
    }

    if (!s->peer.closed) {
        zlt_udp_session_read(s);
    }
}


static void
zlt_udp_session_turn(zlt_task_t *task)
{
    zlt_udp_session_read(zlt_list_data(task, zlt_udp_session_t, task));
}


/* From the service.  Where there is more than that, others go first. */

static void
zlt_udp_session_read(zlt_udp_session_t *s)
{
    int                i, k, n;
    zlt_udp_message_t  messages[ZLT_UDP_SLOTS];

    for (k = 0; k < ZLT_UDP_READS; k++) {

        n = zlt_udp_socket_receive(&s->socket, messages);

        if (n == 0) {
            return;
        }

        if (n == -1) {
            if (zlt_udp_session_failed(s, errno) == ZLT_UDP_DEAD) {
                return;
            }

            continue;
        }

        if (!s->answered) {
            s->answered = 1;
            zlt_service_served(s->service);
        }

        zlt_udp_session_used(s);

        for (i = 0; i < n; i++) {
            zlt_udp_session_message(s, &messages[i]);
        }
    }

    if (s->socket.io.ready & ZLT_IO_READ) {
        zlt_io_post(&s->task);
    }
}


static void
zlt_udp_session_message(zlt_udp_session_t *s, const zlt_udp_message_t *message)
{
    size_t            n, pos;
    zlt_udp_count_t  *count;

    count = &s->service->udp;
    count->bytes_out += message->len;

    if (message->segment == 0 || message->len <= message->segment) {
        count->out++;
        zlt_udp_forward(&s->peer, message->data, message->len);
        return;
    }

    for (pos = 0; pos < message->len; pos += n) {
        n = message->len - pos;

        if (n > message->segment) {
            n = message->segment;
        }

        count->out++;
        zlt_udp_forward(&s->peer, message->data + pos, n);
    }
}


static void
zlt_udp_role_send(zlt_udp_peer_t *p, struct iovec *iov, unsigned n)
{
    int                 rc;
    unsigned            done;
    zlt_udp_session_t  *s;

    s = zlt_udp_session_of(p);

    zlt_udp_session_used(s);

    for (done = 0; done < n; /* void */ ) {

        done += zlt_udp_socket_send(&s->socket, &iov[done], n - done);

        if (done == n) {
            return;
        }

        rc = zlt_udp_session_failed(s, errno);

        if (rc == ZLT_UDP_DEAD) {
            return;
        }

        if (rc == ZLT_UDP_WAIT) {
            break;
        }

        if (rc == ZLT_UDP_SKIP) {
            done++;
        }
    }

    for ( /* void */ ; done < n; done++) {
        zlt_udp_peer_hold(p, iov[done].iov_base, iov[done].iov_len);
    }
}


static void
zlt_udp_role_close(zlt_udp_peer_t *p, unsigned cause, int tell)
{
    zlt_udp_session_close(zlt_udp_session_of(p), cause, tell);
}


static void
zlt_udp_role_drop(zlt_udp_peer_t *p)
{
    zlt_udp_session_drop(zlt_udp_session_of(p));
}


static void
zlt_udp_role_complain(zlt_udp_peer_t *p, const char *text)
{
    zlt_udp_session_complain(p->udp, zlt_udp_session_of(p)->service, "%s",
                             text);
}


/* There is room, or an address: what was queued goes. */

static void
zlt_udp_session_resume(zlt_udp_session_t *s)
{
    int              rc;
    uint64_t         now;
    struct iovec     iov;
    zlt_udp_item_t  *item;
    zlt_udp_queue_t *q;

    q = &s->peer.udp->to_local;
    now = zlt_io_now();

    while ((item = zlt_udp_queue_get(q, &s->peer.to_local, now)) != NULL) {

        iov.iov_base = item->data;
        iov.iov_len = item->len;

        rc = ZLT_UDP_SKIP;

        while (zlt_udp_socket_send(&s->socket, &iov, 1) == 0) {

            rc = zlt_udp_session_failed(s, errno);

            if (rc != ZLT_UDP_AGAIN) {
                break;
            }
        }

        if (rc == ZLT_UDP_WAIT) {
            zlt_udp_queue_unget(q, &s->peer.to_local, item);
            return;
        }

        free(item);

        if (rc == ZLT_UDP_DEAD) {
            return;
        }
    }

    if (s->waiting) {
        s->waiting = 0;
        zlt_io_await_write(&s->socket.io, 0);
    }
}


/* ZLT_UDP_SKIP: it concerns one datagram, and the session goes on. */

static int
zlt_udp_session_failed(zlt_udp_session_t *s, int err)
{
    switch (err) {

    case EAGAIN:
        s->waiting = 1;
        zlt_io_await_write(&s->socket.io, 1);
        return ZLT_UDP_WAIT;

    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return zlt_udp_session_refused(s, err);

    case EMSGSIZE:
    case EINVAL:
    case EPERM:
    case EACCES:
    case ENOBUFS:
    case ENOMEM:
        s->service->udp.failed++;
        zlt_udp_session_complain(s->peer.udp, s->service,
                                 "a datagram could not be delivered: %s",
                                 strerror(err));
        return ZLT_UDP_SKIP;
    }

    zlt_udp_session_lost(s, "has failed",
                         &s->service->addrs.addrs[s->address], strerror(err));
    zlt_udp_session_close(s, ZLT_E_UNREACHABLE, 1);

    return ZLT_UDP_DEAD;
}


/*
 * Nobody is there.  A name like "localhost" has two addresses, of which the
 * service may have one: sessions that have had no answer go to the next, and
 * those to come begin with it.
 */

static int
zlt_udp_session_refused(zlt_udp_session_t *s, int err)
{
    zlt_service_t  *service;

    service = s->service;

    if (!s->answered && s->tried < service->addrs.n) {

        zlt_io_close(&s->socket.io);
        s->address = (uint8_t) ((s->address + 1) % service->addrs.n);
        service->udp_address = s->address;

        return zlt_udp_session_connect(s) == 0 ? ZLT_UDP_AGAIN : ZLT_UDP_DEAD;
    }

    zlt_udp_session_lost(s, "has ended", &service->addrs.addrs[s->address],
                         strerror(err));

    zlt_udp_session_close(s, err == ECONNREFUSED ? ZLT_E_REFUSED
                                                 : ZLT_E_UNREACHABLE, 1);
    return ZLT_UDP_DEAD;
}


static void
zlt_udp_session_lost(const zlt_udp_session_t *s, const char *how,
    const zlt_addr_t *addr, const char *why)
{
    char  text[ZLT_ADDR_TEXT], told[ZLT_ADDR_TEXT + 128];

    (void) snprintf(told, sizeof(told), "%s: %s", zlt_addr_text(text, addr),
                    why);

    zlt_service_failed(s->service, told);
    zlt_udp_session_complain(s->peer.udp, s->service, "a session %s: %s", how,
                             told);
}


static void
zlt_udp_session_used(zlt_udp_session_t *s)
{
    if (s->active == zlt_udp_now) {
        return;
    }

    s->active = zlt_udp_now;
    s->peer.udp->active = zlt_udp_now;

    zlt_list_remove(&s->used);
    zlt_list_append(&s->service->sessions, &s->used);
}


static void
zlt_udp_session_complain(const zlt_udp_t *u, const zlt_service_t *service,
    const char *fmt, ...)
{
    char     text[256];
    va_list  args;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    zlt_often_warn(u->owner->label, service->conf.name, "the UDP service "
                   "\"%s\": %s", service->conf.name, text);
}


void
zlt_udp_session_tick(zlt_owner_t *o)
{
    uint32_t        timeout;
    zlt_list_t     *link, *next, *inner;
    zlt_service_t  *service, *target;

    timeout = (o->conf->udp_timeout + 999) / 1000;

    zlt_list_each(link, &o->services) {
        service = zlt_list_data(link, zlt_service_t, link);

        zlt_udp_session_service_tick(o, service, timeout);

        /* a target goes with its last session */

        zlt_list_each_safe(inner, next, &service->targets) {
            target = zlt_list_data(inner, zlt_service_t, link);
            zlt_udp_session_service_tick(o, target, timeout);
        }
    }
}


static void
zlt_udp_session_service_tick(const zlt_owner_t *o, zlt_service_t *service,
    uint32_t timeout)
{
    zlt_udp_session_t  *s;

    zlt_service_hold(service);

    while (!zlt_list_empty(&service->sessions)) {
        s = zlt_list_data(service->sessions.next, zlt_udp_session_t, used);

        if (zlt_udp_now - s->active <= timeout) {
            break;
        }

        zlt_udp_session_close(s, ZLT_DGRAM_ENDED, 1);
    }

    if (zlt_udp_now % ZLT_UDP_REPORT == 0) {
        zlt_udp_session_service_report(o, service);
    }

    zlt_service_release(service);
}


/* Tells of drops that were not told yet. */

static void
zlt_udp_session_service_report(const zlt_owner_t *o, zlt_service_t *service)
{
    uint64_t          dropped;
    zlt_udp_count_t  *c;

    c = &service->udp;
    dropped = c->full_in + c->late_in + c->full_out + c->late_out + c->failed;

    if (dropped == c->reported) {
        return;
    }

    zlt_log_link(o->label, ZLT_LOG_WARN, "the UDP service \"%s\" has dropped "
                 "%llu datagrams in the last minute", service->conf.name,
                 (unsigned long long) (dropped - c->reported));

    c->reported = dropped;

    zlt_udp_session_service_log(o, service);
}


void
zlt_udp_session_service_log(const zlt_owner_t *o, const zlt_service_t *service)
{
    const zlt_udp_count_t  *c;

    c = &service->udp;

    if (c->sessions == 0 && c->refused == 0) {
        return;
    }

    zlt_log_link(o->label, ZLT_LOG_INFO, "the UDP service \"%s\": %u session%s "
                 "open, %llu in all, %llu refused; to the service %llu "
                 "datagrams, %llu bytes, dropped %llu full, %llu late; to the "
                 "server %llu datagrams, %llu bytes, dropped %llu full, %llu "
                 "late; %llu failed", service->conf.name, service->nsessions,
                 service->nsessions == 1 ? "" : "s",
                 (unsigned long long) c->sessions,
                 (unsigned long long) c->refused, (unsigned long long) c->in,
                 (unsigned long long) c->bytes_in,
                 (unsigned long long) c->full_in,
                 (unsigned long long) c->late_in, (unsigned long long) c->out,
                 (unsigned long long) c->bytes_out,
                 (unsigned long long) c->full_out,
                 (unsigned long long) c->late_out,
                 (unsigned long long) c->failed);
}


void
zlt_udp_session_service_end(zlt_service_t *service)
{
    zlt_list_t         *link, *next;
    zlt_udp_session_t  *s;

    zlt_list_each_safe(link, next, &service->targets) {
        zlt_udp_session_service_end(zlt_list_data(link, zlt_service_t, link));
    }

    zlt_service_hold(service);

    while (!zlt_list_empty(&service->sessions)) {
        s = zlt_list_data(service->sessions.next, zlt_udp_session_t, used);
        zlt_udp_session_close(s, ZLT_DGRAM_ENDED, 1);
    }

    zlt_service_release(service);
}
