
/*
 * Copyright (C) zltunnel authors
 */


#include "zlt_window.h"


static int zlt_window_grow(zlt_window_t *w);


void
zlt_window_start(zlt_window_t *w, zlt_window_share_t *share)
{
    w->size = ZLT_WINDOW_FIRST;
    w->open = ZLT_WINDOW_FIRST;
    w->kept = 0;
    w->read = 0;
    w->since = 0;
    w->share = share;
}


int
zlt_window_came(zlt_window_t *w, size_t n)
{
    if (n > w->open) {
        return -1;
    }

    w->open -= (uint32_t) n;
    w->kept += (uint32_t) n;

    return 0;
}


void
zlt_window_read(zlt_window_t *w, size_t n, uint32_t now, uint32_t rtt)
{
    w->kept -= (uint32_t) n;

    if (now - w->since > rtt) {
        w->since = now;
        w->read = 0;
    }

    w->read += (uint32_t) n;

    while (w->read >= w->size / 4 && zlt_window_grow(w) == 0) {
        /* void */
    }
}


/* Twice as large, if all that share the memory have as much left: 0, or -1. */

static int
zlt_window_grow(zlt_window_t *w)
{
    zlt_window_share_t  *s;

    if (w->share == NULL || w->size >= ZLT_WINDOW_LANE) {
        return -1;
    }

    for (s = w->share; s; s = s->of) {
        if (s->used + w->size > s->most) {
            return -1;
        }
    }

    for (s = w->share; s; s = s->of) {
        s->used += w->size;
    }

    w->size *= 2;

    return 0;
}


/* For a quarter of the window a message is worth the while, and comes before
   the sender has used up the rest. */

uint32_t
zlt_window_due(const zlt_window_t *w)
{
    uint32_t  n;

    n = w->size - w->open - w->kept;

    return n >= w->size / 4 ? n : 0;
}


void
zlt_window_given(zlt_window_t *w, uint32_t credit)
{
    w->open += credit;
}


void
zlt_window_end(zlt_window_t *w)
{
    zlt_window_share_t  *s;

    for (s = w->share; s; s = s->of) {
        s->used -= w->size - ZLT_WINDOW_FIRST;
    }

    w->share = NULL;
}


int
zlt_window_add(uint32_t *left, uint32_t credit)
{
    if (credit > ZLT_WINDOW_MOST - *left) {
        return -1;
    }

    *left += credit;

    return 0;
}
