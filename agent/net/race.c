
/*
 * Copyright (C) zltunnel authors
 */

/*
 * RFC 8305: the addresses are tried one after the other, a new one as soon as
 * the last has failed, or after 250 ms while it is still on its way, and the
 * first that is connected wins.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "io.h"
#include "race.h"
#include "task.h"


#define ZLT_RACE_STAGGER  250          /* ms */
#define ZLT_RACE_LESSER   1000         /* .. before what is only for when those
                                          before it are dead (RFC 2782) */


typedef struct {
    zlt_conn_t         conn;           /* first: handlers get its address */
    int                err;            /* why it has failed; 0: it has not */
    unsigned           open:1;
} zlt_race_try_t;


struct zlt_race_s {
    zlt_addrs_t        addrs;
    zlt_race_try_t     tries[ZLT_ADDRS_MAX];
    unsigned           next;
    unsigned           running;
    int                speaks;

    int                err;            /* of the last that failed */
    unsigned           failed;         /* .. which it was */

    uv_timer_t         stagger;
    zlt_task_t         task;           /* frees it */
    unsigned           done:1;

    zlt_race_pt        handler;
    void              *data;
};


static int zlt_race_adopt(zlt_race_t *r, zlt_conn_t *first);
static uint64_t zlt_race_stagger(const zlt_race_t *r);
static void zlt_race_staggered(uv_timer_t *timer);
static void zlt_race_next(zlt_race_t *r);
static void zlt_race_event(zlt_io_t *io);
static void zlt_race_failed(zlt_race_t *r, zlt_race_try_t *try, int err);
static unsigned zlt_race_differ(const zlt_race_t *r);
static size_t zlt_race_add(char *buf, size_t len, const char *between,
    const zlt_addr_t *addr, int err);
static void zlt_race_finish(zlt_race_t *r, zlt_race_try_t *winner);
static void zlt_race_closed(uv_handle_t *handle);
static void zlt_race_free(zlt_task_t *task);


zlt_race_t *
zlt_race_start(uv_loop_t *loop, const zlt_addrs_t *addrs, zlt_conn_t *first,
    int speaks, zlt_race_pt handler, void *data)
{
    unsigned     i;
    zlt_race_t  *r;

    r = calloc(1, sizeof(zlt_race_t));

    if (r == NULL) {
        return NULL;
    }

    for (i = 0; i < ZLT_ADDRS_MAX; i++) {
        zlt_conn_init(&r->tries[i].conn);
    }

    r->addrs = *addrs;
    r->speaks = speaks;
    r->handler = handler;
    r->data = data;

    zlt_list_init(&r->task.link);

    if (first && zlt_race_adopt(r, first) == -1) {
        free(r);
        return NULL;
    }

    (void) uv_timer_init(loop, &r->stagger);
    r->stagger.data = r;

    (void) uv_timer_start(&r->stagger, zlt_race_staggered,
                          first ? zlt_race_stagger(r) : 0, 0);

    return r;
}


/* ms until the next one begins, if the last does not fail before */

static uint64_t
zlt_race_stagger(const zlt_race_t *r)
{
    const zlt_addr_t  *next;

    next = &r->addrs.addrs[r->next];

    return r->next < r->addrs.n && next->priority != next[-1].priority
           ? ZLT_RACE_LESSER : ZLT_RACE_STAGGER;
}


static int
zlt_race_adopt(zlt_race_t *r, zlt_conn_t *first)
{
    zlt_race_try_t  *try;

    try = &r->tries[0];

    if (zlt_race_take(&try->conn, first, zlt_race_event) == -1) {
        return -1;
    }

    try->conn.io.data = r;
    try->open = 1;

    r->running = 1;
    r->next = 1;

    return 0;
}


int
zlt_race_take(zlt_conn_t *to, zlt_conn_t *winner, zlt_io_pt handler)
{
    zlt_conn_init(to);

    to->speaks = winner->speaks;

    return zlt_io_move(&to->io, &winner->io, handler);
}


static void
zlt_race_staggered(uv_timer_t *timer)
{
    zlt_race_next(timer->data);
}


static void
zlt_race_next(zlt_race_t *r)
{
    zlt_addr_t      *addr;
    zlt_race_try_t  *try;

    while (r->next < r->addrs.n) {

        if (r->running && !zlt_io_room(1)) {
            /* it would take what others need */
            return;
        }

        try = &r->tries[r->next];
        addr = &r->addrs.addrs[r->next++];

        if (zlt_conn_connect(&try->conn, &addr->addr.sa, addr->len, r->speaks,
                             zlt_race_event)
            == 0)
        {
            try->conn.io.data = r;
            try->open = 1;
            r->running++;

            if (r->next < r->addrs.n) {
                (void) uv_timer_start(&r->stagger, zlt_race_staggered,
                                      zlt_race_stagger(r), 0);
            }

            return;
        }

        zlt_race_failed(r, try, errno);
    }

    if (r->running == 0) {
        zlt_race_finish(r, NULL);
    }
}


static void
zlt_race_event(zlt_io_t *io)
{
    int              rc;
    zlt_race_t      *r;
    zlt_race_try_t  *try;

    r = io->data;
    try = (zlt_race_try_t *) (void *) io;

    rc = zlt_conn_connected(&try->conn);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    if (rc == 0) {
        zlt_race_finish(r, try);
        return;
    }

    zlt_race_failed(r, try, errno);
    zlt_race_next(r);
}


static void
zlt_race_failed(zlt_race_t *r, zlt_race_try_t *try, int err)
{
    try->err = err;
    r->err = err;
    r->failed = (unsigned) (try - r->tries);

    if (try->open) {
        try->open = 0;
        r->running--;
        zlt_conn_close(&try->conn);
    }
}


static void
zlt_race_finish(zlt_race_t *r, zlt_race_try_t *winner)
{
    if (r->done) {
        return;
    }

    r->done = 1;

    r->handler(r->data, winner ? &winner->conn : NULL,
               &r->addrs.addrs[winner ? (unsigned) (winner - r->tries)
                                      : r->failed], r->err);

    r->done = 0;

    zlt_race_cancel(r);
}


const char *
zlt_race_why(const zlt_race_t *r, char *buf)
{
    size_t    len;
    unsigned  i, differ;

    len = 0;
    differ = zlt_race_differ(r);

    for (i = 0; i < r->next; i++) {
        len = zlt_race_add(buf, len,
                           i == 0 ? "" : differ ? "; "
                           : i + 1 < r->next ? ", " : " and ",
                           &r->addrs.addrs[i],
                           differ || i + 1 == r->next ? r->tries[i].err : 0);
    }

    return buf;
}


/* 1 if they have not all failed alike */

static unsigned
zlt_race_differ(const zlt_race_t *r)
{
    unsigned  i;

    for (i = 1; i < r->next; i++) {
        if (r->tries[i].err != r->tries[0].err) {
            return 1;
        }
    }

    return 0;
}


const char *
zlt_race_under_way(const zlt_race_t *r, char *buf)
{
    size_t    len;
    unsigned  i, n;

    len = 0;
    n = 0;

    for (i = 0; i < r->next; i++) {
        if (r->tries[i].open) {
            n++;
            len = zlt_race_add(buf, len,
                               n == 1 ? "" : n < r->running ? ", " : " and ",
                               &r->addrs.addrs[i], 0);
        }
    }

    return buf;
}


/* Adds one to the text, with its error if there is one; the new length. */

static size_t
zlt_race_add(char *buf, size_t len, const char *between,
    const zlt_addr_t *addr, int err)
{
    int   n;
    char  text[ZLT_ADDR_TEXT];

    n = snprintf(buf + len, ZLT_RACE_TEXT - len, "%s%s%s%s", between,
                 zlt_addr_text(text, addr), err ? ": " : "",
                 err ? strerror(err) : "");

    if (n < 0) {
        return len;
    }

    len += (size_t) n;

    return len < ZLT_RACE_TEXT ? len : ZLT_RACE_TEXT - 1;
}


void
zlt_race_cancel(zlt_race_t *r)
{
    unsigned  i;

    if (r == NULL || r->done) {
        return;
    }

    r->done = 1;

    for (i = 0; i < ZLT_ADDRS_MAX; i++) {
        zlt_conn_close(&r->tries[i].conn);
    }

    uv_close((uv_handle_t *) &r->stagger, zlt_race_closed);
}


static void
zlt_race_closed(uv_handle_t *handle)
{
    zlt_race_t  *r;

    r = handle->data;

    r->task.handler = zlt_race_free;
    zlt_io_later(&r->task);
}


static void
zlt_race_free(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_race_t, task));
}
