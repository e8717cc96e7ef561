
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What goes to the server on a datagram channel.
 *
 * The sockets that have something in this turn of the loop are read, and their
 * datagrams framed one behind the other into "out", which is written once, at
 * the end of the turn, or when it is full.
 *
 * Reading never waits for writing, neither way: one session, or a slow server,
 * must not delay the others.  Where a socket or the channel is full, datagrams
 * are queued by session, and there they get too many or too old.  A write that
 * went in part leaves the rest of one frame in "out"; the frames behind it go
 * back to the queue, so that they can still be dropped.  DatagramClose and
 * HeartbeatAck are not dropped: they wait in "out".
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "udp.h"
#include "udp_out.h"


#define ZLT_UDP_REFILL   512           /* queued datagrams of one write */


typedef struct {
    zlt_queue_item_t  *item;
    zlt_queue_flow_t  *flow;
} zlt_udp_refill_t;


static int zlt_udp_out_flush(zlt_udp_t *u);
static unsigned zlt_udp_out_refill(zlt_udp_t *u);
static void zlt_udp_out_refill_back(zlt_udp_t *u, unsigned n);
static void zlt_udp_out_back(zlt_udp_t *u);


static zlt_udp_refill_t  zlt_udp_refills[ZLT_UDP_REFILL];


void
zlt_udp_out_forward(zlt_udp_peer_t *peer, const uint8_t *data, size_t len)
{
    uint8_t    *p;
    zlt_udp_t  *u;

    u = peer->udp;

    if (u->broken) {
        return;
    }

    if (!u->blocked && u->out_len + ZLT_DGRAM_HEADER + len > ZLT_UDP_OUT) {
        zlt_udp_out_write(u);
    }

    if (u->blocked || u->out_len + ZLT_DGRAM_HEADER + len > ZLT_UDP_OUT) {
        zlt_udp_peer_wait(peer, &u->to_server, data, len,
                          u->out_len - u->out_pos);
        return;
    }

    if (zlt_list_empty(&u->task.link)) {
        zlt_io_post(&u->task);
    }

    p = zlt_dgram_header(u->out + u->out_len, peer->number, len);
    memcpy(p, data, len);

    u->out_len += ZLT_DGRAM_HEADER + len;
}


void
zlt_udp_out_control(zlt_udp_t *u, const uint8_t *frame, size_t len)
{
    if (u->broken) {
        return;
    }

    if (u->out_len + len > ZLT_UDP_OUT) {
        zlt_udp_out_write(u);
    }

    if (u->out_len + len > ZLT_UDP_OUT && u->out_pos) {
        memmove(u->out, u->out + u->out_pos, u->out_len - u->out_pos);
        u->out_len -= u->out_pos;
        u->out_pos = 0;
    }

    if (u->out_len + len > ZLT_UDP_OUT) {

        /* ten thousand of them, and it reads none */

        u->broken = "the server does not read";

    } else {
        memcpy(u->out + u->out_len, frame, len);
        u->out_len += len;
    }

    zlt_io_post(&u->task);
}


/* Writes what there is, the queue too, as far as it goes. */

void
zlt_udp_out_write(zlt_udp_t *u)
{
    unsigned  i, n;

    if (u->broken) {
        return;
    }

    n = 0;

    for ( ;; ) {

        if (zlt_udp_out_flush(u) == -1) {
            u->broken = strerror(errno);
            zlt_io_post(&u->task);
        }

        if (u->broken == NULL && u->out_pos < u->out_len) {
            break;
        }

        for (i = 0; i < n; i++) {
            free(zlt_udp_refills[i].item);
        }

        u->out_pos = 0;
        u->out_len = 0;
        u->whole = 1;

        n = u->broken ? 0 : zlt_udp_out_refill(u);

        if (n == 0) {
            u->blocked = 0;
            return;
        }
    }

    if (n) {
        zlt_udp_out_refill_back(u, n);

    } else if (u->whole) {
        zlt_udp_out_back(u);
    }

    u->whole = 0;
    u->blocked = 1;
}


/* 0: as much as there is room for */

static int
zlt_udp_out_flush(zlt_udp_t *u)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = &u->channel->relay.side[ZLT_RELAY_CHANNEL];

    n = zlt_conn_flush(c);

    if (n != 0) {
        return n == ZLT_CONN_AGAIN ? 0 : -1;
    }

    while (u->out_pos < u->out_len) {

        n = zlt_conn_write(c, u->out + u->out_pos, u->out_len - u->out_pos);

        if (n < 0) {
            return n == ZLT_CONN_AGAIN ? 0 : -1;
        }

        u->out_pos += (size_t) n;
    }

    return 0;
}


/* From the queue into "out", which is empty; sessions take turns. */

static unsigned
zlt_udp_out_refill(zlt_udp_t *u)
{
    uint8_t           *p;
    unsigned           n;
    uint64_t           now;
    zlt_queue_flow_t  *f;
    zlt_queue_item_t  *item;

    now = zlt_io_now();
    n = 0;

    while (n < ZLT_UDP_REFILL) {

        item = zlt_queue_next(&u->to_server, &f, now);

        if (item == NULL) {
            break;
        }

        if (u->out_len + ZLT_DGRAM_HEADER + item->len > ZLT_UDP_OUT) {
            zlt_queue_unget(&u->to_server, f, item);
            break;
        }

        p = zlt_dgram_header(u->out + u->out_len,
                             zlt_list_data(f, zlt_udp_peer_t,
                                           to_server)->number,
                             item->len);
        memcpy(p, item->data, item->len);
        u->out_len += ZLT_DGRAM_HEADER + item->len;

        zlt_udp_refills[n].item = item;
        zlt_udp_refills[n++].flow = f;
    }

    return n;
}


/* The write stopped within what came from the queue. */

static void
zlt_udp_out_refill_back(zlt_udp_t *u, unsigned n)
{
    zlt_udp_refill_t  *r;

    for (r = &zlt_udp_refills[n - 1];
         n && u->out_len - ZLT_DGRAM_HEADER - r->item->len >= u->out_pos;
         r--, n--)
    {
        u->out_len -= ZLT_DGRAM_HEADER + r->item->len;
        zlt_queue_unget(&u->to_server, r->flow, r->item);
    }

    /* those before went, the last of them perhaps in part */

    while (n) {
        free(zlt_udp_refills[--n].item);
    }

    if (u->out_pos == u->out_len) {
        u->out_pos = 0;
        u->out_len = 0;
    }
}


/* The write stopped within the frames of this turn. */

static void
zlt_udp_out_back(zlt_udp_t *u)
{
    int                  rc;
    size_t               kept;
    zlt_dgram_t          f;
    const uint8_t       *p, *start, *end;
    zlt_udp_peer_t      *peer;
    zlt_dgram_reader_t   reader;

    memset(&reader, 0, sizeof(zlt_dgram_reader_t));

    p = u->out;
    end = u->out + u->out_len;
    kept = 0;

    for ( ;; ) {
        start = p;
        rc = zlt_dgram_read(&reader, &f, &p, end);

        if (rc != ZLT_OK) {
            break;
        }

        if (p <= u->out + u->out_pos) {
            continue;
        }

        if (start < u->out + u->out_pos) {

            /* this one went in part */

            kept = (size_t) (p - u->out);
            continue;
        }

        if (kept == 0) {
            kept = u->out_pos;
        }

        if (f.type == ZLT_DATAGRAM) {
            peer = zlt_udp_peer_find(u, f.session);

            if (peer) {
                zlt_udp_peer_wait(peer, &u->to_server, f.data.data,
                                  f.data.len, 0);
            }

            continue;
        }

        memmove(u->out + kept, start, (size_t) (p - start));
        kept += (size_t) (p - start);
    }

    u->out_len = kept;

    if (u->out_pos == u->out_len) {
        u->out_pos = 0;
        u->out_len = 0;
    }
}
