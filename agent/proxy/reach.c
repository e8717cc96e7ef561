
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Reaching the server: by the addresses of its name, or by those of the proxy,
 * which leads on.  A proxy of the kind socks5:// is asked for addresses, which
 * are resolved here, one after the other until it gets to one.  Others are asked
 * for names, of which there are several if the server's SRV records say so.
 *
 * What was found once is a way, and whoever knows it goes it at once.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "reach.h"
#include "talk.h"
#include "via.h"


static int zlt_reach_targets(zlt_reach_t *r);
static void zlt_reach_targets_hosts(void *data, const char *why,
    const char *asked, const zlt_srv_t *hosts);
static void zlt_reach_targets_addrs(void *data, const char *why,
    const char *asked, const zlt_addrs_t *addrs);
static void zlt_reach_targets_known(zlt_reach_t *r);
static int zlt_reach_keep(zlt_reach_t *r, const zlt_addrs_t *addrs);
static int zlt_reach_dial(zlt_reach_t *r);
static int zlt_reach_race(zlt_reach_t *r, const zlt_addrs_t *addrs);
static void zlt_reach_named(void *data, const char *why, const char *asked,
    const zlt_addrs_t *addrs);
static void zlt_reach_proxy_named(void *data, const char *why,
    const zlt_addrs_t *addrs);
static void zlt_reach_nameless(zlt_reach_t *r, const char *why);
static void zlt_reach_raced(void *data, zlt_conn_t *c, const zlt_addr_t *addr,
    int err);
static void zlt_reach_connected(zlt_reach_t *r);
static void zlt_reach_talking(zlt_reach_t *r);
static void zlt_reach_prefer(zlt_reach_t *r, const zlt_srv_host_t *target);
static const char *zlt_reach_looked_for(const zlt_reach_t *r);
static const char *zlt_reach_hop(const zlt_reach_t *r, const char *why,
    char *error);


/* the next hop */
#define zlt_reach_host(r)  ((r)->via->kind ? (r)->via->host : (r)->url->host)
#define zlt_reach_port(r)  ((r)->via->kind ? (r)->via->port : (r)->url->port)


int
zlt_reach_start(zlt_reach_t *r)
{
    if (r->via->kind == ZLT_PROXY_SOCKS5
        || (r->via->kind && r->url->record[0]))
    {
        return zlt_reach_targets(r);
    }

    return zlt_reach_dial(r);
}


/* What the proxy is to be asked for. */

static int
zlt_reach_targets(zlt_reach_t *r)
{
    zlt_addrs_t  addrs;

    r->step = ZLT_REACH_TARGET;

    if (r->via->kind != ZLT_PROXY_SOCKS5) {
        r->where = zlt_where_hosts(r->url, zlt_reach_targets_hosts, r);

    } else if (zlt_addr_numeric(&addrs, r->url->host, r->url->port) == -1) {
        r->where = zlt_where_start(r->url, zlt_reach_targets_addrs, r);

    } else {
        return zlt_reach_keep(r, &addrs) == 0 ? zlt_reach_dial(r) : -1;
    }

    return r->where ? 0 : -1;
}


static void
zlt_reach_targets_hosts(void *data, const char *why, const char *asked,
    const zlt_srv_t *hosts)
{
    zlt_reach_t  *r;

    (void) asked;

    r = data;
    r->where = NULL;

    if (why) {
        zlt_reach_nameless(r, why);
        return;
    }

    r->targets = malloc(sizeof(zlt_srv_t));

    if (r->targets) {
        *r->targets = *hosts;
    }

    zlt_reach_targets_known(r);
}


static void
zlt_reach_targets_addrs(void *data, const char *why, const char *asked,
    const zlt_addrs_t *addrs)
{
    zlt_addrs_t   some;
    zlt_reach_t  *r;

    r = data;
    r->where = NULL;

    if (why) {
        zlt_reach_nameless(r, why);
        return;
    }

    some = *addrs;
    r->found(r, asked, &some);

    (void) zlt_reach_keep(r, &some);

    zlt_reach_targets_known(r);
}


static void
zlt_reach_targets_known(zlt_reach_t *r)
{
    const zlt_srv_host_t  *first;

    if (r->targets && r->url->record[0]) {
        first = zlt_resolve_srv_preferred(r->url->record);

        if (first) {
            zlt_srv_begin(r->targets, first);
        }
    }

    if (r->targets == NULL || zlt_reach_dial(r) == -1) {
        r->handler(r, "out of memory");
    }
}


static int
zlt_reach_keep(zlt_reach_t *r, const zlt_addrs_t *addrs)
{
    unsigned         i;
    zlt_srv_host_t  *to;

    r->targets = calloc(1, sizeof(zlt_srv_t));

    if (r->targets == NULL) {
        return -1;
    }

    for (i = 0; i < addrs->n; i++) {
        to = &r->targets->hosts[r->targets->n++];

        (void) zlt_addr_host(to->host, &addrs->addrs[i]);
        to->port = zlt_addr_port(&addrs->addrs[i]);
    }

    return 0;
}


int
zlt_reach_start_known(zlt_reach_t *r)
{
    r->step = ZLT_REACH_CONNECT;

    if (zlt_conn_connect(r->conn, &r->way.addr.addr.sa, r->way.addr.len, 1,
                         zlt_reach_event)
        == -1)
    {
        return -1;
    }

    r->conn->io.data = r;

    return 0;
}


static int
zlt_reach_dial(zlt_reach_t *r)
{
    const char   *host;
    zlt_addrs_t   addrs;

    host = zlt_reach_host(r);
    addrs.n = 0;

    if (r->only && r->via->kind == ZLT_PROXY_NONE) {
        addrs.addrs[0] = *r->only;
        addrs.n = 1;

    } else if (*host == '/') {
        zlt_addr_unix(&addrs, host);
    }

    if (addrs.n || zlt_addr_numeric(&addrs, host, zlt_reach_port(r)) == 0) {
        return zlt_reach_race(r, &addrs);
    }

    r->step = ZLT_REACH_NAME;

    if (r->via->kind == ZLT_PROXY_NONE) {
        r->where = zlt_where_start(r->url, zlt_reach_named, r);
        return r->where ? 0 : -1;
    }

    r->resolve = zlt_resolve_start(ZLT_LOOKUP_SERVER, host, r->via->port,
                                   zlt_reach_proxy_named, r);

    return r->resolve ? 0 : -1;
}


static int
zlt_reach_race(zlt_reach_t *r, const zlt_addrs_t *addrs)
{
    r->step = ZLT_REACH_CONNECT;
    r->race = zlt_race_start(r->loop, addrs, NULL, 0, zlt_reach_raced, r);

    return r->race ? 0 : -1;
}


static void
zlt_reach_named(void *data, const char *why, const char *asked,
    const zlt_addrs_t *addrs)
{
    zlt_addrs_t   some;
    zlt_reach_t  *r;

    r = data;
    r->where = NULL;

    if (why) {
        zlt_reach_nameless(r, why);
        return;
    }

    some = *addrs;
    r->found(r, asked, &some);

    if (zlt_reach_race(r, &some) == -1) {
        r->handler(r, "out of memory");
    }
}


static void
zlt_reach_proxy_named(void *data, const char *why, const zlt_addrs_t *addrs)
{
    zlt_reach_t  *r;

    r = data;
    r->resolve = NULL;

    zlt_reach_named(r, why, r->via->host, addrs);
}


static void
zlt_reach_nameless(zlt_reach_t *r, const char *why)
{
    char  text[ZLT_REACH_ERROR_SIZE - 128], error[ZLT_REACH_ERROR_SIZE];

    (void) snprintf(text, sizeof(text),
                    "the name \"%.150s\" cannot be resolved: %s%s",
                    zlt_reach_looked_for(r), why,
                    r->step == ZLT_REACH_TARGET && !r->url->record[0]
                    ? " (a proxy of the kind socks5h:// resolves it itself)"
                    : "");

    r->handler(r, r->step == ZLT_REACH_TARGET ? text
                                              : zlt_reach_hop(r, text, error));
}


/* The name whose addresses are wanted. */

static const char *
zlt_reach_looked_for(const zlt_reach_t *r)
{
    return r->step == ZLT_REACH_NAME && r->via->kind ? r->via->host
           : r->url->record[0] ? r->url->record : r->url->host;
}


static void
zlt_reach_raced(void *data, zlt_conn_t *c, const zlt_addr_t *addr, int err)
{
    char          text[ZLT_RACE_TEXT], error[ZLT_REACH_ERROR_SIZE];
    zlt_reach_t  *r;

    (void) err;

    r = data;

    if (c == NULL) {
        (void) zlt_race_why(r->race, text);
        r->race = NULL;

        r->handler(r, zlt_reach_hop(r, text, error));
        return;
    }

    r->race = NULL;
    r->way.addr = *addr;

    if (r->only == NULL && (r->via->kind || !r->url->record[0])) {
        zlt_resolve_worked(zlt_reach_host(r), addr);
    }

    if (zlt_race_take(r->conn, c, zlt_reach_event) == -1) {
        r->handler(r, strerror(errno));
        return;
    }

    r->conn->io.data = r;

    zlt_reach_connected(r);
}


/* The server is there, or the proxy, which has to be told where to. */

static void
zlt_reach_connected(zlt_reach_t *r)
{
    zlt_srv_host_t  *to;

    if (r->via->kind == ZLT_PROXY_NONE) {
        r->handler(r, NULL);
        return;
    }

    if (r->targets && r->next < r->targets->n) {
        r->way.target = r->targets->hosts[r->next++];
    }

    to = &r->way.target;

    r->talk = zlt_talk_create(r->via, to->host[0] ? to->host : r->url->host,
                              to->host[0] ? to->port : r->url->port);

    if (r->talk == NULL) {
        r->handler(r, "out of memory");
        return;
    }

    r->step = ZLT_REACH_TALK;

    zlt_reach_talking(r);
}


void
zlt_reach_event(zlt_io_t *io)
{
    char          error[ZLT_ADDR_TEXT + 128], text[ZLT_ADDR_TEXT];
    zlt_reach_t  *r;

    r = io->data;

    if (r->step == ZLT_REACH_TALK) {
        zlt_reach_talking(r);
        return;
    }

    /* on a way that was known */

    switch (zlt_conn_connected(r->conn)) {

    case ZLT_CONN_AGAIN:
        return;

    case 0:
        zlt_reach_connected(r);
        return;

    default:
        (void) snprintf(error, sizeof(error), "%s: %s",
                        zlt_addr_text(text, &r->way.addr), strerror(errno));

        r->handler(r, error);
    }
}


static void
zlt_reach_talking(zlt_reach_t *r)
{
    int   rc, again;
    char  error[ZLT_PROXY_ERROR_SIZE];

    rc = zlt_talk_step(r->talk, r->conn, error);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    again = (rc == ZLT_CONN_ERROR && zlt_talk_unreachable(r->talk)
             && r->targets && r->next < r->targets->n);

    zlt_talk_free(r->talk);
    r->talk = NULL;

    if (again) {
        zlt_conn_close(r->conn);

        if (zlt_reach_dial(r) == -1) {
            r->handler(r, "out of memory");
        }

        return;
    }

    if (rc == 0 && r->targets && !r->url->record[0]) {
        zlt_reach_prefer(r, &r->way.target);
    }

    r->handler(r, rc == 0 ? NULL : error);
}


/* Of what the proxy may be asked for, that comes first for a while. */

static void
zlt_reach_prefer(zlt_reach_t *r, const zlt_srv_host_t *target)
{
    zlt_addrs_t  addrs;

    if (r->url->record[0]) {
        zlt_resolve_srv_prefer(r->url->record, target);

    } else if (zlt_addr_numeric(&addrs, target->host, target->port) == 0) {
        zlt_resolve_worked(r->url->host, &addrs.addrs[0]);
    }
}


void
zlt_reach_late(zlt_reach_t *r, char *error)
{
    char  text[ZLT_REACH_ERROR_SIZE / 2], ways[ZLT_RACE_TEXT];

    switch (r->step) {

    case ZLT_REACH_TARGET:
    case ZLT_REACH_NAME:
        (void) snprintf(text, sizeof(text), "the name \"%.150s\" could not be "
                        "resolved within %u s: does its name server answer?",
                        zlt_reach_looked_for(r), r->limit);
        break;

    case ZLT_REACH_CONNECT:
        if (r->race == NULL) {
            (void) strcpy(error, "the server did not answer in time");
            return;
        }

        (void) snprintf(text, sizeof(text), "%s did not answer within %u s: a "
                        "firewall?", zlt_race_under_way(r->race, ways),
                        r->limit);
        break;

    default:  /* ZLT_REACH_TALK */
        (void) snprintf(error, ZLT_REACH_ERROR_SIZE,
                        "the proxy %s did not answer in time", r->via->name);

        /* it may be that address; the next one has its turn then */

        if (r->targets && r->next < r->targets->n) {
            zlt_reach_prefer(r, &r->targets->hosts[r->next]);
        }

        return;
    }

    if (r->step == ZLT_REACH_TARGET) {
        (void) strcpy(error, text);

    } else {
        (void) zlt_reach_hop(r, text, error);
    }
}


/* What failed was the way to the next hop: says so if that is the proxy. */

static const char *
zlt_reach_hop(const zlt_reach_t *r, const char *why, char *error)
{
    if (r->via->kind) {
        (void) snprintf(error, ZLT_REACH_ERROR_SIZE,
                        "the proxy %s cannot be reached: %s", r->via->name,
                        why);
    } else {
        (void) snprintf(error, ZLT_REACH_ERROR_SIZE, "%s", why);
    }

    return error;
}


void
zlt_reach_cancel(zlt_reach_t *r)
{
    zlt_resolve_cancel(r->resolve);
    zlt_where_cancel(r->where);
    zlt_race_cancel(r->race);
    zlt_talk_free(r->talk);
    free(r->targets);
}
