
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Theory of operation
 *
 * A session is asked for on the control channel, and when it is granted, a
 * listener opens here until its deadline.  The server enforces that too, and
 * does not depend on us; we keep the same time, on a clock that goes on while
 * the machine sleeps, so that clients find nobody rather than a reset.
 *
 * When the control channel is lost, the session waits: the listener stays,
 * running connections go on, new ones wait for it as long as a connection may
 * take.  On the next control channel it is asked for by its id, for the time
 * that is left.
 *
 * At the deadline the listener closes, after the grace what still runs is
 * reset.  Stopped, revoked or refused, all of that happens at once.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "access.h"
#include "access_listen.h"
#include "clock.h"
#include "conf.h"
#include "log.h"
#include "visit.h"
#include "visit_udp.h"


#define ZLT_ACCESS_AGAIN  30000        /* ms, refused for a while; no address */


static void zlt_access_freed(zlt_task_t *task);
static void zlt_access_open_all(zlt_owner_t *o);
static void zlt_access_open_none(zlt_owner_t *o, zlt_access_t *x,
    const char *why);
static void zlt_access_open(zlt_access_t *x);
static void zlt_access_opened(zlt_access_t *x);
static void zlt_access_later(zlt_access_t *x, const char *why);
static int zlt_access_over(const zlt_owner_t *o, int *failed);


zlt_access_t *
zlt_access_create(zlt_owner_t *o, const zlt_access_conf_t *conf, char *error)
{
    zlt_access_t  *x;

    x = calloc(1, sizeof(zlt_access_t));
    if (x == NULL) {
        (void) strcpy(error, "out of memory");
        return NULL;
    }

    x->owner = o;
    x->conf = *conf;
    x->fd = -1;
    x->listener.fd = -1;

    zlt_list_init(&x->visits);
    zlt_list_append(&o->accesses, &x->link);

    if (zlt_access_listen_bind(x, error) == -1) {

        if (o->conf->visitor) {
            zlt_access_free(x);
            return NULL;
        }

        /* whoever has it may go */

        zlt_log_link(o->label, ZLT_LOG_ERROR, "%s", error);
        x->again_at = zlt_io_now() + ZLT_ACCESS_AGAIN;
    }

    return x;
}


void
zlt_access_free(zlt_access_t *x)
{
    x->owner->access_ops->forget(x);

    zlt_access_listen_stop(x);
    (void) zlt_visit_cut(x);

    if (x->udp) {
        zlt_visit_udp_destroy(x->udp);
    }

    zlt_list_remove(&x->link);

    /* an event of the listener may have been fetched */

    x->task.handler = zlt_access_freed;
    zlt_io_later(&x->task);
}


static void
zlt_access_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_access_t, task));
}


zlt_access_t *
zlt_access_by_id(zlt_owner_t *o, const uint8_t *id)
{
    zlt_list_t    *link;
    zlt_access_t  *x;

    zlt_list_each(link, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (x->has_id && x->state != ZLT_ACCESS_ENDED
            && memcmp(x->id, id, ZLT_ID_SIZE) == 0)
        {
            return x;
        }
    }

    return NULL;
}


int
zlt_access_runs(const zlt_access_t *x)
{
    return x->state == ZLT_ACCESS_RUNS;
}


unsigned
zlt_access_open_now(const zlt_access_t *x)
{
    return x->nvisits + (x->udp ? zlt_visit_udp_count(x->udp) : 0);
}


void
zlt_access_try(zlt_access_t *x, uint64_t now)
{
    char  error[ZLT_CONF_ERROR_SIZE];

    if (now < x->again_at || x->owner->stopping) {
        return;
    }

    if (x->door == ZLT_ACCESS_SHUT && zlt_access_listen_bind(x, error) == -1) {
        zlt_log_link(x->owner->label, ZLT_LOG_ERROR, "%s", error);
        x->again_at = now + ZLT_ACCESS_AGAIN;
        return;
    }

    switch (x->owner->access_ops->offered(x->owner)) {

    case ZLT_ACCESS_NOT_NOW:
        return;

    case ZLT_ACCESS_NEVER:
        zlt_access_refused(x, ZLT_E_FORBIDDEN,
                           "it does not offer access sessions");
        return;

    default:
        break;
    }

    x->state = ZLT_ACCESS_ASKED;

    x->owner->access_ops->ask(x);
}


void
zlt_access_granted(zlt_access_t *x, const uint8_t *id, uint32_t ttl,
    int served)
{
    uint64_t  deadline;

    if (x->has_id && memcmp(x->id, id, ZLT_ID_SIZE) != 0) {
        zlt_log_link(x->owner->label, ZLT_LOG_INFO, "the server did not know "
                     "the session for \"%s\" any more, and has begun another",
                     x->conf.name);
    }

    memcpy(x->id, id, ZLT_ID_SIZE);
    x->has_id = 1;

    deadline = ttl ? zlt_clock_boot() + (uint64_t) ttl * 1000 : 0;

    if (x->created == 0) {
        x->created = (uint64_t) time(NULL);
        x->deadline = deadline;

    } else if (x->deadline == 0 || (deadline && deadline < x->deadline)) {
        x->deadline = deadline;
    }

    x->state = ZLT_ACCESS_RUNS;
    x->again_at = 0;
    x->served = served ? 1 : 0;

    if (x->owner->conf->visitor) {
        zlt_access_open_all(x->owner);

    } else {
        zlt_access_open(x);
    }
}


/* A command has all that it asks for, or nothing. */

static void
zlt_access_open_all(zlt_owner_t *o)
{
    char           error[ZLT_CONF_ERROR_SIZE];
    zlt_list_t    *link, *next;
    zlt_access_t  *x;

    zlt_list_each(link, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (x->created == 0 && x->state != ZLT_ACCESS_ENDED) {
            return;
        }
    }

    zlt_list_each(link, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (zlt_access_runs(x) && zlt_access_listen(x, error) == -1) {
            zlt_access_open_none(o, x, error);
            return;
        }
    }

    zlt_list_each_safe(link, next, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (zlt_access_runs(x)) {
            zlt_access_opened(x);
        }
    }
}


static void
zlt_access_open_none(zlt_owner_t *o, zlt_access_t *x, const char *why)
{
    zlt_list_t  *link, *next;

    x->failed = 1;
    (void) zlt_access_stop(x, why);

    zlt_list_each_safe(link, next, &o->accesses) {
        (void) zlt_access_stop(zlt_list_data(link, zlt_access_t, link),
                               "another one cannot be opened");
    }
}


static void
zlt_access_open(zlt_access_t *x)
{
    char  error[ZLT_CONF_ERROR_SIZE];

    if (zlt_access_listen(x, error) == -1) {
        x->owner->access_ops->close(x, "no local address");
        zlt_access_later(x, error);
        return;
    }

    zlt_access_opened(x);
}


static void
zlt_access_opened(zlt_access_t *x)
{
    if (!x->announced) {
        x->announced = 1;

        if (x->owner->conf->visitor != ZLT_CONF_STDIO) {
            zlt_access_announce(x);
        }

        if (!x->served) {
            zlt_log_link(x->owner->label, ZLT_LOG_WARN, "access to \"%s\": "
                         "nobody serves \"%s\" yet", x->conf.name,
                         x->conf.service);
        }
    }

    zlt_visit_go(x);
}


/* As where the address cannot be had in the first place. */

static void
zlt_access_later(zlt_access_t *x, const char *why)
{
    zlt_log_link(x->owner->label, ZLT_LOG_ERROR, "access to \"%s\" cannot be "
                 "at %s; it is tried again every 30 s", x->conf.name, why);

    zlt_access_listen_stop(x);

    x->has_id = 0;
    x->created = 0;
    x->deadline = 0;
    x->state = ZLT_ACCESS_WAITS;
    x->again_at = zlt_io_now() + ZLT_ACCESS_AGAIN;
}


void
zlt_access_told(zlt_text_t *t, const zlt_access_t *x)
{
    char      until[ZLT_CLOCK_TEXT], span[ZLT_TEXT_UNIT];
    uint32_t  left;

    zlt_text_printf(t, "Access %s at %s", x->conf.name, x->local);

    if (x->deadline) {
        left = zlt_access_expiry_left(x);
        zlt_text_printf(t, " until %s (%s)", zlt_clock_until(until, left),
                        zlt_text_time(span, left));
    }

    zlt_text_printf(t, "\n");
}


void
zlt_access_announce(const zlt_access_t *x)
{
    zlt_text_t  text;

    memset(&text, 0, sizeof(zlt_text_t));

    zlt_access_told(&text, x);

    if (!text.failed) {
        zlt_log_print("%s", text.data);
    }

    zlt_text_free(&text);
}


void
zlt_access_bytes(const zlt_access_t *x, uint64_t bytes[2])
{
    zlt_list_t          *link;
    const zlt_visit_t   *v;

    bytes[0] = x->bytes[0];
    bytes[1] = x->bytes[1];

    zlt_list_each(link, &x->visits) {
        v = zlt_list_data(link, zlt_visit_t, link);

        bytes[0] += v->channel->relay.bytes[ZLT_RELAY_SERVICE];
        bytes[1] += v->channel->relay.bytes[ZLT_RELAY_CHANNEL];
    }
}


void
zlt_access_refused(zlt_access_t *x, unsigned code, const char *reason)
{
    int   once, busy;
    char  why[ZLT_CONF_ERROR_SIZE];

    busy = (code == ZLT_E_BUSY);
    once = (code == ZLT_E_LIMIT || busy);

    if (x->owner->conf->visitor ? x->created && code == ZLT_E_BUSY
                                : x->created == 0 || once)
    {
        /* another token, or time, may help; it may be the same session yet */

        zlt_log_link(x->owner->label, busy ? ZLT_LOG_WARN : ZLT_LOG_ERROR,
                     "the server %s access to \"%s\": %s%s%s",
                     busy ? "puts off" : "refuses", x->conf.service, reason,
                     once ? "; it is tried again " : "",
                     busy ? "within 30 s" : once ? "every 30 s" : "");

        x->state = ZLT_ACCESS_WAITS;
        x->again_at = once ? zlt_io_now() + ZLT_ACCESS_AGAIN
                           : ZLT_ACCESS_REFUSED;
        return;
    }

    (void) snprintf(why, sizeof(why), "the server refuses it: %s", reason);

    x->failed = 1;
    zlt_access_end(x, why);

    if (x->created == 0) {
        x->owner->access_ops->finish(x->owner, 1);
    }
}


/* One line, whatever has ended it, and however many connections. */

void
zlt_access_end(zlt_access_t *x, const char *why)
{
    int           failed;
    unsigned      cut;
    zlt_owner_t  *o;

    if (x->state == ZLT_ACCESS_ENDED) {
        return;
    }

    o = x->owner;
    x->state = ZLT_ACCESS_ENDED;

    zlt_access_listen_stop(x);

    cut = zlt_visit_cut(x);

    /* the server may have been faster */

    if (zlt_io_now() - x->reset_at <= ZLT_ACCESS_LATELY) {
        cut += x->nreset;
    }

    if (x->udp) {
        cut += zlt_visit_udp_count(x->udp);
        zlt_visit_udp_destroy(x->udp);
        x->udp = NULL;
    }

    if (x->failed) {
        zlt_log_link(o->label, ZLT_LOG_ERROR, "access to \"%s\": %s",
                     x->conf.name, why);

    } else {
        zlt_log_link(o->label, ZLT_LOG_INFO, "access to \"%s\" has ended: %s; "
                     "%llu connection%s in all, %u of them cut", x->conf.name,
                     why, (unsigned long long) x->total,
                     x->total == 1 ? "" : "s", cut);
    }

    o->access_ops->forget(x);

    if (o->conf->visitor && zlt_access_over(o, &failed)) {
        /* there was nothing else to do */
        o->access_ops->finish(o, failed);
    }
}


int
zlt_access_stop(zlt_access_t *x, const char *why)
{
    const zlt_access_ops_t  *ops;

    if (x->state == ZLT_ACCESS_ENDED) {
        return -1;
    }

    ops = x->owner->access_ops;

    if (x->has_id && ops->offered(x->owner) != ZLT_ACCESS_NOT_NOW) {
        ops->close(x, why);
    }

    zlt_access_end(x, why);

    return 0;
}


/* 1 if all have ended; failed: one of them otherwise than by its time */

static int
zlt_access_over(const zlt_owner_t *o, int *failed)
{
    zlt_list_t    *link;
    zlt_access_t  *x;

    *failed = 0;

    zlt_list_each(link, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (x->failed) {
            *failed = 1;
        }

        if (x->state != ZLT_ACCESS_ENDED) {
            return 0;
        }
    }

    return 1;
}
