
/*
 * Copyright (C) zltunnel authors
 */

/* Registries, and what other blocks refer to in them. */


#ifndef _NGX_ZLTUNNEL_CONF_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONF_H_INCLUDED_


#include "ngx_zltunnel.h"


/* bytes of the zone that a token's services may take for the lists of tokens
   whose visitors may reach them, in all its tunnels */
#define NGX_ZLTUNNEL_ZONE_LISTS  65536


/* a listening socket of a server with zltunnel_ports or zltunnel_pass */

struct ngx_zltunnel_listener_s {
    ngx_zltunnel_registry_t     *registry;
    ngx_uint_t                   index;       /* in cycle->listening */
    in_port_t                    port;        /* host byte order */
    ngx_str_t                    service;     /* pass: empty: a variable */
    ngx_str_t                    token;
    unsigned                     udp:1;
    unsigned                     reserved:1;  /* only when asked for */
    unsigned                     pass:1;
    unsigned                     served:1;    /* an agent has the service */
    unsigned                     paused:1;    /* no room for its clients */
    ngx_zltunnel_share_t        *share;       /* of whose service it was last,
                                                 or NULL */
};


/* a name that the configuration refers to: zltunnel_pass NAME */

typedef struct {
    ngx_str_t                    service;
    ngx_str_t                    token;       /* token=, or empty */
    const char                  *directive;
    u_char                      *file;
    ngx_uint_t                   line;
} ngx_zltunnel_reference_t;


typedef struct {
    ngx_array_t                  registries;  /* ngx_zltunnel_registry_t * */
    ngx_array_t                  datagrams;   /* ngx_uint_t: UDP sockets of
                                                 zltunnel_pass, in
                                                 cycle->listening */
    ngx_array_t                  streams;     /* ngx_uint_t: TCP sockets of
                                                 stream whose clients may come
                                                 to a service, besides those of
                                                 ports and of passes */
    ngx_uint_t                   upstreams;   /* there are some, of stream */

    /* set by the stream part: fills registry->listeners and validates them
       once all of the configuration has been read */
    char                      *(*listen)(ngx_cycle_t *cycle);
    /* set by the http part: sets public_url where the directive has not */
    ngx_int_t                  (*url)(ngx_cycle_t *cycle,
        ngx_zltunnel_registry_t *registry);
    /* set by the module: what makes the registry in the zone */
    ngx_shm_zone_init_pt         zone_init;
} ngx_zltunnel_conf_t;


#define ngx_zltunnel_listener_socket(listener)                                \
    ((ngx_listening_t *) ngx_cycle->listening.elts + (listener)->index)


/*
 * The registry of that name (empty: "default"), created undefined at the
 * first reference; init_conf complains of those that stay undefined.
 * NULL where there is no memory.
 */
ngx_zltunnel_registry_t *ngx_zltunnel_conf_registry(ngx_conf_t *cf,
    ngx_str_t *name);
/* parses "registry=NAME"; NGX_DECLINED if arg is something else */
ngx_int_t ngx_zltunnel_conf_registry_arg(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_zltunnel_registry_t **registry);
ngx_zltunnel_reference_t *ngx_zltunnel_conf_reference(ngx_conf_t *cf,
    ngx_zltunnel_registry_t *registry, ngx_str_t *service, ngx_str_t *token,
    const char *directive);
void *ngx_zltunnel_conf_create(ngx_cycle_t *cycle);
char *ngx_zltunnel_conf_init(ngx_cycle_t *cycle, void *data);


#endif /* _NGX_ZLTUNNEL_CONF_H_INCLUDED_ */
