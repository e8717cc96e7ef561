
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The links of one server, with "mode = all": one for each address of its
 * name, and for each node behind them.
 *
 *   spread           their life; the name's addresses, as they change
 *   spread_addr      these addresses
 *   spread_dial      one link more
 *   spread_link      what the links ask
 *   spread_access    which of them has the access sessions
 *   spread_view      what there is
 */


#ifndef ZLT_SPREAD_H_INCLUDED
#define ZLT_SPREAD_H_INCLUDED


#include <stdint.h>

#include "types.h"


/* A link that was made from the configuration, and is in process->links: if its
   mode is "all", others of its server may follow. */
void zlt_spread_join(zlt_process_t *p, zlt_link_t *l);

/* 1 if it is started once the links of earlier servers of the tunnel have
   been: what these were given is asked for there. */
int zlt_spread_waits(const zlt_link_t *l);

/* A link has become connected, or is so no more. */
void zlt_spread_changed(zlt_process_t *p);

/* The machine has slept, and may be elsewhere now. */
void zlt_spread_woken(zlt_process_t *p);

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


#endif /* ZLT_SPREAD_H_INCLUDED */
