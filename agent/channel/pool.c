
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The idle data channels of a tunnel.
 *
 * One that is used is replaced at once.  The target is what one second of
 * the last minute's traffic has used and not given back, at most, within the
 * server's bounds: it follows demand up within that second, and down after 30
 * to 60 quiet ones.  While there is traffic each worker of the server should
 * have an idle channel; the kernel decides which worker a connection meets, so
 * more are opened, to three times the number of workers, until all have one.
 */


#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "conf.h"
#include "log.h"
#include "often.h"
#include "pool.h"
#include "random.h"


#define ZLT_POOL_PERIOD    30          /* s */
#define ZLT_POOL_OPENING   32          /* at once */
#define ZLT_POOL_MAX_HOLD  30000       /* ms, after failures */
#define ZLT_POOL_COMPLAIN  3           /* failures in a row that are told */
#define ZLT_POOL_ASTRAY    64          /* 421s in a row, until there is a wait */


struct zlt_pool_s {
    zlt_owner_t       *owner;
    zlt_list_t         idle;
    unsigned           nidle;
    unsigned           opening;
    zlt_pool_param_t   param;          /* as the server has said */
    unsigned           least;          /* idle, and as we are configured */
    unsigned           most;

    unsigned           used;           /* in this second */
    unsigned           peak;           /* of a second, in this period */
    unsigned           last_peak;      /* in the period before */
    unsigned           age;            /* of this period, seconds */

    unsigned           workers;
    uint16_t           idle_at[ZLT_CHANNEL_WORKERS];

    uint64_t           hold;           /* ms: open none before */
    unsigned           failures;       /* in a row, at distinct times */
    unsigned           astray;         /* in a row: 421 */
    zlt_task_t         task;
    unsigned           suspended:1;
    unsigned           abandoned:1;
};


static unsigned zlt_pool_target(zlt_pool_t *p);
static int zlt_pool_uneven(zlt_pool_t *p);
static void zlt_pool_fill(zlt_pool_t *p);
static void zlt_pool_shrink(zlt_pool_t *p);
static void zlt_pool_add(zlt_pool_t *p, zlt_channel_t *ch);
static void zlt_pool_check(zlt_pool_t *p);
static void zlt_pool_freed(zlt_task_t *task);
static void zlt_pool_bounds(zlt_pool_t *p);


zlt_pool_t *
zlt_pool_create(zlt_owner_t *o, const zlt_pool_param_t *param)
{
    zlt_pool_t  *p;

    p = calloc(1, sizeof(zlt_pool_t));
    if (p == NULL) {
        return NULL;
    }

    p->owner = o;
    p->param = *param;

    zlt_list_init(&p->idle);
    zlt_list_init(&p->task.link);

    zlt_pool_bounds(p);
    zlt_pool_fill(p);

    return p;
}


/* The configuration may narrow what the server allows. */

static void
zlt_pool_bounds(zlt_pool_t *p)
{
    uint32_t  least, most;

    least = p->owner->conf->min_idle;
    most = p->owner->conf->max_idle;

    p->most = most < p->param.most ? most : p->param.most;
    p->least = least != ZLT_CONF_UNSET ? least : p->param.least;

    if (p->least > p->most) {
        p->least = p->most;
    }
}


void
zlt_pool_reload(zlt_pool_t *p)
{
    zlt_pool_bounds(p);
    zlt_pool_fill(p);
}


int
zlt_pool_is(const zlt_pool_t *p, const uint8_t *tunnel_id)
{
    return memcmp(p->param.tunnel_id, tunnel_id, ZLT_ID_SIZE) == 0;
}


void
zlt_pool_update(zlt_pool_t *p, const zlt_pool_param_t *param)
{
    p->param = *param;
    p->suspended = 0;
    p->hold = 0;
    p->failures = 0;
    p->astray = 0;

    zlt_pool_bounds(p);
    zlt_pool_fill(p);
}


const zlt_pool_param_t *
zlt_pool_get_param(const zlt_pool_t *p)
{
    return &p->param;
}


void
zlt_pool_tunnel(const zlt_pool_param_t *param, zlt_http_tunnel_t *tunnel)
{
    tunnel->id = param->tunnel_id;
    tunnel->key = param->key;
    tunnel->node = param->has_node ? param->node : NULL;
}


void
zlt_pool_suspend(zlt_pool_t *p)
{
    p->suspended = 1;
}


void
zlt_pool_abandon(zlt_pool_t *p, int retire)
{
    zlt_list_t     *link, *next;
    zlt_channel_t  *ch;

    p->abandoned = 1;

    if (retire) {
        zlt_list_each_safe(link, next, &p->idle) {
            ch = zlt_list_data(link, zlt_channel_t, link);
            zlt_channel_end_retire(ch);
        }
    }

    zlt_pool_check(p);
}


static void
zlt_pool_check(zlt_pool_t *p)
{
    if (p->abandoned && p->nidle == 0 && p->opening == 0
        && zlt_list_empty(&p->task.link))
    {
        p->task.handler = zlt_pool_freed;
        zlt_io_later(&p->task);
    }
}


static void
zlt_pool_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_pool_t, task));
}


static unsigned
zlt_pool_target(zlt_pool_t *p)
{
    unsigned  n;

    n = p->used;

    if (p->peak > n) {
        n = p->peak;
    }

    if (p->last_peak > n) {
        n = p->last_peak;
    }

    if (n < p->least) {
        n = p->least;
    }

    return n > p->most ? p->most : n;
}


/* 1 if there is traffic and a worker has no idle channel */

static int
zlt_pool_uneven(zlt_pool_t *p)
{
    unsigned  i;

    if (p->workers < 2 || (p->used == 0 && p->peak == 0 && p->last_peak == 0))
    {
        return 0;
    }

    for (i = 0; i < p->workers; i++) {
        if (p->idle_at[i] == 0) {
            return 1;
        }
    }

    return 0;
}


static void
zlt_pool_fill(zlt_pool_t *p)
{
    unsigned  target, spread;

    if (p->suspended || p->abandoned) {
        return;
    }

    target = zlt_pool_target(p);

    if (zlt_pool_uneven(p)) {
        spread = 3 * p->workers;

        if (spread > p->most) {
            spread = p->most;
        }

        if (spread > target) {
            target = spread;
        }
    }

    while (p->nidle + p->opening < target && p->opening < ZLT_POOL_OPENING
           && zlt_io_now() >= p->hold)
    {
        p->opening++;

        /* each idle one will need another descriptor, for its service */

        if (!zlt_io_room(2 + p->nidle + p->opening)
            || zlt_channel_open_idle(p, p->owner) == -1)
        {
            /* those that are open now will end some time */
            p->opening--;
            p->hold = zlt_io_now() + 1000;
        }
    }
}


void
zlt_pool_idle(zlt_pool_t *p, zlt_channel_t *ch)
{
    p->opening--;
    p->failures = 0;
    p->astray = 0;

    zlt_pool_add(p, ch);

    if (p->abandoned) {
        zlt_channel_end_retire(ch);
        return;
    }

    zlt_pool_fill(p);
}


void
zlt_pool_return(zlt_pool_t *p, zlt_channel_t *ch)
{
    zlt_pool_add(p, ch);

    /* what counts is how many are away at the same time */

    if (p->used) {
        p->used--;
    }
}


int
zlt_pool_retires(const zlt_framed_t *f)
{
    zlt_pool_t     *p;
    zlt_channel_t  *ch;

    ch = zlt_list_data(f, zlt_channel_t, framed);
    p = ch->owner->pool;

    if (ch->relay.side[ZLT_RELAY_CHANNEL].lane) {
        return 0;
    }

    return p == NULL || ch->owner->stopping || p->most == 0 || p->abandoned
           || p->suspended || !zlt_pool_is(p, ch->tunnel_id);
}


static void
zlt_pool_add(zlt_pool_t *p, zlt_channel_t *ch)
{
    ch->pool = p;

    p->nidle++;
    p->idle_at[ch->worker]++;

    if (ch->workers) {
        p->workers = ch->workers;
    }

    zlt_list_append(&p->idle, &ch->link);
}


/* One that is on its way is in no list. */

zlt_pool_t *
zlt_pool_leave(zlt_channel_t *ch)
{
    zlt_pool_t  *p;

    p = ch->pool;

    if (p == NULL) {
        return NULL;
    }

    ch->pool = NULL;

    if (zlt_list_empty(&ch->link)) {
        p->opening--;

    } else {
        zlt_list_remove(&ch->link);

        p->nidle--;
        p->idle_at[ch->worker]--;
    }

    zlt_pool_check(p);

    return p;
}


void
zlt_pool_demand(zlt_pool_t *p)
{
    if (++p->used > p->peak) {
        p->peak = p->used;
    }

    zlt_pool_fill(p);
}


/*
 * The first failure means little: a worker that exits at a reload closes what
 * it has not answered yet, and a channel that we have retired may still count
 * against the server's limit.  Tried again soon, and told if it goes on.
 */

void
zlt_pool_failed(zlt_pool_t *p, const char *why)
{
    uint32_t  most, delay;
    uint64_t  now;

    now = zlt_io_now();

    if (p->abandoned) {
        return;
    }

    if (now < p->hold) {
        /* opened together with the one that has failed before */
        return;
    }

    p->failures++;

    if (p->failures == ZLT_POOL_COMPLAIN) {
        zlt_often_warn(p->owner->label, "", "no data channel can be opened: "
                       "%s", why);

    } else {
        zlt_log_link(p->owner->label, ZLT_LOG_DEBUG, "a data channel could "
                     "not be opened: %s", why);
    }

    if (p->failures == 1) {
        delay = 20 + zlt_random_below(80);

    } else {
        most = p->failures < 8 ? 250u << p->failures : ZLT_POOL_MAX_HOLD;
        delay = 100 + zlt_random_below(most);
    }

    p->hold = now + delay;

    p->owner->ops->refill(p->owner, delay);
}


/* It met another node, or the one of two binaries that has not got the tunnel:
   chance, no fault, as long as that is not for ever. */

int
zlt_pool_astray(zlt_pool_t *p)
{
    uint32_t  delay;
    uint64_t  now;

    if (p->abandoned || p->suspended) {
        return 0;
    }

    if (p->astray < ZLT_POOL_ASTRAY) {
        p->astray++;
        return 1;
    }

    now = zlt_io_now();

    if (now < p->hold) {
        /* opened together with the one before */
        return 0;
    }

    if (p->astray < ZLT_POOL_ASTRAY + 8) {
        p->astray++;
    }

    delay = 10 + zlt_random_below(20u << (p->astray - ZLT_POOL_ASTRAY));

    p->hold = now + delay;

    p->owner->ops->refill(p->owner, delay);

    return 0;
}


void
zlt_pool_refill(zlt_pool_t *p)
{
    zlt_pool_fill(p);
}


void
zlt_pool_tick(zlt_pool_t *p)
{
    p->used = 0;

    if (++p->age == ZLT_POOL_PERIOD) {
        p->age = 0;
        p->last_peak = p->peak;
        p->peak = 0;
    }

    zlt_pool_fill(p);
    zlt_pool_shrink(p);
}


/*
 * Retires what is too much, a part of it each second, the oldest first, and
 * not the last one of a worker while there is traffic, if the bound allows it.
 */

static void
zlt_pool_shrink(zlt_pool_t *p)
{
    unsigned        target, quota, traffic;
    zlt_list_t     *link, *next;
    zlt_channel_t  *ch;

    if (p->suspended || p->abandoned) {
        return;
    }

    target = zlt_pool_target(p);
    traffic = p->peak || p->last_peak;

    if (traffic && target < p->most && p->workers > 1
        && target < 3 * p->workers && zlt_pool_uneven(p))
    {
        /* they are there on purpose */
        return;
    }

    if (p->nidle <= target) {
        return;
    }

    quota = (p->nidle - target + 3) / 4;

    zlt_list_each_safe(link, next, &p->idle) {

        if (quota == 0) {
            break;
        }

        ch = zlt_list_data(link, zlt_channel_t, link);

        if (traffic && p->idle_at[ch->worker] == 1 && p->nidle <= p->most) {
            continue;
        }

        zlt_channel_end_retire(ch);
        quota--;
    }
}
