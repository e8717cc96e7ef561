
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The links of one server.
 *
 * The first is made from the configuration.  It looks the server's name up, has
 * one of the addresses for its place, and is alone until it is known what it
 * meets with there.  Then there is one for each other address, one after the
 * other.  Each begins hidden (dial): it is shown once it is connected, or has
 * failed in a way that people have to know of.
 *
 * The name is looked up again each minute, and when a link is lost.  A link
 * whose address is gone ends, as if it was stopped, when there is another one
 * that is connected.  What does not answer, or knows no address, changes
 * nothing.
 *
 * Nothing here is a state of its own: zlt_spread_run() looks at what there is,
 * does what is to be done next, and is called again whenever that may have
 * changed.
 */


#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "io.h"
#include "link.h"
#include "log.h"
#include "process.h"
#include "random.h"
#include "spread.h"
#include "tls.h"


#define ZLT_SPREAD_RESOLVE   60000     /* ms, between two answers */
#define ZLT_SPREAD_FRESH     5500      /* .. at least: before that the same one
                                          is given */
#define ZLT_SPREAD_PATIENCE  1000      /* ms, for one dial; then the next one
                                          begins */
#define ZLT_SPREAD_AGAIN     30000     /* ms, +-20 %, what came to nothing */


static zlt_spread_t *zlt_spread_create(zlt_process_t *p);
static void zlt_spread_freed(uv_handle_t *handle);
static void zlt_spread_free(zlt_spread_t *sp);
static void zlt_spread_soon(zlt_spread_t *sp, uint32_t delay);
static void zlt_spread_timer(uv_timer_t *timer);
static void zlt_spread_run(zlt_spread_t *sp);
static void zlt_spread_resolve(zlt_spread_t *sp, uint64_t now);
static void zlt_spread_resolved(void *data, const char *why, const char *asked,
    const zlt_addrs_t *addrs);
static void zlt_spread_resolve_soon(zlt_spread_t *sp);
static void zlt_spread_take(zlt_spread_t *sp, const zlt_addrs_t *addrs);
static void zlt_spread_end_gone(zlt_spread_t *sp);
static void zlt_spread_end_surplus(zlt_spread_t *sp);
static int zlt_spread_other_is_up(const zlt_spread_t *sp,
    const zlt_link_t *l);
static void zlt_spread_next(zlt_spread_t *sp, uint64_t now);
static zlt_spread_addr_t *zlt_spread_free_addr(zlt_spread_t *sp,
    const zlt_link_t *l, uint64_t now);
static int zlt_spread_held(const zlt_spread_t *sp, const zlt_addr_t *addr,
    const zlt_link_t *but);
static void zlt_spread_dial(zlt_spread_t *sp, const zlt_addr_t *addr);
static zlt_conf_t *zlt_spread_conf(const zlt_link_t *l);
static void zlt_spread_show(zlt_spread_t *sp);
static int zlt_spread_drop(zlt_spread_t *sp);
static int zlt_spread_dial_down(zlt_spread_t *sp, zlt_down_e how);
static unsigned zlt_spread_count(const zlt_spread_t *sp);
static unsigned zlt_spread_total(const zlt_spread_t *sp);
static int zlt_spread_is_gone(const zlt_spread_t *sp, const zlt_link_t *l);
static void zlt_spread_names(zlt_spread_t *sp);


#define zlt_spread_mate(link)  zlt_list_data(link, zlt_link_t, mate)
#define zlt_spread_first(sp)   zlt_spread_mate((sp)->links.next)
#define zlt_spread_stopped(sp)                                                \
    ((sp)->process->stopping || zlt_spread_first(sp)->owner.stopping)


void
zlt_spread_join(zlt_process_t *p, zlt_link_t *l)
{
    zlt_spread_t  *sp;

    if (l->owner.conf->mode != ZLT_CONF_ALL) {
        return;
    }

    sp = zlt_spread_create(p);

    if (sp == NULL) {
        /* then it is alone */
        zlt_log_link(l->owner.label, ZLT_LOG_ERROR, "out of memory");
        return;
    }

    l->spread = sp;
    zlt_list_append(&sp->links, &l->mate);
}


static zlt_spread_t *
zlt_spread_create(zlt_process_t *p)
{
    zlt_spread_t  *sp;

    sp = calloc(1, sizeof(zlt_spread_t));

    if (sp) {
        sp->process = p;
        zlt_list_init(&sp->links);
        zlt_list_append(&p->spreads, &sp->node);

        (void) uv_timer_init(&p->loop, &sp->timer);
        sp->timer.data = sp;
    }

    return sp;
}


void
zlt_spread_leave(zlt_link_t *l)
{
    zlt_spread_t  *sp;

    sp = l->spread;

    if (sp == NULL) {
        return;
    }

    zlt_list_remove(&l->mate);
    l->spread = NULL;

    if (sp->dial == l) {
        sp->dial = NULL;
    }

    if (zlt_list_empty(&sp->links)) {
        zlt_spread_free(sp);
    }
}


static void
zlt_spread_free(zlt_spread_t *sp)
{
    zlt_link_t  *l;

    l = sp->dial;

    zlt_list_remove(&sp->node);
    zlt_where_cancel(sp->where);
    sp->where = NULL;
    sp->dial = NULL;

    if (l) {
        l->spread = NULL;
        zlt_process_remove(sp->process, l, "its server is removed");
    }

    uv_close((uv_handle_t *) &sp->timer, zlt_spread_freed);
}


static void
zlt_spread_freed(uv_handle_t *handle)
{
    free(handle->data);
}


void
zlt_spread_done(zlt_process_t *p)
{
    zlt_list_t    *link, *next;
    zlt_spread_t  *sp;

    while (!zlt_list_empty(&p->spreads)) {
        sp = zlt_list_data(p->spreads.next, zlt_spread_t, node);

        zlt_list_each_safe(link, next, &sp->links) {
            zlt_spread_mate(link)->spread = NULL;
            zlt_list_remove(link);
        }

        zlt_spread_free(sp);
    }
}


void
zlt_spread_tick(zlt_process_t *p, uint64_t now)
{
    zlt_list_t    *link, *next;
    zlt_spread_t  *sp;

    zlt_list_each_safe(link, next, &p->spreads) {
        sp = zlt_list_data(link, zlt_spread_t, node);

        if (sp->dial) {
            zlt_link_tick(sp->dial, now);
        }

        zlt_spread_run(sp);
    }
}


static void
zlt_spread_soon(zlt_spread_t *sp, uint32_t delay)
{
    (void) uv_timer_start(&sp->timer, zlt_spread_timer, delay, 0);
}


static void
zlt_spread_timer(uv_timer_t *timer)
{
    zlt_spread_run(timer->data);
}


/* What is to be done now. */

static void
zlt_spread_run(zlt_spread_t *sp)
{
    uint64_t  now;

    now = zlt_io_now();

    if (zlt_spread_stopped(sp)) {
        (void) zlt_spread_drop(sp);
        return;
    }

    zlt_spread_resolve(sp, now);
    zlt_spread_end_gone(sp);
    zlt_spread_end_surplus(sp);

    if (sp->dial && now - sp->dialed_at >= ZLT_SPREAD_PATIENCE) {
        zlt_spread_show(sp);
    }

    if (sp->dial == NULL && sp->begun) {
        zlt_spread_next(sp, now);
    }
}


static void
zlt_spread_resolve(zlt_spread_t *sp, uint64_t now)
{
    const zlt_url_t  *url;

    if (sp->addrs.n == 0 || sp->where || now < sp->resolve_at) {
        return;
    }

    url = &zlt_spread_first(sp)->owner.conf->url;

    sp->resolve_at = now + ZLT_SPREAD_RESOLVE;
    sp->where = zlt_where_start(url, zlt_spread_resolved, sp);
}


static void
zlt_spread_resolved(void *data, const char *why, const char *asked,
    const zlt_addrs_t *addrs)
{
    zlt_spread_t  *sp;

    (void) asked;

    sp = data;
    sp->where = NULL;

    if (why) {
        sp->resolve_at = zlt_io_now() + ZLT_SPREAD_FRESH;

    } else {
        zlt_spread_take(sp, addrs);
        zlt_spread_soon(sp, 0);
    }
}


static void
zlt_spread_resolve_soon(zlt_spread_t *sp)
{
    uint64_t  soon;

    soon = sp->resolved_at + ZLT_SPREAD_FRESH;

    if (soon < sp->resolve_at) {
        sp->resolve_at = soon;
    }
}


static void
zlt_spread_take(zlt_spread_t *sp, const zlt_addrs_t *addrs)
{
    sp->resolved_at = zlt_io_now();
    sp->resolve_at = sp->resolved_at + ZLT_SPREAD_RESOLVE;

    if (zlt_spread_addr_take(&sp->addrs, addrs)) {
        zlt_spread_resolve_soon(sp);
    }

    zlt_spread_names(sp);
}


/* The links whose address is gone, and such addresses. */

static void
zlt_spread_end_gone(zlt_spread_t *sp)
{
    char                text[ZLT_LINK_PLACE_TEXT];
    unsigned            i;
    zlt_list_t         *link, *next;
    zlt_link_t         *l;
    zlt_spread_addr_t  *a;

    zlt_list_each_safe(link, next, &sp->links) {
        l = zlt_spread_mate(link);

        if (!zlt_spread_is_gone(sp, l) || !zlt_spread_other_is_up(sp, l)) {
            continue;
        }

        zlt_log_link(l->owner.label, ZLT_LOG_INFO, "%s is no address of %s "
                     "any more: the link there ends",
                     zlt_link_place_text(l, text), l->owner.conf->url.host);

        zlt_process_remove(sp->process, l, "its address is gone");
    }

    for (i = sp->addrs.n; i--; /* void */ ) {
        a = &sp->addrs.all[i];

        if (zlt_spread_addr_gone(&sp->addrs, &a->addr)
            && !zlt_spread_held(sp, &a->addr, NULL))
        {
            zlt_spread_addr_drop(&sp->addrs, a);
        }
    }
}


/* There are more than "nodes" allows, after a reload: first those go that are
   not connected. */

static void
zlt_spread_end_surplus(zlt_spread_t *sp)
{
    zlt_list_t  *link;
    zlt_link_t  *l, *last;

    while (zlt_spread_total(sp) > zlt_spread_first(sp)->owner.conf->nodes
           && sp->links.next != sp->links.prev)
    {
        last = NULL;

        zlt_list_each(link, &sp->links) {
            l = zlt_spread_mate(link);

            if (last == NULL || l->state != ZLT_LINK_CONNECTED
                || last->state == ZLT_LINK_CONNECTED)
            {
                last = l;
            }
        }

        zlt_log_link(last->owner.label, ZLT_LOG_INFO, "nodes = %u allows no "
                     "link here any more", last->owner.conf->nodes);

        zlt_process_remove(sp->process, last, "\"nodes\" allows no more");
    }
}


static int
zlt_spread_other_is_up(const zlt_spread_t *sp, const zlt_link_t *l)
{
    zlt_list_t        *link;
    const zlt_link_t  *other;

    zlt_list_each(link, &sp->links) {
        other = zlt_spread_mate(link);

        if (other != l && other->state == ZLT_LINK_CONNECTED
            && !zlt_spread_is_gone(sp, other))
        {
            return 1;
        }
    }

    return 0;
}


/* One link more, if there is to be one. */

static void
zlt_spread_next(zlt_spread_t *sp, uint64_t now)
{
    zlt_spread_addr_t  *a;

    if (zlt_spread_total(sp) >= zlt_spread_first(sp)->owner.conf->nodes) {
        return;
    }

    a = zlt_spread_free_addr(sp, NULL, now);

    if (a) {
        zlt_spread_dial(sp, &a->addr);
    }
}


/* The first that no link has but *l; NULL: none. */

static zlt_spread_addr_t *
zlt_spread_free_addr(zlt_spread_t *sp, const zlt_link_t *l, uint64_t now)
{
    unsigned            i;
    zlt_spread_addr_t  *a, *best;

    best = NULL;

    for (i = 0; i < sp->addrs.n; i++) {
        a = &sp->addrs.all[i];

        if (a->again_at <= now && (best == NULL || a->rank < best->rank)
            && !zlt_spread_addr_gone(&sp->addrs, &a->addr)
            && !zlt_spread_held(sp, &a->addr, l))
        {
            best = a;
        }
    }

    return best;
}


static int
zlt_spread_held(const zlt_spread_t *sp, const zlt_addr_t *addr,
    const zlt_link_t *but)
{
    zlt_list_t        *link;
    const zlt_link_t  *l;

    zlt_list_each(link, &sp->links) {
        l = zlt_spread_mate(link);

        if (l != but && l->pin.len && zlt_addr_same(&l->pin, addr)) {
            return 1;
        }
    }

    return sp->dial && sp->dial != but && zlt_addr_same(&sp->dial->pin, addr);
}


static void
zlt_spread_dial(zlt_spread_t *sp, const zlt_addr_t *addr)
{
    char          error[ZLT_CONF_ERROR_SIZE];
    zlt_tls_t    *tls;
    zlt_conf_t   *conf;
    zlt_link_t   *l, *first;
    zlt_token_t   token;

    first = zlt_spread_first(sp);
    conf = zlt_spread_conf(first);
    (void) strcpy(error, "out of memory");

    if (conf == NULL
        || zlt_process_prepare(conf, &token, &tls, error) == -1)
    {
        goto failed;
    }

    l = zlt_link_create(&zlt_process_link_ops, sp->process,
                        &sp->process->loop, conf, &token, tls);
    zlt_token_wipe(&token);

    if (l == NULL) {
        zlt_tls_destroy(tls);
        goto failed;
    }

    l->spread = sp;
    l->hidden = 1;
    sp->dial = l;
    sp->dialed_at = zlt_io_now();

    zlt_link_place_pin(l, addr);
    zlt_link_place_name(l, sp->addrs.n > 1);
    zlt_link_start(l);

    zlt_spread_soon(sp, ZLT_SPREAD_PATIENCE);

    return;

failed:

    zlt_log_link(first->owner.label, ZLT_LOG_ERROR, "no link can be made for "
                 "another address: %s", error);
    zlt_conf_destroy(conf);
}


/* What *l is made of, for another one; addresses of this machine are there
   once, and stay with *l. */

static zlt_conf_t *
zlt_spread_conf(const zlt_link_t *l)
{
    zlt_list_t   *link;
    zlt_conf_t   *conf;
    zlt_range_t  *r;

    conf = zlt_conf_copy(l->owner.conf);

    if (conf == NULL) {
        return NULL;
    }

    conf->naccesses = 0;

    /* the service has it */

    zlt_list_each(link, &l->owner.ranges) {
        r = zlt_list_data(link, zlt_range_t, link);

        if ((r->conf.flags & ZLT_R_OPEN)
            && zlt_allow_copy(&conf->allow, &zlt_range_first(r)->allow) == -1)
        {
            zlt_conf_destroy(conf);
            return NULL;
        }
    }

    return conf;
}


/* The dial is a link like the others from now on, behind them. */

static void
zlt_spread_show(zlt_spread_t *sp)
{
    zlt_link_t  *l, *last;

    l = sp->dial;
    last = zlt_spread_mate(sp->links.prev);

    sp->dial = NULL;
    l->hidden = 0;

    zlt_list_prepend(&last->node, &l->node);
    zlt_list_append(&sp->links, &l->mate);

    zlt_spread_names(sp);
    zlt_process_notify(sp->process);
}


/* It was none; 1. */

static int
zlt_spread_drop(zlt_spread_t *sp)
{
    if (sp->dial) {
        zlt_process_remove(sp->process, sp->dial, "not wanted");
    }

    return 1;
}


int
zlt_spread_settle(zlt_link_t *l)
{
    zlt_spread_t  *sp;

    sp = l->spread;

    if (sp == NULL) {
        return 1;
    }

    if (l == sp->dial) {
        zlt_spread_show(sp);
    }

    sp->begun = 1;
    zlt_spread_soon(sp, 0);

    return 1;
}


int
zlt_spread_down(zlt_link_t *l, zlt_down_e how)
{
    zlt_spread_t  *sp;

    sp = l->spread;

    if (sp == NULL || how == ZLT_DOWN_RECONNECT || how == ZLT_DOWN_CLOSED) {
        return 0;
    }

    zlt_spread_resolve_soon(sp);

    sp->begun = 1;
    zlt_spread_soon(sp, 2);

    return l == sp->dial ? zlt_spread_dial_down(sp, how) : 0;
}


/* Who has no link there may have one by another address: of the same machine,
   or where the server is one of those that do not tell who they are. */

static int
zlt_spread_dial_down(zlt_spread_t *sp, zlt_down_e how)
{
    zlt_link_t         *l;
    zlt_spread_addr_t  *a;

    l = sp->dial;

    if (how != ZLT_DOWN_IN_USE && !zlt_url_loopback(l->owner.conf->url.host)) {
        zlt_spread_show(sp);

        zlt_log_link(l->owner.label, how == ZLT_DOWN_REFUSED
                                     ? ZLT_LOG_ERROR : ZLT_LOG_WARN, "%s",
                     l->reason);
        return 0;
    }

    a = zlt_spread_addr_find(&sp->addrs, &l->pin);

    if (a) {
        a->again_at = zlt_io_now() + ZLT_SPREAD_AGAIN * 4 / 5
                      + zlt_random_below(ZLT_SPREAD_AGAIN * 2 / 5);
    }

    return zlt_spread_drop(sp);
}


void
zlt_spread_found(zlt_link_t *l, zlt_addrs_t *addrs)
{
    zlt_spread_t       *sp;
    zlt_spread_addr_t  *a;

    sp = l->spread;

    if (sp == NULL) {
        return;
    }

    zlt_spread_take(sp, addrs);

    a = zlt_spread_free_addr(sp, l, UINT64_MAX);

    if (a) {
        zlt_link_place_pin(l, &a->addr);
        zlt_spread_names(sp);

        addrs->addrs[0] = a->addr;
        addrs->n = 1;
    }
}


unsigned
zlt_spread_elsewhere(zlt_link_t *l)
{
    char                text[ZLT_LINK_PLACE_TEXT];
    unsigned            i, n;
    zlt_spread_t       *sp;
    zlt_spread_addr_t  *a, *next, *least;

    sp = l->spread;

    if (sp == NULL || l->pin.len == 0) {
        return 0;
    }

    /* the next one in turn, by their ranks */

    n = 0;
    next = NULL;
    least = NULL;
    a = zlt_spread_addr_find(&sp->addrs, &l->pin);

    for (i = 0; i < sp->addrs.n; i++) {

        if (zlt_spread_addr_gone(&sp->addrs, &sp->addrs.all[i].addr)
            || zlt_spread_held(sp, &sp->addrs.all[i].addr, l))
        {
            continue;
        }

        n++;

        if (least == NULL || sp->addrs.all[i].rank < least->rank) {
            least = &sp->addrs.all[i];
        }

        if (a && sp->addrs.all[i].rank > a->rank
            && (next == NULL || sp->addrs.all[i].rank < next->rank))
        {
            next = &sp->addrs.all[i];
        }
    }

    next = next ? next : least;

    if (next == NULL || next == a) {
        return 0;
    }

    zlt_link_place_pin(l, &next->addr);
    zlt_spread_names(sp);

    zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the next address is %s",
                 zlt_link_place_text(l, text));

    return n;
}


int
zlt_spread_more(const zlt_process_t *p)
{
    zlt_list_t    *link;
    zlt_spread_t  *sp;

    zlt_list_each(link, &p->spreads) {
        sp = zlt_list_data(link, zlt_spread_t, node);

        if (sp->dial
            || (zlt_spread_total(sp)
                < zlt_spread_first(sp)->owner.conf->nodes
                && zlt_spread_free_addr(sp, NULL, zlt_io_now())))
        {
            return 1;
        }
    }

    return 0;
}


int
zlt_spread_reload(zlt_process_t *p, zlt_config_t *config)
{
    unsigned       i;
    zlt_list_t    *link, *inner;
    zlt_link_t    *l;
    zlt_conf_t    *conf;
    zlt_spread_t  *sp;

    zlt_list_each(link, &p->spreads) {
        sp = zlt_list_data(link, zlt_spread_t, node);

        (void) zlt_spread_drop(sp);

        for (i = 0; i < config->nlinks; i++) {
            if (zlt_config_same(zlt_spread_first(sp)->owner.conf,
                                config->links[i]))
            {
                break;
            }
        }

        if (i == config->nlinks) {
            continue;
        }

        zlt_list_each(inner, &sp->links) {
            l = zlt_spread_mate(inner);

            if (l == zlt_spread_first(sp)) {
                continue;
            }

            conf = zlt_conf_copy(config->links[i]);

            if (conf == NULL) {
                return -1;
            }

            conf->naccesses = 0;

            if (zlt_config_insert(config, ++i, conf) == -1) {
                zlt_conf_destroy(conf);
                return -1;
            }
        }
    }

    return 0;
}


void
zlt_spread_reloaded(zlt_process_t *p)
{
    zlt_list_t    *link, *inner;
    zlt_spread_t  *sp;

    zlt_list_each(link, &p->spreads) {
        sp = zlt_list_data(link, zlt_spread_t, node);

        if (zlt_spread_first(sp)->owner.conf->via.kind) {

            /* it leads to the name, whatever is behind it */

            sp->addrs.n = 0;

            zlt_list_each(inner, &sp->links) {
                zlt_link_place_unpin(zlt_spread_mate(inner));
            }
        }

        zlt_spread_resolve_soon(sp);
        zlt_spread_soon(sp, 0);
    }
}


/* Without those whose address is gone. */

static unsigned
zlt_spread_count(const zlt_spread_t *sp)
{
    unsigned     n;
    zlt_list_t  *link;

    n = 0;

    zlt_list_each(link, &sp->links) {
        n += !zlt_spread_is_gone(sp, zlt_spread_mate(link));
    }

    return n;
}


/* .. of all servers of the tunnel */

static unsigned
zlt_spread_total(const zlt_spread_t *sp)
{
    unsigned             n;
    const char          *name;
    zlt_list_t          *link;
    const zlt_spread_t  *other;

    n = 0;
    name = zlt_spread_first(sp)->owner.conf->name;

    zlt_list_each(link, &sp->process->spreads) {
        other = zlt_list_data(link, zlt_spread_t, node);

        if (strcmp(zlt_spread_first(other)->owner.conf->name, name) == 0) {
            n += zlt_spread_count(other);
        }
    }

    return n;
}


static int
zlt_spread_is_gone(const zlt_spread_t *sp, const zlt_link_t *l)
{
    return l->pin.len && zlt_spread_addr_gone(&sp->addrs, &l->pin);
}


/* Labels say what there is to choose from. */

static void
zlt_spread_names(zlt_spread_t *sp)
{
    zlt_list_t  *link;

    zlt_list_each(link, &sp->links) {
        zlt_link_place_name(zlt_spread_mate(link), sp->addrs.n > 1);
    }

    if (sp->dial) {
        zlt_link_place_name(sp->dial, sp->addrs.n > 1);
    }
}
