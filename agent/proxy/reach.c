
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Reaching the server: by the addresses of its name, or by those of the proxy,
 * which leads on.  A proxy of the kind socks5:// is asked for addresses, which
 * are resolved here, one after the other until it gets to one.
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


static int zlt_reach_dial(zlt_reach_t *r);
static int zlt_reach_race(zlt_reach_t *r, const zlt_addrs_t *addrs);
static int zlt_reach_resolve(zlt_reach_t *r, zlt_reach_step_e step,
    const char *host, uint16_t port);
static void zlt_reach_resolved(void *data, const char *why,
    const zlt_addrs_t *addrs);
static int zlt_reach_keep(zlt_reach_t *r, const zlt_addrs_t *addrs);
static void zlt_reach_raced(void *data, zlt_conn_t *c, const zlt_addr_t *addr,
    int err);
static void zlt_reach_connected(zlt_reach_t *r);
static void zlt_reach_talking(zlt_reach_t *r);
static const char *zlt_reach_hop(const zlt_reach_t *r, const char *why,
    char *error);


/* the next hop */
#define zlt_reach_host(r)  ((r)->via->kind ? (r)->via->host : (r)->url->host)
#define zlt_reach_port(r)  ((r)->via->kind ? (r)->via->port : (r)->url->port)


int
zlt_reach_start(zlt_reach_t *r)
{
    zlt_addrs_t  addrs;

    if (r->via->kind == ZLT_PROXY_SOCKS5) {

        if (zlt_addr_numeric(&addrs, r->url->host, r->url->port) == -1) {
            return zlt_reach_resolve(r, ZLT_REACH_TARGET, r->url->host,
                                     r->url->port);
        }

        if (zlt_reach_keep(r, &addrs) == -1) {
            return -1;
        }
    }

    return zlt_reach_dial(r);
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

    return zlt_reach_resolve(r, ZLT_REACH_NAME, host, zlt_reach_port(r));
}


static int
zlt_reach_race(zlt_reach_t *r, const zlt_addrs_t *addrs)
{
    r->step = ZLT_REACH_CONNECT;
    r->race = zlt_race_start(r->loop, addrs, NULL, 0, zlt_reach_raced, r);

    return r->race ? 0 : -1;
}


static int
zlt_reach_resolve(zlt_reach_t *r, zlt_reach_step_e step, const char *host,
    uint16_t port)
{
    r->step = step;
    r->resolve = zlt_resolve_start(ZLT_LOOKUP_SERVER, host, port,
                                   zlt_reach_resolved, r);

    return r->resolve ? 0 : -1;
}


static void
zlt_reach_resolved(void *data, const char *why, const zlt_addrs_t *addrs)
{
    int           rc, target;
    char          text[ZLT_REACH_ERROR_SIZE / 2], error[ZLT_REACH_ERROR_SIZE];
    const char   *host;
    zlt_addrs_t   some;
    zlt_reach_t  *r;

    r = data;
    r->resolve = NULL;
    target = (r->step == ZLT_REACH_TARGET);
    host = target ? r->url->host : zlt_reach_host(r);

    if (why) {
        (void) snprintf(text, sizeof(text),
                        "the name \"%.150s\" cannot be resolved: %s%s", host,
                        why, target ? " (a proxy of the kind socks5h:// "
                                      "resolves it itself)" : "");

        r->handler(r, target ? text : zlt_reach_hop(r, text, error));
        return;
    }

    some = *addrs;
    r->found(r, host, &some);

    if (target) {
        rc = zlt_reach_keep(r, &some) == 0 ? zlt_reach_dial(r) : -1;

    } else {
        rc = zlt_reach_race(r, &some);
    }

    if (rc == -1) {
        r->handler(r, "out of memory");
    }
}


static int
zlt_reach_keep(zlt_reach_t *r, const zlt_addrs_t *addrs)
{
    r->targets = malloc(sizeof(zlt_addrs_t));

    if (r->targets == NULL) {
        return -1;
    }

    *r->targets = *addrs;

    return 0;
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

    if (r->only == NULL) {
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
    char         host[ZLT_ADDR_TEXT];
    const char  *name;

    if (r->via->kind == ZLT_PROXY_NONE) {
        r->handler(r, NULL);
        return;
    }

    if (r->targets && r->next < r->targets->n) {
        r->way.target = r->targets->addrs[r->next++];
    }

    name = r->way.target.len ? zlt_addr_host(host, &r->way.target)
                             : r->url->host;

    r->talk = zlt_talk_create(r->via, name, r->url->port);

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

    if (rc == 0 && r->targets) {
        zlt_resolve_worked(r->url->host, &r->way.target);
    }

    r->handler(r, rc == 0 ? NULL : error);
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
                        r->step == ZLT_REACH_TARGET ? r->url->host
                                                    : zlt_reach_host(r),
                        r->limit);
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
            zlt_resolve_worked(r->url->host, &r->targets->addrs[r->next]);
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
    zlt_race_cancel(r->race);
    zlt_talk_free(r->talk);
    free(r->targets);
}
