
/*
 * Copyright (C) zltunnel authors
 */

/* How long something took, each time: a histogram for the metrics. */


#ifndef ZLT_FIGURE_H_INCLUDED
#define ZLT_FIGURE_H_INCLUDED


#include <stdint.h>


#define ZLT_FIGURE_BUCKETS  15


typedef struct {
    uint64_t         bucket[ZLT_FIGURE_BUCKETS];   /* none is in two */
    uint64_t         sum;                          /* us */
} zlt_figure_t;


/* us, up to which a bucket goes; the last has no limit.  They are those of
   the module's metrics. */
extern const uint32_t  zlt_figure_limits[ZLT_FIGURE_BUCKETS - 1];


void zlt_figure_count(zlt_figure_t *f, uint64_t us);

/* Adds all of from. */
void zlt_figure_add(zlt_figure_t *f, const zlt_figure_t *from);


#endif /* ZLT_FIGURE_H_INCLUDED */
