
/*
 * Copyright (C) zltunnel authors
 */

/* The datagrams of a session of the agent that serves, both ways. */


#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"
#include "udp_pass.h"
#include "udp_service.h"
#include "udp_session_state.h"


#define ZLT_UDP_READS    4             /* receives a turn, a session */

/* what an error of the socket means */
#define ZLT_UDP_DEAD     -1            /* the session is closed */
#define ZLT_UDP_SKIP     0             /* that datagram is lost */
#define ZLT_UDP_AGAIN    1             /* the same once more */
#define ZLT_UDP_WAIT     2             /* until there is room */


static void zlt_udp_pass_read(zlt_udp_session_t *s);
static void zlt_udp_pass_message(zlt_udp_session_t *s,
    const zlt_udp_message_t *message);
static int zlt_udp_pass_failed(zlt_udp_session_t *s, int err);
static int zlt_udp_pass_refused(zlt_udp_session_t *s, int err);
static void zlt_udp_pass_used(zlt_udp_session_t *s);


void
zlt_udp_pass_event(zlt_io_t *io)
{
    zlt_udp_session_t  *s;

    s = io->data;

    if (!zlt_queue_flow_empty(&s->peer.to_local)
        && (io->ready & ZLT_IO_WRITE))
    {
        zlt_udp_pass_resume(s);
    }

    if (!s->peer.closed) {
        zlt_udp_pass_read(s);
    }
}


void
zlt_udp_pass_turn(zlt_task_t *task)
{
    zlt_udp_pass_read(zlt_list_data(task, zlt_udp_session_t, task));
}


/* From the service.  Where there is more than that, others go first. */

static void
zlt_udp_pass_read(zlt_udp_session_t *s)
{
    int                i, k, n;
    zlt_udp_message_t  messages[ZLT_UDP_SLOTS];

    for (k = 0; k < ZLT_UDP_READS; k++) {

        n = zlt_udp_socket_receive(&s->socket, messages);

        if (n == 0) {
            return;
        }

        if (n == -1) {
            if (zlt_udp_pass_failed(s, errno) == ZLT_UDP_DEAD) {
                return;
            }

            continue;
        }

        if (!s->answered) {
            s->answered = 1;
            zlt_service_served(s->service);
        }

        zlt_udp_pass_used(s);

        for (i = 0; i < n; i++) {
            zlt_udp_pass_message(s, &messages[i]);
        }
    }

    if (s->socket.io.ready & ZLT_IO_READ) {
        zlt_io_post(&s->task);
    }
}


static void
zlt_udp_pass_message(zlt_udp_session_t *s, const zlt_udp_message_t *message)
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


void
zlt_udp_pass_send(zlt_udp_peer_t *p, struct iovec *iov, unsigned n)
{
    int                 rc;
    unsigned            done;
    zlt_udp_session_t  *s;

    s = zlt_udp_session_of(p);

    zlt_udp_pass_used(s);

    for (done = 0; done < n; /* void */ ) {

        done += zlt_udp_socket_send(&s->socket, &iov[done], n - done);

        if (done == n) {
            return;
        }

        rc = zlt_udp_pass_failed(s, errno);

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


void
zlt_udp_pass_resume(zlt_udp_session_t *s)
{
    int                rc;
    uint64_t           now;
    zlt_queue_t       *q;
    struct iovec       iov;
    zlt_queue_item_t  *item;

    q = &s->peer.udp->to_local;
    now = zlt_io_now();

    while ((item = zlt_queue_get(q, &s->peer.to_local, now)) != NULL) {

        iov.iov_base = item->data;
        iov.iov_len = item->len;

        rc = ZLT_UDP_SKIP;

        while (zlt_udp_socket_send(&s->socket, &iov, 1) == 0) {

            rc = zlt_udp_pass_failed(s, errno);

            if (rc != ZLT_UDP_AGAIN) {
                break;
            }
        }

        if (rc == ZLT_UDP_WAIT) {
            zlt_queue_unget(q, &s->peer.to_local, item);
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
zlt_udp_pass_failed(zlt_udp_session_t *s, int err)
{
    switch (err) {

    case EAGAIN:
        s->waiting = 1;
        zlt_io_await_write(&s->socket.io, 1);
        return ZLT_UDP_WAIT;

    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return zlt_udp_pass_refused(s, err);

    case EMSGSIZE:
    case EINVAL:
    case EPERM:
    case EACCES:
    case ENOBUFS:
    case ENOMEM:
        s->service->udp.failed++;
        zlt_udp_service_complain(s->peer.udp, s->service,
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
zlt_udp_pass_refused(zlt_udp_session_t *s, int err)
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
zlt_udp_pass_used(zlt_udp_session_t *s)
{
    if (s->active == zlt_udp_now) {
        return;
    }

    s->active = zlt_udp_now;
    s->peer.udp->active = zlt_udp_now;

    zlt_list_remove(&s->used);
    zlt_list_append(&s->service->sessions, &s->used);
}
