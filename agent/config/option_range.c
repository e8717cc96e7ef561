
/*
 * Copyright (C) zltunnel authors
 */

/* Ranges of ports. */


#include <stdio.h>
#include <string.h>

#include "option_range.h"
#include "parse.h"


#define ZLT_OPTION_RANGE_NAME  (ZLT_MAX_NAME - 6)      /* "-65535" */


static int zlt_option_range_lengths(const zlt_service_conf_t *s,
    const char **error);
static uint16_t zlt_option_range_port(const zlt_service_conf_t *s);


int
zlt_option_range_is(const char *text)
{
    size_t  n;

    n = strspn(text, "0123456789");

    return n && text[n] == '-' && zlt_parse_digits(text + n + 1);
}


int
zlt_option_range_ports(const char *text, uint16_t *port, uint16_t *ports,
    const char **error)
{
    char      first[8];
    size_t    n;
    uint16_t  last;

    *error = NULL;
    *ports = 0;

    if (!zlt_option_range_is(text)) {
        return zlt_parse_port(text, port);
    }

    n = strcspn(text, "-");

    if (n >= sizeof(first)) {
        *error = "the ports of a range are numbers from 1 to 65535";
        return -1;
    }

    memcpy(first, text, n);
    first[n] = '\0';

    if (zlt_parse_port(first, port) == -1
        || zlt_parse_port(text + n + 1, &last) == -1)
    {
        *error = "the ports of a range are numbers from 1 to 65535";
        return -1;
    }

    if (last <= *port) {
        *error = "the last port of a range must be greater than the first";
        return -1;
    }

    if (last - *port >= ZLT_OPTION_RANGE_MAX) {
        *error = "a range has at most 1000 ports";
        return -1;
    }

    *ports = (uint16_t) (last - *port + 1);

    return 0;
}


void
zlt_option_range_local(zlt_service_conf_t *s)
{
    int  n;

    n = snprintf(s->local, sizeof(s->local),
                 strchr(s->host, ':') ? "[%s]:%u" : "%s:%u", s->host,
                 (unsigned) s->port);

    if (s->ports) {
        (void) snprintf(s->local + n, sizeof(s->local) - (size_t) n, "-%u",
                        s->port + s->ports - 1u);
    }
}


int
zlt_option_range_check(const zlt_service_conf_t *s, const char **error)
{
    if (s->ports == 0 && s->remote_ports == 0) {
        return 0;
    }

    if (s->preferred_port) {
        *error = "a range has no preferred port";
        return -1;
    }

    if (strlen(s->name) > ZLT_OPTION_RANGE_NAME) {
        *error = "the name of a range is 1 to 249 letters, digits, \"-\", "
                 "\"_\", \".\"";
        return -1;
    }

    return zlt_option_range_lengths(s, error);
}


static int
zlt_option_range_lengths(const zlt_service_conf_t *s, const char **error)
{
    static char  text[100];

    if (s->ports == s->remote_ports
        || (s->remote_port == 0 && (s->flags & ZLT_R_PRIVATE)))
    {
        return 0;
    }

    if (s->remote_port == 0) {
        *error = "a range needs a range of remote ports, as ports are "
                 "assigned to single services only, or must be private";
        return -1;
    }

    (void) snprintf(text, sizeof(text), "the local range and the remote one "
                    "must be of the same length, but have %u and %u ports",
                    zlt_option_range_count(s),
                    s->remote_ports ? s->remote_ports : 1u);
    *error = text;

    return -1;
}


unsigned
zlt_option_range_count(const zlt_service_conf_t *range)
{
    return range->ports ? range->ports : 1;
}


/* the one that its name has */

static uint16_t
zlt_option_range_port(const zlt_service_conf_t *s)
{
    return s->remote_port ? s->remote_port : s->port;
}


void
zlt_option_range_service(const zlt_service_conf_t *range, unsigned i,
    zlt_service_conf_t *s)
{
    *s = *range;

    if (range->ports == 0) {
        return;
    }

    s->ports = 0;
    s->remote_ports = 0;
    s->port = (uint16_t) (range->port + i);

    if (range->remote_port) {
        s->remote_port = (uint16_t) (range->remote_port + i);
    }

    (void) snprintf(s->name + strlen(s->name), sizeof("-65535"), "-%u",
                    (unsigned) zlt_option_range_port(s));
    zlt_option_range_local(s);
}


int
zlt_option_range_index(const zlt_service_conf_t *range,
    const zlt_service_conf_t *s)
{
    int  i;

    if (range->ports == 0) {
        return 0;
    }

    i = zlt_option_range_port(s) - zlt_option_range_port(range);

    return i >= 0 && i < range->ports ? i : -1;
}


unsigned
zlt_option_range_shared(const zlt_service_conf_t *a,
    const zlt_service_conf_t *b)
{
    unsigned  first;

    if (a->protocol != b->protocol || a->remote_port == 0
        || b->remote_port == 0)
    {
        return 0;
    }

    first = a->remote_port > b->remote_port ? a->remote_port : b->remote_port;

    return first < a->remote_port + zlt_option_range_count(a)
           && first < b->remote_port + zlt_option_range_count(b) ? first : 0;
}


int
zlt_option_range_has(const zlt_service_conf_t *range, const char *name)
{
    size_t    len;
    uint16_t  port, first;

    if (range->ports == 0) {
        return strcmp(range->name, name) == 0;
    }

    len = strlen(range->name);
    first = zlt_option_range_port(range);

    return strncmp(range->name, name, len) == 0 && name[len] == '-'
           && name[len + 1] != '0'
           && zlt_parse_port(name + len + 1, &port) == 0
           && port >= first && port - first < range->ports;
}
