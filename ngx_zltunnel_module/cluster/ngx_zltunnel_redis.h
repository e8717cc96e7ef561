
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One connection that speaks Redis' protocol.  Commands are answered in their
 * order; nobody waits for an answer, whoever asked is called with it.
 */


#ifndef _NGX_ZLTUNNEL_REDIS_H_INCLUDED_
#define _NGX_ZLTUNNEL_REDIS_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"

#include <hiredis/hiredis.h>


#define NGX_ZLTUNNEL_REDIS_TEXT  256
#define NGX_ZLTUNNEL_REDIS_ARGS  1024         /* of one command */


typedef struct ngx_zltunnel_redis_s  ngx_zltunnel_redis_t;

/* the answer, for as long as this runs; n: what was given with the command */
typedef void (*ngx_zltunnel_redis_pt)(void *data, redisReply *reply,
    ngx_uint_t n);


struct ngx_zltunnel_redis_s {
    void                        *data;        /* of the handlers */
    /* it is connected */
    void                       (*opened)(void *data);
    /* an answer without a command: what was published; or NULL */
    void                       (*pushed)(void *data, redisReply *reply);
    /* it is over, text says why; called once, unless it was closed by
       ngx_zltunnel_redis_close() */
    void                       (*failed)(void *data, ngx_uint_t garbage,
        const char *text);

    ngx_ssl_t                   *ssl;         /* NULL: without TLS */
    ngx_str_t                    host;        /* .. whose certificate it is */
    ngx_uint_t                   timeout;     /* ms, for an answer */

    /* its own */
    ngx_connection_t            *connection;
    redisReader                 *reader;
    size_t                       fed;         /* bytes since the last answer */
    ngx_queue_t                  commands;    /* not answered yet */
    u_char                      *out;
    size_t                       size;
    size_t                       sent;
    size_t                       last;
    uint64_t                     bytes[2];    /* read, written */
    uint64_t                     ncommands;
    unsigned                     open:1;
    unsigned                     busy:1;      /* a handler runs */
    unsigned                     over:1;      /* .. that has closed it */
};


/* begins to connect; who is called is told what comes of it, not before this
   has returned */
void ngx_zltunnel_redis_connect(ngx_zltunnel_redis_t *redis, ngx_addr_t *addr,
    ngx_log_t *log);
/* one more command; handler: NULL, if the answer does not matter */
void ngx_zltunnel_redis_command(ngx_zltunnel_redis_t *redis,
    ngx_zltunnel_redis_pt handler, ngx_uint_t n, ngx_str_t *args,
    ngx_uint_t nargs);
/* what is to be written goes out, as far as that does not wait */
void ngx_zltunnel_redis_flush(ngx_zltunnel_redis_t *redis);
/* nobody is called any more */
void ngx_zltunnel_redis_close(ngx_zltunnel_redis_t *redis);


#endif /* _NGX_ZLTUNNEL_REDIS_H_INCLUDED_ */
