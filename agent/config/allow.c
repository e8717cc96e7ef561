
/*
 * Copyright (C) zltunnel authors
 */

/* Where the open service of an agent may lead to. */


#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "addr.h"
#include "allow.h"
#include "option_service.h"
#include "parse.h"


#define ZLT_ALLOW_TEXT  300            /* a rule */


/* ranges that a rule must name to open them */

typedef struct {
    uint8_t      family;
    uint8_t      bits;
    uint8_t      address[16];
    uint8_t      inner;                /* where there is an IPv4 address within
                                          it; 0: there is none */
} zlt_allow_range_t;


static int zlt_allow_add(zlt_allow_t *a, char *text, const char **error);
static int zlt_allow_host(zlt_allow_rule_t *r, char *text,
    const char **error);
static int zlt_allow_bits(zlt_allow_rule_t *r, const char *text);
static int zlt_allow_ports(zlt_allow_rule_t *r, char *text);
static int zlt_allow_address(const zlt_addr_t *addr, zlt_allow_range_t *r,
    uint16_t *port);
static int zlt_allow_match(const zlt_allow_rule_t *r, const char *host,
    const zlt_allow_range_t *addr, uint16_t port);
static int zlt_allow_special(const zlt_allow_rule_t *r,
    const zlt_allow_range_t *addr);
static int zlt_allow_inner(const zlt_allow_rule_t *r,
    const zlt_allow_range_t *addr, unsigned at);
static int zlt_allow_within(const uint8_t *address, const uint8_t *network,
    unsigned bits);


static const zlt_allow_range_t  zlt_allow_ranges[] = {

    /* this host, loopback, link-local, multicast and beyond; what tells the
       machines of a cloud who they are, where that is not link-local: Alibaba
       and Azure */

    { 4, 8,   { 0 }, 0 },
    { 4, 8,   { 127 }, 0 },
    { 4, 16,  { 169, 254 }, 0 },
    { 4, 3,   { 224 }, 0 },
    { 4, 32,  { 100, 100, 100, 200 }, 0 },
    { 4, 32,  { 168, 63, 129, 16 }, 0 },

    /* unspecified, loopback, link-local, multicast; AWS and Google */

    { 6, 128, { 0 }, 0 },
    { 6, 128, { [15] = 1 }, 0 },
    { 6, 10,  { 0xfe, 0x80 }, 0 },
    { 6, 8,   { 0xff }, 0 },
    { 6, 32,  { 0xfd, 0x00, 0x0e, 0xc2 }, 0 },
    { 6, 32,  { 0xfd, 0x20, 0x00, 0xce }, 0 },

    /* IPv4 within, by prefixes that a system may translate: mapped, compatible,
       SIIT, NAT64, the same with a prefix of its own (RFC 8215), 6to4 */

    { 6, 96,  { [10] = 0xff, [11] = 0xff }, 12 },
    { 6, 96,  { 0 }, 12 },
    { 6, 96,  { [8] = 0xff, [9] = 0xff }, 12 },
    { 6, 96,  { 0x00, 0x64, 0xff, 0x9b }, 12 },
    { 6, 48,  { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 12 },
    { 6, 16,  { 0x20, 0x02 }, 2 }
};


int
zlt_allow_parse(zlt_allow_t *a, const char *text, const char **error,
    size_t *rule)
{
    char         buf[ZLT_ALLOW_TEXT], *end;
    size_t       len;
    const char  *p;

    for (p = text; /* void */ ; p += len + 1) {

        p += strspn(p, " \t");
        len = strcspn(p, ",");

        *rule = (size_t) (p - text);

        if (len >= sizeof(buf)) {
            *error = "it is too long";
            return -1;
        }

        memcpy(buf, p, len);
        buf[len] = '\0';

        for (end = buf + len; end > buf && strchr(" \t", end[-1]); end--) {
            end[-1] = '\0';
        }

        if (zlt_allow_add(a, buf, error) == -1) {
            return -1;
        }

        if (p[len] == '\0' || p[len + 1 + strspn(p + len + 1, " \t")] == '\0')
        {
            /* a comma may be the last: the list goes on in another line */
            return 0;
        }
    }
}


static int
zlt_allow_add(zlt_allow_t *a, char *text, const char **error)
{
    char              *colon;
    zlt_allow_rule_t   rule, *rules;

    memset(&rule, 0, sizeof(zlt_allow_rule_t));

    colon = strrchr(text, ':');

    if (colon == NULL || colon == text || strchr(colon, ']')) {
        *error = "expected HOST:PORT, ADDRESS:PORT or ADDRESS/BITS:PORT";
        return -1;
    }

    *colon = '\0';

    if (zlt_allow_ports(&rule, colon + 1) == -1) {
        *error = "the port is not a number from 1 to 65535, a range like "
                 "8000-8010, or \"*\"";
        return -1;
    }

    if (a->nrules == ZLT_ALLOW_MAX_RULES) {
        *error = "more than 1024 of them";
        return -1;
    }

    if (zlt_allow_host(&rule, text, error) == -1) {
        return -1;
    }

    rules = realloc(a->rules, (a->nrules + 1) * sizeof(zlt_allow_rule_t));

    if (rules == NULL) {
        free(rule.name);
        *error = "out of memory";
        return -1;
    }

    a->rules = rules;
    a->rules[a->nrules++] = rule;

    return 0;
}


static int
zlt_allow_ports(zlt_allow_rule_t *r, char *text)
{
    char  *dash;

    if (strcmp(text, "*") == 0) {
        r->first = 1;
        r->last = 65535;
        return 0;
    }

    dash = strchr(text, '-');

    if (dash) {
        *dash++ = '\0';
    }

    if (zlt_parse_port(text, &r->first) == -1
        || zlt_parse_port(dash ? dash : text, &r->last) == -1
        || r->first > r->last)
    {
        return -1;
    }

    return 0;
}


/* [2001:db8::/32], [2001:db8::]/32, 10.0.0.0/8, db.lan */

static int
zlt_allow_host(zlt_allow_rule_t *r, char *text, const char **error)
{
    char    *end, *bits;
    size_t   i, len;

    bits = strchr(text, '/');

    if (*text == '[') {
        end = strchr(text, ']');

        if (end == NULL || (end[1] != '\0' && end[1] != '/')) {
            *error = "unbalanced brackets";
            return -1;
        }

        *end = '\0';
        text++;
        r->family = 6;

    } else if (strchr(text, ':')) {
        *error = "an IPv6 address needs brackets: [2001:db8::]/32:443";
        return -1;
    }

    if (bits) {
        *bits++ = '\0';
        bits[strcspn(bits, "]")] = '\0';
    }

    if (r->family == 6) {
        if (inet_pton(AF_INET6, text, r->address) != 1
            || zlt_allow_bits(r, bits) == -1)
        {
            *error = "not an IPv6 address or network";
            return -1;
        }

        return 0;
    }

    if (inet_pton(AF_INET, text, r->address) == 1) {
        r->family = 4;

        if (zlt_allow_bits(r, bits) == -1) {
            *error = "the network's number of bits is wrong, or its address "
                     "has bits beyond them";
            return -1;
        }

        return 0;
    }

    len = strlen(text);
    i = strspn(text, "0123456789.");

    if (bits || len == 0 || i == len || len > ZLT_OPTION_HOST_MAX
        || text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789-_.")])
    {
        *error = "not an address, a network or a host name";
        return -1;
    }

    r->name = strdup(text);

    if (r->name == NULL) {
        *error = "out of memory";
        return -1;
    }

    return 0;
}


/* An address with bits beyond its network's is likely to be a mistake. */

static int
zlt_allow_bits(zlt_allow_rule_t *r, const char *text)
{
    unsigned  i, size;
    uint32_t  n;

    size = (r->family == 4) ? 32 : 128;
    n = size;

    if (text && zlt_parse_number(text, size, &n) == -1) {
        return -1;
    }

    r->bits = (uint8_t) n;

    for (i = n; i < size; i++) {
        if (r->address[i / 8] & (0x80 >> (i % 8))) {
            return -1;
        }
    }

    return 0;
}


void
zlt_allow_free(zlt_allow_t *a)
{
    unsigned  i;

    for (i = 0; i < a->nrules; i++) {
        free(a->rules[i].name);
    }

    free(a->rules);

    a->rules = NULL;
    a->nrules = 0;
}


int
zlt_allow_copy(zlt_allow_t *to, const zlt_allow_t *from)
{
    unsigned           i;
    zlt_allow_rule_t  *r;

    to->rules = calloc(from->nrules + 1, sizeof(zlt_allow_rule_t));

    if (to->rules == NULL) {
        return -1;
    }

    for (i = 0; i < from->nrules; i++) {
        r = &to->rules[to->nrules++];
        *r = from->rules[i];

        if (r->name) {
            r->name = strdup(r->name);

            if (r->name == NULL) {
                return -1;
            }
        }
    }

    return 0;
}


void
zlt_allow_move(zlt_allow_t *to, zlt_allow_t *from)
{
    zlt_allow_free(to);

    *to = *from;

    from->rules = NULL;
    from->nrules = 0;
}


int
zlt_allow_permits(const zlt_allow_t *a, const char *host,
    const zlt_addr_t *addr)
{
    unsigned           i;
    uint16_t           port;
    zlt_allow_range_t  address;

    if (zlt_allow_address(addr, &address, &port) == -1) {
        return 0;
    }

    for (i = 0; i < a->nrules; i++) {

        if (zlt_allow_match(&a->rules[i], host, &address, port)
            && !zlt_allow_special(&a->rules[i], &address))
        {
            return 1;
        }
    }

    return 0;
}


static int
zlt_allow_address(const zlt_addr_t *addr, zlt_allow_range_t *r, uint16_t *port)
{
    memset(r, 0, sizeof(zlt_allow_range_t));

    switch (addr->addr.sa.sa_family) {

    case AF_INET:
        r->family = 4;
        memcpy(r->address, &addr->addr.in.sin_addr, 4);
        *port = ntohs(addr->addr.in.sin_port);
        return 0;

    case AF_INET6:
        r->family = 6;
        memcpy(r->address, &addr->addr.in6.sin6_addr, 16);
        *port = ntohs(addr->addr.in6.sin6_port);
        return 0;
    }

    return -1;
}


static int
zlt_allow_match(const zlt_allow_rule_t *r, const char *host,
    const zlt_allow_range_t *addr, uint16_t port)
{
    if (port < r->first || port > r->last) {
        return 0;
    }

    if (r->name) {
        return strcasecmp(r->name, host) == 0;
    }

    return r->family == addr->family
           && zlt_allow_within(addr->address, r->address, r->bits);
}


/* 1 if the address is in a range that the rule has not opened: 0.0.0.0/0 is
   not meant to be 127.0.0.1, but 127.0.0.0/8 is. */

static int
zlt_allow_special(const zlt_allow_rule_t *r, const zlt_allow_range_t *addr)
{
    unsigned                  i;
    const zlt_allow_range_t  *range;

    for (i = 0; i < sizeof(zlt_allow_ranges) / sizeof(zlt_allow_ranges[0]);
         i++)
    {
        range = &zlt_allow_ranges[i];

        if (range->family != addr->family
            || !zlt_allow_within(addr->address, range->address, range->bits))
        {
            continue;
        }

        if (r->name || r->bits < range->bits
            || !zlt_allow_within(r->address, range->address, range->bits))
        {
            return 1;
        }

        if (range->inner && zlt_allow_inner(r, addr, range->inner)) {
            return 1;
        }
    }

    return 0;
}


/* The IPv4 address within may be a special one, too: 1 if what the rule says of
   it has not opened that. */

static int
zlt_allow_inner(const zlt_allow_rule_t *r, const zlt_allow_range_t *addr,
    unsigned at)
{
    zlt_allow_rule_t   rule;
    zlt_allow_range_t  inner;

    memset(&inner, 0, sizeof(zlt_allow_range_t));
    inner.family = 4;
    memcpy(inner.address, addr->address + at, 4);

    memset(&rule, 0, sizeof(zlt_allow_rule_t));
    rule.family = 4;
    memcpy(rule.address, r->address + at, 4);

    if (r->bits > at * 8) {
        rule.bits = (uint8_t) (r->bits - at * 8);
    }

    if (rule.bits > 32) {
        rule.bits = 32;
    }

    return zlt_allow_special(&rule, &inner);
}


static int
zlt_allow_within(const uint8_t *address, const uint8_t *network,
    unsigned bits)
{
    unsigned  whole;
    uint8_t   mask;

    whole = bits / 8;

    if (memcmp(address, network, whole) != 0) {
        return 0;
    }

    if (bits % 8 == 0) {
        return 1;
    }

    mask = (uint8_t) (0xff << (8 - bits % 8));

    return (address[whole] & mask) == (network[whole] & mask);
}
