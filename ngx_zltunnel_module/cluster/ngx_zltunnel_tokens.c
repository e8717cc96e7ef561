
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Whoever writes tokens into the engine need not tell anybody: each second it is
 * asked for the sum of the text, and for the text when that has changed.  A key
 * that is missing revokes nothing, as a file that is missing does not.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_tokens.h"


#define NGX_ZLTUNNEL_TOKENS_LOOK  1000        /* ms */
#define NGX_ZLTUNNEL_TOKENS_SUM   40


static void ngx_zltunnel_tokens_on_sum(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_tokens_on_text(void *data, redisReply *reply,
    ngx_uint_t n);


static const char  ngx_zltunnel_tokens_script[] =
    "local text = redis.call('GET', KEYS[1]) "
    "if text then return redis.sha1hex(text) end "
    "return ''";


void
ngx_zltunnel_tokens_tick(ngx_zltunnel_cluster_t *cluster)
{
    ngx_str_t  args[4];

    if (cluster->conf->token_key.len == 0
        || ngx_current_msec - cluster->tokens_looked
           < NGX_ZLTUNNEL_TOKENS_LOOK)
    {
        return;
    }

    cluster->tokens_looked = ngx_current_msec;

    ngx_str_set(&args[0], "EVAL");
    args[1].data = (u_char *) ngx_zltunnel_tokens_script;
    args[1].len = sizeof(ngx_zltunnel_tokens_script) - 1;
    ngx_str_set(&args[2], "1");
    args[3] = cluster->conf->token_key;

    ngx_zltunnel_engine_command(&cluster->engine, ngx_zltunnel_tokens_on_sum,
                                0, args, 4);
}


static void
ngx_zltunnel_tokens_on_sum(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_str_t                args[2];
    ngx_zltunnel_engine_t   *engine;
    ngx_zltunnel_cluster_t  *cluster;

    engine = data;
    cluster = engine->data;

    if (ngx_zltunnel_engine_error(engine, reply)
        || reply->type != REDIS_REPLY_STRING)
    {
        return;
    }

    if (reply->len != NGX_ZLTUNNEL_TOKENS_SUM) {
        ngx_zltunnel_log_complain(cluster->log, "zltunnel: the engine of "
                                  "\"cluster\" has no key %s, which is to have "
                                  "the tokens; the last ones that are known "
                                  "stay in force",
                                  (char *) cluster->conf->token_key.data);
        return;
    }

    if (ngx_zltunnel_token_text_is(cluster->registry, (u_char *) reply->str)) {
        return;
    }

    ngx_memcpy(cluster->tokens_sum, reply->str, NGX_ZLTUNNEL_TOKENS_SUM);

    ngx_str_set(&args[0], "GET");
    args[1] = cluster->conf->token_key;

    ngx_zltunnel_engine_command(engine, ngx_zltunnel_tokens_on_text, 0, args,
                                2);
}


static void
ngx_zltunnel_tokens_on_text(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_zltunnel_engine_t   *engine;
    ngx_zltunnel_cluster_t  *cluster;

    engine = data;
    cluster = engine->data;

    if (ngx_zltunnel_engine_error(engine, reply)
        || reply->type != REDIS_REPLY_STRING)
    {
        return;
    }

    if (reply->len > NGX_ZLTUNNEL_TOKEN_TEXT_MAX) {
        ngx_zltunnel_log_complain(cluster->log, "zltunnel: the text of key %s "
                                  "in the engine of \"cluster\" has more than "
                                  "4m, the former tokens stay in force",
                                  (char *) cluster->conf->token_key.data);
        return;
    }

    if (ngx_zltunnel_token_text_put(cluster->registry, (u_char *) reply->str,
                                    reply->len, cluster->tokens_sum)
        != NGX_OK)
    {
        ngx_zltunnel_log_complain(cluster->log, "zltunnel: the zone has no "
                                  "room for the tokens of key %s, the former "
                                  "ones stay in force",
                                  (char *) cluster->conf->token_key.data);
    }

    ngx_explicit_memzero(reply->str, reply->len);
}
