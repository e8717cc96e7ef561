
/*
 * Copyright (C) zltunnel authors
 */

/* The addresses of a server that links are spread over. */


#ifndef ZLT_SPREAD_ADDR_H_INCLUDED
#define ZLT_SPREAD_ADDR_H_INCLUDED


#include <stdint.h>

#include "addr.h"
#include "types.h"
#include "zlt_types.h"


typedef struct {
    zlt_addr_t       addr;
    uint32_t         rank;             /* the least is used first */
    unsigned         missed;           /* answers in a row without it */
    uint64_t         again_at;         /* ms, not to be tried before */
    unsigned         has_node:1;       /* that was met with, the last time */
    uint8_t          node_id[ZLT_ID_SIZE];
} zlt_spread_addr_t;


/* those of an answer beside those that links still have */
#define ZLT_SPREAD_ADDRS  (3 * ZLT_ADDRS_MAX)


typedef struct {
    zlt_spread_addr_t  all[ZLT_SPREAD_ADDRS];
    unsigned           n;
} zlt_spread_addrs_t;


/* What a name server has answered, one address at least.  1 if one of those
   that were known is not there, for the first time. */
int zlt_spread_addr_take(zlt_spread_addrs_t *s, const zlt_addrs_t *addrs);

/* 1 if it is not an address of the name any more; one that was never known
   is no less one. */
int zlt_spread_addr_gone(const zlt_spread_addrs_t *s, const zlt_addr_t *addr);

/* NULL: it is not known */
zlt_spread_addr_t *zlt_spread_addr_find(zlt_spread_addrs_t *s,
    const zlt_addr_t *addr);

/* It leads to that node. */
void zlt_spread_addr_node(zlt_spread_addr_t *a, const uint8_t *id);

/* Forgets it. */
void zlt_spread_addr_drop(zlt_spread_addrs_t *s, zlt_spread_addr_t *a);


#endif /* ZLT_SPREAD_ADDR_H_INCLUDED */
