
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A directory as one worker sees it, for each registry that has one.  Only the
 * worker that speaks to the engine has more than a timer; the parts of it are in
 * publish, gather, lease and token_text.
 */


#ifndef _NGX_ZLTUNNEL_CLUSTER_H_INCLUDED_
#define _NGX_ZLTUNNEL_CLUSTER_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_engine.h"


#define NGX_ZLTUNNEL_CLUSTER_KEY   256        /* bytes, of a key with prefix */
#define NGX_ZLTUNNEL_CLUSTER_HEX   (2 * ZLT_ID_SIZE)
/* after so many refreshes without one more a node is gone */
#define NGX_ZLTUNNEL_CLUSTER_LIFE  3


typedef struct ngx_zltunnel_node_s     ngx_zltunnel_node_t;
typedef struct ngx_zltunnel_cluster_s  ngx_zltunnel_cluster_t;


/* what this node has, and has told the engine of */

typedef struct {
    ngx_rbtree_t                 told;        /* services, by id */
    ngx_rbtree_node_t            sentinel;
    ngx_uint_t                   n;
    ngx_uint_t                   turn;        /* of looking through all */
    ngx_uint_t                   events;      /* of the registry, seen */
    ngx_msec_t                   looked;
    ngx_msec_t                   refreshed;
    ngx_msec_t                   published;   /* the last time; 0: it was heard */
    unsigned                     loaded:1;    /* what the engine has is known */
    unsigned                     found:1;     /* it has some of it */
    unsigned                     more:1;      /* not all was looked through */
    unsigned                     overlap:1;
} ngx_zltunnel_publish_t;


/* what others have */

typedef struct {
    ngx_rbtree_t                 nodes;       /* ngx_zltunnel_node_t, by id */
    ngx_rbtree_node_t            sentinel;
    ngx_uint_t                   nnodes;
    ngx_queue_t                  queue;       /* nodes to be asked for */
    ngx_zltunnel_node_t         *node;        /* who is asked for now */
    ngx_uint_t                   turn;        /* of reading */
    ngx_msec_t                   begun;       /* reading all, the last time */
    ngx_uint_t                   lost;        /* by the registry, as seen */
    ngx_msec_t                   emptied;     /* the engine was; 0: never */
    unsigned                     known:1;     /* what the zone has is */
} ngx_zltunnel_gather_t;


/* ports and hosts of this node's services */

typedef struct {
    ngx_rbtree_t                 leases;
    ngx_rbtree_node_t            sentinel;
    ngx_queue_t                  list;
    ngx_uint_t                   n;
    ngx_uint_t                   turn;        /* of looking through all */
    ngx_uint_t                   events;      /* of the registry, seen */
    ngx_msec_t                   looked;
    ngx_msec_t                   renewed;
    unsigned                     again:1;     /* some may have gone */
} ngx_zltunnel_leases_t;


struct ngx_zltunnel_cluster_s {
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_cluster_conf_t *conf;
    ngx_log_t                   *log;
    ngx_event_t                  tick;
    ngx_msec_t                   second;      /* of the last one */
    unsigned                     owner:1;     /* this worker speaks to it */
    unsigned                     ready:1;

    u_char                       id[ZLT_ID_SIZE];
    u_char                       hex[NGX_ZLTUNNEL_CLUSTER_HEX];

    u_char                       channel_text[NGX_ZLTUNNEL_CLUSTER_KEY];
    u_char                       key_text[NGX_ZLTUNNEL_CLUSTER_KEY];
    u_char                       nodes_text[NGX_ZLTUNNEL_CLUSTER_KEY];
    ngx_str_t                    key;         /* this node's hash */
    ngx_str_t                    nodes;       /* the set of all nodes */

    ngx_zltunnel_engine_t        engine;
    ngx_zltunnel_publish_t       publish;
    ngx_zltunnel_gather_t        gather;
    ngx_zltunnel_leases_t        lease;
    ngx_msec_t                   tokens_looked;
    u_char                       tokens_sum[40];
};


/* services are told of and heard of, since there are certificates */
#define ngx_zltunnel_cluster_shares(cluster)                                  \
    ((cluster)->conf->certificate.len != 0)

/* milliseconds without a refresh until a node is gone */
#define ngx_zltunnel_cluster_life(cluster)                                    \
    (NGX_ZLTUNNEL_CLUSTER_LIFE * (cluster)->conf->refresh)


/* prefix, text, and what follows, if that is not NULL; into buf, of
   NGX_ZLTUNNEL_CLUSTER_KEY bytes */
void ngx_zltunnel_cluster_module_key(ngx_zltunnel_cluster_t *cluster,
    u_char *buf, ngx_str_t *key, const char *text, u_char *more, size_t len);
/* the engine has lost what it had: it is all told again */
void ngx_zltunnel_cluster_module_emptied(ngx_zltunnel_cluster_t *cluster);


#endif /* _NGX_ZLTUNNEL_CLUSTER_H_INCLUDED_ */
