
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The clocks of tokens that have a rate, by their names: one for all tunnels of
 * a name, in all workers (zlt_pace.h).
 *
 * A worker looks for a clock once, under the lock, and then uses it without.
 * So the memory of one is never given back, only used for another name when
 * nothing has been reserved for ten minutes.  Whoever uses it compares the
 * name's hash first, and looks again if it is another.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_rate.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"

#include "zlt_pace.h"


#define NGX_ZLTUNNEL_RATE_UNUSED  600000    /* ms, then another may have it */
#define NGX_ZLTUNNEL_RATE_LOOKS   2         /* at clocks, for each new one */
#define NGX_ZLTUNNEL_RATE_RETRY   1000      /* ms, after there was no memory */


static ngx_zltunnel_sh_rate_t *ngx_zltunnel_rate_find(ngx_zltunnel_sh_t *sh,
    uint64_t hash);
static ngx_zltunnel_sh_rate_t *ngx_zltunnel_rate_add(
    ngx_zltunnel_registry_t *registry, uint64_t hash);
static ngx_zltunnel_sh_rate_t *ngx_zltunnel_rate_unused(
    ngx_zltunnel_sh_t *sh);


uint64_t *
ngx_zltunnel_rate_clock(ngx_zltunnel_registry_t *registry, ngx_str_t *name,
    ngx_zltunnel_rate_t *known)
{
    ngx_zltunnel_sh_rate_t  *rate;

    rate = known->rate;

    if (rate && rate->hash == known->hash
        && known->resets == registry->sh->resets)
    {
        return &rate->clock;
    }

    if (known->failed
        && ngx_current_msec - known->failed < NGX_ZLTUNNEL_RATE_RETRY)
    {
        return NULL;
    }

    known->hash = ngx_zltunnel_name_hash(name->data, name->len);

    ngx_zltunnel_zone_lock(registry);

    rate = ngx_zltunnel_rate_find(registry->sh, known->hash);

    if (rate == NULL) {
        rate = ngx_zltunnel_rate_add(registry, known->hash);
    }

    known->rate = rate;
    known->resets = registry->sh->resets;

    ngx_zltunnel_zone_unlock(registry);

    known->failed = rate ? 0 : ngx_current_msec;

    return rate ? &rate->clock : NULL;
}


/* the first worker that reads of it moves the clock, for all */

void
ngx_zltunnel_rate_change(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_rate_t *known, uint64_t old, uint64_t rate)
{
    uint64_t                 last;
    ngx_zltunnel_sh_rate_t  *found;

    found = known->rate;

    if (found == NULL || found->hash != known->hash
        || known->resets != registry->sh->resets)
    {
        return;
    }

    last = __atomic_exchange_n(&found->rate, rate, __ATOMIC_RELAXED);

    if (last != rate) {
        zlt_pace_change(&found->clock, old, rate,
                        (uint64_t) ngx_current_msec * 1000000);
    }
}


static ngx_zltunnel_sh_rate_t *
ngx_zltunnel_rate_find(ngx_zltunnel_sh_t *sh, uint64_t hash)
{
    ngx_rbtree_key_t         key;
    ngx_rbtree_node_t       *node;
    ngx_zltunnel_sh_rate_t  *rate;

    key = (ngx_rbtree_key_t) hash;
    node = sh->rates.root;

    while (node != &sh->sentinel) {
        rate = (ngx_zltunnel_sh_rate_t *) node;

        if (rate->hash == hash) {
            return rate;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


static ngx_zltunnel_sh_rate_t *
ngx_zltunnel_rate_add(ngx_zltunnel_registry_t *registry, uint64_t hash)
{
    ngx_zltunnel_sh_t       *sh;
    ngx_zltunnel_sh_rate_t  *rate;

    sh = registry->sh;

    rate = ngx_zltunnel_rate_unused(sh);

    if (rate == NULL) {
        rate = ngx_zltunnel_zone_alloc(registry,
                                       sizeof(ngx_zltunnel_sh_rate_t));
        if (rate == NULL) {
            return NULL;
        }
    }

    rate->hash = hash;
    rate->rate = 0;
    rate->clock = (uint64_t) ngx_current_msec * 1000000;    /* in use */
    rate->node.key = (ngx_rbtree_key_t) hash;

    ngx_rbtree_insert(&sh->rates, &rate->node);
    ngx_queue_insert_tail(&sh->rate_list, &rate->queue);

    return rate;
}


/* taken out of the tree, or NULL */

static ngx_zltunnel_sh_rate_t *
ngx_zltunnel_rate_unused(ngx_zltunnel_sh_t *sh)
{
    uint64_t                 used;
    ngx_uint_t               i;
    ngx_queue_t             *q;
    ngx_zltunnel_sh_rate_t  *rate;

    for (i = 0; i < NGX_ZLTUNNEL_RATE_LOOKS; i++) {

        if (ngx_queue_empty(&sh->rate_list)) {
            break;
        }

        q = ngx_queue_head(&sh->rate_list);
        ngx_queue_remove(q);

        rate = ngx_queue_data(q, ngx_zltunnel_sh_rate_t, queue);
        used = rate->clock / 1000000;

        if (used + NGX_ZLTUNNEL_RATE_UNUSED < ngx_current_msec) {
            ngx_rbtree_delete(&sh->rates, &rate->node);
            return rate;
        }

        ngx_queue_insert_tail(&sh->rate_list, q);
    }

    return NULL;
}
