
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A check goes the way of a client's connection: the name is resolved, the
 * addresses race, and the first that answers wins.  One runs at a time, and
 * the next begins so long after it has ended.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "conn.h"
#include "option_check.h"
#include "race.h"
#include "service.h"
#include "task.h"
#include "version.h"


#define ZLT_CHECK_LINE     13          /* "HTTP/1.1 200 ", or its end */
#define ZLT_CHECK_REQUEST  (28 + ZLT_OPTION_CHECK_MAX + ZLT_OPTION_HOST_MAX   \
                            + 200)


struct zlt_check_s {
    zlt_service_t    *service;
    uv_loop_t        *loop;
    zlt_check_pt      changed;
    void             *data;

    uv_timer_t        timer;           /* to the next one, or its end */
    zlt_task_t        task;            /* frees it */
    unsigned          fails;           /* in a row */

    /* of the one that runs */
    zlt_waiter_t      waiter;
    zlt_race_t       *race;
    zlt_conn_t        conn;
    zlt_addr_t        addr;            /* .. where that leads to */
    size_t            sent;
    size_t            len;             /* of the request */
    size_t            got;
    char              request[ZLT_CHECK_REQUEST];
    char              line[ZLT_CHECK_LINE + 1];    /* of the answer */
};


static void zlt_check_begin(uv_timer_t *timer);
static void zlt_check_resolved(zlt_waiter_t *waiter, const char *error);
static void zlt_check_dial(zlt_check_t *k);
static void zlt_check_raced(void *data, zlt_conn_t *winner,
    const zlt_addr_t *addr, int err);
static void zlt_check_ask(zlt_check_t *k);
static size_t zlt_check_header(zlt_check_t *k);
static void zlt_check_event(zlt_io_t *io);
static void zlt_check_status(zlt_check_t *k);
static void zlt_check_late(uv_timer_t *timer);
static void zlt_check_failed_at(zlt_check_t *k, const char *what);
static void zlt_check_failed(zlt_check_t *k, const char *why);
static void zlt_check_passed(zlt_check_t *k);
static void zlt_check_over(zlt_check_t *k);
static void zlt_check_known(zlt_health_t *h);
static void zlt_check_turn(zlt_check_t *k, int down);
static void zlt_check_clear(zlt_check_t *k);
static void zlt_check_closed(uv_handle_t *handle);
static void zlt_check_free(zlt_task_t *task);


int
zlt_check_start(zlt_service_t *s, uv_loop_t *loop, zlt_check_pt changed,
    void *data)
{
    zlt_check_t  *k;

    k = calloc(1, sizeof(zlt_check_t));
    if (k == NULL) {
        return -1;
    }

    k->service = s;
    k->loop = loop;
    k->changed = changed;
    k->data = data;
    k->waiter.handler = zlt_check_resolved;

    zlt_conn_init(&k->conn);
    zlt_list_init(&k->waiter.link);
    zlt_list_init(&k->task.link);

    (void) uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    (void) uv_timer_start(&k->timer, zlt_check_begin, 0, 0);

    s->check = k;

    return 0;
}


void
zlt_check_stop(zlt_service_t *s)
{
    zlt_check_t  *k;

    k = s->check;

    if (k == NULL) {
        return;
    }

    s->check = NULL;

    zlt_check_clear(k);
    uv_close((uv_handle_t *) &k->timer, zlt_check_closed);
}


static void
zlt_check_begin(uv_timer_t *timer)
{
    zlt_check_t  *k;

    k = timer->data;

    (void) uv_timer_start(&k->timer, zlt_check_late,
                          k->service->conf.check_timeout, 0);

    k->sent = 0;
    k->got = 0;

    if (zlt_service_resolve(k->service, &k->waiter) == 0) {
        zlt_check_dial(k);
    }
}


static void
zlt_check_resolved(zlt_waiter_t *waiter, const char *error)
{
    zlt_check_t  *k;

    k = zlt_list_data(waiter, zlt_check_t, waiter);

    if (error) {
        zlt_check_failed_at(k, error);
        return;
    }

    zlt_check_dial(k);
}


static void
zlt_check_dial(zlt_check_t *k)
{
    int           path;
    zlt_addrs_t  *addrs;

    addrs = &k->service->addrs;

    if (addrs->n == 0) {
        zlt_check_failed_at(k, "it has no address");
        return;
    }

    path = (zlt_option_check_path(&k->service->conf) != NULL);

    k->race = zlt_io_room(1)
              ? zlt_race_start(k->loop, addrs, NULL, path, zlt_check_raced, k)
              : NULL;

    if (k->race == NULL) {

        /* it is not the service that fails */

        zlt_check_over(k);
    }
}


static void
zlt_check_raced(void *data, zlt_conn_t *winner, const zlt_addr_t *addr,
    int err)
{
    char          why[ZLT_RACE_TEXT];
    zlt_race_t   *race;
    zlt_check_t  *k;

    (void) err;

    k = data;
    race = k->race;
    k->race = NULL;

    if (winner == NULL) {
        zlt_check_failed(k, zlt_race_why(race, why));
        return;
    }

    if (zlt_option_check_path(&k->service->conf) == NULL) {

        /* which the race closes */

        zlt_check_passed(k);
        return;
    }

    k->addr = *addr;

    if (zlt_race_take(&k->conn, winner, zlt_check_event) == -1) {
        zlt_check_over(k);
        return;
    }

    k->conn.io.data = k;

    zlt_check_ask(k);
    zlt_check_event(&k->conn.io);
}


static void
zlt_check_ask(zlt_check_t *k)
{
    int                        n;
    size_t                     header;
    const zlt_service_conf_t  *conf;

    conf = &k->service->conf;
    header = zlt_check_header(k);

    n = snprintf(k->request + header, sizeof(k->request) - header,
                 "GET %s HTTP/1.1\r\n"
                 "Host: %s\r\n"
                 "User-Agent: zltunnel-agent/" ZLT_AGENT_VERSION " (check)\r\n"
                 "Accept: */*\r\n"
                 "Connection: close\r\n\r\n",
                 zlt_option_check_path(conf),
                 conf->is_unix ? "localhost" : conf->local);

    k->len = header + (size_t) n;
}


/* A service that wants the header of the PROXY protocol gets the one for who
   speaks for himself. */

static size_t
zlt_check_header(zlt_check_t *k)
{
    static const char  v1[] = "PROXY UNKNOWN\r\n";
    static const char  v2[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0";

    switch (k->service->conf.proxy_protocol) {

    case 1:
        memcpy(k->request, v1, sizeof(v1) - 1);
        return sizeof(v1) - 1;

    case 2:
        memcpy(k->request, v2, sizeof(v2));
        return sizeof(v2);

    default:
        return 0;
    }
}


static void
zlt_check_event(zlt_io_t *io)
{
    ssize_t       n;
    zlt_check_t  *k;

    k = io->data;

    while (k->sent < k->len) {

        n = zlt_conn_write(&k->conn, k->request + k->sent, k->len - k->sent);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n < 0) {
            zlt_check_failed_at(k, strerror(errno));
            return;
        }

        k->sent += (size_t) n;
    }

    while (k->got < ZLT_CHECK_LINE) {

        n = zlt_conn_read(&k->conn, k->line + k->got, ZLT_CHECK_LINE - k->got);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n < 0) {
            zlt_check_failed_at(k, strerror(errno));
            return;
        }

        if (n == 0) {
            break;
        }

        k->got += (size_t) n;
    }

    zlt_check_status(k);
}


static void
zlt_check_status(zlt_check_t *k)
{
    int   status;
    char  what[ZLT_OPTION_CHECK_MAX + 64];

    k->line[k->got] = '\0';

    if (k->got == 0) {
        zlt_check_failed_at(k, "it closed the connection without an answer");
        return;
    }

    if (sscanf(k->line, "HTTP/1.%*1[01] %3d", &status) != 1) {
        zlt_check_failed_at(k, "its answer is not HTTP/1.1");
        return;
    }

    if (status >= 200 && status < 400) {
        zlt_check_passed(k);
        return;
    }

    (void) snprintf(what, sizeof(what), "status %d for %.200s", status,
                    zlt_option_check_path(&k->service->conf));
    zlt_check_failed_at(k, what);
}


static void
zlt_check_late(uv_timer_t *timer)
{
    char          why[ZLT_RACE_TEXT + 64], at[ZLT_RACE_TEXT];
    zlt_check_t  *k;

    k = timer->data;

    if (k->race) {
        (void) snprintf(why, sizeof(why), "%s: no connection within %u ms",
                        zlt_race_under_way(k->race, at),
                        (unsigned) k->service->conf.check_timeout);
        zlt_check_failed(k, why);
        return;
    }

    (void) snprintf(why, sizeof(why), "%s within %u ms",
                    zlt_conn_is_open(&k->conn)
                    ? "no answer" : "the name was not resolved",
                    (unsigned) k->service->conf.check_timeout);

    zlt_check_failed_at(k, why);
}


/* With the address in front, or what is configured for it. */

static void
zlt_check_failed_at(zlt_check_t *k, const char *what)
{
    char  why[ZLT_HEALTH_TEXT], text[ZLT_ADDR_TEXT];

    (void) snprintf(why, sizeof(why), "%.128s: %.250s",
                    zlt_conn_is_open(&k->conn)
                    ? zlt_addr_text(text, &k->addr) : k->service->conf.local,
                    what);

    zlt_check_failed(k, why);
}


static void
zlt_check_failed(zlt_check_t *k, const char *why)
{
    zlt_health_t  *h;

    h = &k->service->health;

    (void) snprintf(h->why, sizeof(h->why), "%.*s",
                    (int) sizeof(h->why) - 1, why);

    zlt_check_known(h);
    zlt_check_over(k);

    if (++k->fails >= k->service->conf.check_fails && !h->down) {
        zlt_check_turn(k, 1);
    }
}


static void
zlt_check_passed(zlt_check_t *k)
{
    zlt_health_t  *h;

    h = &k->service->health;
    h->why[0] = '\0';
    k->fails = 0;

    zlt_check_known(h);
    zlt_check_over(k);

    if (h->down) {
        zlt_check_turn(k, 0);
    }
}


static void
zlt_check_known(zlt_health_t *h)
{
    if (!h->known) {
        h->known = 1;
        h->since = time(NULL);
        h->since_ms = zlt_io_now();
    }
}


static void
zlt_check_turn(zlt_check_t *k, int down)
{
    zlt_health_t  *h;

    h = &k->service->health;

    h->was = zlt_io_now() - h->since_ms;
    h->down = (unsigned) down;
    h->since = time(NULL);
    h->since_ms = zlt_io_now();

    k->changed(k->service, k->data);
}


static void
zlt_check_over(zlt_check_t *k)
{
    zlt_check_clear(k);

    (void) uv_timer_start(&k->timer, zlt_check_begin,
                          k->service->conf.check_interval, 0);
}


static void
zlt_check_clear(zlt_check_t *k)
{
    zlt_list_remove(&k->waiter.link);
    zlt_race_cancel(k->race);
    k->race = NULL;
    zlt_conn_close(&k->conn);
}


static void
zlt_check_closed(uv_handle_t *handle)
{
    zlt_check_t  *k;

    k = handle->data;

    k->task.handler = zlt_check_free;
    zlt_io_later(&k->task);
}


static void
zlt_check_free(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_check_t, task));
}
