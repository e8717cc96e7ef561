
/*
 * Copyright (C) zltunnel authors
 */


#include "zlt_bulk.h"


unsigned
zlt_bulk_read(uint8_t *run, size_t n)
{
    if (n < ZLT_BULK_READ) {
        *run = 0;

    } else if (*run < UINT8_MAX) {
        (*run)++;
    }

    return *run;
}


void
zlt_bulk_went(zlt_bulk_t *b, size_t n, int sends, uint32_t now)
{
    if (b->sends != sends) {
        b->sends = (uint8_t) sends;
        b->turns++;

    } else if (b->used) {
        b->lasted += now - b->used;
    }

    b->used = now;
    b->bytes += n;
}


/*
 * A connection on a channel of its own begins with the small window of TCP, so
 * that one of bulk has to last before leaving a lane pays.
 */

int
zlt_bulk_lasts(zlt_bulk_t *b, uint32_t rtt)
{
    int  bulky;

    if (b->bytes < ZLT_BULK_LOT) {
        return 0;
    }

    bulky = b->bytes / (b->turns + 1) >= ZLT_BULK_READ;

    b->bytes = 0;
    b->turns = 0;

    if (!bulky) {
        b->lasted = 0;
        return 0;
    }

    return b->lasted >= (uint64_t) ZLT_BULK_LASTS * rtt;
}
