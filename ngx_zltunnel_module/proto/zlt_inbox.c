
/*
 * Copyright (C) zltunnel authors
 */


#include <string.h>

#include "zlt_inbox.h"


static int zlt_inbox_add(zlt_inbox_t *in, const zlt_memory_t *memory,
    size_t len);


int
zlt_inbox_put(zlt_inbox_t *in, const zlt_memory_t *memory,
    const uint8_t *data, size_t len)
{
    size_t              n;
    zlt_inbox_block_t  *b;

    while (len) {
        b = in->last;
        n = b ? b->size - b->last : 0;

        if (n == 0) {
            if (zlt_inbox_add(in, memory, len) == -1) {
                return -1;
            }

            continue;
        }

        if (n > len) {
            n = len;
        }

        memcpy(b->data + b->last, data, n);

        b->last += (uint32_t) n;
        in->len += n;

        data += n;
        len -= n;
    }

    return 0;
}


static int
zlt_inbox_add(zlt_inbox_t *in, const zlt_memory_t *memory, size_t len)
{
    size_t              size;
    zlt_inbox_block_t  *b;

    size = (in->last || len > ZLT_INBOX_SMALL) ? ZLT_INBOX_BLOCK
                                               : ZLT_INBOX_SMALL;

    b = memory->alloc(sizeof(zlt_inbox_block_t) + size);
    if (b == NULL) {
        return -1;
    }

    b->next = NULL;
    b->pos = 0;
    b->last = 0;
    b->size = (uint32_t) size;

    if (in->last) {
        in->last->next = b;

    } else {
        in->first = b;
    }

    in->last = b;

    return 0;
}


size_t
zlt_inbox_take(zlt_inbox_t *in, const zlt_memory_t *memory,
    uint8_t *buf, size_t size)
{
    size_t              n, taken;
    zlt_inbox_block_t  *b;

    taken = 0;

    while (in->len && taken < size) {
        b = in->first;
        n = b->last - b->pos;

        if (n > size - taken) {
            n = size - taken;
        }

        memcpy(buf + taken, b->data + b->pos, n);

        b->pos += (uint32_t) n;
        in->len -= n;
        taken += n;

        if (b->pos < b->last) {
            break;
        }

        if (b->next == NULL && b->size == ZLT_INBOX_SMALL) {
            b->pos = 0;
            b->last = 0;
            break;
        }

        in->first = b->next;

        if (in->first == NULL) {
            in->last = NULL;
        }

        memory->free(b);
    }

    return taken;
}


void
zlt_inbox_drop(zlt_inbox_t *in, const zlt_memory_t *memory)
{
    zlt_inbox_block_t  *b;

    while (in->first) {
        b = in->first;
        in->first = b->next;

        memory->free(b);
    }

    in->last = NULL;
    in->len = 0;
}
