
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Dialling: the name is resolved, and its addresses race.  Which of them has
 * won is remembered for the next time.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dial.h"
#include "race.h"
#include "resolve.h"
#include "task.h"
#include "zlt_list.h"


struct zlt_dial_s {
    uv_loop_t         *loop;
    zlt_resolve_t     *resolve;
    zlt_race_t        *race;
    uv_timer_t         timeout;
    zlt_task_t         task;           /* frees it */
    unsigned           done:1;

    unsigned           limit;          /* ms */

    zlt_dial_pt        handler;
    zlt_dial_found_pt  found;          /* or NULL */
    void              *data;
    char               host[256];
    char               error[ZLT_DIAL_ERROR_SIZE];
};


static void zlt_dial_resolved(void *data, const char *why,
    const zlt_addrs_t *addrs);
static int zlt_dial_race(zlt_dial_t *d, const zlt_addrs_t *addrs);
static void zlt_dial_raced(void *data, zlt_conn_t *c, const zlt_addr_t *addr,
    int err);
static void zlt_dial_expired(uv_timer_t *timer);
static void zlt_dial_finish(zlt_dial_t *d, zlt_conn_t *winner,
    const zlt_addr_t *addr);
static void zlt_dial_closed(uv_handle_t *handle);
static void zlt_dial_free(zlt_task_t *task);


zlt_dial_t *
zlt_dial_start(uv_loop_t *loop, const char *host, uint16_t port,
    unsigned timeout, zlt_dial_pt handler, void *data)
{
    zlt_dial_t   *d;
    zlt_addrs_t   addrs;

    d = calloc(1, sizeof(zlt_dial_t));
    if (d == NULL) {
        return NULL;
    }

    d->loop = loop;
    d->limit = timeout;
    d->handler = handler;
    d->data = data;
    (void) snprintf(d->host, sizeof(d->host), "%s", host);

    zlt_list_init(&d->task.link);

    (void) uv_timer_init(loop, &d->timeout);
    d->timeout.data = d;

    addrs.n = 0;

    if (*host == '/') {
        zlt_addr_unix(&addrs, host);
    }

    if (addrs.n || zlt_addr_numeric(&addrs, host, port) == 0) {
        if (zlt_dial_race(d, &addrs) == -1) {
            timeout = 0;
        }

    } else {
        d->resolve = zlt_resolve_start(ZLT_LOOKUP_SERVER, host, port,
                                       zlt_dial_resolved, d);
        if (d->resolve == NULL) {
            (void) snprintf(d->error, sizeof(d->error),
                            "\"%.150s\" cannot be resolved", host);
            timeout = 0;
        }
    }

    /* what has failed already is told from a handler of the loop, as all the
       rest */

    (void) uv_timer_start(&d->timeout, zlt_dial_expired, timeout, 0);

    return d;
}


static void
zlt_dial_resolved(void *data, const char *why, const zlt_addrs_t *addrs)
{
    zlt_dial_t  *d;

    d = data;
    d->resolve = NULL;

    if (why) {
        (void) snprintf(d->error, sizeof(d->error),
                        "the name \"%.150s\" cannot be resolved: %s",
                        d->host, why);
        zlt_dial_finish(d, NULL, NULL);
        return;
    }

    if (d->found) {
        d->found(d->data, d->host, addrs);
    }

    if (zlt_dial_race(d, addrs) == -1) {
        zlt_dial_finish(d, NULL, NULL);
    }
}


static int
zlt_dial_race(zlt_dial_t *d, const zlt_addrs_t *addrs)
{
    d->race = zlt_race_start(d->loop, addrs, NULL, 0, zlt_dial_raced, d);

    if (d->race == NULL) {
        (void) strcpy(d->error, "out of memory");
        return -1;
    }

    return 0;
}


static void
zlt_dial_raced(void *data, zlt_conn_t *c, const zlt_addr_t *addr, int err)
{
    char         text[ZLT_RACE_TEXT];
    zlt_dial_t  *d;

    (void) err;

    d = data;

    if (c) {
        zlt_resolve_worked(d->host, addr);

    } else {
        (void) snprintf(d->error, sizeof(d->error), "%s",
                        zlt_race_why(d->race, text));
    }

    d->race = NULL;

    zlt_dial_finish(d, c, addr);
}


static void
zlt_dial_expired(uv_timer_t *timer)
{
    zlt_dial_expire(timer->data);
}


void
zlt_dial_expire(zlt_dial_t *d)
{
    char  text[ZLT_RACE_TEXT];

    if (d->error[0] != '\0') {
        /* it has failed at the start */

    } else if (d->resolve) {
        (void) snprintf(d->error, sizeof(d->error), "the name \"%.150s\" "
                        "could not be resolved within %u s: does its name "
                        "server answer?", d->host, (d->limit + 999) / 1000);

    } else {
        (void) snprintf(d->error, sizeof(d->error), "%s did not answer within "
                        "%u s: a firewall?", zlt_race_under_way(d->race, text),
                        (d->limit + 999) / 1000);
    }

    zlt_dial_finish(d, NULL, NULL);
}


static void
zlt_dial_finish(zlt_dial_t *d, zlt_conn_t *winner, const zlt_addr_t *addr)
{
    if (d->done) {
        return;
    }

    d->done = 1;

    d->handler(d->data, winner, addr, d->error);

    d->done = 0;

    zlt_dial_cancel(d);
}


void
zlt_dial_watch(zlt_dial_t *d, zlt_dial_found_pt found)
{
    d->found = found;
}


void
zlt_dial_cancel(zlt_dial_t *d)
{
    if (d == NULL || d->done) {
        return;
    }

    d->done = 1;

    zlt_resolve_cancel(d->resolve);
    zlt_race_cancel(d->race);

    uv_close((uv_handle_t *) &d->timeout, zlt_dial_closed);
}


static void
zlt_dial_closed(uv_handle_t *handle)
{
    zlt_dial_t  *d;

    d = handle->data;

    d->task.handler = zlt_dial_free;
    zlt_io_later(&d->task);
}


static void
zlt_dial_free(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_dial_t, task));
}
