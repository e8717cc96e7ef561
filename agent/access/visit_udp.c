
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A UDP service by access: a socket to which its clients send, visit_client.c,
 * and the datagram channel that they share.
 *
 * The channel is opened with the first datagram, which waits for it, bounded
 * as all queues are.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "log.h"
#include "udp.h"
#include "visit.h"
#include "visit_client.h"
#include "visit_udp.h"


#define ZLT_VISIT_UDP_AGAIN    1000    /* ms, after a channel has failed */


static size_t zlt_visit_udp_request(zlt_channel_t *ch,
    const zlt_pool_param_t *param, char *buf, zlt_http_want_t *want);
static void zlt_visit_udp_opened(zlt_channel_t *ch, const uint8_t *data,
    size_t len);
static void zlt_visit_udp_failed(zlt_channel_t *ch,
    const zlt_http_answer_t *answer, const char *why);
static void zlt_visit_udp_expired(zlt_channel_t *ch);
static void zlt_visit_udp_gone(zlt_channel_t *ch);
static void zlt_visit_udp_event(zlt_io_t *io);
static void zlt_visit_udp_turn(zlt_task_t *task);
static int zlt_visit_udp_messages(zlt_udp_socket_t *socket,
    const zlt_udp_message_t *messages, int n);
static void zlt_visit_udp_open(zlt_visit_udp_t *v);
static void zlt_visit_udp_lost(zlt_visit_udp_t *v, const char *why);
static void zlt_visit_udp_freed(zlt_task_t *task);


static const zlt_channel_use_t  zlt_visit_udp_use = {
    zlt_visit_udp_request,
    zlt_visit_udp_opened,
    zlt_visit_udp_failed,
    zlt_visit_udp_expired,
    zlt_visit_udp_gone
};


zlt_visit_udp_t *
zlt_visit_udp_create(zlt_access_t *x, int fd)
{
    zlt_visit_udp_t  *v;

    v = calloc(1, sizeof(zlt_visit_udp_t));
    if (v == NULL) {
        return NULL;
    }

    v->access = x;
    v->active = zlt_udp_now;

    zlt_queue_init(&v->pending, &zlt_udp_peer_to_server);
    zlt_list_init(&v->clients);
    zlt_list_init(&v->task.link);

    v->task.handler = zlt_visit_udp_turn;
    v->socket.dropped = &x->owner->visits.kernel;

    if (zlt_udp_socket_bind(&v->socket, fd, zlt_visit_udp_event) == -1) {
        free(v);
        return NULL;
    }

    v->socket.io.data = v;

    return v;
}


void
zlt_visit_udp_deaf(zlt_visit_udp_t *v)
{
    v->deaf = 1;
}


void
zlt_visit_udp_leave(zlt_visit_udp_t *v)
{
    zlt_list_t  *link;

    if (v->visit) {
        zlt_channel_abort(v->visit->channel);
    }

    v->socket.dropped = &v->access->owner->visits.kernel;

    zlt_list_each(link, &v->clients) {
        zlt_list_data(link, zlt_udp_peer_t, used)->count
            = &v->access->owner->visits;
    }
}


unsigned
zlt_visit_udp_count(const zlt_visit_udp_t *v)
{
    return v->nclients;
}


void
zlt_visit_udp_destroy(zlt_visit_udp_t *v)
{
    if (v->visit) {
        zlt_channel_abort(v->visit->channel);
    }

    while (!zlt_list_empty(&v->clients)) {
        zlt_visit_client_forget(v->clients.next);
    }

    zlt_io_close(&v->socket.io);

    v->task.handler = zlt_visit_udp_freed;
    zlt_io_later(&v->task);
}


static void
zlt_visit_udp_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_visit_udp_t, task));
}


/* Clients that are quiet are forgotten, and the channel after the last. */

void
zlt_visit_udp_tick(zlt_visit_udp_t *v)
{
    uint32_t  timeout;

    timeout = v->access->owner->conf->udp_timeout;

    zlt_udp_peer_idle(&v->clients, timeout);

    if (v->nclients) {
        v->active = zlt_udp_now;
    }

    if (v->visit && zlt_udp_now - v->active > (timeout + 999) / 1000) {
        zlt_channel_abort(v->visit->channel);
    }
}


static void
zlt_visit_udp_event(zlt_io_t *io)
{
    zlt_visit_udp_t  *v;

    v = io->data;

    if (v->socket.waiting && (io->ready & ZLT_IO_WRITE)) {
        zlt_udp_peer_resume(&v->socket, v->udp, NULL);
    }

    zlt_udp_socket_read(&v->socket, zlt_visit_udp_messages, &v->task);
}


static void
zlt_visit_udp_turn(zlt_task_t *task)
{
    zlt_visit_udp_t  *v;

    v = zlt_list_data(task, zlt_visit_udp_t, task);

    zlt_udp_socket_read(&v->socket, zlt_visit_udp_messages, &v->task);
}


/* From the clients.  An error tells of one that has gone, not of which. */

static int
zlt_visit_udp_messages(zlt_udp_socket_t *socket,
    const zlt_udp_message_t *messages, int n)
{
    int               i;
    zlt_visit_udp_t  *v;

    v = socket->io.data;

    for (i = 0; i < n; i++) {
        zlt_visit_client_receive(v, &messages[i]);
    }

    if (v->udp == NULL && !zlt_queue_empty(&v->pending)) {
        zlt_visit_udp_open(v);
    }

    return 0;
}


static void
zlt_visit_udp_open(zlt_visit_udp_t *v)
{
    zlt_access_t   *x;
    zlt_channel_t  *ch;

    x = v->access;

    if (v->visit || !zlt_access_runs(x) || zlt_io_now() < v->again_at) {
        return;
    }

    v->visit = NULL;

    if (zlt_io_room(1)) {
        v->visit = zlt_visit_create(x, "udp", &zlt_visit_udp_use, v);
    }

    if (v->visit == NULL) {
        zlt_visit_udp_lost(v, "out of descriptors or memory");
        return;
    }

    ch = v->visit->channel;

    zlt_timer_start(&ch->relay.timer,
                    (x->owner->conf->connect_timeout + 999) / 1000,
                    zlt_channel_expired);

    if (zlt_channel_open_visit(ch) == -1) {
        zlt_visit_udp_failed(ch, NULL, strerror(errno));
    }
}


static size_t
zlt_visit_udp_request(zlt_channel_t *ch, const zlt_pool_param_t *param,
    char *buf, zlt_http_want_t *want)
{
    return zlt_visit_ask(ch->user, param, buf, want);
}


static void
zlt_visit_udp_failed(zlt_channel_t *ch, const zlt_http_answer_t *answer,
    const char *why)
{
    zlt_visit_t  *v;

    if (!zlt_visit_again(ch, answer, why)) {
        v = ch->user;
        zlt_visit_udp_lost(v->udp, why);
    }
}


static void
zlt_visit_udp_expired(zlt_channel_t *ch)
{
    zlt_visit_t  *v;

    v = ch->user;

    zlt_visit_udp_lost(v->udp, "the server did not answer in time");
}


/* It was not opened: datagrams that wait for it are lost, as on a bad line. */

static void
zlt_visit_udp_lost(zlt_visit_udp_t *v, const char *why)
{
    zlt_list_t  *link;

    zlt_visit_complain(v->access, why);

    v->again_at = zlt_io_now() + ZLT_VISIT_UDP_AGAIN;

    if (v->visit) {
        zlt_channel_abort(v->visit->channel);
    }

    zlt_list_each(link, &v->clients) {
        zlt_queue_purge(&v->pending,
                        &zlt_list_data(link, zlt_udp_peer_t, used)->to_server);
    }
}


static void
zlt_visit_udp_opened(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    zlt_list_t       *link;
    zlt_visit_udp_t  *v;

    v = ((zlt_visit_t *) ch->user)->udp;

    zlt_channel_state(ch, ZLT_CHANNEL_DATAGRAMS);
    zlt_timer_stop(&ch->relay.timer);

    v->number = 0;
    v->udp = zlt_udp_begin(ch, &zlt_visit_client_role, data, len);

    if (v->udp == NULL) {
        zlt_visit_udp_lost(v, "out of memory");
        return;
    }

    zlt_list_each(link, &v->clients) {
        zlt_visit_client_begin(link);
    }
}


/* The channel has ended, with its sessions. */

static void
zlt_visit_udp_gone(zlt_channel_t *ch)
{
    zlt_visit_t  *v;

    v = ch->user;

    v->udp->visit = NULL;
    v->udp->udp = NULL;

    free(v);
}
