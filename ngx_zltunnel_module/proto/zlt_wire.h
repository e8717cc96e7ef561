
/*
 * Copyright (C) zltunnel authors
 */

/* Private to proto/: numbers on the wire, big-endian. */


#ifndef ZLT_WIRE_H_INCLUDED
#define ZLT_WIRE_H_INCLUDED


#include <string.h>

#include "zlt_types.h"


static inline uint16_t
zlt_get16(const uint8_t *p)
{
    return (uint16_t) (p[0] << 8 | p[1]);
}


static inline uint32_t
zlt_get32(const uint8_t *p)
{
    return (uint32_t) zlt_get16(p) << 16 | zlt_get16(p + 2);
}


static inline uint64_t
zlt_get64(const uint8_t *p)
{
    return (uint64_t) zlt_get32(p) << 32 | zlt_get32(p + 4);
}


static inline uint8_t *
zlt_put16(uint8_t *p, uint16_t n)
{
    p[0] = (uint8_t) (n >> 8);
    p[1] = (uint8_t) n;

    return p + 2;
}


static inline uint8_t *
zlt_put32(uint8_t *p, uint32_t n)
{
    return zlt_put16(zlt_put16(p, (uint16_t) (n >> 16)), (uint16_t) n);
}


static inline uint8_t *
zlt_put64(uint8_t *p, uint64_t n)
{
    return zlt_put32(zlt_put32(p, (uint32_t) (n >> 32)), (uint32_t) n);
}


#endif /* ZLT_WIRE_H_INCLUDED */
