
/*
 * Copyright (C) zltunnel authors
 */


#include <string.h>

#include "zlt_unsent.h"


int
zlt_unsent_put(zlt_unsent_t **unsent, const zlt_memory_t *memory,
    const void *data, size_t len)
{
    size_t         have;
    zlt_unsent_t  *u;

    have = *unsent ? zlt_unsent_left(*unsent) : 0;

    u = memory->alloc(sizeof(zlt_unsent_t) + have + len);
    if (u == NULL) {
        return -1;
    }

    if (have) {
        memcpy(u->data, zlt_unsent_next(*unsent), have);
    }

    memcpy(u->data + have, data, len);

    u->pos = 0;
    u->last = (uint32_t) (have + len);

    zlt_unsent_drop(unsent, memory);

    *unsent = u;

    return 0;
}


void
zlt_unsent_sent(zlt_unsent_t **unsent, const zlt_memory_t *memory, size_t n)
{
    (*unsent)->pos += (uint32_t) n;

    if (zlt_unsent_left(*unsent) == 0) {
        zlt_unsent_drop(unsent, memory);
    }
}


void
zlt_unsent_drop(zlt_unsent_t **unsent, const zlt_memory_t *memory)
{
    if (*unsent) {
        memory->free(*unsent);
        *unsent = NULL;
    }
}
