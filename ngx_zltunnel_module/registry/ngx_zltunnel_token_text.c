
/*
 * Copyright (C) zltunnel authors
 */

/* The text of a token file in the zone. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_token_text.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"


static uint64_t ngx_zltunnel_token_text_key(
    ngx_zltunnel_registry_t *registry);


ngx_int_t
ngx_zltunnel_token_text_put(ngx_zltunnel_registry_t *registry, u_char *data,
    size_t len, u_char *sum)
{
    u_char                     *text;
    ngx_zltunnel_sh_cluster_t  *state;

    state = registry->sh->cluster;

    ngx_zltunnel_zone_lock(registry);

    text = ngx_zltunnel_zone_alloc(registry, len + 1);

    if (text) {
        ngx_memcpy(text, data, len);

        if (state->tokens) {
            ngx_explicit_memzero(state->tokens, state->tokens_len);
            ngx_zltunnel_zone_free(registry, state->tokens);
        }

        state->tokens = text;
        state->tokens_len = len;
        state->tokens_key = ngx_zltunnel_token_text_key(registry);
        ngx_memcpy(state->tokens_sum, sum, sizeof(state->tokens_sum));
        state->tokens_change++;
    }

    ngx_zltunnel_zone_unlock(registry);

    return text ? NGX_OK : NGX_ERROR;
}


ngx_uint_t
ngx_zltunnel_token_text_is(ngx_zltunnel_registry_t *registry, u_char *sum)
{
    ngx_zltunnel_sh_cluster_t  *state;

    state = registry->sh->cluster;

    return state->tokens
           && state->tokens_key == ngx_zltunnel_token_text_key(registry)
           && ngx_memcmp(state->tokens_sum, sum, sizeof(state->tokens_sum))
              == 0;
}


ngx_uint_t
ngx_zltunnel_token_text_follow(ngx_zltunnel_registry_t *registry,
    ngx_log_t *log)
{
    size_t                      len;
    u_char                     *data;
    uint64_t                    change;
    ngx_uint_t                  taken;
    ngx_zltunnel_sh_cluster_t  *state;

    if (registry->cluster == NULL || registry->cluster->token_key.len == 0) {
        return 0;
    }

    state = registry->sh->cluster;

    if (state->tokens_change == registry->tokens_seen) {
        return 0;
    }

    data = NULL;
    len = 0;

    ngx_zltunnel_zone_lock_read(registry);

    change = state->tokens_change;

    if (state->tokens
        && state->tokens_key == ngx_zltunnel_token_text_key(registry))
    {
        len = state->tokens_len;
        data = malloc(len + 1);

        if (data) {
            ngx_memcpy(data, state->tokens, len);
        }
    }

    ngx_zltunnel_zone_unlock(registry);

    if (data == NULL) {
        return 0;
    }

    registry->tokens_seen = change;

    taken = ngx_zltunnel_token_file_text(registry, data, len, log) == NGX_OK;

    ngx_explicit_memzero(data, len);
    free(data);

    return taken;
}


ngx_uint_t
ngx_zltunnel_token_text_awaited(ngx_zltunnel_registry_t *registry)
{
    return registry->cluster && registry->cluster->token_key.len
           && registry->tokens_seen == 0;
}


/* a text of another key, before a reload, is none */

static uint64_t
ngx_zltunnel_token_text_key(ngx_zltunnel_registry_t *registry)
{
    return ngx_zltunnel_name_hash(registry->cluster->token_key.data,
                                  registry->cluster->token_key.len);
}
