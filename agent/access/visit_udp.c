
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The clients of a UDP service, who send to one socket and are told apart by
 * their addresses.  They share a datagram channel (udp.c), on which each is a
 * session with a number.
 *
 * The channel is opened with the first datagram, which waits for it, bounded
 * as all queues are.  Clients outlive their channel: on the next one they are
 * sessions again, with their next datagram.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "log.h"
#include "service.h"
#include "udp.h"
#include "visit.h"
#include "visit_udp.h"


#define ZLT_VISIT_UDP_BUCKETS  1024    /* a power of two */
#define ZLT_VISIT_UDP_READS    4       /* receives a turn */
#define ZLT_VISIT_UDP_AGAIN    1000    /* ms, after a channel has failed */


typedef struct zlt_client_s  zlt_client_t;

struct zlt_client_s {
    zlt_udp_peer_t       peer;         /* peer.udp NULL: not on a channel */
    zlt_visit_udp_t     *visits;
    zlt_client_t        *next;         /* of its bucket */
    zlt_list_t           used;         /* visits->clients */
    zlt_task_t           task;         /* frees it */
    zlt_sockaddr_t       addr;
    socklen_t            len;
    uint32_t             active;       /* s */
};


struct zlt_visit_udp_s {
    zlt_access_t        *access;
    zlt_udp_socket_t     socket;
    zlt_visit_t         *visit;        /* the channel's; NULL: there is none */
    zlt_udp_t           *udp;          /* once it is open */
    zlt_task_t           task;         /* the next turn; frees it */

    zlt_client_t        *buckets[ZLT_VISIT_UDP_BUCKETS];
    zlt_list_t           clients;      /* the longest idle first */
    unsigned             nclients;
    uint32_t             number;       /* of the last session */
    uint32_t             active;       /* s, when a client was there */

    zlt_queue_t          pending;      /* until the channel is open */
    uint64_t             again_at;     /* ms */
    zlt_udp_count_t      count;        /* "in": to clients */

    unsigned             deaf:1;
    unsigned             waiting:1;    /* for room in the socket */
};


#define zlt_client_of(p)  zlt_list_data(p, zlt_client_t, peer)


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
static void zlt_visit_udp_read(zlt_visit_udp_t *v);
static void zlt_visit_udp_message(zlt_visit_udp_t *v,
    const zlt_udp_message_t *m);
static void zlt_visit_udp_datagram(zlt_client_t *c, const uint8_t *data,
    size_t len);
static void zlt_visit_udp_open(zlt_visit_udp_t *v);
static void zlt_visit_udp_lost(zlt_visit_udp_t *v, const char *why);
static void zlt_visit_udp_flush(zlt_visit_udp_t *v);
static void zlt_visit_udp_freed(zlt_task_t *task);
static zlt_client_t **zlt_client_bucket(zlt_visit_udp_t *v,
    const struct sockaddr *sa, socklen_t len);
static zlt_client_t *zlt_client_find(zlt_visit_udp_t *v,
    const struct sockaddr *sa, socklen_t len);
static zlt_client_t *zlt_client_create(zlt_visit_udp_t *v,
    const struct sockaddr *sa, socklen_t len);
static void zlt_client_begin(zlt_client_t *c);
static void zlt_client_join(zlt_client_t *c);
static void zlt_client_used(zlt_client_t *c);
static void zlt_client_forget(zlt_client_t *c);
static void zlt_client_freed(zlt_task_t *task);
static void zlt_visiting_send(zlt_udp_peer_t *p, struct iovec *iov,
    unsigned n);
static void zlt_visiting_close(zlt_udp_peer_t *p, unsigned cause, int tell);
static void zlt_visiting_drop(zlt_udp_peer_t *p);
static void zlt_visiting_complain(zlt_udp_peer_t *p, const char *text);


static const zlt_channel_use_t  zlt_visit_udp_use = {
    ZLT_WSC_FRAMES,
    zlt_visit_udp_request,
    zlt_visit_udp_opened,
    zlt_visit_udp_failed,
    zlt_visit_udp_expired,
    zlt_visit_udp_gone
};


static const zlt_udp_role_t  zlt_udp_visiting = {
    NULL,
    zlt_visiting_send,
    zlt_visiting_close,
    zlt_visiting_drop,
    zlt_visiting_complain
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
        zlt_client_forget(zlt_list_data(v->clients.next, zlt_client_t, used));
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
    uint32_t       timeout;
    zlt_client_t  *c;

    timeout = (v->access->owner->conf->udp_timeout + 999) / 1000;

    while (!zlt_list_empty(&v->clients)) {
        c = zlt_list_data(v->clients.next, zlt_client_t, used);

        if (zlt_udp_now - c->active <= timeout) {
            break;
        }

        zlt_visiting_close(&c->peer, ZLT_DGRAM_ENDED, 1);
    }

    if (v->nclients) {
        v->active = zlt_udp_now;
    }

    if (v->visit && zlt_udp_now - v->active > timeout) {
        zlt_channel_abort(v->visit->channel);
    }
}


static void
zlt_visit_udp_event(zlt_io_t *io)
{
    zlt_visit_udp_t  *v;

    v = io->data;

    if (v->waiting && (io->ready & ZLT_IO_WRITE)) {
        zlt_visit_udp_flush(v);
    }

    zlt_visit_udp_read(v);
}


static void
zlt_visit_udp_turn(zlt_task_t *task)
{
    zlt_visit_udp_read(zlt_list_data(task, zlt_visit_udp_t, task));
}


/* From the clients.  Where there is more than that, others go first. */

static void
zlt_visit_udp_read(zlt_visit_udp_t *v)
{
    int                i, k, n;
    zlt_udp_message_t  messages[ZLT_UDP_SLOTS];

    for (k = 0; k < ZLT_VISIT_UDP_READS; k++) {

        n = zlt_udp_socket_receive(&v->socket, messages);

        if (n == 0) {
            return;
        }

        /* an error tells of a client that has gone, not of which */

        for (i = 0; i < n; i++) {
            zlt_visit_udp_message(v, &messages[i]);
        }
    }

    if (v->socket.io.ready & ZLT_IO_READ) {
        zlt_io_post(&v->task);
    }
}


static void
zlt_visit_udp_message(zlt_visit_udp_t *v, const zlt_udp_message_t *m)
{
    size_t         n, pos;
    zlt_client_t  *c;

    c = zlt_client_find(v, m->from, m->fromlen);

    if (c == NULL) {
        c = zlt_client_create(v, m->from, m->fromlen);

        if (c == NULL) {
            return;
        }
    }

    zlt_client_used(c);

    n = (m->segment && m->segment < m->len) ? m->segment : m->len;
    pos = 0;

    do {
        if (n > m->len - pos) {
            n = m->len - pos;
        }

        zlt_visit_udp_datagram(c, m->data + pos, n);
        pos += n;

    } while (pos < m->len);
}


static void
zlt_visit_udp_datagram(zlt_client_t *c, const uint8_t *data, size_t len)
{
    zlt_visit_udp_t  *v;

    v = c->visits;

    v->count.out++;
    v->access->bytes[0] += len;

    if (v->udp == NULL) {
        zlt_udp_peer_wait(&c->peer, &v->pending, data, len, 0);
        zlt_visit_udp_open(v);
        return;
    }

    if (c->peer.udp == NULL) {
        zlt_client_join(c);
    }

    zlt_udp_forward(&c->peer, data, len);
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
    zlt_list_t    *link;
    zlt_client_t  *c;

    zlt_visit_complain(v->access, why);

    v->again_at = zlt_io_now() + ZLT_VISIT_UDP_AGAIN;

    if (v->visit) {
        zlt_channel_abort(v->visit->channel);
    }

    zlt_list_each(link, &v->clients) {
        c = zlt_list_data(link, zlt_client_t, used);
        zlt_queue_purge(&v->pending, &c->peer.to_server);
    }
}


static void
zlt_visit_udp_opened(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    zlt_list_t       *link;
    zlt_visit_udp_t  *v;

    v = ((zlt_visit_t *) ch->user)->udp;

    zlt_timer_stop(&ch->relay.timer);

    v->number = 0;
    v->udp = zlt_udp_begin(ch, &zlt_udp_visiting, data, len);

    if (v->udp == NULL) {
        zlt_visit_udp_lost(v, "out of memory");
        return;
    }

    zlt_list_each(link, &v->clients) {
        zlt_client_begin(zlt_list_data(link, zlt_client_t, used));
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


/* There is room in the socket again. */

static void
zlt_visit_udp_flush(zlt_visit_udp_t *v)
{
    uint64_t           now;
    zlt_queue_t       *q;
    struct iovec       iov;
    zlt_client_t      *c;
    zlt_queue_flow_t  *f;
    zlt_queue_item_t  *item;

    now = zlt_io_now();

    while (v->udp) {
        q = &v->udp->to_local;
        item = zlt_queue_next(q, &f, now);

        if (item == NULL) {
            break;
        }

        c = zlt_client_of(zlt_list_data(f, zlt_udp_peer_t, to_local));

        iov.iov_base = item->data;
        iov.iov_len = item->len;

        if (zlt_udp_socket_send_to(&v->socket, &c->addr.sa, c->len, &iov, 1)
            == 0)
        {

            if (errno == EAGAIN) {
                zlt_queue_unget(q, f, item);
                return;
            }

            v->count.failed++;
        }

        free(item);
    }

    v->waiting = 0;
    zlt_io_await_write(&v->socket.io, 0);
}


static zlt_client_t **
zlt_client_bucket(zlt_visit_udp_t *v, const struct sockaddr *sa, socklen_t len)
{
    uint32_t        hash;
    socklen_t       i;
    const uint8_t  *p;

    hash = 2166136261u;
    p = (const uint8_t *) sa;

    for (i = 0; i < len; i++) {
        hash = (hash ^ p[i]) * 16777619u;
    }

    return &v->buckets[(hash ^ (hash >> 16)) & (ZLT_VISIT_UDP_BUCKETS - 1)];
}


static zlt_client_t *
zlt_client_find(zlt_visit_udp_t *v, const struct sockaddr *sa, socklen_t len)
{
    zlt_client_t  *c;

    for (c = *zlt_client_bucket(v, sa, len); c; c = c->next) {
        if (c->len == len && memcmp(&c->addr, sa, len) == 0) {
            return c;
        }
    }

    return NULL;
}


static zlt_client_t *
zlt_client_create(zlt_visit_udp_t *v, const struct sockaddr *sa, socklen_t len)
{
    zlt_client_t  *c, **bucket;

    if (v->deaf || len > sizeof(zlt_sockaddr_t)) {
        return NULL;
    }

    if (v->nclients >= v->access->owner->conf->max_udp_sessions) {
        v->count.refused++;
        zlt_visit_complain(v->access, "there are too many clients");
        return NULL;
    }

    c = calloc(1, sizeof(zlt_client_t));
    if (c == NULL) {
        return NULL;
    }

    c->visits = v;
    memcpy(&c->addr, sa, len);
    c->len = len;

    zlt_udp_peer_init(&c->peer, &v->count, &v->access->bytes[1]);
    c->peer.ready = 1;

    zlt_list_init(&c->task.link);
    zlt_list_append(&v->clients, &c->used);

    bucket = zlt_client_bucket(v, sa, len);
    c->next = *bucket;
    *bucket = c;

    v->nclients++;
    v->access->total++;

    return c;
}


/* What has waited for the channel goes, however long that was. */

static void
zlt_client_begin(zlt_client_t *c)
{
    zlt_visit_udp_t   *v;
    zlt_queue_flow_t  *f;
    zlt_queue_item_t  *item, *items, **last;

    v = c->visits;
    f = &c->peer.to_server;
    last = &items;

    /* the flow cannot be in two queues */

    while (!zlt_queue_flow_empty(f)) {
        item = zlt_queue_get(&v->pending, f, f->first->since);
        *last = item;
        last = &item->next;
    }

    *last = NULL;

    if (items) {
        zlt_client_join(c);
    }

    while ((item = items) != NULL) {
        items = item->next;
        zlt_udp_forward(&c->peer, item->data, item->len);
        free(item);
    }
}


/* Becomes a session of the channel. */

static void
zlt_client_join(zlt_client_t *c)
{
    char              text[ZLT_ADDR_TEXT];
    uint8_t           buf[ZLT_DGRAM_HEADER + ZLT_ID_SIZE + 2 + ZLT_ADDR_TEXT],
                     *p;
    zlt_addr_t        addr;
    zlt_visit_udp_t  *v;

    static const uint8_t  nobody[ZLT_ID_SIZE];

    v = c->visits;

    zlt_udp_peer_add(v->udp, &c->peer, ++v->number);

    addr.addr = c->addr;
    addr.len = c->len;
    (void) zlt_addr_text(text, &addr);

    zlt_log_link(v->access->owner->label, ZLT_LOG_DEBUG, "a client of access "
                 "to \"%s\" from %s", v->access->conf.name, text);

    p = zlt_dgram_open(buf, buf + sizeof(buf), c->peer.number, nobody, text,
                       strlen(text));

    zlt_udp_control(v->udp, buf, (size_t) (p - buf));
}


static void
zlt_client_used(zlt_client_t *c)
{
    if (c->active == zlt_udp_now) {
        return;
    }

    c->active = zlt_udp_now;

    if (c->visits->udp) {
        c->visits->udp->active = zlt_udp_now;
    }

    zlt_list_remove(&c->used);
    zlt_list_append(&c->visits->clients, &c->used);
}


static void
zlt_client_forget(zlt_client_t *c)
{
    zlt_visit_udp_t  *v;
    zlt_client_t    **p;

    if (c->peer.closed) {
        return;
    }

    v = c->visits;
    c->peer.closed = 1;

    if (c->peer.udp) {
        zlt_visiting_drop(&c->peer);
    }

    zlt_queue_purge(&v->pending, &c->peer.to_server);

    for (p = zlt_client_bucket(v, &c->addr.sa, c->len); *p != c;
         p = &(*p)->next)
    {
        /* it is there */
    }

    *p = c->next;
    v->nclients--;

    zlt_list_remove(&c->used);

    c->task.handler = zlt_client_freed;
    zlt_io_later(&c->task);
}


static void
zlt_client_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_client_t, task));
}


static void
zlt_visiting_send(zlt_udp_peer_t *p, struct iovec *iov, unsigned n)
{
    unsigned          done;
    zlt_visit_udp_t  *v;
    zlt_client_t     *c;

    c = zlt_client_of(p);
    v = c->visits;

    zlt_client_used(c);

    for (done = 0; done < n; done++) {

        done += zlt_udp_socket_send_to(&v->socket, &c->addr.sa, c->len,
                                       &iov[done], n - done);

        if (done == n) {
            return;
        }

        if (errno == EAGAIN) {
            break;
        }

        /* that one is lost */

        v->count.failed++;
    }

    for ( /* void */ ; done < n; done++) {
        zlt_udp_peer_hold(p, iov[done].iov_base, iov[done].iov_len);
        v->waiting = 1;
    }

    if (v->waiting) {
        zlt_io_await_write(&v->socket.io, 1);
    }
}


static void
zlt_visiting_close(zlt_udp_peer_t *p, unsigned cause, int tell)
{
    uint8_t        buf[ZLT_DGRAM_CLOSE_SIZE];
    zlt_udp_t     *u;
    zlt_client_t  *c;

    c = zlt_client_of(p);
    u = p->udp;

    if (!tell && cause != ZLT_DGRAM_ENDED) {
        zlt_visiting_complain(p, "the other end has closed a session: nobody "
                                 "is there, or it may not go there");
    }

    (void) zlt_dgram_close(buf, p->number, cause);

    zlt_client_forget(c);

    if (tell && u) {
        zlt_udp_control(u, buf, sizeof(buf));
    }
}


/* The client stays. */

static void
zlt_visiting_drop(zlt_udp_peer_t *p)
{
    zlt_udp_peer_remove(p);
    p->udp = NULL;
}


static void
zlt_visiting_complain(zlt_udp_peer_t *p, const char *text)
{
    zlt_visit_complain(zlt_client_of(p)->visits->access, text);
}
