
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The sessions of a datagram channel by their numbers, and the datagrams that
 * have come for them.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "udp.h"
#include "udp_out.h"
#include "udp_peer.h"


#define ZLT_UDP_BUCKETS  64            /* at first, a power of two */


/* a datagram of the buffer that is being worked on */

typedef struct {
    const uint8_t  *data;
    uint32_t        len;
    uint16_t        next;
} zlt_udp_staged_t;


static void zlt_udp_peer_grow(zlt_udp_t *u);
static void zlt_udp_peer_deliver(zlt_udp_peer_t *p);
static void zlt_udp_peer_send(zlt_udp_peer_t *p, struct iovec *iov,
    unsigned n);
static zlt_udp_failed_e zlt_udp_peer_failed(zlt_udp_peer_t *p, int err);
static void zlt_udp_peer_hold(zlt_udp_peer_t *p, const uint8_t *data,
    size_t len);
static void zlt_udp_peer_lost_in(zlt_queue_flow_t *f, zlt_queue_item_t *item,
    zlt_queue_drop_e why);
static void zlt_udp_peer_lost_out(zlt_queue_flow_t *f, zlt_queue_item_t *item,
    zlt_queue_drop_e why);


static const zlt_queue_ops_t  zlt_udp_peer_to_local = {
    malloc,
    zlt_udp_peer_lost_in
};

const zlt_queue_ops_t  zlt_udp_peer_to_server = {
    malloc,
    zlt_udp_peer_lost_out
};


static zlt_udp_staged_t  zlt_udp_staged[ZLT_UDP_SEND_MAX];


int
zlt_udp_peer_init_all(zlt_udp_t *u)
{
    u->buckets = calloc(ZLT_UDP_BUCKETS, sizeof(zlt_udp_peer_t *));

    if (u->buckets == NULL) {
        return -1;
    }

    u->mask = ZLT_UDP_BUCKETS - 1;

    zlt_list_init(&u->peers);
    zlt_list_init(&u->staged);

    zlt_queue_init(&u->to_local, &zlt_udp_peer_to_local);
    zlt_queue_init(&u->to_server, &zlt_udp_peer_to_server);

    return 0;
}


void
zlt_udp_peer_free_all(zlt_udp_t *u)
{
    zlt_list_t      *link, *next;
    zlt_udp_peer_t  *p;

    zlt_list_each_safe(link, next, &u->peers) {
        p = zlt_list_data(link, zlt_udp_peer_t, link);
        p->role->drop(p);
    }
}


void
zlt_udp_peer_init(zlt_udp_peer_t *p, const zlt_udp_role_t *role)
{
    p->role = role;
    p->active = zlt_udp_now;

    zlt_queue_flow_init(&p->to_local);
    zlt_queue_flow_init(&p->to_server);

    zlt_list_append(p->users, &p->used);
}


void
zlt_udp_peer_used(zlt_udp_peer_t *p)
{
    if (p->active == zlt_udp_now) {
        return;
    }

    p->active = zlt_udp_now;

    if (p->udp) {
        p->udp->active = zlt_udp_now;
    }

    zlt_list_remove(&p->used);
    zlt_list_append(p->users, &p->used);
}


void
zlt_udp_peer_idle(zlt_list_t *users, uint32_t timeout)
{
    zlt_udp_peer_t  *p;

    while (!zlt_list_empty(users)) {
        p = zlt_list_data(users->next, zlt_udp_peer_t, used);

        if (zlt_udp_now - p->active <= (timeout + 999) / 1000) {
            break;
        }

        zlt_udp_peer_close(p, ZLT_DGRAM_ENDED, 1);
    }
}


void
zlt_udp_peer_close(zlt_udp_peer_t *p, unsigned cause, int tell)
{
    uint8_t     buf[ZLT_DGRAM_CLOSE_SIZE];
    zlt_udp_t  *u;

    u = p->udp;

    (void) zlt_dgram_close(buf, p->number, cause);

    p->role->close(p, cause, tell);

    if (tell && u) {
        zlt_udp_out_control(u, buf, sizeof(buf));
    }
}


zlt_udp_peer_t *
zlt_udp_peer_find(zlt_udp_t *u, uint32_t number)
{
    zlt_udp_peer_t  *p;

    if (u->recent && u->recent->number == number) {
        return u->recent;
    }

    for (p = u->buckets[number & u->mask]; p; p = p->next) {
        if (p->number == number) {
            u->recent = p;
            return p;
        }
    }

    return NULL;
}


void
zlt_udp_peer_add(zlt_udp_t *u, zlt_udp_peer_t *p, uint32_t number)
{
    uint32_t  i;

    p->udp = u;
    p->number = number;

    if (u->npeers > u->mask) {
        zlt_udp_peer_grow(u);
    }

    i = number & u->mask;
    p->next = u->buckets[i];
    u->buckets[i] = p;
    u->npeers++;

    zlt_list_init(&p->stage);
    zlt_list_append(&u->peers, &p->link);
}


/* Without memory they stay as they are. */

static void
zlt_udp_peer_grow(zlt_udp_t *u)
{
    uint32_t          i, size;
    zlt_list_t       *link;
    zlt_udp_peer_t  **buckets, *p;

    size = (u->mask + 1) * 2;
    buckets = calloc(size, sizeof(zlt_udp_peer_t *));

    if (buckets == NULL) {
        return;
    }

    free(u->buckets);
    u->buckets = buckets;
    u->mask = size - 1;

    zlt_list_each(link, &u->peers) {
        p = zlt_list_data(link, zlt_udp_peer_t, link);

        i = p->number & u->mask;
        p->next = buckets[i];
        buckets[i] = p;
    }
}


void
zlt_udp_peer_remove(zlt_udp_peer_t *p)
{
    zlt_udp_t        *u;
    zlt_udp_peer_t  **pp;

    u = p->udp;

    for (pp = &u->buckets[p->number & u->mask]; *pp != p; pp = &(*pp)->next) {
        /* it is there */
    }

    *pp = p->next;
    u->npeers--;

    if (u->recent == p) {
        u->recent = NULL;
    }

    zlt_queue_purge(&u->to_local, &p->to_local);
    zlt_queue_purge(&u->to_server, &p->to_server);

    zlt_list_remove(&p->link);
    zlt_list_remove(&p->stage);
}


void
zlt_udp_peer_stage(zlt_udp_peer_t *p, const uint8_t *data, size_t len)
{
    uint16_t           i;
    zlt_udp_t         *u;
    zlt_udp_staged_t  *staged;

    u = p->udp;

    p->count->in++;
    *p->bytes_in += len;

    if (!p->ready || !zlt_queue_flow_empty(&p->to_local)) {
        zlt_udp_peer_hold(p, data, len);
        return;
    }

    if (u->nstaged == ZLT_UDP_SEND_MAX) {
        zlt_udp_peer_deliver_all(u);

        if (p->closed) {
            return;
        }

        if (!zlt_queue_flow_empty(&p->to_local)) {
            zlt_udp_peer_hold(p, data, len);
            return;
        }
    }

    i = (uint16_t) u->nstaged++;

    staged = &zlt_udp_staged[i];
    staged->data = data;
    staged->len = (uint32_t) len;

    if (zlt_list_empty(&p->stage)) {
        zlt_list_append(&u->staged, &p->stage);
        p->first = i;

    } else {
        zlt_udp_staged[p->last].next = i;
    }

    p->last = i;
}


void
zlt_udp_peer_deliver_all(zlt_udp_t *u)
{
    zlt_list_t  *link;

    while (!zlt_list_empty(&u->staged)) {
        link = u->staged.next;
        zlt_list_remove(link);

        zlt_udp_peer_deliver(zlt_list_data(link, zlt_udp_peer_t, stage));
    }

    u->nstaged = 0;
}


static void
zlt_udp_peer_deliver(zlt_udp_peer_t *p)
{
    unsigned       i, n;
    struct iovec  *iov;

    static struct iovec  iovs[ZLT_UDP_SEND_MAX];

    n = 0;

    for (i = p->first; /* void */ ; i = zlt_udp_staged[i].next) {
        iov = &iovs[n++];
        iov->iov_base = (void *) (uintptr_t) zlt_udp_staged[i].data;
        iov->iov_len = zlt_udp_staged[i].len;

        if (i == p->last) {
            break;
        }
    }

    zlt_udp_peer_used(p);
    zlt_udp_peer_send(p, iovs, n);
}


/* What the socket does not take now waits. */

static void
zlt_udp_peer_send(zlt_udp_peer_t *p, struct iovec *iov, unsigned n)
{
    unsigned          done;
    zlt_udp_failed_e  why;

    for (done = 0; done < n; /* void */ ) {

        done += zlt_udp_socket_send_to(p->socket, p->to, p->tolen, &iov[done],
                                       n - done);
        if (done == n) {
            return;
        }

        why = zlt_udp_peer_failed(p, errno);

        if (why == ZLT_UDP_DEAD) {
            return;
        }

        if (why == ZLT_UDP_WAIT) {
            break;
        }

        done += (why == ZLT_UDP_SKIP);
    }

    for ( /* void */ ; done < n; done++) {
        zlt_udp_peer_hold(p, iov[done].iov_base, iov[done].iov_len);
    }
}


static zlt_udp_failed_e
zlt_udp_peer_failed(zlt_udp_peer_t *p, int err)
{
    if (err != EAGAIN) {
        return p->role->failed(p, err);
    }

    zlt_udp_socket_wait(p->socket, 1);

    return ZLT_UDP_WAIT;
}


void
zlt_udp_peer_resume(zlt_udp_socket_t *socket, zlt_udp_t *u,
    zlt_udp_peer_t *one)
{
    uint64_t           now;
    struct iovec       iov;
    zlt_udp_peer_t    *p;
    zlt_udp_failed_e   why;
    zlt_queue_flow_t  *f;
    zlt_queue_item_t  *item;

    now = zlt_io_now();

    while (u) {

        if (one) {
            f = &one->to_local;
            item = zlt_queue_get(&u->to_local, f, now);

        } else {
            item = zlt_queue_next(&u->to_local, &f, now);
        }

        if (item == NULL) {
            break;
        }

        p = zlt_list_data(f, zlt_udp_peer_t, to_local);

        iov.iov_base = item->data;
        iov.iov_len = item->len;

        do {
            why = ZLT_UDP_SKIP;

            if (zlt_udp_socket_send_to(socket, p->to, p->tolen, &iov, 1) == 0)
            {
                why = zlt_udp_peer_failed(p, errno);
            }

        } while (why == ZLT_UDP_AGAIN);

        if (why == ZLT_UDP_WAIT) {
            zlt_queue_unget(&u->to_local, f, item);
            return;
        }

        free(item);

        if (why == ZLT_UDP_DEAD) {
            return;
        }
    }

    zlt_udp_socket_wait(socket, 0);
}


void
zlt_udp_peer_receive(zlt_udp_peer_t *p, const zlt_udp_message_t *m)
{
    size_t  n, pos;

    zlt_udp_peer_used(p);

    *p->bytes_out += m->len;

    n = (m->segment && m->segment < m->len) ? m->segment : m->len;
    pos = 0;

    do {
        if (n > m->len - pos) {
            n = m->len - pos;
        }

        p->count->out++;
        p->role->forward(p, m->data + pos, n);

        pos += n;

    } while (pos < m->len);
}


static void
zlt_udp_peer_hold(zlt_udp_peer_t *p, const uint8_t *data, size_t len)
{
    if (zlt_queue_put(&p->udp->to_local, &p->to_local, data, len, 0,
                      zlt_io_now())
        == -1)
    {
        p->count->failed++;
    }
}


void
zlt_udp_peer_wait(zlt_udp_peer_t *p, zlt_queue_t *q, const uint8_t *data,
    size_t len, size_t beside)
{
    if (zlt_queue_put(q, &p->to_server, data, len, beside, zlt_io_now())
        == -1)
    {
        p->count->failed++;
    }
}


static void
zlt_udp_peer_lost_in(zlt_queue_flow_t *f, zlt_queue_item_t *item,
    zlt_queue_drop_e why)
{
    zlt_udp_peer_t  *p;

    p = zlt_list_data(f, zlt_udp_peer_t, to_local);

    p->count->full_in += (why == ZLT_QUEUE_FULL);
    p->count->late_in += (why == ZLT_QUEUE_LATE);

    free(item);
}


static void
zlt_udp_peer_lost_out(zlt_queue_flow_t *f, zlt_queue_item_t *item,
    zlt_queue_drop_e why)
{
    zlt_udp_peer_t  *p;

    p = zlt_list_data(f, zlt_udp_peer_t, to_server);

    p->count->full_out += (why == ZLT_QUEUE_FULL);
    p->count->late_out += (why == ZLT_QUEUE_LATE);

    free(item);
}
