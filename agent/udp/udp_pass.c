
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


static int zlt_udp_pass_messages(zlt_udp_socket_t *socket,
    const zlt_udp_message_t *messages, int n);
static zlt_udp_failed_e zlt_udp_pass_refused(zlt_udp_session_t *s, int err);


void
zlt_udp_pass_event(zlt_io_t *io)
{
    zlt_udp_session_t  *s;

    s = io->data;

    if (!zlt_queue_flow_empty(&s->peer.to_local)
        && (io->ready & ZLT_IO_WRITE))
    {
        zlt_udp_peer_resume(&s->socket, s->peer.udp, &s->peer);
    }

    if (!s->peer.closed) {
        zlt_udp_socket_read(&s->socket, zlt_udp_pass_messages, &s->task);
    }
}


void
zlt_udp_pass_turn(zlt_task_t *task)
{
    zlt_udp_session_t  *s;

    s = zlt_list_data(task, zlt_udp_session_t, task);

    zlt_udp_socket_read(&s->socket, zlt_udp_pass_messages, &s->task);
}


/* From the service. */

static int
zlt_udp_pass_messages(zlt_udp_socket_t *socket,
    const zlt_udp_message_t *messages, int n)
{
    int                 i;
    zlt_udp_session_t  *s;

    s = socket->io.data;

    if (n == -1) {
        return zlt_udp_pass_failed(&s->peer, errno) == ZLT_UDP_DEAD ? -1 : 0;
    }

    if (!s->answered) {
        s->answered = 1;
        zlt_service_served(s->service);
    }

    for (i = 0; i < n; i++) {
        zlt_udp_peer_receive(&s->peer, &messages[i]);
    }

    return 0;
}


/* ZLT_UDP_SKIP: it concerns one datagram, and the session goes on. */

zlt_udp_failed_e
zlt_udp_pass_failed(zlt_udp_peer_t *p, int err)
{
    zlt_udp_session_t  *s;

    s = zlt_udp_session_of(p);

    switch (err) {

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
    zlt_udp_peer_close(&s->peer, ZLT_E_UNREACHABLE, 1);

    return ZLT_UDP_DEAD;
}


/*
 * Nobody is there.  A name like "localhost" has two addresses, of which the
 * service may have one: sessions that have had no answer go to the next, and
 * those to come begin with it.
 */

static zlt_udp_failed_e
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

    zlt_udp_peer_close(&s->peer, err == ECONNREFUSED ? ZLT_E_REFUSED
                                                 : ZLT_E_UNREACHABLE, 1);
    return ZLT_UDP_DEAD;
}
