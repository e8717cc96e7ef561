
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A connection that leaves its lane for a channel of its own:
 * docs/protocol.md, "Lanes".
 *
 * The channel on which Move came waits, in the state MOVING, until the server
 * has left the lane and we have, each between two messages.  Then its socket
 * and its TLS session take the place of the lane at the bottom of the relay,
 * which does not notice.
 */


#include <errno.h>
#include <string.h>

#include "framed.h"
#include "lane.h"
#include "move.h"


static zlt_channel_t *zlt_move_find(zlt_channel_t *ch, const uint8_t *id);
static void zlt_move_event(zlt_io_t *io);
static void zlt_move_switch(zlt_channel_t *ch);
static void zlt_move_failed(zlt_channel_t *ch);


void
zlt_move_begin(zlt_channel_t *ch, const zlt_msg_t *m, size_t behind)
{
    zlt_msg_t       ack;
    zlt_pool_t     *p;
    zlt_channel_t  *from;

    from = behind ? NULL : zlt_move_find(ch, m->connection_id);

    if (from == NULL) {
        /* it has just ended, perhaps */
        zlt_channel_lost(ch, "nothing to be moved");
        return;
    }

    memcpy(ch->id, from->id, ZLT_ID_SIZE);

    p = zlt_pool_leave(ch);

    zlt_channel_state(ch, ZLT_CHANNEL_MOVING);
    ch->moving = from;
    from->moving = ch;

    ch->relay.side[ZLT_RELAY_CHANNEL].io.handler = zlt_move_event;
    zlt_timer_stop(&ch->relay.timer);

    if (p) {
        zlt_pool_demand(p);
    }

    memset(&ack, 0, sizeof(zlt_msg_t));
    ack.type = ZLT_CONNECT_ACK;
    ack.connection_id = ch->id;

    if (zlt_channel_send(ch, &ack, ZLT_CHANNEL_SMALL) == -1) {
        zlt_move_failed(ch);
    }
}


/* A connection of the same tunnel that is on a lane, and goes on there in both
   directions. */

static zlt_channel_t *
zlt_move_find(zlt_channel_t *ch, const uint8_t *id)
{
    zlt_list_t     *link;
    zlt_channel_t  *c;
    zlt_frames_t   *frames;

    if (ch->relay.side[ZLT_RELAY_CHANNEL].lane) {
        return NULL;
    }

    zlt_list_each(link, &ch->owner->channels) {

        c = zlt_list_data(link, zlt_channel_t, all);
        frames = &c->framed.frames;

        if (c->relay.side[ZLT_RELAY_CHANNEL].lane
            && memcmp(c->id, id, ZLT_ID_SIZE) == 0)
        {
            return c->state == ZLT_CHANNEL_RELAY && c->moving == NULL
                   && memcmp(c->tunnel_id, ch->tunnel_id, ZLT_ID_SIZE) == 0
                   && frames->in.end == ZLT_FRAMES_OPEN
                   && frames->out.end == ZLT_FRAMES_OPEN ? c : NULL;
        }
    }

    return NULL;
}


/* Nothing comes until we have left the lane, but perhaps its end. */

static void
zlt_move_event(zlt_io_t *io)
{
    zlt_channel_t  *ch;

    ch = io->data;

    if ((io->ready & ZLT_IO_HUP) || zlt_channel_flush(ch) == -1) {
        zlt_move_failed(ch);
    }
}


void
zlt_move_leave_lane(zlt_channel_t *ch)
{
    zlt_conn_t        *c;
    zlt_frames_out_t  *out;

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];
    out = &ch->framed.frames.out;

    if (ch->moving == NULL) {
        zlt_channel_log(ch, "was moved to a channel that has ended");
        zlt_channel_abort(ch);
        return;
    }

    /* the relay may have something to send first, and has to be told */

    if (ch->state != ZLT_CHANNEL_RELAY || !zlt_frames_whole(out)) {
        c->io.handler(&c->io);
        return;
    }

    if (out->end == ZLT_FRAMES_OPEN) {
        zlt_frames_end(out, ZLT_FRAMES_MOVED);
    }

    switch (zlt_conn_flush(c)) {

    case 0:
        zlt_move_switch(ch);
        break;

    case ZLT_CONN_ERROR:
        zlt_channel_abort(ch);
        break;

    default:
        /* again when there is room */
        break;
    }
}


static void
zlt_move_switch(zlt_channel_t *ch)
{
    uint8_t         ended;
    zlt_io_pt       handler;
    zlt_conn_t     *c, *to;
    zlt_channel_t  *moving;

    moving = ch->moving;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];
    to = &moving->relay.side[ZLT_RELAY_CHANNEL];

    handler = c->io.handler;
    ended = ch->framed.frames.out.end;

    zlt_lane_over(c);
    zlt_conn_close(c);

    moving->moving = NULL;
    ch->moving = NULL;

    if (zlt_conn_move(c, to, handler) == -1) {
        zlt_channel_abort(moving);
        zlt_channel_abort(ch);
        return;
    }

    zlt_framed_start(c, &ch->framed, zlt_pool_retires);

    if (ended != ZLT_FRAMES_MOVED) {
        ch->framed.frames.out.end = ended;
    }

    ch->worker = moving->worker;
    ch->workers = moving->workers;

    zlt_channel_free(moving);

    zlt_channel_log(ch, "has left its lane");

    zlt_io_post(&ch->relay.task);
}


/* The channel has ended: the connection stays on its lane. */

static void
zlt_move_failed(zlt_channel_t *ch)
{
    ch->moving->moving = NULL;
    ch->moving = NULL;

    zlt_channel_abort(ch);
}
