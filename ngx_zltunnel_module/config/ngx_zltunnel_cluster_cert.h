
/*
 * Copyright (C) zltunnel authors
 */

/* The certificate by which nodes know each other. */


#ifndef _NGX_ZLTUNNEL_CLUSTER_CERT_H_INCLUDED_
#define _NGX_ZLTUNNEL_CLUSTER_CERT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* Reads the files of "cluster_certificate" and its like, while they may be read;
   NGX_ERROR with a message. */
ngx_int_t ngx_zltunnel_cluster_cert_init(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);
/* whether the client of that connection has the certificate of a node */
ngx_uint_t ngx_zltunnel_cluster_cert_known(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c);
/* Makes it a connection with TLS to a node: NGX_ERROR if it cannot be. */
ngx_int_t ngx_zltunnel_cluster_cert_connect(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c);
/* NULL once it has shaken hands with a node; or what is wrong, until the next
   call */
const char *ngx_zltunnel_cluster_cert_wrong(ngx_connection_t *c);


#endif /* _NGX_ZLTUNNEL_CLUSTER_CERT_H_INCLUDED_ */
