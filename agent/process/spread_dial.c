
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One link more: a dial.
 *
 * It goes to an address that has no link, or, where the server says that there
 * are more nodes than links, to one in turn (seeks), since there may be a
 * balancer behind it.  It is hidden until something has come of it: then it is
 * shown, as a link like the others, or dropped.
 */


#include <string.h>

#include "config.h"
#include "io.h"
#include "link.h"
#include "log.h"
#include "process.h"
#include "random.h"
#include "spread_dial.h"
#include "spread_state.h"
#include "spread_view.h"
#include "tls.h"


#define ZLT_SPREAD_AGAIN     30000     /* ms, +-20 %, what came to nothing */
#define ZLT_SPREAD_TRIES     6         /* for each missing node, without one */


static void zlt_spread_dial_start(zlt_spread_t *sp, const zlt_addr_t *addr);
static zlt_conf_t *zlt_spread_dial_conf(const zlt_link_t *l);
static void zlt_spread_dial_wonder(zlt_spread_t *sp, unsigned missing);
static uint32_t zlt_spread_dial_later(void);


void
zlt_spread_dial_next(zlt_spread_t *sp, uint64_t now)
{
    zlt_spread_addr_t  *a;

    if (zlt_spread_view_full(sp) || now < sp->pause_until) {
        return;
    }

    a = zlt_spread_view_free(sp, NULL, now);
    sp->seeks = 0;

    if (a) {
        zlt_spread_dial_start(sp, &a->addr);

    } else if (zlt_spread_view_missing(sp) && now < sp->seek_at) {
        zlt_spread_soon(sp, (uint32_t) (sp->seek_at - now));

    } else if (zlt_spread_view_missing(sp)) {

        /* behind one of the addresses, whichever */

        sp->seeks = 1;
        zlt_spread_dial_start(sp, sp->addrs.n
                            ? &sp->addrs.all[sp->turn++ % sp->addrs.n].addr
                            : NULL);
    }
}


static void
zlt_spread_dial_start(zlt_spread_t *sp, const zlt_addr_t *addr)
{
    char          error[ZLT_CONF_ERROR_SIZE];
    zlt_tls_t    *tls;
    zlt_conf_t   *conf;
    zlt_link_t   *l, *first;
    zlt_token_t   token;

    first = zlt_spread_first(sp);
    conf = zlt_spread_dial_conf(first);
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

    if (addr) {
        zlt_link_place_pin(l, addr);
    }

    zlt_link_place_name(l, 1);
    zlt_link_start(l);

    /* where these go is no news */

    l->attempted = sp->seeks;

    zlt_spread_soon(sp, ZLT_SPREAD_PATIENCE);

    return;

failed:

    zlt_log_link(first->owner.label, ZLT_LOG_ERROR, "no link can be made to "
                 "another node: %s", error);
    zlt_conf_destroy(conf);

    /* files may be in the making */

    sp->pause_until = zlt_io_now() + ZLT_SPREAD_AGAIN;
}


/* What *l is made of, for another one; addresses of this machine are there
   once, and stay with *l. */

static zlt_conf_t *
zlt_spread_dial_conf(const zlt_link_t *l)
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


void
zlt_spread_dial_show(zlt_spread_t *sp)
{
    zlt_link_t  *l, *last;

    l = sp->dial;
    last = zlt_spread_mate(sp->links.prev);

    sp->dial = NULL;
    l->hidden = 0;

    zlt_list_prepend(&last->node, &l->node);
    zlt_list_append(&sp->links, &l->mate);

    zlt_spread_view_names(sp);
    zlt_process_notify(sp->process);
}


void
zlt_spread_dial_drop(zlt_spread_t *sp)
{
    if (sp->dial) {
        zlt_process_remove(sp->process, sp->dial, "not wanted");
    }
}


/* Who has no link there may have one by another address: of the same machine,
   or where the server is one of those that do not tell who they are. */

int
zlt_spread_dial_down(zlt_spread_t *sp, zlt_down_e how)
{
    zlt_link_t         *l;
    zlt_spread_addr_t  *a;

    l = sp->dial;
    a = sp->seeks ? NULL : zlt_spread_addr_find(&sp->addrs, &l->pin);

    if (how == ZLT_DOWN_DOUBLE) {
        sp->told = l->nodes;

        if (a) {
            zlt_spread_addr_node(a, l->met);
        }

    } else if (!sp->seeks && how != ZLT_DOWN_IN_USE && how != ZLT_DOWN_CLOSED
               && !zlt_spread_view_complete(sp)
               && !zlt_url_loopback(l->owner.conf->url.host))
    {
        zlt_spread_dial_show(sp);
        zlt_spread_soon(sp, 0);

        zlt_log_link(l->owner.label, how == ZLT_DOWN_REFUSED
                                     ? ZLT_LOG_ERROR : ZLT_LOG_WARN, "%s",
                     l->reason);
        return 0;

    } else if (a) {
        a->again_at = zlt_io_now() + zlt_spread_dial_later();
    }

    zlt_log_link(l->owner.label, ZLT_LOG_DEBUG, "a dial has come to nothing: "
                 "%s", l->reason);

    sp->tries += sp->seeks;
    zlt_spread_dial_soon(sp);

    zlt_spread_dial_drop(sp);

    return 1;
}


/* Addresses are tried at once; how long it is to a dial for nodes that are
   missing depends on how many there were for each. */

void
zlt_spread_dial_soon(zlt_spread_t *sp)
{
    uint32_t  delay;
    unsigned  missing;

    delay = 0;
    missing = zlt_spread_view_missing(sp);

    if (sp->tries && missing) {
        delay = zlt_backoff_seek((sp->tries - 1) / missing);
    }

    zlt_spread_dial_wonder(sp, missing);

    sp->seek_at = zlt_io_now() + delay;
    zlt_spread_soon(sp, 0);
}


/* Says once, until they are found, that nodes are missing. */

static void
zlt_spread_dial_wonder(zlt_spread_t *sp, unsigned missing)
{
    unsigned  count;

    if (missing == 0) {
        sp->wondered = 0;
        return;
    }

    if (sp->wondered || sp->tries < ZLT_SPREAD_TRIES * missing) {
        return;
    }

    sp->wondered = 1;
    count = zlt_spread_view_count(sp);

    zlt_log_link(zlt_spread_first(sp)->owner.label, ZLT_LOG_WARN, "the server "
                 "says that there are %u nodes, and %u %s found behind %s: is "
                 "one down, or not in the DNS, or has it the node_id of "
                 "another?  What balances them may also send all of this "
                 "agent's connections to the same one", sp->told, count,
                 count == 1 ? "is" : "are",
                 zlt_spread_first(sp)->owner.conf->url.host);
}


static uint32_t
zlt_spread_dial_later(void)
{
    return ZLT_SPREAD_AGAIN - ZLT_SPREAD_AGAIN / 5
           + zlt_random_below(ZLT_SPREAD_AGAIN * 2 / 5);
}
