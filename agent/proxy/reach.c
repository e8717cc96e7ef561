
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Reaching the server: dial it, or dial the proxy and be led on.  A proxy of
 * the kind socks5:// is asked for addresses, which are resolved here, one
 * after the other until it gets to one.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "dial.h"
#include "proxy.h"
#include "reach.h"
#include "resolve.h"
#include "task.h"
#include "zlt_list.h"


struct zlt_reach_s {
    uv_loop_t         *loop;
    const zlt_url_t   *url;
    const zlt_proxy_t  *via;
    unsigned           limit;          /* ms */

    zlt_conn_t         conn;           /* to the proxy */
    zlt_way_t          way;
    zlt_addrs_t        targets;
    unsigned           next;           /* of them */

    zlt_dial_t        *dial;
    zlt_resolve_t     *resolve;
    zlt_talk_t        *talk;
    uv_timer_t         timeout;
    zlt_task_t         task;           /* frees it */
    unsigned           done:1;

    zlt_reach_pt       handler;
    zlt_dial_found_pt  found;
    void              *data;
    char               error[ZLT_REACH_ERROR_SIZE];
};


static void zlt_reach_begin(uv_timer_t *timer);
static void zlt_reach_resolved(void *data, const char *why,
    const zlt_addrs_t *addrs);
static void zlt_reach_dial(zlt_reach_t *r);
static void zlt_reach_found(void *data, const char *host,
    const zlt_addrs_t *addrs);
static void zlt_reach_dialled(void *data, zlt_conn_t *c,
    const zlt_addr_t *addr, const char *error);
static void zlt_reach_talking(zlt_io_t *io);
static void zlt_reach_expired(uv_timer_t *timer);
static void zlt_reach_finish(zlt_reach_t *r, zlt_conn_t *c);
static void zlt_reach_closed(uv_handle_t *handle);
static void zlt_reach_free(zlt_task_t *task);


zlt_reach_t *
zlt_reach_start(uv_loop_t *loop, const zlt_url_t *url, const zlt_proxy_t *via,
    unsigned timeout, zlt_reach_pt handler, zlt_dial_found_pt found,
    void *data)
{
    zlt_reach_t  *r;

    r = calloc(1, sizeof(zlt_reach_t));
    if (r == NULL) {
        return NULL;
    }

    r->loop = loop;
    r->url = url;
    r->via = via;
    r->limit = timeout;
    r->handler = handler;
    r->found = found;
    r->data = data;

    zlt_conn_init(&r->conn);
    zlt_list_init(&r->task.link);

    (void) uv_timer_init(loop, &r->timeout);
    r->timeout.data = r;

    /* from a handler of the loop, as all the rest */

    (void) uv_timer_start(&r->timeout, zlt_reach_begin, 0, 0);

    return r;
}


static void
zlt_reach_begin(uv_timer_t *timer)
{
    zlt_reach_t  *r;

    r = timer->data;

    (void) uv_timer_start(timer, zlt_reach_expired, r->limit, 0);

    if (r->via->kind != ZLT_PROXY_SOCKS5
        || zlt_addr_numeric(&r->targets, r->url->host, r->url->port) == 0)
    {
        zlt_reach_dial(r);
        return;
    }

    r->resolve = zlt_resolve_start(ZLT_LOOKUP_SERVER, r->url->host,
                                   r->url->port, zlt_reach_resolved, r);

    if (r->resolve == NULL) {
        (void) snprintf(r->error, sizeof(r->error),
                        "\"%.150s\" cannot be resolved", r->url->host);
        zlt_reach_finish(r, NULL);
    }
}


static void
zlt_reach_resolved(void *data, const char *why, const zlt_addrs_t *addrs)
{
    zlt_reach_t  *r;

    r = data;
    r->resolve = NULL;

    if (why) {
        (void) snprintf(r->error, sizeof(r->error),
                        "the name \"%.150s\" cannot be resolved: %s (a proxy "
                        "of the kind socks5h:// resolves it itself)",
                        r->url->host, why);
        zlt_reach_finish(r, NULL);
        return;
    }

    r->targets = *addrs;

    zlt_reach_found(r, r->url->host, addrs);
    zlt_reach_dial(r);
}


static void
zlt_reach_dial(zlt_reach_t *r)
{
    uint16_t     port;
    const char  *host;

    host = r->via->kind ? r->via->host : r->url->host;
    port = r->via->kind ? r->via->port : r->url->port;

    r->dial = zlt_dial_start(r->loop, host, port, r->limit, zlt_reach_dialled,
                             r);

    if (r->dial == NULL) {
        (void) strcpy(r->error, "out of memory");
        zlt_reach_finish(r, NULL);
        return;
    }

    zlt_dial_watch(r->dial, zlt_reach_found);
}


static void
zlt_reach_found(void *data, const char *host, const zlt_addrs_t *addrs)
{
    zlt_reach_t  *r;

    r = data;

    if (r->found) {
        r->found(r->data, host, addrs);
    }
}


static void
zlt_reach_dialled(void *data, zlt_conn_t *c, const zlt_addr_t *addr,
    const char *error)
{
    zlt_reach_t  *r;

    r = data;
    r->dial = NULL;

    if (c == NULL) {
        if (r->via->kind) {
            (void) snprintf(r->error, sizeof(r->error), "the proxy %s cannot "
                            "be reached: %s", r->via->name, error);
        } else {
            (void) snprintf(r->error, sizeof(r->error), "%s", error);
        }

        zlt_reach_finish(r, NULL);
        return;
    }

    r->way.addr = *addr;

    if (r->via->kind == ZLT_PROXY_NONE) {
        zlt_reach_finish(r, c);
        return;
    }

    if (r->next < r->targets.n) {
        r->way.target = r->targets.addrs[r->next++];
    }

    r->talk = zlt_reach_talk(r->url, r->via, &r->way.target);

    if (r->talk == NULL
        || zlt_io_move(&r->conn.io, &c->io, zlt_reach_talking) == -1)
    {
        (void) strcpy(r->error, "out of memory");
        zlt_reach_finish(r, NULL);
        return;
    }

    r->conn.io.data = r;

    zlt_reach_talking(&r->conn.io);
}


static void
zlt_reach_talking(zlt_io_t *io)
{
    int           rc, again;
    zlt_reach_t  *r;

    r = io->data;

    rc = zlt_talk_step(r->talk, &r->conn, r->error);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    again = (rc == ZLT_CONN_ERROR && zlt_talk_unreachable(r->talk)
             && r->next < r->targets.n);

    if (rc == 0 && r->way.target.len) {
        zlt_resolve_worked(r->url->host, &r->way.target);
    }

    zlt_talk_free(r->talk);
    r->talk = NULL;

    if (rc == 0) {
        zlt_reach_finish(r, &r->conn);
        return;
    }

    zlt_conn_close(&r->conn);

    if (again) {
        zlt_reach_dial(r);

    } else {
        zlt_reach_finish(r, NULL);
    }
}


zlt_talk_t *
zlt_reach_talk(const zlt_url_t *url, const zlt_proxy_t *via,
    const zlt_addr_t *target)
{
    char         host[ZLT_ADDR_TEXT];
    const char  *name;

    name = url->host;

    if (target->len) {
        name = zlt_addr_host(host, target);
    }

    return zlt_talk_create(via, name, url->port);
}


static void
zlt_reach_expired(uv_timer_t *timer)
{
    zlt_reach_t  *r;

    r = timer->data;

    if (r->dial) {
        /* which knows at whom it was */
        zlt_dial_expire(r->dial);
        return;
    }

    if (r->resolve) {
        (void) snprintf(r->error, sizeof(r->error),
                        "the name \"%.150s\" could not be resolved within "
                        "%u s: does its name server answer?", r->url->host,
                        (r->limit + 999) / 1000);

    } else {
        (void) snprintf(r->error, sizeof(r->error),
                        "the proxy %s did not answer in time", r->via->name);

        /* it may be that address; the next one has its turn then */

        if (r->talk && r->next < r->targets.n) {
            zlt_resolve_worked(r->url->host, &r->targets.addrs[r->next]);
        }
    }

    zlt_reach_finish(r, NULL);
}


static void
zlt_reach_finish(zlt_reach_t *r, zlt_conn_t *c)
{
    void          *data;
    zlt_reach_pt   handler;

    if (r->done) {
        return;
    }

    handler = r->handler;
    data = r->data;

    r->done = 1;

    handler(data, c, &r->way, r->error);

    r->done = 0;

    zlt_reach_cancel(r);
}


void
zlt_reach_cancel(zlt_reach_t *r)
{
    if (r == NULL || r->done) {
        return;
    }

    r->done = 1;

    zlt_dial_cancel(r->dial);
    zlt_resolve_cancel(r->resolve);
    zlt_talk_free(r->talk);
    zlt_conn_close(&r->conn);

    uv_close((uv_handle_t *) &r->timeout, zlt_reach_closed);
}


static void
zlt_reach_closed(uv_handle_t *handle)
{
    zlt_reach_t  *r;

    r = handle->data;

    r->task.handler = zlt_reach_free;
    zlt_io_later(&r->task);
}


static void
zlt_reach_free(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_reach_t, task));
}
