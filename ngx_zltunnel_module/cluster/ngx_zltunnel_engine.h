
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The engine, behind whichever of its addresses it is: two connections, one for
 * commands and one for what is published.  It is looked for as long as it is
 * away, more and more slowly, and what is wrong with it is told once a minute.
 */


#ifndef _NGX_ZLTUNNEL_ENGINE_H_INCLUDED_
#define _NGX_ZLTUNNEL_ENGINE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_redis.h"
#include "ngx_zltunnel_registry.h"


typedef struct ngx_zltunnel_engine_s  ngx_zltunnel_engine_t;


struct ngx_zltunnel_engine_s {
    ngx_zltunnel_registry_t     *registry;
    ngx_log_t                   *log;
    ngx_str_t                    channel;     /* what is listened to */

    void                        *data;        /* of the handlers */
    void                       (*ready)(void *data);
    void                       (*heard)(void *data, ngx_str_t *text);
    void                       (*lost)(void *data);

    /* its own */
    ngx_ssl_t                   *ssl;
    ngx_pool_t                  *pool;        /* .. where it is from */
    ngx_zltunnel_redis_t         commands;
    ngx_zltunnel_redis_t         events;
    ngx_event_t                  again;
    ngx_uint_t                   turn;        /* of the addresses */
    ngx_uint_t                   tried;       /* .. in a row */
    ngx_msec_t                   delay;
    ngx_addr_t                   addr;        /* that it is at */
    ngx_sockaddr_t               sockaddr;
    u_char                       text[NGX_SOCKADDR_STRLEN];
    ngx_str_t                    host;
    ngx_uint_t                   redirects;   /* in a row */
    ngx_msec_t                   pinged;
    unsigned                     running:1;
    unsigned                     up:1;
    unsigned                     redirected:1;
};


/* looks for it from now on */
void ngx_zltunnel_engine_start(ngx_zltunnel_engine_t *engine);
/* and not any more; nobody is called */
void ngx_zltunnel_engine_stop(ngx_zltunnel_engine_t *engine);
/* each second: whether it still lives */
void ngx_zltunnel_engine_tick(ngx_zltunnel_engine_t *engine);
/* a command, once it is ready; its answer comes with engine->data */
void ngx_zltunnel_engine_command(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_redis_pt handler, ngx_uint_t n, ngx_str_t *args,
    ngx_uint_t nargs);
/* 1: the answer is an error, which has been told; the engine may be away by it */
ngx_uint_t ngx_zltunnel_engine_error(ngx_zltunnel_engine_t *engine,
    redisReply *reply);
/* what was said about it is wrong: 1 if that may be told, once a minute */
ngx_uint_t ngx_zltunnel_engine_complains(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_cluster_error_e kind);


#endif /* _NGX_ZLTUNNEL_ENGINE_H_INCLUDED_ */
