
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_ACCESS_EXPIRY_H_INCLUDED
#define ZLT_ACCESS_EXPIRY_H_INCLUDED


#include <stdint.h>

#include "types.h"


/* Seconds that are left, rounded up; 0: none, or no end. */
uint32_t zlt_access_expiry_left(const zlt_access_t *x);

/* The server has given so many seconds more; 0: no end. */
void zlt_access_expiry_renewed(zlt_access_t *x, uint32_t ttl);

/* The server says that it has ended, and why (ZLT_E_*). */
void zlt_access_expiry_closed(zlt_access_t *x, unsigned code,
    const char *reason);

/* To be called each second, with zlt_clock_boot(). */
void zlt_access_expiry_tick(zlt_access_t *x, uint64_t boot);


#endif /* ZLT_ACCESS_EXPIRY_H_INCLUDED */
