
/*
 * Copyright (C) zltunnel authors
 */


#include "figure.h"


const uint32_t  zlt_figure_limits[ZLT_FIGURE_BUCKETS - 1] = {
    1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000,
    2000000, 5000000, 10000000, 30000000
};


void
zlt_figure_count(zlt_figure_t *f, uint64_t us)
{
    unsigned  i;

    for (i = 0; i < ZLT_FIGURE_BUCKETS - 1; i++) {
        if (us <= zlt_figure_limits[i]) {
            break;
        }
    }

    f->bucket[i]++;
    f->sum += us;
}


void
zlt_figure_add(zlt_figure_t *f, const zlt_figure_t *from)
{
    unsigned  i;

    for (i = 0; i < ZLT_FIGURE_BUCKETS; i++) {
        f->bucket[i] += from->bucket[i];
    }

    f->sum += from->sum;
}
