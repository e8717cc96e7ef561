
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Theory of operation: a datagram channel
 *
 * A channel carries the datagrams of many sessions, in frames.  What counts
 * is how many of them one system call moves.
 *
 * From the server: the channel is read into a large buffer that all channels
 * share.  The frames in it are noted by session, and sent from where they
 * lie: a session's datagrams by one call, those of one size as one message.
 * Nothing of a read outlives it but the beginning of a frame.
 *
 * A session's socket lives on a stack of calls that may find the channel
 * broken.  So a channel that fails is only marked, and ends when the loop
 * comes back to it, with no frame of anyone's above.
 */


#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "flow.h"
#include "log.h"
#include "often.h"
#include "udp.h"
#include "udp_out.h"


#define ZLT_UDP_IN       (256 * 1024)  /* one read */

#define ZLT_UDP_LOWAT    65536         /* unsent, in the kernel */

#define ZLT_UDP_SILENCE  60            /* s, no session and nothing heard */
#define ZLT_UDP_UNACKED  60            /* s, unacknowledged */
#define ZLT_UDP_QUIET    1             /* s, that end it when the agent ends */
#define ZLT_UDP_GRACE    3             /* s, if it never is quiet */


static void zlt_udp_event(zlt_io_t *io);
static void zlt_udp_turn(zlt_task_t *task);
static void zlt_udp_input(zlt_udp_t *u);
static int zlt_udp_frames(zlt_udp_t *u, const uint8_t *p, size_t len);
static int zlt_udp_keep(zlt_udp_t *u, const uint8_t *p, size_t len);
static int zlt_udp_costly(int rc, const zlt_dgram_t *f);
static void zlt_udp_frame(zlt_udp_t *u, const zlt_dgram_t *f);
static void zlt_udp_heartbeat(zlt_udp_t *u, const zlt_dgram_t *f);
static void zlt_udp_malformed(zlt_udp_t *u, const zlt_dgram_t *f);
static void zlt_udp_free_later(zlt_task_t *task);
static void zlt_udp_end(zlt_udp_t *u);
static void zlt_udp_finish(zlt_udp_t *u);
static void zlt_udp_tick_one(zlt_udp_t *u);


uint32_t  zlt_udp_now = 1;     /* 0 is "never" */

static zlt_list_t        zlt_udp_all = { &zlt_udp_all, &zlt_udp_all };

/* what remained of the last read comes first */
static uint8_t           zlt_udp_in[ZLT_MAX_MESSAGE_SIZE + ZLT_UDP_IN];


zlt_udp_t *
zlt_udp_begin(zlt_channel_t *ch, const zlt_udp_role_t *role,
    const uint8_t *data, size_t len)
{
    int          lowat;
    zlt_conn_t  *c;
    zlt_flow_t  *f;
    zlt_udp_t   *u;

    u = calloc(1, sizeof(zlt_udp_t));
    if (u == NULL) {
        return NULL;
    }

    u->out = malloc(ZLT_UDP_OUT);

    if (u->out == NULL || zlt_udp_peer_init_all(u) == -1) {
        free(u->out);
        free(u);
        return NULL;
    }

    u->role = role;
    u->channel = ch;
    u->owner = ch->owner;
    u->heard = zlt_udp_now;
    u->active = zlt_udp_now;
    u->whole = 1;

    zlt_list_init(&u->task.link);
    zlt_list_append(&zlt_udp_all, &u->link);

    u->task.handler = zlt_udp_turn;

    ch->udp = u;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];
    c->io.handler = zlt_udp_event;

    zlt_conn_keepalive(c);

    lowat = ZLT_UDP_LOWAT;
    (void) setsockopt(c->io.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat,
                      sizeof(int));

    /* an answer to a heartbeat may not have been sent yet */

    f = &ch->relay.flow[ZLT_RELAY_SERVICE];

    if (f->buf) {
        zlt_udp_out_control(u, f->buf->data + f->buf->pos,
                        f->buf->last - f->buf->pos);
        u->whole = 0;
        free(f->buf);
        f->buf = NULL;
    }

    /* there may be more, also where no event will tell */

    u->again = 1;
    zlt_io_post(&u->task);

    if (len) {
        (void) zlt_udp_frames(u, data, len);
    }

    return u;
}


void
zlt_udp_free(zlt_udp_t *u)
{
    if (u->ended) {
        return;
    }

    u->ended = 1;

    zlt_udp_peer_free_all(u);
    zlt_list_remove(&u->link);

    u->task.handler = zlt_udp_free_later;
    zlt_io_later(&u->task);
}


static void
zlt_udp_free_later(zlt_task_t *task)
{
    zlt_udp_t  *u;

    u = zlt_list_data(task, zlt_udp_t, task);

    free(u->buckets);
    free(u->rest);
    free(u->out);
    free(u);
}


static void
zlt_udp_event(zlt_io_t *io)
{
    zlt_udp_t      *u;
    zlt_channel_t  *ch;

    ch = io->data;
    u = ch->udp;

    if (u->blocked || zlt_conn_pending(&ch->relay.side[ZLT_RELAY_CHANNEL])) {
        zlt_udp_out_write(u);
    }

    zlt_udp_input(u);
}


/* The end of a turn in which something was framed, or read not to its end. */

static void
zlt_udp_turn(zlt_task_t *task)
{
    zlt_udp_t  *u;

    u = zlt_list_data(task, zlt_udp_t, task);

    if (u->again) {
        u->again = 0;
        zlt_udp_input(u);

        if (u->ended) {
            return;
        }
    }

    zlt_udp_out_write(u);

    if (u->broken) {
        zlt_udp_end(u);
    }
}


static void
zlt_udp_input(zlt_udp_t *u)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = &u->channel->relay.side[ZLT_RELAY_CHANNEL];

    while (u->broken == NULL) {

        if (u->unread) {
            u->unread = 0;
            n = 0;

        } else {
            n = zlt_conn_read(c, zlt_udp_in + u->rest_len, ZLT_UDP_IN);

            if (n == ZLT_CONN_AGAIN) {
                return;
            }

            if (n <= 0) {
                u->broken = (n == 0) ? "closed by the server"
                                     : strerror(errno);
                break;
            }
        }

        n += (ssize_t) u->rest_len;

        if (u->rest_len) {
            memcpy(zlt_udp_in, u->rest, u->rest_len);
            free(u->rest);
            u->rest = NULL;
            u->rest_len = 0;
        }

        if (zlt_udp_frames(u, zlt_udp_in, (size_t) n) == -1) {
            break;
        }

        if (u->unread) {
            /* the others first */
            return;
        }
    }

    zlt_udp_end(u);
}


/* 0, or -1 if the channel is of no use any more. */

static int
zlt_udp_frames(zlt_udp_t *u, const uint8_t *p, size_t len)
{
    int             rc;
    zlt_dgram_t     f;
    const uint8_t  *end;

    end = p + len;
    u->heard = zlt_udp_now;

    while ((rc = zlt_dgram_read(&u->reader, &f, &p, end)) >= ZLT_OK) {

        if (rc == ZLT_OK) {
            zlt_udp_frame(u, &f);

        } else {
            zlt_udp_malformed(u, &f);
        }

        if (u->broken) {
            return -1;
        }

        if (zlt_udp_costly(rc, &f) && p < end
            && !zlt_io_message(&u->channel->relay.side[ZLT_RELAY_CHANNEL].io))
        {
            u->unread = 1;
            rc = ZLT_AGAIN;
            break;
        }
    }

    zlt_udp_peer_deliver_all(u);

    if (rc != ZLT_AGAIN) {
        zlt_often_warn(u->owner->label, "", "a datagram channel is closed: "
                       "%s", zlt_msg_strerror(rc));
        u->broken = "";
        zlt_io_post(&u->task);
        return -1;
    }

    return zlt_udp_keep(u, p, (size_t) (end - p));
}


/* What is still to be read, or not complete: 0 or -1. */

static int
zlt_udp_keep(zlt_udp_t *u, const uint8_t *p, size_t len)
{
    u->rest_len = len;

    if (len) {
        u->rest = malloc(len);

        if (u->rest == NULL) {
            u->broken = "out of memory";
            zlt_io_post(&u->task);
            return -1;
        }

        memcpy(u->rest, p, len);
    }

    return 0;
}


/* Datagrams cost by their bytes, the rest by their number. */

static int
zlt_udp_costly(int rc, const zlt_dgram_t *f)
{
    return rc != ZLT_OK || f->type != ZLT_DATAGRAM;
}


static void
zlt_udp_frame(zlt_udp_t *u, const zlt_dgram_t *f)
{
    zlt_udp_peer_t  *p;

    switch (f->type) {

    case ZLT_DATAGRAM:
        p = zlt_udp_peer_find(u, f->session);

        if (p) {
            zlt_udp_peer_stage(p, f->data.data, f->data.len);

        } else {
            u->owner->udp_unknown++;
        }

        return;

    case ZLT_DATAGRAM_OPEN:

        if (u->role->open) {
            u->role->open(u, f);
            return;
        }

        break;

    case ZLT_DATAGRAM_CLOSE:
        p = zlt_udp_peer_find(u, f->session);

        if (p) {
            zlt_udp_peer_deliver_all(u);

            /* it may have met with an error */

            if (!p->closed) {
                zlt_udp_peer_close(p, f->cause, 0);
            }
        }

        return;

    case ZLT_HEARTBEAT:
        zlt_udp_heartbeat(u, f);
        return;

    case ZLT_HEARTBEAT_ACK:
        return;
    }

    zlt_often_warn(u->owner->label, "", "a datagram channel is closed: a "
                   "message that a server does not send");
    u->broken = "";
    zlt_io_post(&u->task);
}


static void
zlt_udp_heartbeat(zlt_udp_t *u, const zlt_dgram_t *f)
{
    size_t     n;
    uint8_t    buf[ZLT_HEADER_SIZE + 8];
    zlt_msg_t  ack;

    memset(&ack, 0, sizeof(zlt_msg_t));
    ack.type = ZLT_HEARTBEAT_ACK;
    ack.timestamp = f->timestamp;

    n = zlt_msg_encode(&ack, buf, sizeof(buf));
    zlt_udp_out_control(u, buf, n);
}


/* It costs its session, and nobody else. */

static void
zlt_udp_malformed(zlt_udp_t *u, const zlt_dgram_t *f)
{
    uint8_t          buf[ZLT_DGRAM_CLOSE_SIZE];
    zlt_udp_peer_t  *p;

    if (!f->has_session) {
        u->owner->udp_unknown++;
        return;
    }

    p = zlt_udp_peer_find(u, f->session);

    if (p) {
        p->role->complain(p, "a malformed frame ends its session");
        zlt_udp_peer_deliver_all(u);

        if (!p->closed) {
            zlt_udp_peer_close(p, ZLT_E_FORBIDDEN, 1);
        }

        return;
    }

    u->owner->udp_unknown++;

    if (f->type == ZLT_DATAGRAM_OPEN && u->role->open) {
        (void) zlt_dgram_close(buf, f->session, ZLT_E_FORBIDDEN);
        zlt_udp_out_control(u, buf, sizeof(buf));
    }
}


/* With nothing above on the stack that holds a session. */

static void
zlt_udp_end(zlt_udp_t *u)
{
    zlt_channel_t  *ch;

    if (u->ended) {
        return;
    }

    ch = u->channel;

    if (u->broken && *u->broken) {
        zlt_log_link(u->owner->label, ZLT_LOG_DEBUG, "a datagram channel with "
                     "%u session%s has ended: %s", u->npeers,
                     u->npeers == 1 ? "" : "s", u->broken);
    }

    zlt_channel_abort(ch);
}


/* The agent ends: what is on its way to the server still gets there. */

static void
zlt_udp_finish(zlt_udp_t *u)
{
    zlt_channel_t  *ch;

    ch = u->channel;

    zlt_udp_out_write(u);

    if (u->broken) {
        zlt_udp_end(u);
        return;
    }

    ch->udp = NULL;

    if (u->out_pos < u->out_len
        && zlt_flow_put(&ch->relay, ZLT_RELAY_SERVICE, u->out + u->out_pos,
                        u->out_len - u->out_pos)
           == -1)
    {
        zlt_udp_free(u);
        zlt_channel_abort(ch);
        return;
    }

    zlt_udp_free(u);
    zlt_channel_end(ch);
}


void
zlt_udp_tick(void)
{
    zlt_list_t  *link, *next;

    zlt_udp_now++;

    zlt_list_each_safe(link, next, &zlt_udp_all) {
        zlt_udp_tick_one(zlt_list_data(link, zlt_udp_t, link));
    }
}


static void
zlt_udp_tick_one(zlt_udp_t *u)
{
    if (u->owner->stopping) {

        if (u->npeers == 0
            || zlt_udp_now - u->active > ZLT_UDP_QUIET
            || ++u->stopping > ZLT_UDP_GRACE)
        {
            zlt_udp_finish(u);
        }

        return;
    }

    if (zlt_udp_now - u->heard <= ZLT_UDP_SILENCE) {
        return;
    }

    /* a server that has ended without a word; or all goes one way */

    if (u->npeers == 0
        || zlt_conn_dead(&u->channel->relay.side[ZLT_RELAY_CHANNEL],
                         ZLT_UDP_UNACKED * 1000))
    {
        u->broken = "nothing comes from the server";
        zlt_udp_end(u);
    }
}
