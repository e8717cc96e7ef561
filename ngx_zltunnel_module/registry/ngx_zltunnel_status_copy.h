
/*
 * Copyright (C) zltunnel authors
 */

/* What the status shows, copied under the lock, for ngx_zltunnel_status.c. */


#ifndef _NGX_ZLTUNNEL_STATUS_COPY_H_INCLUDED_
#define _NGX_ZLTUNNEL_STATUS_COPY_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_shm.h"

#include "zlt_host.h"
#include "zlt_msg.h"


typedef struct {
    u_char                       id[ZLT_ID_SIZE];
} ngx_zltunnel_status_id_t;


typedef struct {
    u_char                       id[ZLT_ID_SIZE];
    in_port_t                    port;
    in_port_t                    local_port;
    uint8_t                      udp;
    uint8_t                      stale;
    uint8_t                      name_len;
    u_char                       name[ZLT_MAX_NAME];
    ngx_uint_t                   active;
    uint64_t                     total;
    uint64_t                     bytes[2];
    uint64_t                     datagrams[2];
    uint64_t                     dropped[NGX_ZLTUNNEL_DROPS];
    time_t                       unreached;
    uint8_t                      cause;
    uint8_t                      down;        /* by its agent's check */
    time_t                       ill_since;
    uint8_t                      ill_len;
    u_char                       ill[255];
    ngx_uint_t                   hosts;       /* the first of its names */
    ngx_uint_t                   nhosts;
} ngx_zltunnel_status_service_t;


typedef struct {
    uint8_t                      len;
    u_char                       name[ZLT_MAX_HOST];
} ngx_zltunnel_status_host_t;


typedef struct {
    ngx_zltunnel_registry_t     *registry;
    ngx_pool_t                  *pool;
    ngx_zltunnel_json_t          json;

    ngx_uint_t                   generation;
    ngx_zltunnel_sh_worker_t    *workers;     /* the last one: those gone */
    ngx_uint_t                   nworkers;    /* .. its index */
    ngx_zltunnel_sh_figures_t    figures;     /* of all workers */
    size_t                       free;        /* bytes of the zone */
    ngx_uint_t                   resets;      /* times it was emptied */
    uint64_t                     astray;      /* channels for other nodes */
    ngx_uint_t                   open;        /* ports */

    ngx_zltunnel_status_id_t    *ids;
    ngx_uint_t                   nids;
    ngx_uint_t                   nremote;     /* of these, of other nodes */

    ngx_zltunnel_sh_tunnel_t     tunnel;      /* one at a time */
    ngx_zltunnel_sh_past_t      *past;        /* of the API: it has gone */
    ngx_zltunnel_status_service_t  *services;
    ngx_uint_t                   nservices;
    ngx_uint_t                   room;        /* in services */
    ngx_zltunnel_status_host_t  *hosts;
    ngx_uint_t                   nhosts;
    ngx_uint_t                   hosts_room;
} ngx_zltunnel_status_t;


/* all but the tunnels, of which it copies the ids */
ngx_int_t ngx_zltunnel_status_copy(ngx_zltunnel_status_t *st);
/* the next tunnel, in place of the last; NGX_DECLINED: it is gone */
ngx_int_t ngx_zltunnel_status_copy_tunnel(ngx_zltunnel_status_t *st,
    u_char *id);

/* whether a service of st->tunnel takes connections */
ngx_uint_t ngx_zltunnel_status_copy_up(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service);
/* "up", "down" or "stale": a service of st->tunnel */
const char *ngx_zltunnel_status_copy_state(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service);


#endif /* _NGX_ZLTUNNEL_STATUS_COPY_H_INCLUDED_ */
