
/*
 * Copyright (C) zltunnel authors
 */

/* What tests of buffers share: memory that is counted and can run out, and
   bytes that tell where they belong. */


#ifndef COUNTED_H_INCLUDED
#define COUNTED_H_INCLUDED


#include <stdlib.h>

#include "zlt_types.h"


static unsigned  blocks;       /* that are allocated */
static unsigned  left;         /* that may be */


static void *
take_memory(size_t size)
{
    if (left == 0) {
        return NULL;
    }

    left--;
    blocks++;

    return malloc(size);
}


static void
give_memory(void *p)
{
    blocks--;
    free(p);
}


static const zlt_memory_t  memory = { take_memory, give_memory };


static uint8_t
byte_at(size_t i)
{
    return (uint8_t) (i * 7 + i / 251);
}


#endif /* COUNTED_H_INCLUDED */
