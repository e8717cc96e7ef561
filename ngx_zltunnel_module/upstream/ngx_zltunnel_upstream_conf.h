
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_UPSTREAM_CONF_H_INCLUDED_
#define _NGX_ZLTUNNEL_UPSTREAM_CONF_H_INCLUDED_


#include "ngx_zltunnel.h"


typedef enum {
    NGX_ZLTUNNEL_ROUND_ROBIN = 0,
    NGX_ZLTUNNEL_LEAST_CONN,
    NGX_ZLTUNNEL_RANDOM,
    NGX_ZLTUNNEL_HASH
} ngx_zltunnel_balance_e;


/* zltunnel_service NAME ..; or zltunnel_host VALUE ..; of one upstream{} */

typedef struct {
    ngx_zltunnel_registry_t     *registry;
    ngx_str_t                    service;     /* as written, or the host;
                                                 empty: no such directive */
    ngx_str_t                    token;
    ngx_zltunnel_balance_e       balance;
    ngx_str_t                    key;         /* of HASH, as written */
    ngx_uint_t                   max_fails;
    ngx_msec_t                   fail_timeout;
    unsigned                     host:1;      /* it is a host, with variables */
    unsigned                     backup:1;    /* there are other servers */
    unsigned                     lanes:1;     /* connections may share a
                                                 channel: http */
} ngx_zltunnel_upstream_conf_t;


/* The directive's arguments, in cf->args; sets conf->key, to be compiled, for
   "balance=hash:KEY".  Of zltunnel_host its value is to be compiled. */
char *ngx_zltunnel_upstream_conf_parse(ngx_conf_t *cf,
    ngx_zltunnel_upstream_conf_t *conf);


#endif /* _NGX_ZLTUNNEL_UPSTREAM_CONF_H_INCLUDED_ */
