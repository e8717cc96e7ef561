
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The links of one server, with "mode = all": one for each address of its
 * name.
 */


#ifndef ZLT_SPREAD_H_INCLUDED
#define ZLT_SPREAD_H_INCLUDED


#include <uv.h>

#include "control.h"
#include "where.h"
#include "spread_addr.h"
#include "types.h"
#include "zlt_list.h"


struct zlt_spread_s {
    zlt_list_t           node;         /* process->spreads */
    zlt_process_t       *process;
    zlt_list_t           links;        /* by their mate: one at least */
    zlt_link_t          *dial;         /* one more, that may turn out to be
                                          none; NULL: there is none */
    uint64_t             dialed_at;    /* ms */
    zlt_spread_addrs_t   addrs;        /* of the name; none: they are not
                                          known, or there is no name */
    zlt_where_t         *where;
    uint64_t             resolved_at;  /* ms */
    uint64_t             resolve_at;   /* ms */
    uv_timer_t           timer;
    unsigned             begun:1;      /* what the first has met with is
                                          known */
};


/* A link that was made from the configuration, and is in process->links: if its
   mode is "all", others of its server may follow. */
void zlt_spread_join(zlt_process_t *p, zlt_link_t *l);

/* A link goes, whatever for. */
void zlt_spread_leave(zlt_link_t *l);

/* The process ends, and with it what is not connected yet. */
void zlt_spread_done(zlt_process_t *p);

/* To be called each second. */
void zlt_spread_tick(zlt_process_t *p, uint64_t now);

/* Before and after a reload: there is a configuration in *config for each link
   of a server that is in it.  0, or -1 without memory. */
int zlt_spread_reload(zlt_process_t *p, zlt_config_t *config);
void zlt_spread_reloaded(zlt_process_t *p);

/* 1 if there are addresses that were not tried yet */
int zlt_spread_more(const zlt_process_t *p);

/* What links ask: zlt_link_ops_t. */
int zlt_spread_settle(zlt_link_t *l);
void zlt_spread_found(zlt_link_t *l, zlt_addrs_t *addrs);
int zlt_spread_down(zlt_link_t *l, zlt_down_e how);
unsigned zlt_spread_elsewhere(zlt_link_t *l);


#endif /* ZLT_SPREAD_H_INCLUDED */
