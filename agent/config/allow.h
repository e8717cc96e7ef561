
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Where the open service of an agent may lead to.
 *
 * A rule is ADDRESS[/BITS]:PORTS or NAME:PORTS, an IPv6 address in brackets;
 * PORTS is a number, a range "80-90", or "*".  What is judged is the address
 * that is about to be dialled, after the name was resolved: an answer of a
 * name server gives nobody an address that the list has not.
 *
 * A name in the list stands for the addresses it resolves to, when it is what
 * was asked for.  Addresses that lead to the machine itself, to its own link,
 * to groups or to what a cloud tells its machines (loopback, link-local,
 * multicast, unspecified, metadata, and IPv4 within IPv6, by which the others
 * can be disguised) pass only by a rule that lies within such a range itself.
 */


#ifndef ZLT_ALLOW_H_INCLUDED
#define ZLT_ALLOW_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "types.h"


typedef struct {
    char             *name;            /* NULL: an address */
    uint8_t           family;          /* 4 or 6 */
    uint8_t           bits;
    uint8_t           address[16];
    uint16_t          first;           /* port */
    uint16_t          last;
} zlt_allow_rule_t;


typedef struct {
    zlt_allow_rule_t  *rules;
    unsigned           nrules;
} zlt_allow_t;


#define ZLT_ALLOW_MAX_RULES  1024


/* Adds the rules of a comma-separated list: 0, or -1 with a static text in
   *error, and in *rule (an index into text) where the bad one begins. */
int zlt_allow_parse(zlt_allow_t *a, const char *text, const char **error,
    size_t *rule);
void zlt_allow_free(zlt_allow_t *a);

/* Copies the rules of "from" into "to", which is empty: 0, or -1 without
   memory, and "to" is to be freed. */
int zlt_allow_copy(zlt_allow_t *to, const zlt_allow_t *from);

/* Takes the rules of "from", which is empty afterwards. */
void zlt_allow_move(zlt_allow_t *to, zlt_allow_t *from);

/* 1 if this address, to which the host that was asked for has led, may be
   dialled */
int zlt_allow_permits(const zlt_allow_t *a, const char *host,
    const zlt_addr_t *addr);


#endif /* ZLT_ALLOW_H_INCLUDED */
