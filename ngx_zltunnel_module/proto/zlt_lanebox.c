
/*
 * Copyright (C) zltunnel authors
 */


#include "zlt_lanebox.h"
#include "zlt_lanes.h"


void
zlt_lanebox_start(zlt_lanebox_t *box, const zlt_memory_t *memory,
    zlt_window_share_t *share)
{
    box->in.first = NULL;
    box->in.last = NULL;
    box->in.len = 0;
    box->memory = memory;
    box->credit = ZLT_WINDOW_FIRST;
    box->ended = 0;
    box->broken = 0;

    zlt_window_start(&box->window, share);
}


int
zlt_lanebox_came(zlt_lanebox_t *box, const uint8_t *data, size_t len)
{
    if (zlt_lanebox_over(box)) {
        return 0;
    }

    if (zlt_window_came(&box->window, len) == -1) {
        return -1;
    }

    if (zlt_inbox_put(&box->in, box->memory, data, len) == -1) {
        zlt_lanebox_break(box);
    }

    return 1;
}


ssize_t
zlt_lanebox_take(zlt_lanebox_t *box, uint8_t *buf, size_t size, uint32_t now,
    uint32_t rtt)
{
    size = zlt_inbox_take(&box->in, box->memory, buf, size);

    if (size == 0) {
        return zlt_lanebox_over(box) ? -1 : 0;
    }

    zlt_window_read(&box->window, size, now, rtt);

    return (ssize_t) size;
}


size_t
zlt_lanebox_may(const zlt_lanebox_t *box, size_t size)
{
    if (size > ZLT_LANE_MAX) {
        size = ZLT_LANE_MAX;
    }

    return size < box->credit ? size : box->credit;
}


size_t
zlt_lanebox_fit(size_t size, size_t room)
{
    room = room > ZLT_LANE_HEADER ? room - ZLT_LANE_HEADER : 0;

    return size < room ? size : room;
}


int
zlt_lanebox_credit(zlt_lanebox_t *box, uint32_t credit)
{
    return zlt_window_add(&box->credit, credit);
}


void
zlt_lanebox_break(zlt_lanebox_t *box)
{
    box->broken = 1;
    zlt_inbox_drop(&box->in, box->memory);
}


void
zlt_lanebox_end(zlt_lanebox_t *box)
{
    zlt_window_end(&box->window);
    zlt_inbox_drop(&box->in, box->memory);
}
