
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The links of one server: one for each address of its name, and for each node
 * behind them.
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
 * A server that says which node it is gets told, in Auth, at which the others
 * are, and makes no tunnel if it is one of them: a double, dropped in silence.
 * So several addresses of one node have one link.  Where a server says that
 * there are more nodes than links, further ones are looked for (seeks) by
 * dialling the addresses in turn: behind one there may be a balancer.
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
#include "spread.h"
#include "spread_access.h"
#include "spread_dial.h"
#include "spread_state.h"
#include "spread_view.h"


#define ZLT_SPREAD_RESOLVE   60000     /* ms, between two answers */
#define ZLT_SPREAD_FRESH     5500      /* .. at least: before that the same one
                                          is given */


static zlt_spread_t *zlt_spread_create(zlt_process_t *p);
static void zlt_spread_free(zlt_spread_t *sp);
static void zlt_spread_freed(uv_handle_t *handle);
static void zlt_spread_timer(uv_timer_t *timer);
static void zlt_spread_run(zlt_spread_t *sp);
static int zlt_spread_turn(zlt_spread_t *sp, uint64_t now);
static int zlt_spread_begun(zlt_spread_t *sp, uint64_t now);
static void zlt_spread_resolve(zlt_spread_t *sp, uint64_t now);
static void zlt_spread_resolved(void *data, const char *why, const char *asked,
    const zlt_addrs_t *addrs);
static void zlt_spread_end_gone(zlt_spread_t *sp);
static void zlt_spread_end_surplus(zlt_spread_t *sp);
static int zlt_spread_other_is_up(const zlt_spread_t *sp, const zlt_link_t *l);


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

    sp->made_at = zlt_io_now();
    sp->access_at = sp->made_at;
    sp->waits = (zlt_process_find(p, l->owner.conf->name, NULL) != l);
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


int
zlt_spread_waits(const zlt_link_t *l)
{
    return l->spread && l->spread->waits;
}


void
zlt_spread_changed(zlt_process_t *p)
{
    zlt_list_t  *link;

    zlt_list_each(link, &p->spreads) {
        zlt_spread_soon(zlt_list_data(link, zlt_spread_t, node), 0);
    }
}


void
zlt_spread_woken(zlt_process_t *p)
{
    zlt_list_t  *link;

    zlt_list_each(link, &p->spreads) {
        zlt_spread_resolve_soon(zlt_list_data(link, zlt_spread_t, node));
    }
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
        return;
    }

    /* figures only grow */

    if (!l->hidden) {
        zlt_link_state_inherit(zlt_spread_first(sp), l);
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


void
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
        sp->waits = 0;
        zlt_spread_dial_drop(sp);
        return;
    }

    if (sp->waits && !zlt_spread_turn(sp, now)) {
        return;
    }

    zlt_spread_resolve(sp, now);
    zlt_spread_access_tick(sp, now);
    zlt_spread_end_gone(sp);
    zlt_spread_end_surplus(sp);

    if (sp->dial && now - sp->dialed_at >= ZLT_SPREAD_PATIENCE && !sp->seeks
        && !zlt_spread_view_complete(sp))
    {
        zlt_spread_dial_show(sp);
    }

    if (sp->dial == NULL && zlt_spread_begun(sp, now)) {
        zlt_spread_dial_next(sp, now);
    }
}


/* 1 if its first link may begin, or has begun. */

static int
zlt_spread_turn(zlt_spread_t *sp, uint64_t now)
{
    zlt_list_t    *link;
    zlt_spread_t  *other;

    for (link = sp->node.prev; link != &sp->process->spreads;
         link = link->prev)
    {
        other = zlt_list_data(link, zlt_spread_t, node);

        if (strcmp(zlt_spread_first(other)->owner.conf->name,
                   zlt_spread_first(sp)->owner.conf->name)
            == 0
            && !zlt_spread_begun(other, now))
        {
            return 0;
        }
    }

    sp->waits = 0;
    sp->made_at = now;
    zlt_link_start(zlt_spread_first(sp));

    return 1;
}


/* 1 if it is known what the first link has met with, its ports too; or if that
   takes long. */

static int
zlt_spread_begun(zlt_spread_t *sp, uint64_t now)
{
    const zlt_link_t  *first;

    first = zlt_spread_first(sp);

    if (!sp->waits
        && (first->state == ZLT_LINK_CONNECTED
            || first->state == ZLT_LINK_FAILED
            || now - sp->made_at >= ZLT_SPREAD_PATIENCE))
    {
        sp->begun = 1;
    }

    return sp->begun;
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


void
zlt_spread_resolve_soon(zlt_spread_t *sp)
{
    uint64_t  soon;

    soon = sp->resolved_at + ZLT_SPREAD_FRESH;

    if (soon < sp->resolve_at) {
        sp->resolve_at = soon;
    }
}


void
zlt_spread_take(zlt_spread_t *sp, const zlt_addrs_t *addrs)
{
    sp->resolved_at = zlt_io_now();
    sp->resolve_at = sp->resolved_at + ZLT_SPREAD_RESOLVE;

    if (zlt_spread_addr_take(&sp->addrs, addrs)) {
        zlt_spread_resolve_soon(sp);
    }

    zlt_spread_view_names(sp);
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

        if (!zlt_spread_view_gone(sp, l) || !zlt_spread_other_is_up(sp, l)) {
            continue;
        }

        zlt_log_link(l->owner.label, ZLT_LOG_INFO, "%s is no address of %s "
                     "any more: the link there ends",
                     zlt_link_place_text(l, text), l->owner.conf->url.host);

        zlt_spread_access_leave(l);
        zlt_process_remove(sp->process, l, "its address is gone");
    }

    for (i = sp->addrs.n; i--; /* void */ ) {
        a = &sp->addrs.all[i];

        if (zlt_spread_addr_gone(&sp->addrs, &a->addr)
            && !zlt_spread_view_taken(sp, &a->addr, NULL))
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

    while (zlt_spread_view_total(sp) > zlt_spread_first(sp)->owner.conf->nodes
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

        zlt_spread_access_leave(last);
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
            && !zlt_spread_view_gone(sp, other))
        {
            return 1;
        }
    }

    return 0;
}


int
zlt_spread_more(const zlt_process_t *p)
{
    zlt_list_t    *link;
    zlt_spread_t  *sp;

    zlt_list_each(link, &p->spreads) {
        sp = zlt_list_data(link, zlt_spread_t, node);

        if (sp->dial
            || (!zlt_spread_view_full(sp)
                && zlt_spread_view_free(sp, NULL, zlt_io_now())))
        {
            return 1;
        }
    }

    return 0;
}


int
zlt_spread_reload(zlt_process_t *p, zlt_config_t *config)
{
    unsigned       i, first;
    zlt_list_t    *link, *inner;
    zlt_link_t    *l;
    zlt_conf_t    *conf;
    zlt_spread_t  *sp;

    zlt_list_each(link, &p->spreads) {
        sp = zlt_list_data(link, zlt_spread_t, node);

        zlt_spread_dial_drop(sp);

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

        first = i;

        zlt_list_each(inner, &sp->links) {
            l = zlt_spread_mate(inner);

            if (l == zlt_spread_first(sp)) {
                continue;
            }

            conf = zlt_conf_copy(config->links[first]);

            if (conf == NULL) {
                return -1;
            }

            conf->naccesses = 0;

            if (zlt_config_insert(config, ++i, conf) == -1) {
                zlt_conf_destroy(conf);
                return -1;
            }
        }

        zlt_spread_access_reload(sp, config, first, i - first + 1);
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
