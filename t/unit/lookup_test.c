
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: the addresses of a name that has more of them than an agent keeps:
   the same ones whatever the order in which a name server tells them, of both
   families.  Where there are not too many the order is the system's. */


#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

#include "lookup.h"
#include "tap.h"


#define MOST  40


static struct addrinfo      infos[MOST];
static struct sockaddr_in   fours[MOST];
static struct sockaddr_in6  sixes[MOST];


/* n addresses, beginning with "first", every second one IPv6 if "both" */

static zlt_addrs_t
collect(unsigned n, unsigned first, int both)
{
    unsigned          i, k;
    zlt_addrs_t       a;
    struct addrinfo  *ai;

    memset(infos, 0, sizeof(infos));
    memset(fours, 0, sizeof(fours));
    memset(sixes, 0, sizeof(sixes));

    for (i = 0; i < n; i++) {
        k = (first + i) % n;
        ai = &infos[i];
        ai->ai_next = i + 1 < n ? &infos[i + 1] : NULL;

        if (both && k % 2) {
            sixes[i].sin6_family = AF_INET6;
            sixes[i].sin6_addr.s6_addr[15] = (uint8_t) (k + 1);
            ai->ai_family = AF_INET6;
            ai->ai_addr = (struct sockaddr *) &sixes[i];
            ai->ai_addrlen = sizeof(struct sockaddr_in6);

        } else {
            fours[i].sin_family = AF_INET;
            fours[i].sin_addr.s_addr = htonl(0xc0000201 + k);
            ai->ai_family = AF_INET;
            ai->ai_addr = (struct sockaddr *) &fours[i];
            ai->ai_addrlen = sizeof(struct sockaddr_in);
        }
    }

    memset(&a, 0, sizeof(zlt_addrs_t));
    zlt_lookup_collect(&a, infos);

    return a;
}


static unsigned
same(const zlt_addrs_t *a, const zlt_addrs_t *b)
{
    unsigned  i, j, n;

    n = 0;

    for (i = 0; i < a->n; i++) {
        for (j = 0; j < b->n; j++) {
            n += (zlt_addr_same(&a->addrs[i], &b->addrs[j]) != 0);
        }
    }

    return n;
}


static unsigned
of_six(const zlt_addrs_t *a)
{
    unsigned  i, n;

    n = 0;

    for (i = 0; i < a->n; i++) {
        n += (a->addrs[i].addr.sa.sa_family == AF_INET6);
    }

    return n;
}


static void
try_many(int both)
{
    unsigned     first;
    zlt_addrs_t  a, b;

    a = collect(MOST, 0, both);
    check(a.n == ZLT_ADDRS_MAX);
    check(of_six(&a) == (both ? ZLT_ADDRS_MAX / 2 : 0));

    for (first = 1; first < MOST; first++) {
        tap_note("%u is the first", first);
        b = collect(MOST, first, both);

        check(b.n == a.n);
        check(same(&a, &b) == a.n);
    }
}


static void
many(void)
{
    try_many(0);
}


static void
many_of_both(void)
{
    try_many(1);
}


static void
few(void)
{
    unsigned     i;
    zlt_addrs_t  a;

    a = collect(ZLT_ADDRS_MAX, 5, 0);

    check(a.n == ZLT_ADDRS_MAX);

    for (i = 0; i < a.n; i++) {
        check(ntohl(a.addrs[i].addr.in.sin_addr.s_addr)
              == 0xc0000201 + (5 + i) % ZLT_ADDRS_MAX);
    }
}


int
main(void)
{
    tap_run(few, "few of them are as they came");
    tap_run(many, "of many the same ones in any order");
    tap_run(many_of_both, "of both families");

    return tap_done();
}
