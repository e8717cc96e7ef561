
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a zltunnel{} block says of a directory: the engine that it is in, this
 * node's address for the others, and the certificate by which nodes know each
 * other.
 */


#ifndef _NGX_ZLTUNNEL_CLUSTER_CONF_H_INCLUDED_
#define _NGX_ZLTUNNEL_CLUSTER_CONF_H_INCLUDED_


#include "ngx_zltunnel.h"


/* the module that speaks to the engine */
#define NGX_ZLTUNNEL_CLUSTER_MODULE  "ngx_zltunnel_cluster_module"


typedef struct {
    ngx_str_t                    name;        /* HOST:PORT, as it is written */
    ngx_str_t                    host;
    ngx_addr_t                  *addrs;       /* all that the host has */
    ngx_uint_t                   naddrs;
} ngx_zltunnel_engine_addr_t;


struct ngx_zltunnel_cluster_conf_s {
    ngx_array_t                  engines;     /* ngx_zltunnel_engine_addr_t; none:
                                                 there is no "cluster" */
    ngx_uint_t                   db;
    ngx_uint_t                   tls;         /* of the engine */
    ngx_str_t                    user;        /* empty: the default one */
    ngx_str_t                    password;    /* empty: none */
    ngx_str_t                    engine_ca;   /* a file; empty: OpenSSL's */
    ngx_str_t                    prefix;
    ngx_str_t                    node;        /* HOST:PORT for the other nodes;
                                                 empty: this one has no
                                                 services for them */
    ngx_str_t                    token_key;   /* empty: token_file */
    ngx_msec_t                   refresh;
    ngx_msec_t                   keep;

    /* files; empty: services are neither shared nor reached */
    ngx_str_t                    certificate;
    ngx_str_t                    certificate_key;
    ngx_str_t                    trusted_certificate;
#if (NGX_SSL)
    ngx_ssl_t                   *ssl;         /* of these; NULL: there are none */
#endif

    u_char                      *file;
    ngx_uint_t                   line;
};


/* the directives "cluster" and "cluster_*", into registry->cluster */
char *ngx_zltunnel_cluster_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_zltunnel_cluster_conf_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
/* whether they go together, once all is read; NGX_ERROR with a message */
ngx_int_t ngx_zltunnel_cluster_conf_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_CLUSTER_CONF_H_INCLUDED_ */
