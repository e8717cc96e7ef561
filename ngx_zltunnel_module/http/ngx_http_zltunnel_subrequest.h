
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_HTTP_ZLTUNNEL_SUBREQUEST_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_SUBREQUEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct ngx_http_zltunnel_subrequest_s  ngx_http_zltunnel_subrequest_t;


/*
 * Called once, never before start() has returned.  status: of the answer; 504
 * if there was none in time, 500 if there was none for another reason.
 * headers: ngx_table_elt_t, those with a hash of 0 do not count; NULL if there
 * was no answer.  They are gone when it returns, and so is the subrequest.
 */
typedef void (*ngx_http_zltunnel_subrequest_pt)(void *data, ngx_uint_t status,
    ngx_list_t *headers);


/* What is asked, of which everything is copied. */

typedef struct {
    ngx_http_conf_ctx_t              *ctx;        /* of the server */
    ngx_str_t                         uri;        /* "/...", without
                                                     arguments */
    ngx_str_t                         host;       /* $host; may be empty */
    ngx_keyval_t                     *headers;    /* valid ones */
    ngx_uint_t                        nheaders;
    ngx_str_t                         body;       /* POST; empty: GET */
    ngx_connection_t                 *client;     /* whose addresses are
                                                     $remote_addr and
                                                     $server_addr; NULL:
                                                     nobody's */
    ngx_msec_t                        timeout;    /* for all of it */
    ngx_http_zltunnel_subrequest_pt   handler;
    void                             *data;
} ngx_http_zltunnel_question_t;


/* Whether a directive's argument is the URI of a location; NGX_ERROR: it is not,
   and nginx -t says why. */
ngx_int_t ngx_http_zltunnel_subrequest_uri(ngx_conf_t *cf, ngx_str_t *uri);
/*
 * Begins an internal request to a location of that server, outside of any
 * client's request; it is answered by whatever the location has.  It takes a
 * connection of the worker, and one descriptor.  How many there are at a time
 * the caller bounds.  NULL: it could not be begun, which has been logged.
 */
ngx_http_zltunnel_subrequest_t *ngx_http_zltunnel_subrequest_start(
    ngx_http_zltunnel_question_t *question);
/* Ends it, and the handler is not called.  Not from within a handler of its
   own. */
void ngx_http_zltunnel_subrequest_cancel(ngx_http_zltunnel_subrequest_t *sub);
/* the first value of a header, in lower case here; NGX_DECLINED: none, NGX_BUSY:
   there are others */
ngx_int_t ngx_http_zltunnel_subrequest_header(ngx_list_t *headers,
    const char *name, ngx_str_t *value);
/* 1: worker_shutdown_timeout is over, those that ran have ended, and no other
   can be begun */
ngx_uint_t ngx_http_zltunnel_subrequest_over(void);
/* the worker exits: all that run are cancelled */
void ngx_http_zltunnel_subrequest_exit(void);


#endif /* _NGX_HTTP_ZLTUNNEL_SUBREQUEST_H_INCLUDED_ */
