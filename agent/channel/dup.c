
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connection ids already seen.
 *
 * Four hash sets, each for 20 seconds; when the newest is full of time, the
 * oldest is emptied and becomes the newest.  So an id is remembered for 60 to
 * 80 seconds, nothing expires one by one, and an id takes 8 bytes: 80 bits of
 * it are random, so 64 bits of a hash tell them apart.
 */


#include <stdlib.h>
#include <string.h>

#include "dup.h"


#define ZLT_DUP_SETS     4
#define ZLT_DUP_SECONDS  20
#define ZLT_DUP_FIRST    64            /* slots, a power of two */
#define ZLT_DUP_MOST     (1u << 22)

#define ZLT_DUP_FREE     0
#define ZLT_DUP_GONE     1


typedef struct {
    uint64_t         *slots;
    uint32_t          size;
    uint32_t          used;            /* gone ones too */
} zlt_dup_set_t;


static uint64_t zlt_dup_hash(const uint8_t *id);
static uint64_t *zlt_dup_find(zlt_dup_set_t *set, uint64_t h);
static int zlt_dup_grow(zlt_dup_set_t *set);


static zlt_dup_set_t  zlt_dup_sets[ZLT_DUP_SETS];
static unsigned       zlt_dup_newest;
static unsigned       zlt_dup_age;


static uint64_t
zlt_dup_hash(const uint8_t *id)
{
    uint64_t  a, b;

    memcpy(&a, id, 8);
    memcpy(&b, id + 8, 8);

    a ^= (b << 29 | b >> 35) * 0x9e3779b97f4a7c15ull;
    a ^= a >> 32;
    a *= 0xd6e8feb86659fd93ull;
    a ^= a >> 32;

    return a > ZLT_DUP_GONE ? a : a + 2;
}


/* The slot of h, or the free one where it would be. */

static uint64_t *
zlt_dup_find(zlt_dup_set_t *set, uint64_t h)
{
    uint32_t  i;

    i = (uint32_t) h & (set->size - 1);

    while (set->slots[i] != h && set->slots[i] != ZLT_DUP_FREE) {
        i = (i + 1) & (set->size - 1);
    }

    return &set->slots[i];
}


static int
zlt_dup_grow(zlt_dup_set_t *set)
{
    uint32_t       i;
    zlt_dup_set_t  bigger;

    if (set->used < set->size - set->size / 4) {
        return 0;
    }

    bigger.size = set->size ? set->size * 2 : ZLT_DUP_FIRST;
    bigger.used = 0;

    if (bigger.size > ZLT_DUP_MOST) {
        return -1;
    }

    bigger.slots = calloc(bigger.size, sizeof(uint64_t));
    if (bigger.slots == NULL) {
        return -1;
    }

    for (i = 0; i < set->size; i++) {
        if (set->slots[i] > ZLT_DUP_GONE) {
            *zlt_dup_find(&bigger, set->slots[i]) = set->slots[i];
            bigger.used++;
        }
    }

    free(set->slots);
    *set = bigger;

    return 0;
}


int
zlt_dup_seen(const uint8_t id[ZLT_ID_SIZE])
{
    unsigned        i;
    uint64_t        h;
    zlt_dup_set_t  *set;

    h = zlt_dup_hash(id);

    for (i = 0; i < ZLT_DUP_SETS; i++) {
        set = &zlt_dup_sets[i];

        if (set->size && *zlt_dup_find(set, h) == h) {
            return 1;
        }
    }

    set = &zlt_dup_sets[zlt_dup_newest];

    if (zlt_dup_grow(set) == -1) {
        /* rather serve twice than not at all */
        return 0;
    }

    *zlt_dup_find(set, h) = h;
    set->used++;

    return 0;
}


void
zlt_dup_forget(const uint8_t id[ZLT_ID_SIZE])
{
    unsigned        i;
    uint64_t        h, *slot;
    zlt_dup_set_t  *set;

    h = zlt_dup_hash(id);

    for (i = 0; i < ZLT_DUP_SETS; i++) {
        set = &zlt_dup_sets[i];

        if (set->size == 0) {
            continue;
        }

        slot = zlt_dup_find(set, h);

        if (*slot == h) {
            *slot = ZLT_DUP_GONE;
        }
    }
}


void
zlt_dup_tick(void)
{
    zlt_dup_set_t  *set;

    if (++zlt_dup_age < ZLT_DUP_SECONDS) {
        return;
    }

    zlt_dup_age = 0;
    zlt_dup_newest = (zlt_dup_newest + 1) % ZLT_DUP_SETS;

    set = &zlt_dup_sets[zlt_dup_newest];

    free(set->slots);

    set->slots = NULL;
    set->size = 0;
    set->used = 0;
}
