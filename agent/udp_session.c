
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The sessions of datagram channels: a connected socket each, so that the
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

#include "udp.h"


#define ZLT_UDP_BUCKETS  64            /* at first, a power of two */
#define ZLT_UDP_READS    4             /* receives a turn, a session */
#define ZLT_UDP_SAY      60            /* s, between complaints */
#define ZLT_UDP_REPORT   60            /* s, between reports of drops */

/* what an error of the socket means */
#define ZLT_UDP_DEAD     -1            /* the session is closed */
#define ZLT_UDP_SKIP     0             /* that datagram is lost */
#define ZLT_UDP_AGAIN    1             /* the same once more */
#define ZLT_UDP_WAIT     2             /* until there is room */


/* a datagram of the buffer that is being worked on */

typedef struct {
    const uint8_t  *data;
    uint32_t        len;
    uint16_t        next;
} zlt_udp_staged_t;


static zlt_udp_session_t *zlt_udp_session_create(zlt_udp_t *u,
    uint32_t number, zlt_service_t *service);
static void zlt_udp_session_insert(zlt_udp_t *u, zlt_udp_session_t *s);
static void zlt_udp_session_remove(zlt_udp_t *u, zlt_udp_session_t *s);
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
static void zlt_udp_session_deliver(zlt_udp_session_t *s);
static void zlt_udp_session_queue(zlt_udp_session_t *s, const uint8_t *data,
    size_t len);
static int zlt_udp_session_failed(zlt_udp_session_t *s, int err);
static int zlt_udp_session_refused(zlt_udp_session_t *s, int err);
static void zlt_udp_session_used(zlt_udp_session_t *s);
static void zlt_udp_service_report(zlt_service_t *service);


static zlt_udp_staged_t  zlt_udp_staged[ZLT_UDP_SEND_MAX];


int
zlt_udp_sessions_init(zlt_udp_t *u)
{
    u->buckets = calloc(ZLT_UDP_BUCKETS, sizeof(zlt_udp_session_t *));

    if (u->buckets == NULL) {
        return -1;
    }

    u->mask = ZLT_UDP_BUCKETS - 1;

    zlt_list_init(&u->sessions);
    zlt_list_init(&u->staged);

    return 0;
}


void
zlt_udp_sessions_free(zlt_udp_t *u)
{
    zlt_list_t  *link, *next;

    zlt_list_each_safe(link, next, &u->sessions) {
        zlt_udp_session_drop(zlt_list_data(link, zlt_udp_session_t, link));
    }
}


zlt_udp_session_t *
zlt_udp_session_find(zlt_udp_t *u, uint32_t number)
{
    zlt_udp_session_t  *s;

    if (u->recent && u->recent->number == number) {
        return u->recent;
    }

    for (s = u->buckets[number & u->mask]; s; s = s->next) {
        if (s->number == number) {
            u->recent = s;
            return s;
        }
    }

    return NULL;
}


void
zlt_udp_session_open(zlt_udp_t *u, const zlt_dgram_t *f)
{
    unsigned            cause;
    uint8_t             buf[ZLT_DGRAM_CLOSE_SIZE];
    zlt_service_t      *service;
    zlt_udp_session_t  *s;

    if (u->opened && f->session <= u->last) {

        s = zlt_udp_session_find(u, f->session);

        if (s) {
            zlt_udp_complain(s->service, "a session was opened twice");
            zlt_udp_session_close(s, ZLT_E_FORBIDDEN, 1);
            return;
        }

        u->agent->udp_unknown++;
        return;
    }

    u->opened = 1;
    u->last = f->session;

    service = zlt_service_by_id(&u->agent->services, f->service_id);

    if (service == NULL || service->conf.protocol != ZLT_PROTO_UDP) {
        cause = ZLT_E_UNREACHABLE;
        goto refused;
    }

    if (u->agent->stopping) {
        cause = ZLT_DGRAM_ENDED;
        goto refused;
    }

    if (service->nsessions >= u->agent->conf->max_udp_sessions) {
        zlt_udp_complain(service, "%u sessions are open, which is the limit",
                         service->nsessions);
        service->udp.refused++;
        cause = ZLT_E_LIMIT;
        goto refused;
    }

    s = zlt_io_ample() ? zlt_udp_session_create(u, f->session, service)
                       : NULL;

    if (s == NULL) {
        zlt_udp_complain(service, "a session could not be opened: out of "
                         "descriptors or memory");
        service->udp.refused++;
        cause = ZLT_E_BUSY;
        goto refused;
    }

    if (zlt_service_resolve(service, u->agent->loop, &s->waiter) == 0) {
        zlt_udp_session_resolved(&s->waiter, NULL);
    }

    return;

refused:

    (void) zlt_dgram_close(buf, f->session, cause);
    zlt_udp_control(u, buf, sizeof(buf));
}


static zlt_udp_session_t *
zlt_udp_session_create(zlt_udp_t *u, uint32_t number, zlt_service_t *service)
{
    zlt_udp_session_t  *s;

    s = calloc(1, sizeof(zlt_udp_session_t));
    if (s == NULL) {
        return NULL;
    }

    s->udp = u;
    s->number = number;
    s->socket.io.fd = -1;
    s->active = zlt_udp_now;
    u->active = zlt_udp_now;

    s->service = service;
    zlt_service_hold(service);
    service->nsessions++;
    service->udp.sessions++;

    s->waiter.handler = zlt_udp_session_resolved;
    s->task.handler = zlt_udp_session_turn;

    zlt_list_init(&s->waiter.link);
    zlt_list_init(&s->task.link);
    zlt_list_init(&s->stage);
    zlt_list_append(&u->sessions, &s->link);
    zlt_list_append(&service->sessions, &s->used);

    zlt_udp_flow_init(&s->to_service, &service->udp.full_in,
                      &service->udp.late_in);
    zlt_udp_flow_init(&s->to_server, &service->udp.full_out,
                      &service->udp.late_out);

    zlt_udp_session_insert(u, s);

    return s;
}


static void
zlt_udp_session_insert(zlt_udp_t *u, zlt_udp_session_t *s)
{
    uint32_t             i, size;
    zlt_list_t          *link;
    zlt_udp_session_t  **buckets, *t;

    size = (u->mask + 1) * 2;

    if (u->nsessions > u->mask
        && (buckets = calloc(size, sizeof(zlt_udp_session_t *))) != NULL)
    {
        free(u->buckets);
        u->buckets = buckets;
        u->mask = size - 1;

        zlt_list_each(link, &u->sessions) {
            t = zlt_list_data(link, zlt_udp_session_t, link);

            if (t != s) {
                i = t->number & u->mask;
                t->next = buckets[i];
                buckets[i] = t;
            }
        }
    }

    i = s->number & u->mask;
    s->next = u->buckets[i];
    u->buckets[i] = s;
    u->nsessions++;
}


static void
zlt_udp_session_remove(zlt_udp_t *u, zlt_udp_session_t *s)
{
    zlt_udp_session_t  **p;

    for (p = &u->buckets[s->number & u->mask]; *p != s; p = &(*p)->next) {
        /* it is there */
    }

    *p = s->next;
    u->nsessions--;

    if (u->recent == s) {
        u->recent = NULL;
    }
}


void
zlt_udp_session_close(zlt_udp_session_t *s, unsigned cause, int tell)
{
    uint8_t     buf[ZLT_DGRAM_CLOSE_SIZE];
    zlt_udp_t  *u;

    u = s->udp;

    zlt_log_debug("session %u of \"%s\" is closed by the %s, cause %u",
                  (unsigned) s->number, s->service->conf.name,
                  tell ? "agent" : "server", cause);

    if (tell) {
        (void) zlt_dgram_close(buf, s->number, cause);
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
    zlt_udp_t  *u;

    if (s->closed) {
        return;
    }

    u = s->udp;
    s->closed = 1;

    zlt_udp_session_remove(u, s);
    zlt_udp_queue_purge(&u->to_service, &s->to_service);
    zlt_udp_queue_purge(&u->to_server, &s->to_server);

    zlt_io_close(&s->socket.io);

    zlt_list_remove(&s->link);
    zlt_list_remove(&s->used);
    zlt_list_remove(&s->stage);
    zlt_list_remove(&s->waiter.link);

    s->service->nsessions--;
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
        zlt_udp_complain(s->service, "a session could not be opened: %s",
                         error ? error : "no address");
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
    zlt_addr_t  *addr;

    err = EHOSTUNREACH;
    s->ready = 0;
    s->waiting = 0;

    while (s->tried < s->service->addrs.n) {

        addr = &s->service->addrs.addrs[s->address];
        s->tried++;

        if (zlt_udp_connect(&s->socket, &addr->addr.sa, addr->len,
                            zlt_udp_session_event)
            == 0)
        {
            s->socket.io.data = s;
            s->ready = 1;
            return 0;
        }

        err = errno;
        s->address = (uint8_t) ((s->address + 1) % s->service->addrs.n);
    }

    zlt_udp_complain(s->service, "a session could not be opened: %s",
                     strerror(err));
    zlt_udp_session_close(s, ZLT_E_UNREACHABLE, 1);

    return -1;
}


static void
zlt_udp_session_event(zlt_io_t *io)
{
    zlt_udp_session_t  *s;

    s = io->data;

    if (!zlt_udp_flow_empty(&s->to_service) && (io->ready & ZLT_IO_WRITE)) {
        zlt_udp_session_resume(s);
    }

    if (!s->closed) {
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

        n = zlt_udp_receive(&s->socket, messages);

        if (n == 0) {
            return;
        }

        if (n == -1) {
            if (zlt_udp_session_failed(s, errno) == ZLT_UDP_DEAD) {
                return;
            }

            continue;
        }

        s->answered = 1;
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
        zlt_udp_forward(s, message->data, message->len);
        return;
    }

    for (pos = 0; pos < message->len; pos += n) {
        n = message->len - pos;

        if (n > message->segment) {
            n = message->segment;
        }

        count->out++;
        zlt_udp_forward(s, message->data + pos, n);
    }
}


void
zlt_udp_stage(zlt_udp_session_t *s, const uint8_t *data, size_t len)
{
    uint16_t           i;
    zlt_udp_t         *u;
    zlt_udp_staged_t  *staged;

    u = s->udp;

    s->service->udp.in++;
    s->service->udp.bytes_in += len;

    if (!s->ready || !zlt_udp_flow_empty(&s->to_service)) {
        zlt_udp_session_queue(s, data, len);
        return;
    }

    if (u->nstaged == ZLT_UDP_SEND_MAX) {
        zlt_udp_deliver(u);

        if (s->closed) {
            return;
        }

        if (!zlt_udp_flow_empty(&s->to_service)) {
            zlt_udp_session_queue(s, data, len);
            return;
        }
    }

    i = (uint16_t) u->nstaged++;

    staged = &zlt_udp_staged[i];
    staged->data = data;
    staged->len = (uint32_t) len;

    if (zlt_list_empty(&s->stage)) {
        zlt_list_append(&u->staged, &s->stage);
        s->first = i;

    } else {
        zlt_udp_staged[s->last].next = i;
    }

    s->last = i;
}


void
zlt_udp_deliver(zlt_udp_t *u)
{
    zlt_list_t  *link;

    while (!zlt_list_empty(&u->staged)) {
        link = u->staged.next;
        zlt_list_remove(link);

        zlt_udp_session_deliver(zlt_list_data(link, zlt_udp_session_t,
                                              stage));
    }

    u->nstaged = 0;
}


static void
zlt_udp_session_deliver(zlt_udp_session_t *s)
{
    int            rc;
    unsigned       i, n, done;
    struct iovec  *iov;

    static struct iovec  iovs[ZLT_UDP_SEND_MAX];

    n = 0;

    for (i = s->first; /* void */ ; i = zlt_udp_staged[i].next) {
        iov = &iovs[n++];
        iov->iov_base = (void *) (uintptr_t) zlt_udp_staged[i].data;
        iov->iov_len = zlt_udp_staged[i].len;

        if (i == s->last) {
            break;
        }
    }

    zlt_udp_session_used(s);

    for (done = 0; done < n; /* void */ ) {

        done += zlt_udp_send(&s->socket, &iovs[done], n - done);

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
        zlt_udp_session_queue(s, iovs[done].iov_base, iovs[done].iov_len);
    }
}


static void
zlt_udp_session_queue(zlt_udp_session_t *s, const uint8_t *data, size_t len)
{
    zlt_udp_item_t  *item;

    item = zlt_udp_item_alloc(len);

    if (item == NULL) {
        s->service->udp.failed++;
        return;
    }

    memcpy(item->data, data, len);

    zlt_udp_queue_put(&s->udp->to_service, &s->to_service, item,
                      zlt_io_now());
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

    q = &s->udp->to_service;
    now = zlt_io_now();

    while ((item = zlt_udp_queue_get(q, &s->to_service, now)) != NULL) {

        iov.iov_base = item->data;
        iov.iov_len = item->len;

        rc = ZLT_UDP_SKIP;

        while (zlt_udp_send(&s->socket, &iov, 1) == 0) {

            rc = zlt_udp_session_failed(s, errno);

            if (rc != ZLT_UDP_AGAIN) {
                break;
            }
        }

        if (rc == ZLT_UDP_WAIT) {
            zlt_udp_queue_unget(q, &s->to_service, item);
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
        zlt_udp_complain(s->service, "a datagram could not be delivered: %s",
                         strerror(err));
        return ZLT_UDP_SKIP;
    }

    zlt_udp_complain(s->service, "a session has failed: %s", strerror(err));
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

    zlt_udp_complain(service, "a session has ended: %s", strerror(err));

    zlt_udp_session_close(s, err == ECONNREFUSED ? ZLT_E_REFUSED
                                                 : ZLT_E_UNREACHABLE, 1);
    return ZLT_UDP_DEAD;
}


static void
zlt_udp_session_used(zlt_udp_session_t *s)
{
    if (s->active == zlt_udp_now) {
        return;
    }

    s->active = zlt_udp_now;
    s->udp->active = zlt_udp_now;

    zlt_list_remove(&s->used);
    zlt_list_append(&s->service->sessions, &s->used);
}


void
zlt_udp_complain(zlt_service_t *service, const char *fmt, ...)
{
    char     text[256];
    va_list  args;

    if (service->udp_said && zlt_udp_now - service->udp_said < ZLT_UDP_SAY) {
        return;
    }

    service->udp_said = zlt_udp_now;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    zlt_log_warn("the UDP service \"%s\": %s", service->conf.name, text);
}


void
zlt_udp_session_tick(zlt_agent_t *a)
{
    uint32_t            timeout;
    zlt_list_t         *link;
    zlt_service_t      *service;
    zlt_udp_session_t  *s;

    timeout = (a->conf->udp_timeout + 999) / 1000;

    zlt_list_each(link, &a->services) {
        service = zlt_list_data(link, zlt_service_t, link);

        while (!zlt_list_empty(&service->sessions)) {
            s = zlt_list_data(service->sessions.next, zlt_udp_session_t,
                              used);

            if (zlt_udp_now - s->active <= timeout) {
                break;
            }

            zlt_udp_session_close(s, ZLT_DGRAM_ENDED, 1);
        }

        if (zlt_udp_now % ZLT_UDP_REPORT == 0) {
            zlt_udp_service_report(service);
        }
    }
}


/* Tells of drops that were not told yet. */

static void
zlt_udp_service_report(zlt_service_t *service)
{
    uint64_t          dropped;
    zlt_udp_count_t  *c;

    c = &service->udp;
    dropped = c->full_in + c->late_in + c->full_out + c->late_out + c->failed;

    if (dropped == c->reported) {
        return;
    }

    zlt_log_warn("the UDP service \"%s\" has dropped %llu datagrams in the "
                 "last minute", service->conf.name,
                 (unsigned long long) (dropped - c->reported));

    c->reported = dropped;

    zlt_udp_service_log(service);
}


void
zlt_udp_service_log(const zlt_service_t *service)
{
    const zlt_udp_count_t  *c;

    c = &service->udp;

    if (c->sessions == 0 && c->refused == 0) {
        return;
    }

    zlt_log_info("the UDP service \"%s\": %u sessions open, %llu in all, "
                 "%llu refused; to the service %llu datagrams, %llu bytes, "
                 "dropped %llu full, %llu late; to the server %llu datagrams, "
                 "%llu bytes, dropped %llu full, %llu late; %llu failed",
                 service->conf.name, service->nsessions,
                 (unsigned long long) c->sessions,
                 (unsigned long long) c->refused,
                 (unsigned long long) c->in,
                 (unsigned long long) c->bytes_in,
                 (unsigned long long) c->full_in,
                 (unsigned long long) c->late_in,
                 (unsigned long long) c->out,
                 (unsigned long long) c->bytes_out,
                 (unsigned long long) c->full_out,
                 (unsigned long long) c->late_out,
                 (unsigned long long) c->failed);
}


void
zlt_udp_service_end(zlt_service_t *service)
{
    zlt_udp_session_t  *s;

    while (!zlt_list_empty(&service->sessions)) {
        s = zlt_list_data(service->sessions.next, zlt_udp_session_t, used);
        zlt_udp_session_close(s, ZLT_DGRAM_ENDED, 1);
    }
}
