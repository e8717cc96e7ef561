
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Tokens that were let in by zltunnel_auth, in this worker.
 *
 * Each is a set of one line, read by what reads the token file: a right means
 * the same wherever it is written.  One that is over stays as a mark, by which
 * its tunnels are told why.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_granted.h"
#include "ngx_zltunnel_token.h"

#include "zlt_hex.h"


#define NGX_ZLTUNNEL_GRANTED_KEEP  600      /* s, what is over */


static ngx_rbtree_key_t ngx_zltunnel_granted_key(u_char *hash);
static ngx_zltunnel_granted_t *ngx_zltunnel_granted_get(
    ngx_zltunnel_registry_t *registry, u_char *hash);
static ngx_zltunnel_tokens_t *ngx_zltunnel_granted_read(u_char *hash,
    ngx_str_t *text, ngx_zltunnel_token_error_t *e);


static ngx_rbtree_key_t
ngx_zltunnel_granted_key(u_char *hash)
{
    ngx_rbtree_key_t  key;

    ngx_memcpy(&key, hash, sizeof(key));

    return key;
}


ngx_zltunnel_granted_t *
ngx_zltunnel_granted_find(ngx_zltunnel_registry_t *registry, u_char hash[32])
{
    ngx_rbtree_key_t         key;
    ngx_rbtree_node_t       *node;
    ngx_zltunnel_granted_t  *granted;

    if (registry->granted.root == NULL) {
        return NULL;
    }

    key = ngx_zltunnel_granted_key(hash);
    node = registry->granted.root;

    while (node != &registry->granted_sentinel) {
        granted = (ngx_zltunnel_granted_t *) node;

        if (key == node->key && ngx_memcmp(granted->hash, hash, 32) == 0) {
            return granted;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


ngx_zltunnel_granted_t *
ngx_zltunnel_granted_next(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_granted_t *granted)
{
    ngx_rbtree_node_t  *node;

    if (granted) {
        node = ngx_rbtree_next(&registry->granted, &granted->node);

    } else if (registry->granted.root
               && registry->granted.root != &registry->granted_sentinel)
    {
        node = ngx_rbtree_min(registry->granted.root,
                              &registry->granted_sentinel);
    } else {
        return NULL;
    }

    while (node && ((ngx_zltunnel_granted_t *) node)->set == NULL) {
        node = ngx_rbtree_next(&registry->granted, node);
    }

    return (ngx_zltunnel_granted_t *) node;
}


static ngx_zltunnel_granted_t *
ngx_zltunnel_granted_get(ngx_zltunnel_registry_t *registry, u_char *hash)
{
    ngx_zltunnel_granted_t  *granted;

    if (registry->granted.root == NULL) {
        ngx_rbtree_init(&registry->granted, &registry->granted_sentinel,
                        ngx_rbtree_insert_value);
    }

    granted = ngx_zltunnel_granted_find(registry, hash);

    if (granted) {
        return granted;
    }

    granted = ngx_calloc(sizeof(ngx_zltunnel_granted_t), ngx_cycle->log);
    if (granted == NULL) {
        return NULL;
    }

    granted->node.key = ngx_zltunnel_granted_key(hash);
    ngx_memcpy(granted->hash, hash, 32);

    ngx_rbtree_insert(&registry->granted, &granted->node);

    return granted;
}


ngx_int_t
ngx_zltunnel_granted_set(ngx_zltunnel_registry_t *registry, u_char hash[32],
    ngx_str_t *text, time_t fresh, time_t until, ngx_zltunnel_token_error_t *e)
{
    ngx_zltunnel_tokens_t   *set;
    ngx_zltunnel_granted_t  *granted;

    granted = ngx_zltunnel_granted_find(registry, hash);

    if (granted && granted->set
        && granted->text.len == text->len
        && ngx_memcmp(granted->text.data, text->data, text->len) == 0)
    {
        granted->fresh = fresh;
        granted->until = until;
        return NGX_DECLINED;
    }

    set = ngx_zltunnel_granted_read(hash, text, e);
    if (set == NULL) {
        return NGX_ERROR;
    }

    granted = ngx_zltunnel_granted_get(registry, hash);

    if (granted) {
        text->data = ngx_pstrdup(set->pool, text);
    }

    if (granted == NULL || text->data == NULL) {
        ngx_destroy_pool(set->pool);
        ngx_cpystrn(e->text, (u_char *) "not enough memory",
                    NGX_ZLTUNNEL_TOKEN_ERROR);
        return NGX_ERROR;
    }

    if (granted->set) {
        ngx_destroy_pool(granted->set->pool);
    }

    granted->set = set;
    granted->text = *text;
    granted->fresh = fresh;
    granted->until = until;
    granted->lapsed = 0;

    return NGX_OK;
}


static ngx_zltunnel_tokens_t *
ngx_zltunnel_granted_read(u_char *hash, ngx_str_t *text,
    ngx_zltunnel_token_error_t *e)
{
    u_char                 *p, line[64 + NGX_ZLTUNNEL_GRANTED_TEXT + 1];
    ngx_pool_t             *pool;
    ngx_zltunnel_tokens_t  *set;

    ngx_memzero(e, sizeof(ngx_zltunnel_token_error_t));

    if (text->len > NGX_ZLTUNNEL_GRANTED_TEXT) {
        ngx_sprintf(e->text, "it is longer than %d bytes%Z",
                    NGX_ZLTUNNEL_GRANTED_TEXT);
        return NULL;
    }

    ngx_cpystrn(e->text, (u_char *) "not enough memory",
                NGX_ZLTUNNEL_TOKEN_ERROR);

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    set = ngx_pcalloc(pool, sizeof(ngx_zltunnel_tokens_t));

    if (set == NULL
        || ngx_array_init(&set->tokens, pool, 1, sizeof(ngx_zltunnel_token_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    set->pool = pool;

    zlt_hex_encode((char *) line, hash, 32);
    p = line + 64;
    *p++ = ' ';
    p = ngx_cpymem(p, text->data, text->len);

    if (ngx_zltunnel_token_parse(set, line, p - line, 0, e) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    return set;
}


ngx_int_t
ngx_zltunnel_granted_end(ngx_zltunnel_registry_t *registry, u_char hash[32],
    ngx_uint_t lapsed)
{
    ngx_zltunnel_granted_t  *granted;

    granted = ngx_zltunnel_granted_find(registry, hash);

    if (granted == NULL || granted->set == NULL) {
        return NGX_DECLINED;
    }

    ngx_destroy_pool(granted->set->pool);

    granted->set = NULL;
    ngx_str_null(&granted->text);
    granted->fresh = 0;
    granted->until = ngx_time();
    granted->lapsed = lapsed;

    return NGX_OK;
}


void
ngx_zltunnel_granted_tidy(ngx_zltunnel_registry_t *registry, ngx_uint_t all)
{
    ngx_rbtree_node_t       *node, *next;
    ngx_zltunnel_granted_t  *granted;

    if (registry->granted.root == NULL
        || registry->granted.root == &registry->granted_sentinel)
    {
        return;
    }

    for (node = ngx_rbtree_min(registry->granted.root,
                               &registry->granted_sentinel);
         node;
         node = next)
    {
        next = ngx_rbtree_next(&registry->granted, node);
        granted = (ngx_zltunnel_granted_t *) node;

        if (!all
            && granted->until + NGX_ZLTUNNEL_GRANTED_KEEP > ngx_time())
        {
            continue;
        }

        if (granted->set) {
            ngx_destroy_pool(granted->set->pool);
        }

        ngx_rbtree_delete(&registry->granted, node);
        ngx_free(granted);
    }
}
