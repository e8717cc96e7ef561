
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What all workers know of tokens that zltunnel_auth has let in.
 *
 * The worker that was told puts it in the zone, and the others copy what has
 * changed: each second, and before they decide by it.  Thus a right is looked
 * up without the lock, in this worker's copy (config/ngx_zltunnel_granted.c),
 * as one of the token file is.
 *
 * One that is over stays for a while, for the others to see.  The token itself
 * is never here.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_grant.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_zone.h"


#define NGX_ZLTUNNEL_GRANT_BATCH  32       /* copied, under one lock */
#define NGX_ZLTUNNEL_GRANT_SWEEP  64       /* looked at in a second */
#define NGX_ZLTUNNEL_GRANT_LATE   60       /* s, whose tunnel's worker did not
                                              see to it */
#define NGX_ZLTUNNEL_GRANT_KEEP   600      /* s, what is over */


typedef struct {
    u_char                       hash[32];
    uint64_t                     change;
    time_t                       fresh;
    time_t                       until;
    ngx_uint_t                   over;
    ngx_uint_t                   lapsed;
    ngx_str_t                    text;
} ngx_zltunnel_grant_copy_t;


static ngx_zltunnel_sh_grant_t *ngx_zltunnel_grant_find(ngx_zltunnel_sh_t *sh,
    u_char *hash);
static ngx_zltunnel_sh_grant_t *ngx_zltunnel_grant_get(
    ngx_zltunnel_registry_t *registry, u_char *hash);
static ngx_int_t ngx_zltunnel_grant_write(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_grant_t *grant, ngx_str_t *text);
static void ngx_zltunnel_grant_changed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_grant_t *grant);
static void ngx_zltunnel_grant_over(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_grant_t *grant, ngx_uint_t lapsed);
static void ngx_zltunnel_grant_free(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_grant_t *grant);
static ngx_uint_t ngx_zltunnel_grant_used(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_grant_t *grant);
static ngx_uint_t ngx_zltunnel_grant_copy(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_grant_copy_t *copies, u_char *texts);
static void ngx_zltunnel_grant_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_grant_copy_t *copy);


static ngx_zltunnel_sh_grant_t *
ngx_zltunnel_grant_find(ngx_zltunnel_sh_t *sh, u_char *hash)
{
    ngx_rbtree_key_t          key;
    ngx_rbtree_node_t        *node;
    ngx_zltunnel_sh_grant_t  *grant;

    ngx_memcpy(&key, hash, sizeof(key));
    node = sh->grants.root;

    while (node != &sh->sentinel) {
        grant = (ngx_zltunnel_sh_grant_t *) node;

        if (key == node->key && ngx_memcmp(grant->hash, hash, 32) == 0) {
            return grant;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


static ngx_zltunnel_sh_grant_t *
ngx_zltunnel_grant_get(ngx_zltunnel_registry_t *registry, u_char *hash)
{
    ngx_zltunnel_sh_t        *sh;
    ngx_zltunnel_sh_grant_t  *grant;

    sh = registry->sh;
    grant = ngx_zltunnel_grant_find(sh, hash);

    if (grant) {
        return grant;
    }

    grant = ngx_zltunnel_zone_alloc(registry, sizeof(ngx_zltunnel_sh_grant_t));
    if (grant == NULL) {
        return NULL;
    }

    ngx_memcpy(&grant->node.key, hash, sizeof(ngx_rbtree_key_t));
    ngx_memcpy(grant->hash, hash, 32);
    grant->over = 1;

    ngx_rbtree_insert(&sh->grants, &grant->node);
    ngx_queue_insert_head(&sh->grants_new, &grant->queue);
    ngx_queue_insert_tail(&sh->grants_turn, &grant->turn);

    return grant;
}


ngx_int_t
ngx_zltunnel_grant_set(ngx_zltunnel_registry_t *registry, u_char hash[32],
    ngx_str_t *text, time_t fresh, time_t until)
{
    ngx_zltunnel_sh_grant_t  *grant;

    ngx_zltunnel_zone_lock(registry);

    grant = ngx_zltunnel_grant_get(registry, hash);

    if (grant == NULL
        || ngx_zltunnel_grant_write(registry, grant, text) != NGX_OK)
    {
        ngx_zltunnel_zone_unlock(registry);
        return NGX_ERROR;
    }

    grant->fresh = fresh;
    grant->until = until;
    grant->over = 0;
    grant->lapsed = 0;

    ngx_zltunnel_grant_changed(registry, grant);

    ngx_zltunnel_zone_unlock(registry);

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_grant_write(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_grant_t *grant, ngx_str_t *text)
{
    u_char  *p;

    if (grant->text && grant->len == text->len
        && ngx_memcmp(grant->text, text->data, text->len) == 0)
    {
        return NGX_OK;
    }

    p = ngx_zltunnel_zone_alloc(registry, text->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (grant->text) {
        ngx_zltunnel_zone_free(registry, grant->text);
    }

    ngx_memcpy(p, text->data, text->len);
    grant->text = p;
    grant->len = (uint16_t) text->len;

    return NGX_OK;
}


static void
ngx_zltunnel_grant_changed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_grant_t *grant)
{
    grant->change = ++registry->sh->grants_changes;

    ngx_queue_remove(&grant->queue);
    ngx_queue_insert_tail(&registry->sh->grants_new, &grant->queue);
}


void
ngx_zltunnel_grant_end(ngx_zltunnel_registry_t *registry, u_char hash[32],
    ngx_uint_t lapsed)
{
    ngx_zltunnel_sh_grant_t  *grant;

    ngx_zltunnel_zone_lock(registry);

    grant = ngx_zltunnel_grant_find(registry->sh, hash);

    if (grant && !grant->over) {
        ngx_zltunnel_grant_over(registry, grant, lapsed);
    }

    ngx_zltunnel_zone_unlock(registry);
}


static void
ngx_zltunnel_grant_over(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_grant_t *grant, ngx_uint_t lapsed)
{
    grant->over = 1;
    grant->lapsed = (uint8_t) lapsed;
    grant->fresh = 0;
    grant->until = ngx_time();

    ngx_zltunnel_grant_changed(registry, grant);
}


static void
ngx_zltunnel_grant_free(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_grant_t *grant)
{
    ngx_queue_remove(&grant->queue);
    ngx_queue_remove(&grant->turn);
    ngx_rbtree_delete(&registry->sh->grants, &grant->node);

    if (grant->text) {
        ngx_zltunnel_zone_free(registry, grant->text);
    }

    ngx_zltunnel_zone_free(registry, grant);
}


void
ngx_zltunnel_grant_sweep(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                n;
    ngx_queue_t              *q, *last;
    ngx_zltunnel_sh_t        *sh;
    ngx_zltunnel_sh_grant_t  *grant;

    sh = registry->sh;

    if (ngx_queue_empty(&sh->grants_turn)) {
        return;
    }

    last = ngx_queue_last(&sh->grants_turn);
    q = NULL;

    for (n = 0; n < NGX_ZLTUNNEL_GRANT_SWEEP && q != last; n++) {

        q = ngx_queue_head(&sh->grants_turn);
        grant = ngx_queue_data(q, ngx_zltunnel_sh_grant_t, turn);

        ngx_zltunnel_zone_change(registry);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&sh->grants_turn, q);

        if (grant->over) {

            if (ngx_time() >= grant->until + NGX_ZLTUNNEL_GRANT_KEEP) {
                ngx_zltunnel_grant_free(registry, grant);
            }

            continue;
        }

        if (ngx_time() < grant->until) {
            continue;
        }

        if (ngx_time() >= grant->until + NGX_ZLTUNNEL_GRANT_LATE
            || !ngx_zltunnel_grant_used(sh, grant))
        {
            ngx_zltunnel_grant_over(registry, grant, 1);
        }
    }
}


/* some tunnel was opened with that token */

static ngx_uint_t
ngx_zltunnel_grant_used(ngx_zltunnel_sh_t *sh, ngx_zltunnel_sh_grant_t *grant)
{
    u_char                    *p, *last;
    ngx_str_t                  name;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    p = grant->text;
    last = p + grant->len;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    for (name.data = p; p < last; p++) {

        if (*p == ' ' || *p == '\t' || *p == CR || *p == '#') {
            break;
        }
    }

    name.len = p - name.data;

    for (tunnel = ngx_zltunnel_tunnel_next(sh, &name, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_next(sh, &name, tunnel))
    {
        if (ngx_memcmp(tunnel->token, grant->hash, 32) == 0) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_zltunnel_grant_follow(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t  changed;

    ngx_zltunnel_grant_sync(registry);
    ngx_zltunnel_granted_tidy(registry, 0);

    changed = registry->grants_changed;
    registry->grants_changed = 0;

    return changed;
}


void
ngx_zltunnel_grant_sync(ngx_zltunnel_registry_t *registry)
{
    u_char                     *texts;
    ngx_uint_t                  i, n;
    ngx_zltunnel_grant_copy_t   copies[NGX_ZLTUNNEL_GRANT_BATCH];

    if (registry->sh->grants_changes == registry->grants_seen) {
        return;
    }

    texts = ngx_alloc(NGX_ZLTUNNEL_GRANT_BATCH * NGX_ZLTUNNEL_GRANTED_TEXT,
                      ngx_cycle->log);
    if (texts == NULL) {
        return;
    }

    do {
        n = ngx_zltunnel_grant_copy(registry, copies, texts);

        for (i = 0; i < n; i++) {
            ngx_zltunnel_grant_take(registry, &copies[i]);
        }

    } while (n == NGX_ZLTUNNEL_GRANT_BATCH);

    ngx_free(texts);
}


/* the first of those that this worker has not seen */

static ngx_uint_t
ngx_zltunnel_grant_copy(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_grant_copy_t *copies, u_char *texts)
{
    ngx_uint_t                  n;
    ngx_queue_t                *q, *prev;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_grant_t    *grant;
    ngx_zltunnel_grant_copy_t  *copy;

    ngx_zltunnel_zone_lock_read(registry);

    sh = registry->sh;

    for (q = ngx_queue_sentinel(&sh->grants_new); /* void */; q = prev) {
        prev = ngx_queue_prev(q);
        grant = ngx_queue_data(prev, ngx_zltunnel_sh_grant_t, queue);

        if (prev == ngx_queue_sentinel(&sh->grants_new)
            || grant->change <= registry->grants_seen)
        {
            break;
        }
    }

    for (n = 0;
         n < NGX_ZLTUNNEL_GRANT_BATCH
         && q != ngx_queue_sentinel(&sh->grants_new);
         q = ngx_queue_next(q))
    {
        grant = ngx_queue_data(q, ngx_zltunnel_sh_grant_t, queue);
        copy = &copies[n];

        ngx_memcpy(copy->hash, grant->hash, 32);
        copy->fresh = grant->fresh;
        copy->until = grant->until;
        copy->over = grant->over;
        copy->lapsed = grant->lapsed;

        copy->text.data = texts + n * NGX_ZLTUNNEL_GRANTED_TEXT;
        copy->text.len = grant->over ? 0 : grant->len;
        ngx_memcpy(copy->text.data, grant->text, copy->text.len);

        registry->grants_seen = grant->change;
        n++;
    }

    if (n < NGX_ZLTUNNEL_GRANT_BATCH) {
        registry->grants_seen = sh->grants_changes;
    }

    ngx_zltunnel_zone_unlock(registry);

    return n;
}


static void
ngx_zltunnel_grant_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_grant_copy_t *copy)
{
    ngx_int_t                   rc;
    ngx_zltunnel_token_error_t  e;

    if (copy->over) {
        rc = ngx_zltunnel_granted_end(registry, copy->hash, copy->lapsed);

    } else {
        rc = ngx_zltunnel_granted_set(registry, copy->hash, &copy->text,
                                      copy->fresh, copy->until, &e);
    }

    if (rc == NGX_OK) {
        registry->grants_changed = 1;
    }
}
