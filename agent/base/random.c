
/*
 * Copyright (C) zltunnel authors
 */


#include <openssl/rand.h>
#include <uv.h>

#include "random.h"


uint32_t
zlt_random_below(uint32_t n)
{
    uint32_t  r;

    if (RAND_bytes((uint8_t *) &r, sizeof(r)) != 1) {
        r = (uint32_t) uv_hrtime();
    }

    return (uint32_t) (((uint64_t) r * n) >> 32);
}
