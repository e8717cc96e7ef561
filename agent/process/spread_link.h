
/*
 * Copyright (C) zltunnel authors
 */

/* What the links of a server ask, and tell: zlt_link_ops_t. */


#ifndef ZLT_SPREAD_LINK_H_INCLUDED
#define ZLT_SPREAD_LINK_H_INCLUDED


#include <stdint.h>

#include "addr.h"
#include "control.h"
#include "types.h"


void zlt_spread_link_found(zlt_link_t *l, zlt_addrs_t *addrs);
unsigned zlt_spread_link_held(const zlt_link_t *l, uint8_t *ids);
uint16_t zlt_spread_link_port(const zlt_link_t *l,
    const zlt_service_t *service);
int zlt_spread_link_settle(zlt_link_t *l);
int zlt_spread_link_down(zlt_link_t *l, zlt_down_e how);
unsigned zlt_spread_link_elsewhere(zlt_link_t *l);


#endif /* ZLT_SPREAD_LINK_H_INCLUDED */
