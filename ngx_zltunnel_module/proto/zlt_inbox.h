
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What has come on a lane and was not read yet: bytes, in blocks of which there
 * are as many as they need.  The functions that give and take memory are its
 * user's.  Plain C11: no I/O.
 */


#ifndef ZLT_INBOX_H_INCLUDED
#define ZLT_INBOX_H_INCLUDED


#include "zlt_types.h"


#define ZLT_INBOX_SMALL  4096          /* of a block that is kept while empty */
#define ZLT_INBOX_BLOCK  16384


typedef struct zlt_inbox_block_s  zlt_inbox_block_t;

struct zlt_inbox_block_s {
    zlt_inbox_block_t   *next;
    uint32_t             pos;
    uint32_t             last;
    uint32_t             size;
    uint8_t              data[];
};


/* all zero at the start */

typedef struct {
    zlt_inbox_block_t   *first;
    zlt_inbox_block_t   *last;
    size_t               len;          /* bytes that are there */
} zlt_inbox_t;


/* Adds a copy: 0, or -1 without memory. */
int zlt_inbox_put(zlt_inbox_t *in, const zlt_memory_t *memory,
    const uint8_t *data, size_t len);

/* Takes up to size bytes out; how many. */
size_t zlt_inbox_take(zlt_inbox_t *in, const zlt_memory_t *memory,
    uint8_t *buf, size_t size);

/* Frees all of it. */
void zlt_inbox_drop(zlt_inbox_t *in, const zlt_memory_t *memory);


#endif /* ZLT_INBOX_H_INCLUDED */
