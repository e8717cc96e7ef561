
/*
 * Copyright (C) zltunnel authors
 */

/* Services, and the addresses they lead to. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io.h"
#include "resolve.h"
#include "service.h"
#include "zlt_name.h"


#define ZLT_SERVICE_TTL  1000          /* ms until they are asked for again */


static int zlt_service_is(const zlt_service_t *s, const uint8_t *id);
static void zlt_service_address(zlt_service_t *s);
static void zlt_service_fold(zlt_service_t *open,
    const zlt_service_t *target);
static void zlt_service_resolved(void *data, const char *why,
    const zlt_addrs_t *addrs);


zlt_service_t *
zlt_service_create(zlt_list_t *services, const zlt_service_conf_t *conf)
{
    zlt_service_t  *s;

    s = calloc(1, sizeof(zlt_service_t));
    if (s == NULL) {
        return NULL;
    }

    s->refs = 1;
    s->conf = *conf;

    zlt_list_init(&s->peer);
    zlt_list_init(&s->down);
    zlt_list_init(&s->waiters);
    zlt_list_init(&s->sessions);
    zlt_list_init(&s->targets);
    zlt_list_append(services, &s->link);

    zlt_service_address(s);

    return s;
}


static void
zlt_service_address(zlt_service_t *s)
{
    unsigned  bare;

    s->fixed = 1;
    s->loopback = 0;
    s->expires = 0;
    s->udp_address = 0;

    if (s->conf.flags & ZLT_R_OPEN) {
        /* it is not dialled itself */
        s->addrs.n = 0;
        return;
    }

    if (s->conf.is_unix) {
        zlt_addr_unix(&s->addrs, s->conf.host);
        return;
    }

    bare = s->conf.bare && s->conf.protocol == ZLT_PROTO_TCP;

    if (bare || strcasecmp(s->conf.host, "localhost") == 0) {
        zlt_addr_loopback(&s->addrs, s->conf.port, !bare);
        s->loopback = 1;
        return;
    }

    if (zlt_addr_numeric(&s->addrs, s->conf.host, s->conf.port) == -1) {
        s->fixed = 0;
        s->addrs.n = 0;
    }
}


void
zlt_service_move(zlt_service_t *s, const zlt_service_conf_t *conf)
{
    /* an answer for the old name may be on its way to those who wait */

    if (s->resolve) {
        zlt_resolve_cancel(s->resolve);
        s->resolve = NULL;
        s->conf = *conf;
        zlt_service_address(s);
        zlt_service_resolved(s, s->fixed ? NULL : "it is another one now",
                             &s->addrs);
        return;
    }

    s->conf = *conf;
    zlt_service_address(s);
}


void
zlt_service_remove(zlt_service_t *s)
{
    zlt_check_stop(s);
    zlt_range_leave(s);
    zlt_list_remove(&s->link);
    zlt_service_release(s);
}


void
zlt_service_hold(zlt_service_t *s)
{
    s->refs++;
}


void
zlt_service_release(zlt_service_t *s)
{
    if (--s->refs) {
        return;
    }

    zlt_resolve_cancel(s->resolve);
    zlt_allow_free(&s->allow);

    if (s->open) {
        zlt_list_remove(&s->link);
        zlt_service_fold(s->open, s);
        zlt_service_release(s->open);
    }

    free(s);
}


/* What was counted for a target belongs to its service. */

static void
zlt_service_fold(zlt_service_t *open, const zlt_service_t *target)
{
    size_t           i;
    uint64_t        *to;
    const uint64_t  *from;

    to = (uint64_t *) (void *) &open->udp;
    from = (const uint64_t *) (const void *) &target->udp;

    for (i = 0; i < sizeof(zlt_udp_count_t) / sizeof(uint64_t); i++) {
        to[i] += from[i];
    }
}


zlt_service_t *
zlt_service_target(zlt_service_t *open, zlt_str_t target)
{
    uint16_t             port;
    zlt_str_t            host;
    zlt_list_t          *link;
    zlt_service_t       *s;
    zlt_service_conf_t  *conf;

    zlt_list_each(link, &open->targets) {
        s = zlt_list_data(link, zlt_service_t, link);

        if (strlen(s->conf.local) == target.len
            && memcmp(s->conf.local, target.data, target.len) == 0)
        {
            zlt_service_hold(s);
            return s;
        }
    }

    if (zlt_name_target(target.data, target.len, &host, &port) == -1
        || host.len > ZLT_OPTION_HOST_MAX)
    {
        return NULL;
    }

    conf = calloc(1, sizeof(zlt_service_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    (void) strcpy(conf->name, open->conf.name);
    memcpy(conf->host, host.data, host.len);
    memcpy(conf->local, target.data, target.len);
    conf->port = port;
    conf->protocol = open->conf.protocol;

    s = zlt_service_create(&open->targets, conf);
    free(conf);

    if (s) {
        s->open = open;
        zlt_service_hold(open);
    }

    return s;
}


int
zlt_service_permits(const zlt_service_t *s, const zlt_addr_t *addr)
{
    return s->open == NULL
           || zlt_allow_permits(&s->open->allow, s->conf.host, addr);
}


static int
zlt_service_is(const zlt_service_t *s, const uint8_t *id)
{
    unsigned  i;

    for (i = 0; i < s->nids; i++) {
        if (memcmp(s->ids[i], id, ZLT_ID_SIZE) == 0) {
            return 1;
        }
    }

    return 0;
}


zlt_service_t *
zlt_service_by_id(zlt_list_t *services, const uint8_t *id)
{
    zlt_list_t     *link;
    zlt_service_t  *s;

    zlt_list_each(link, services) {
        s = zlt_list_data(link, zlt_service_t, link);

        if (zlt_service_is(s, id)) {
            return s;
        }
    }

    return NULL;
}


/* The newest is the first. */

void
zlt_service_add_id(zlt_service_t *s, const uint8_t *id)
{
    if (s->nids && memcmp(s->ids[0], id, ZLT_ID_SIZE) == 0) {
        return;
    }

    if (s->nids < ZLT_SERVICE_IDS) {
        s->nids++;
    }

    memmove(s->ids[1], s->ids[0], (s->nids - 1) * ZLT_ID_SIZE);
    memcpy(s->ids[0], id, ZLT_ID_SIZE);
}


int
zlt_service_resolve(zlt_service_t *s, zlt_waiter_t *waiter)
{
    if (s->fixed || (s->addrs.n && zlt_io_now() < s->expires)) {
        return 0;
    }

    if (s->resolve == NULL) {
        s->resolve = zlt_resolve_start(s->open ? ZLT_LOOKUP_TARGET
                                               : ZLT_LOOKUP_SERVICE,
                                       s->conf.host, s->conf.port,
                                       zlt_service_resolved, s);
        if (s->resolve == NULL) {
            s->addrs.n = 0;
            return 0;
        }
    }

    zlt_list_append(&s->waiters, &waiter->link);

    return -1;
}


static void
zlt_service_resolved(void *data, const char *why, const zlt_addrs_t *addrs)
{
    char            error[128];
    zlt_list_t     *link;
    zlt_waiter_t   *waiter;
    zlt_service_t  *s;

    s = data;
    s->resolve = NULL;

    if (why == NULL) {
        s->addrs = *addrs;
        s->expires = zlt_io_now() + ZLT_SERVICE_TTL;

    } else {
        s->addrs.n = 0;
        (void) snprintf(error, sizeof(error), "the local host's name cannot "
                        "be resolved: %.80s", why);
    }

    zlt_service_hold(s);

    while (!zlt_list_empty(&s->waiters)) {
        link = s->waiters.next;
        zlt_list_remove(link);

        waiter = zlt_list_data(link, zlt_waiter_t, link);
        waiter->handler(waiter, why ? error : NULL);
    }

    zlt_service_release(s);
}


void
zlt_service_worked(zlt_service_t *s, const zlt_addr_t *addr)
{
    if (!s->fixed || s->loopback) {
        zlt_addr_prefer(&s->addrs, addr);
    }

    if (!s->fixed) {
        zlt_resolve_worked(s->conf.host, addr);
    }
}


void
zlt_service_failed(zlt_service_t *s, const char *why)
{
    s = s->open ? s->open : s;

    (void) snprintf(s->failure, sizeof(s->failure), "%.*s",
                    (int) sizeof(s->failure) - 1, why);
    s->failed_at = zlt_io_now();
}


void
zlt_service_served(zlt_service_t *s)
{
    s = s->open ? s->open : s;
    s->failure[0] = '\0';
}


void
zlt_service_count(zlt_service_t *s, zlt_service_result_e result)
{
    s = s->open ? s->open : s;
    s->connects[result]++;
}
