
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The addresses of a server's name.
 *
 * Each has a rank that is drawn when it is first heard of: where not all are
 * used, agents are spread over them, and an agent keeps to those that it has.
 * Those to which this machine has no route are left out, as long as there are
 * others.  One has to be missing from two answers in a row to be gone: where a
 * name server of one family is silent, the system's resolver answers with the
 * other one.
 */


#include <string.h>

#include "random.h"
#include "spread_addr.h"


#define ZLT_SPREAD_ADDR_MISSED  2


static int zlt_spread_addr_usable(const zlt_addrs_t *addrs, unsigned i,
    int routed);


int
zlt_spread_addr_take(zlt_spread_addrs_t *s, const zlt_addrs_t *addrs)
{
    int                 routed, missed;
    unsigned            i;
    zlt_spread_addr_t  *a;

    routed = 0;
    missed = 0;

    for (i = 0; i < addrs->n; i++) {
        routed |= zlt_addr_has_route(&addrs->addrs[i]);
    }

    for (i = 0; i < s->n; i++) {
        s->all[i].missed++;
    }

    for (i = 0; i < addrs->n; i++) {

        if (!zlt_spread_addr_usable(addrs, i, routed)) {
            continue;
        }

        a = zlt_spread_addr_find(s, &addrs->addrs[i]);

        if (a == NULL && s->n < ZLT_SPREAD_ADDRS) {
            a = &s->all[s->n++];
            memset(a, 0, sizeof(zlt_spread_addr_t));
            a->addr = addrs->addrs[i];
            a->rank = zlt_random_below(UINT32_MAX);
        }

        if (a) {
            a->missed = 0;
        }
    }

    for (i = 0; i < s->n; i++) {
        missed |= (s->all[i].missed == 1);
    }

    return missed;
}


static int
zlt_spread_addr_usable(const zlt_addrs_t *addrs, unsigned i, int routed)
{
    int  family;

    family = addrs->addrs[i].addr.sa.sa_family;

    return (family == AF_INET || family == AF_INET6)
           && (!routed || zlt_addr_has_route(&addrs->addrs[i]));
}


int
zlt_spread_addr_gone(const zlt_spread_addrs_t *s, const zlt_addr_t *addr)
{
    unsigned  i;

    for (i = 0; i < s->n; i++) {
        if (zlt_addr_same(&s->all[i].addr, addr)) {
            return s->all[i].missed >= ZLT_SPREAD_ADDR_MISSED;
        }
    }

    return 0;
}


zlt_spread_addr_t *
zlt_spread_addr_find(zlt_spread_addrs_t *s, const zlt_addr_t *addr)
{
    unsigned  i;

    for (i = 0; i < s->n; i++) {
        if (zlt_addr_same(&s->all[i].addr, addr)) {
            return &s->all[i];
        }
    }

    return NULL;
}


void
zlt_spread_addr_node(zlt_spread_addr_t *a, const uint8_t *id)
{
    a->has_node = 1;
    memcpy(a->node_id, id, ZLT_ID_SIZE);
}


void
zlt_spread_addr_drop(zlt_spread_addrs_t *s, zlt_spread_addr_t *a)
{
    *a = s->all[--s->n];
}
