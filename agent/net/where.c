
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The addresses of a server: those of its name, or, of the kind srv+wss://,
 * those of the hosts that its SRV records name.  The names of all of these are
 * looked up at once, and what cannot be found is left out; so is what takes
 * longer than the others.
 *
 * The hosts are put in their order each time, so that the weights of the
 * records hold for each attempt to connect, and not for each lookup.
 */


#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"
#include "timer.h"
#include "where.h"


#define ZLT_WHERE_SOON  2              /* s, that one host waits for others */


typedef struct {
    zlt_where_t         *where;
    zlt_resolve_t       *resolve;      /* NULL: it is over */
    zlt_addrs_t          addrs;
} zlt_where_part_t;


struct zlt_where_s {
    zlt_url_t            url;
    zlt_where_pt         handler;
    zlt_where_hosts_pt   hosts;        /* or that */
    void                *data;

    zlt_resolve_t       *resolve;      /* the name, or its records */
    zlt_srv_t            srv;
    zlt_where_part_t     parts[ZLT_ADDRS_MAX];     /* a host each */
    unsigned             running;      /* of these */
    zlt_timer_t          timer;
    char                 why[ZLT_SRV_WHY];
};


static zlt_where_t *zlt_where_create(const zlt_url_t *url, void *data);
static zlt_where_t *zlt_where_ask_srv(zlt_where_t *w);
static void zlt_where_named(void *data, const char *why,
    const zlt_addrs_t *addrs);
static void zlt_where_records(void *data, const char *why,
    const zlt_srv_t *srv);
static void zlt_where_resolve(zlt_where_t *w);
static void zlt_where_part(void *data, const char *why,
    const zlt_addrs_t *addrs);
static void zlt_where_late(zlt_timer_t *timer);
static void zlt_where_collect(const zlt_where_t *w, zlt_addrs_t *addrs);
static void zlt_where_tell(zlt_where_t *w, const char *why,
    const zlt_addrs_t *addrs);


zlt_where_t *
zlt_where_start(const zlt_url_t *url, zlt_where_pt handler, void *data)
{
    zlt_where_t  *w;

    w = zlt_where_create(url, data);

    if (w == NULL) {
        return NULL;
    }

    w->handler = handler;

    if (url->record[0]) {
        return zlt_where_ask_srv(w);
    }

    w->resolve = zlt_resolve_start(ZLT_LOOKUP_SERVER, url->host, url->port,
                                   zlt_where_named, w);

    if (w->resolve == NULL) {
        free(w);
        return NULL;
    }

    return w;
}


zlt_where_t *
zlt_where_hosts(const zlt_url_t *url, zlt_where_hosts_pt handler, void *data)
{
    zlt_where_t  *w;

    w = zlt_where_create(url, data);

    if (w == NULL) {
        return NULL;
    }

    w->hosts = handler;

    return zlt_where_ask_srv(w);
}


static zlt_where_t *
zlt_where_create(const zlt_url_t *url, void *data)
{
    zlt_where_t  *w;

    w = calloc(1, sizeof(zlt_where_t));

    if (w) {
        w->url = *url;
        w->data = data;

        zlt_timer_init(&w->timer);
    }

    return w;
}


static zlt_where_t *
zlt_where_ask_srv(zlt_where_t *w)
{
    w->resolve = zlt_resolve_srv(w->url.record, zlt_where_records, w);

    if (w->resolve == NULL) {
        free(w);
        return NULL;
    }

    return w;
}


void
zlt_where_cancel(zlt_where_t *w)
{
    unsigned  i;

    if (w == NULL) {
        return;
    }

    zlt_resolve_cancel(w->resolve);
    zlt_timer_stop(&w->timer);

    for (i = 0; i < ZLT_ADDRS_MAX; i++) {
        zlt_resolve_cancel(w->parts[i].resolve);
    }

    free(w);
}


static void
zlt_where_named(void *data, const char *why, const zlt_addrs_t *addrs)
{
    zlt_where_t  *w;

    w = data;
    w->resolve = NULL;

    zlt_where_tell(w, why, addrs);
}


static void
zlt_where_records(void *data, const char *why, const zlt_srv_t *srv)
{
    zlt_where_t  *w;

    w = data;
    w->resolve = NULL;

    if (why) {
        (void) snprintf(w->why, sizeof(w->why), "%s", why);
        zlt_where_tell(w, w->why, NULL);
        return;
    }

    w->srv = *srv;
    zlt_srv_order(&w->srv);

    if (w->hosts) {
        zlt_where_tell(w, NULL, NULL);

    } else {
        zlt_where_resolve(w);
    }
}


static void
zlt_where_resolve(zlt_where_t *w)
{
    unsigned           i;
    zlt_where_part_t  *part;

    for (i = 0; i < w->srv.n && i < ZLT_ADDRS_MAX; i++) {
        part = &w->parts[i];
        part->where = w;
        part->resolve = zlt_resolve_start(ZLT_LOOKUP_SERVER,
                                          w->srv.hosts[i].host,
                                          w->srv.hosts[i].port,
                                          zlt_where_part, part);

        w->running += (part->resolve != NULL);
    }

    if (w->running == 0) {
        zlt_where_tell(w, "out of memory", NULL);
        return;
    }

    zlt_timer_start(&w->timer, ZLT_WHERE_SOON, zlt_where_late);
}


static void
zlt_where_part(void *data, const char *why, const zlt_addrs_t *addrs)
{
    zlt_addrs_t        all;
    zlt_where_t       *w;
    zlt_where_part_t  *part;

    part = data;
    part->resolve = NULL;

    w = part->where;

    if (why) {
        (void) snprintf(w->why, sizeof(w->why), "\"%s\", of the SRV record of "
                        "\"%s\": %s", w->srv.hosts[part - w->parts].host,
                        w->srv.asked, why);

    } else {
        part->addrs = *addrs;
    }

    if (--w->running == 0) {
        zlt_where_collect(w, &all);
        zlt_where_tell(w, all.n ? NULL : w->why, &all);
    }
}


static void
zlt_where_late(zlt_timer_t *timer)
{
    zlt_addrs_t   addrs;
    zlt_where_t  *w;

    w = zlt_list_data(timer, zlt_where_t, timer);

    zlt_where_collect(w, &addrs);

    if (addrs.n) {
        zlt_where_tell(w, NULL, &addrs);

    } else {
        zlt_timer_start(&w->timer, 1, zlt_where_late);
    }
}


static void
zlt_where_collect(const zlt_where_t *w, zlt_addrs_t *addrs)
{
    unsigned                 i, j;
    const zlt_where_part_t  *part;

    addrs->n = 0;

    for (i = 0; i < ZLT_ADDRS_MAX; i++) {
        part = &w->parts[i];

        for (j = 0; j < part->addrs.n && addrs->n < ZLT_ADDRS_MAX; j++) {
            addrs->addrs[addrs->n] = part->addrs.addrs[j];
            addrs->addrs[addrs->n].priority = w->srv.hosts[i].priority;
            addrs->n++;
        }
    }
}


static void
zlt_where_tell(zlt_where_t *w, const char *why, const zlt_addrs_t *addrs)
{
    char         asked[sizeof(ZLT_WHERE_SRV) + ZLT_SRV_NAME];
    zlt_addrs_t  none;

    none.n = 0;

    (void) snprintf(asked, sizeof(asked), "%s%s", w->srv.n ? ZLT_WHERE_SRV : "",
                    w->srv.n ? w->srv.asked : w->url.host);

    if (w->hosts) {
        w->hosts(w->data, why, asked, &w->srv);

    } else {
        w->handler(w->data, why, asked, addrs ? addrs : &none);
    }

    zlt_where_cancel(w);
}


const char *
zlt_where_text(char *buf, const char *asked, const zlt_addrs_t *addrs)
{
    int   srv;
    char  list[ZLT_ADDRS_TEXT];

    srv = (strncmp(asked, ZLT_WHERE_SRV, sizeof(ZLT_WHERE_SRV) - 1) == 0);

    (void) snprintf(buf, ZLT_WHERE_TEXT, "%s is %s", asked,
                    srv ? zlt_addr_places(list, addrs)
                        : zlt_addr_list(list, addrs));

    return buf;
}
