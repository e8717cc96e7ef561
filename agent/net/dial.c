
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Dialling, after RFC 8305: the addresses are tried one after the
 * other, a new one as soon as the last has failed, or after 250 ms while it
 * is still on its way, and the first that is connected wins.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "dial.h"
#include "resolve.h"
#include "task.h"
#include "zlt_list.h"


#define ZLT_DIAL_STAGGER  250          /* ms */


typedef struct {
    zlt_conn_t         conn;
    unsigned           open:1;
} zlt_dial_try_t;


struct zlt_dial_s {
    zlt_addrs_t        addrs;
    zlt_dial_try_t     tries[ZLT_ADDRS_MAX];
    unsigned           next;
    unsigned           running;

    zlt_resolve_t     *resolve;
    uv_timer_t         stagger;
    uv_timer_t         timeout;
    zlt_task_t         task;           /* frees it */
    unsigned           handles;        /* of libuv, still open */
    unsigned           done:1;

    zlt_dial_pt        handler;
    void              *data;
    char               host[256];
    char               error[ZLT_DIAL_ERROR_SIZE];
};


static void zlt_dial_resolved(void *data, int status,
    const zlt_addrs_t *addrs);
static void zlt_dial_next(zlt_dial_t *d);
static void zlt_dial_staggered(uv_timer_t *timer);
static void zlt_dial_event(zlt_io_t *io);
static void zlt_dial_expired(uv_timer_t *timer);
static void zlt_dial_finish(zlt_dial_t *d, zlt_dial_try_t *winner);
static void zlt_dial_failed(zlt_dial_t *d, zlt_dial_try_t *try, int err);
static void zlt_dial_closed(uv_handle_t *handle);
static void zlt_dial_free(zlt_task_t *task);


zlt_dial_t *
zlt_dial_start(uv_loop_t *loop, const char *host, uint16_t port,
    unsigned timeout, zlt_dial_pt handler, void *data)
{
    unsigned     i;
    zlt_dial_t  *d;

    d = calloc(1, sizeof(zlt_dial_t));
    if (d == NULL) {
        return NULL;
    }

    for (i = 0; i < ZLT_ADDRS_MAX; i++) {
        zlt_conn_init(&d->tries[i].conn);
    }

    d->handler = handler;
    d->data = data;
    (void) snprintf(d->host, sizeof(d->host), "%s", host);

    zlt_list_init(&d->task.link);

    (void) uv_timer_init(loop, &d->stagger);
    (void) uv_timer_init(loop, &d->timeout);
    d->stagger.data = d;
    d->timeout.data = d;
    d->handles = 2;

    (void) uv_timer_start(&d->timeout, zlt_dial_expired, timeout, 0);

    if (*host == '/') {
        zlt_addr_unix(&d->addrs, host);
    }

    if (d->addrs.n || zlt_addr_numeric(&d->addrs, host, port) == 0) {
        /* from a handler of the loop, as all the rest */
        (void) uv_timer_start(&d->stagger, zlt_dial_staggered, 0, 0);
        return d;
    }

    d->resolve = zlt_resolve_start(loop, host, port, zlt_dial_resolved, d);

    if (d->resolve == NULL) {
        (void) snprintf(d->error, sizeof(d->error),
                        "\"%.150s\" cannot be resolved", host);
        (void) uv_timer_start(&d->timeout, zlt_dial_expired, 0, 0);
    }

    return d;
}


static void
zlt_dial_resolved(void *data, int status, const zlt_addrs_t *addrs)
{
    zlt_dial_t  *d;

    d = data;
    d->resolve = NULL;

    if (status != 0) {
        (void) snprintf(d->error, sizeof(d->error),
                        "the name \"%.150s\" cannot be resolved: %s",
                        d->host, uv_strerror(status));
        zlt_dial_finish(d, NULL);
        return;
    }

    d->addrs = *addrs;

    zlt_dial_next(d);
}


static void
zlt_dial_staggered(uv_timer_t *timer)
{
    zlt_dial_next(timer->data);
}


static void
zlt_dial_next(zlt_dial_t *d)
{
    zlt_addr_t      *addr;
    zlt_dial_try_t  *try;

    while (d->next < d->addrs.n) {

        try = &d->tries[d->next];
        addr = &d->addrs.addrs[d->next++];

        if (zlt_conn_connect(&try->conn, &addr->addr.sa, addr->len, 0,
                             zlt_dial_event)
            == 0)
        {
            try->conn.io.data = d;
            try->open = 1;
            d->running++;

            if (d->next < d->addrs.n) {
                (void) uv_timer_start(&d->stagger, zlt_dial_staggered,
                                      ZLT_DIAL_STAGGER, 0);
            }

            return;
        }

        zlt_dial_failed(d, try, errno);
    }

    if (d->running == 0) {
        zlt_dial_finish(d, NULL);
    }
}


static void
zlt_dial_event(zlt_io_t *io)
{
    int              rc;
    zlt_dial_t      *d;
    zlt_dial_try_t  *try;

    d = io->data;
    try = (zlt_dial_try_t *) (void *) io;

    rc = zlt_conn_connected(&try->conn);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    if (rc == 0) {
        zlt_dial_finish(d, try);
        return;
    }

    zlt_dial_failed(d, try, errno);
    zlt_dial_next(d);
}


static void
zlt_dial_failed(zlt_dial_t *d, zlt_dial_try_t *try, int err)
{
    char  text[ZLT_ADDR_TEXT];

    (void) snprintf(d->error, sizeof(d->error), "%s: %s",
                    zlt_addr_text(text, &d->addrs.addrs[try - d->tries]),
                    strerror(err));

    if (try->open) {
        try->open = 0;
        d->running--;
        zlt_conn_close(&try->conn);
    }
}


static void
zlt_dial_expired(uv_timer_t *timer)
{
    zlt_dial_t  *d;

    d = timer->data;

    if (d->error[0] == '\0' || d->running) {
        (void) snprintf(d->error, sizeof(d->error), "\"%.150s\" %s in time",
                        d->host, d->resolve ? "could not be resolved"
                                            : "did not answer");
    }

    zlt_dial_finish(d, NULL);
}


static void
zlt_dial_finish(zlt_dial_t *d, zlt_dial_try_t *winner)
{
    void        *data;
    zlt_dial_pt  handler;

    if (d->done) {
        return;
    }

    handler = d->handler;
    data = d->data;

    d->done = 1;

    handler(data, winner ? &winner->conn : NULL,
            winner ? &d->addrs.addrs[winner - d->tries] : NULL, d->error);

    d->done = 0;

    zlt_dial_cancel(d);
}


void
zlt_dial_cancel(zlt_dial_t *d)
{
    unsigned  i;

    if (d == NULL || d->done) {
        return;
    }

    d->done = 1;

    zlt_resolve_cancel(d->resolve);

    for (i = 0; i < ZLT_ADDRS_MAX; i++) {
        zlt_conn_close(&d->tries[i].conn);
    }

    uv_close((uv_handle_t *) &d->stagger, zlt_dial_closed);
    uv_close((uv_handle_t *) &d->timeout, zlt_dial_closed);
}


static void
zlt_dial_closed(uv_handle_t *handle)
{
    zlt_dial_t  *d;

    d = handle->data;

    if (--d->handles == 0) {
        d->task.handler = zlt_dial_free;
        zlt_io_later(&d->task);
    }
}


static void
zlt_dial_free(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_dial_t, task));
}
