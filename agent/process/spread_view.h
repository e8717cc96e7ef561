
/*
 * Copyright (C) zltunnel authors
 */

/* What there is: links, addresses, nodes. */


#ifndef ZLT_SPREAD_VIEW_H_INCLUDED
#define ZLT_SPREAD_VIEW_H_INCLUDED


#include "spread_addr.h"
#include "types.h"


/* The first address that no link has but *l; NULL: none.  "now" in ms. */
zlt_spread_addr_t *zlt_spread_view_free(zlt_spread_t *sp, const zlt_link_t *l,
    uint64_t now);

/* 1 if a link has that address, another one than "but" */
int zlt_spread_view_taken(const zlt_spread_t *sp, const zlt_addr_t *addr,
    const zlt_link_t *but);

/* 1 if the link's address is gone from the name */
int zlt_spread_view_gone(const zlt_spread_t *sp, const zlt_link_t *l);

/* 1 if it is known that there are no more nodes; that there may be no more
   links */
int zlt_spread_view_complete(const zlt_spread_t *sp);
int zlt_spread_view_full(const zlt_spread_t *sp);

/* 1 if the link's node has it, also between two control channels; how many
   are so */
int zlt_spread_view_holds(const zlt_link_t *l);
unsigned zlt_spread_view_holders(const zlt_spread_t *sp);

/* All links, without those whose address is gone; those of all servers of the
   tunnel. */
unsigned zlt_spread_view_count(const zlt_spread_t *sp);
unsigned zlt_spread_view_total(const zlt_spread_t *sp);

/* Nodes without a link, as far as there may be one. */
unsigned zlt_spread_view_missing(const zlt_spread_t *sp);

/* Labels say what there is to choose from. */
void zlt_spread_view_names(zlt_spread_t *sp);


#endif /* ZLT_SPREAD_VIEW_H_INCLUDED */
