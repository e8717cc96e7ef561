
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What is known of names.
 *
 * One lookup runs for all who want a name, and what it gives holds for some
 * seconds, a failure too.  After that a new one runs, for which they wait a
 * moment; a name server that takes longer, or does not answer, costs nobody
 * more than that, since what the last lookup gave is used meanwhile.  Only an
 * answer that there is no such name makes it forgotten.
 *
 * What a record's TTL says is the name server's to heed: one that keeps answers
 * gives the same until then.
 *
 * An address that was connected is put first for a while, so that of a name
 * with a dead one not every connection begins with that.
 */


#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "lookup.h"
#include "resolve.h"
#include "task.h"
#include "zlt_list.h"


#define ZLT_RESOLVE_NAMES   512
#define ZLT_RESOLVE_HOST    256
#define ZLT_RESOLVE_HOLDS   5000       /* ms, a result */
#define ZLT_RESOLVE_STALE   86400000   /* .. as long as there is no better */
#define ZLT_RESOLVE_FIRST   600000     /* .. an address that has worked */

/* ms that a new lookup is waited for; for a server, that may have moved, there
   is more time */

#define ZLT_RESOLVE_SOON    250
#define ZLT_RESOLVE_SERVER_SOON  2000


typedef struct {
    zlt_list_t         link;           /* the least recently used first */
    zlt_list_t         waiters;
    zlt_lookup_t       lookup;
    char               host[ZLT_RESOLVE_HOST];
    unsigned           is_srv:1;       /* its SRV records are meant */

    zlt_addrs_t        addrs;          /* n is 0: none are known */
    zlt_srv_t         *srv;            /* or these; NULL: none are known */
    uint64_t           got;            /* ms, when that was */
    const char        *why;            /* of the last lookup; NULL: it gave
                                          them */
    zlt_srv_t         *failed;         /* .. has the text, or NULL */
    uint64_t           until;          /* ms, it holds so long */
    unsigned           slow:1;         /* it gave nothing, or late */

    zlt_addr_t         first;          /* len 0: none */
    zlt_srv_host_t     first_host;     /* .. or that */
    uint64_t           first_until;
} zlt_resolve_name_t;


struct zlt_resolve_s {
    zlt_list_t           link;
    zlt_resolve_name_t  *name;
    unsigned             turn;         /* in which it came */
    uint16_t             port;
    zlt_resolve_pt       handler;
    zlt_resolve_srv_pt   srv;          /* or that */
    void                *data;
};


static zlt_resolve_t *zlt_resolve_ask(zlt_lookup_e kind, const char *host,
    void *data);
static zlt_resolve_name_t *zlt_resolve_find(const char *host, unsigned is_srv);
static zlt_resolve_name_t *zlt_resolve_create(const char *host,
    unsigned is_srv);
static int zlt_resolve_evict(void);
static void zlt_resolve_free(zlt_resolve_name_t *n);
static void zlt_resolve_looked_up(zlt_lookup_t *lookup, int error,
    const zlt_addrs_t *addrs, zlt_srv_t *srv);
static void zlt_resolve_known(zlt_resolve_name_t *n, const zlt_addrs_t *addrs,
    zlt_srv_t *srv);
static int zlt_resolve_knows(const zlt_resolve_name_t *n);
static void zlt_resolve_turn(zlt_task_t *task);
static void zlt_resolve_timer(uv_timer_t *timer);
static void zlt_resolve_answer(void);
static zlt_resolve_t *zlt_resolve_next(uint64_t now, uint64_t *delay);
static uint64_t zlt_resolve_wait(const zlt_resolve_name_t *n, uint64_t now);
static uint64_t zlt_resolve_patience(const zlt_resolve_name_t *n);
static void zlt_resolve_tell(zlt_resolve_t *r, uint64_t now);


static zlt_list_t  zlt_resolve_names;
static unsigned    zlt_resolve_count;
static unsigned    zlt_resolve_turns;
static uv_timer_t  zlt_resolve_soon;
static zlt_task_t  zlt_resolve_task;


int
zlt_resolve_init(uv_loop_t *loop)
{
    zlt_list_init(&zlt_resolve_names);
    zlt_list_init(&zlt_resolve_task.link);
    zlt_resolve_task.handler = zlt_resolve_turn;

    (void) uv_timer_init(loop, &zlt_resolve_soon);

    return zlt_lookup_init();
}


int
zlt_resolve_done(void)
{
    zlt_list_t          *link, *next;
    zlt_resolve_name_t  *n;

    zlt_list_remove(&zlt_resolve_task.link);

    zlt_list_each_safe(link, next, &zlt_resolve_names) {
        n = zlt_list_data(link, zlt_resolve_name_t, link);

        zlt_lookup_cancel(&n->lookup);
        zlt_resolve_free(n);
    }

    zlt_list_init(&zlt_resolve_names);
    zlt_resolve_count = 0;

    if (!uv_is_closing((uv_handle_t *) &zlt_resolve_soon)) {
        uv_close((uv_handle_t *) &zlt_resolve_soon, NULL);
    }

    return zlt_lookup_done();
}


zlt_resolve_t *
zlt_resolve_start(zlt_lookup_e kind, const char *host, uint16_t port,
    zlt_resolve_pt handler, void *data)
{
    zlt_resolve_t  *r;

    r = zlt_resolve_ask(kind, host, data);

    if (r) {
        r->port = port;
        r->handler = handler;
    }

    return r;
}


zlt_resolve_t *
zlt_resolve_srv(const char *name, zlt_resolve_srv_pt handler, void *data)
{
    zlt_resolve_t  *r;

    r = zlt_resolve_ask(ZLT_LOOKUP_SRV, name, data);

    if (r) {
        r->srv = handler;
    }

    return r;
}


static zlt_resolve_t *
zlt_resolve_ask(zlt_lookup_e kind, const char *host, void *data)
{
    zlt_resolve_t       *r;
    zlt_resolve_name_t  *n;

    n = zlt_resolve_find(host, kind == ZLT_LOOKUP_SRV);

    if (n == NULL) {
        n = zlt_resolve_create(host, kind == ZLT_LOOKUP_SRV);
    }

    r = n ? calloc(1, sizeof(zlt_resolve_t)) : NULL;

    if (r == NULL) {
        return NULL;
    }

    r->name = n;
    r->turn = zlt_resolve_turns;
    r->data = data;

    zlt_list_append(&n->waiters, &r->link);

    if (zlt_io_now() >= n->until
        && zlt_lookup_start(&n->lookup, kind, n->host) == -1)
    {
        zlt_resolve_cancel(r);
        return NULL;
    }

    zlt_io_post(&zlt_resolve_task);

    return r;
}


void
zlt_resolve_cancel(zlt_resolve_t *r)
{
    if (r) {
        zlt_list_remove(&r->link);

        if (zlt_list_empty(&r->name->waiters)) {
            zlt_lookup_unwanted(&r->name->lookup);
        }

        free(r);
    }
}


static zlt_resolve_name_t *
zlt_resolve_find(const char *host, unsigned is_srv)
{
    zlt_list_t          *link;
    zlt_resolve_name_t  *n;

    zlt_list_each(link, &zlt_resolve_names) {
        n = zlt_list_data(link, zlt_resolve_name_t, link);

        if (n->is_srv == is_srv && strcmp(n->host, host) == 0) {
            zlt_list_remove(&n->link);
            zlt_list_append(&zlt_resolve_names, &n->link);
            return n;
        }
    }

    return NULL;
}


static zlt_resolve_name_t *
zlt_resolve_create(const char *host, unsigned is_srv)
{
    zlt_resolve_name_t  *n;

    if (strlen(host) >= ZLT_RESOLVE_HOST
        || (zlt_resolve_count >= ZLT_RESOLVE_NAMES
            && zlt_resolve_evict() == -1))
    {
        return NULL;
    }

    n = calloc(1, sizeof(zlt_resolve_name_t));

    if (n == NULL) {
        return NULL;
    }

    (void) strcpy(n->host, host);
    n->is_srv = is_srv;
    zlt_list_init(&n->waiters);
    zlt_lookup_prepare(&n->lookup, zlt_resolve_looked_up);
    zlt_list_append(&zlt_resolve_names, &n->link);
    zlt_resolve_count++;

    return n;
}


/* Forgets a name that nobody wants now: 0, or -1 if there is none. */

static int
zlt_resolve_evict(void)
{
    zlt_list_t          *link;
    zlt_resolve_name_t  *n;

    zlt_list_each(link, &zlt_resolve_names) {
        n = zlt_list_data(link, zlt_resolve_name_t, link);

        if (zlt_list_empty(&n->waiters) && !zlt_lookup_runs(&n->lookup)) {
            zlt_list_remove(&n->link);
            zlt_resolve_count--;
            zlt_resolve_free(n);
            return 0;
        }
    }

    return -1;
}


static void
zlt_resolve_free(zlt_resolve_name_t *n)
{
    free(n->srv);
    free(n->failed);
    free(n);
}


static void
zlt_resolve_looked_up(zlt_lookup_t *lookup, int error,
    const zlt_addrs_t *addrs, zlt_srv_t *srv)
{
    uint64_t             now;
    zlt_resolve_name_t  *n;

    n = zlt_list_data(lookup, zlt_resolve_name_t, lookup);
    now = zlt_io_now();

    n->until = now + ZLT_RESOLVE_HOLDS;
    n->why = NULL;
    n->slow = now - lookup->begun > zlt_resolve_patience(n);

    free(n->failed);
    n->failed = NULL;

    if (error == 0) {
        zlt_resolve_known(n, addrs, srv);
        n->got = now;

    } else {
        n->slow = 1;
        n->failed = srv;
        n->why = srv ? srv->why : zlt_lookup_error(error);

        if (error == EAI_NONAME || now - n->got > ZLT_RESOLVE_STALE) {
            zlt_resolve_known(n, addrs, NULL);
        }
    }

    zlt_resolve_answer();
}


static void
zlt_resolve_known(zlt_resolve_name_t *n, const zlt_addrs_t *addrs,
    zlt_srv_t *srv)
{
    n->addrs = *addrs;

    free(n->srv);
    n->srv = srv;
}


static int
zlt_resolve_knows(const zlt_resolve_name_t *n)
{
    return n->addrs.n || n->srv;
}


static void
zlt_resolve_turn(zlt_task_t *task)
{
    (void) task;

    zlt_resolve_answer();
}


static void
zlt_resolve_timer(uv_timer_t *timer)
{
    (void) timer;

    zlt_resolve_answer();
}


/* Tells all who need wait no longer.  What these ask in turn has to wait for
   the next. */

static void
zlt_resolve_answer(void)
{
    uint64_t        now, delay;
    zlt_resolve_t  *r;

    now = zlt_io_now();
    zlt_resolve_turns++;

    while ((r = zlt_resolve_next(now, &delay)) != NULL) {
        zlt_resolve_tell(r, now);
    }

    if (delay != UINT64_MAX) {
        (void) uv_timer_start(&zlt_resolve_soon, zlt_resolve_timer, delay, 0);
    }
}


/* One of them; if there is none, *delay is how long it takes, in ms, until
   there is, or UINT64_MAX. */

static zlt_resolve_t *
zlt_resolve_next(uint64_t now, uint64_t *delay)
{
    uint64_t             wait;
    zlt_list_t          *link, *inner;
    zlt_resolve_t       *r;
    zlt_resolve_name_t  *n;

    *delay = UINT64_MAX;

    zlt_list_each(link, &zlt_resolve_names) {
        n = zlt_list_data(link, zlt_resolve_name_t, link);

        if (zlt_list_empty(&n->waiters)) {
            continue;
        }

        wait = zlt_resolve_wait(n, now);

        if (wait) {
            *delay = wait < *delay ? wait : *delay;
            continue;
        }

        zlt_list_each(inner, &n->waiters) {
            r = zlt_list_data(inner, zlt_resolve_t, link);

            if (r->turn != zlt_resolve_turns) {
                return r;
            }
        }
    }

    return NULL;
}


/* ms that those who want the name have to wait; UINT64_MAX: for the lookup. */

static uint64_t
zlt_resolve_wait(const zlt_resolve_name_t *n, uint64_t now)
{
    uint64_t  soon, spent;

    if (!zlt_lookup_runs(&n->lookup)) {
        return 0;
    }

    if (!zlt_resolve_knows(n)) {
        return UINT64_MAX;
    }

    if (n->slow) {
        return 0;
    }

    soon = zlt_resolve_patience(n);
    spent = now - n->lookup.begun;

    return spent < soon ? soon - spent : 0;
}


static uint64_t
zlt_resolve_patience(const zlt_resolve_name_t *n)
{
    return n->is_srv || n->lookup.kind == ZLT_LOOKUP_SERVER
           ? ZLT_RESOLVE_SERVER_SOON : ZLT_RESOLVE_SOON;
}


static void
zlt_resolve_tell(zlt_resolve_t *r, uint64_t now)
{
    unsigned             i;
    zlt_addr_t          *addr;
    zlt_addrs_t          addrs;
    zlt_resolve_pt       handler;
    zlt_resolve_srv_pt   srv;
    zlt_resolve_name_t  *n;
    void                *data;

    n = r->name;

    addrs = n->addrs;

    if (now < n->first_until) {
        zlt_addr_prefer(&addrs, &n->first);
    }

    for (i = 0; i < addrs.n; i++) {
        addr = &addrs.addrs[i];

        if (addr->addr.sa.sa_family == AF_INET) {
            addr->addr.in.sin_port = htons(r->port);

        } else {
            addr->addr.in6.sin6_port = htons(r->port);
        }
    }

    handler = r->handler;
    srv = r->srv;
    data = r->data;

    zlt_list_remove(&r->link);
    free(r);

    if (srv) {
        srv(data, n->srv ? NULL : n->why, n->srv);

    } else {
        handler(data, addrs.n ? NULL : n->why, &addrs);
    }
}


void
zlt_resolve_worked(const char *host, const zlt_addr_t *addr)
{
    uint64_t             now;
    zlt_resolve_name_t  *n;

    now = zlt_io_now();
    n = zlt_resolve_find(host, 0);

    /* not for ever: what is found dead once may be better */

    if (n && (now >= n->first_until || !zlt_addr_same_host(&n->first, addr))) {
        n->first = *addr;
        n->first_until = now + ZLT_RESOLVE_FIRST;
    }
}


void
zlt_resolve_srv_prefer(const char *name, const zlt_srv_host_t *host)
{
    zlt_resolve_name_t  *n;

    n = zlt_resolve_find(name, 1);

    if (n) {
        n->first_host = *host;
        n->first_until = zlt_io_now() + ZLT_RESOLVE_FIRST;
    }
}


const zlt_srv_host_t *
zlt_resolve_srv_preferred(const char *name)
{
    zlt_resolve_name_t  *n;

    n = zlt_resolve_find(name, 1);

    return n && zlt_io_now() < n->first_until ? &n->first_host : NULL;
}
