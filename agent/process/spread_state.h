
/*
 * Copyright (C) zltunnel authors
 */

/* What is private to spread*.c. */


#ifndef ZLT_SPREAD_STATE_H_INCLUDED
#define ZLT_SPREAD_STATE_H_INCLUDED


#include <uv.h>

#include "spread_addr.h"
#include "types.h"
#include "where.h"
#include "zlt_list.h"


#define ZLT_SPREAD_PATIENCE  1000      /* ms, for one dial; then the next one
                                          begins */


struct zlt_spread_s {
    zlt_list_t           node;         /* process->spreads */
    zlt_process_t       *process;
    zlt_list_t           links;        /* by their mate: one at least */
    zlt_link_t          *dial;         /* one more, that may turn out to be
                                          none; NULL: there is none */
    uint64_t             dialed_at;    /* ms */
    uint64_t             made_at;      /* ms */
    uint64_t             access_at;    /* ms, when the link was connected last
                                          that has the access sessions */
    uint64_t             pause_until;  /* ms, no dials */
    zlt_spread_addrs_t   addrs;        /* of the name; none: they are not
                                          known, or there is no name */
    zlt_where_t         *where;
    uint64_t             resolved_at;  /* ms */
    uint64_t             resolve_at;   /* ms */
    uv_timer_t           timer;
    unsigned             told;         /* nodes that there are; 0: not told */
    unsigned             tries;        /* dials for more that came to nothing,
                                          in a row */
    uint64_t             seek_at;      /* ms, the next one */
    unsigned             turn;         /* whose address it goes to */
    unsigned             seeks:1;      /* the dial is one of these */
    unsigned             wondered:1;   /* it was said that nodes are missing */
    unsigned             waits:1;      /* for earlier servers of the tunnel */
    unsigned             begun:1;      /* what the first has met with is
                                          known */
};


#define zlt_spread_mate(link)  zlt_list_data(link, zlt_link_t, mate)
#define zlt_spread_first(sp)   zlt_spread_mate((sp)->links.next)

/* those of a name are stopped together */
#define zlt_spread_stopped(sp)                                                \
    ((sp)->process->stopping || zlt_spread_first(sp)->owner.stopping)


/* spread.c */

/* What there is to be done is done in so many ms. */
void zlt_spread_soon(zlt_spread_t *sp, uint32_t delay);

/* The name may have other addresses now. */
void zlt_spread_resolve_soon(zlt_spread_t *sp);

/* .. it has these */
void zlt_spread_take(zlt_spread_t *sp, const zlt_addrs_t *addrs);


#endif /* ZLT_SPREAD_STATE_H_INCLUDED */
