
/*
 * Copyright (C) zltunnel authors
 */


#include "zlt_msg.h"
#include "zlt_track.h"
#include "zlt_wire.h"


static void zlt_track_message(zlt_track_t *t, unsigned from);


void
zlt_track_begin(zlt_track_t *t)
{
    unsigned  i;

    for (i = 0; i < 2; i++) {
        t->way[i].open = 1;
        t->way[i].reset = 0;
    }
}


void
zlt_track_bytes(zlt_track_t *t, unsigned from, const uint8_t *data,
    size_t len)
{
    size_t          n;
    const uint8_t  *end;

    end = data + len;

    while (data < end && !t->lost) {

        n = (size_t) (end - data);

        if (t->way[from].left) {

            if (n > t->way[from].left) {
                n = t->way[from].left;
            }

            data += n;
            t->way[from].left -= (uint32_t) n;

            continue;
        }

        t->way[from].header[t->way[from].have++] = *data++;

        if (t->way[from].have == ZLT_HEADER_SIZE) {
            t->way[from].have = 0;
            t->way[from].left = zlt_get32(t->way[from].header + 1);

            zlt_track_message(t, from);
        }
    }
}


static void
zlt_track_message(zlt_track_t *t, unsigned from)
{
    switch (t->way[from].header[0]) {

    case ZLT_DATA:
    case ZLT_CONNECT_ACK:
    case ZLT_HEARTBEAT:
    case ZLT_HEARTBEAT_ACK:
        break;

    case ZLT_CONNECT:
        zlt_track_begin(t);
        break;

    case ZLT_CONNECT_FAIL:
    case ZLT_EOF:
    case ZLT_RESET:
        t->way[from].open = 0;
        t->way[from].reset = (t->way[from].header[0] == ZLT_RESET);
        break;

    case ZLT_RETIRE:
        t->retired = 1;
        break;

    default:

        /* Raw, or it has become a channel of another kind */

        t->lost = 1;
        break;
    }
}


int
zlt_track_busy(const zlt_track_t *t)
{
    return t->way[0].open || t->way[1].open;
}


int
zlt_track_idle(const zlt_track_t *t)
{
    unsigned  i;

    for (i = 0; i < 2; i++) {

        if (t->way[i].left || t->way[i].have) {
            return 0;
        }
    }

    return !t->retired && !t->lost && !zlt_track_busy(t);
}


int
zlt_track_whole(const zlt_track_t *t, unsigned from)
{
    return t->lost
           || (!t->way[from].open && !t->way[from].reset
               && !t->way[from].left && !t->way[from].have);
}
