
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What other nodes have.
 *
 * All of it is read every now and then, one node after the other, in pieces that
 * no worker minds; in between there are messages of what has changed.  A message
 * may be lost, or come before or after what was read at the same time: so what a
 * message has said counts until the reading that it fell into is over, and a
 * service that a reading has not seen goes.
 *
 * When a node was last refreshed its hash says, which goes when that was too long
 * ago: it is asked for at the moment at which it would.  If it has gone, so has the
 * node; unless our own has, too, for then the engine was emptied, and everybody has
 * the time of one life to tell all again.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_gather.h"
#include "ngx_zltunnel_entry.h"
#include "ngx_zltunnel_publish.h"

#include "zlt_hex.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_GATHER_NODES     1024
#define NGX_ZLTUNNEL_GATHER_SERVICES  65536   /* of a node */
#define NGX_ZLTUNNEL_GATHER_SCAN      "512"
#define NGX_ZLTUNNEL_GATHER_MARGIN    100     /* ms */


struct ngx_zltunnel_node_s {
    ngx_rbtree_node_t            node;
    ngx_queue_t                  queue;       /* to be asked for */
    u_char                       id[ZLT_ID_SIZE];
    u_char                       addr[NGX_ZLTUNNEL_TEXT_MAX];
    size_t                       addr_len;    /* 0: it is not in the zone */

    ngx_rbtree_t                 services;    /* ngx_zltunnel_node_service_t */
    ngx_rbtree_node_t            sentinel;
    ngx_uint_t                   n;
    ngx_uint_t                   turn;        /* of reading that has begun */
    ngx_msec_t                   expires;     /* its hash does */

    unsigned                     queued:1;
    unsigned                     read:1;      /* .. for its services, too */
    unsigned                     seen:1;      /* by this reading */
};


typedef struct {
    ngx_rbtree_node_t            node;
    u_char                       id[ZLT_ID_SIZE];
    uint64_t                     hash;        /* 0: it is not known which */
    ngx_uint_t                   turn;        /* seen in, or heard of */
    unsigned                     gone:1;      /* heard of in this turn */
    unsigned                     refused:1;   /* by the registry */
} ngx_zltunnel_node_service_t;


static void ngx_zltunnel_gather_zone(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_gather_all(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_gather_again(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_gather_on_nodes(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_gather_ask(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, ngx_uint_t read);
static void ngx_zltunnel_gather_next(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_gather_scan(ngx_zltunnel_cluster_t *cluster,
    ngx_str_t *cursor);
static void ngx_zltunnel_gather_on_address(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_gather_on_scan(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_gather_field(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, ngx_str_t *name, ngx_str_t *value);
static void ngx_zltunnel_gather_address(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, ngx_str_t *value);
static void ngx_zltunnel_gather_life(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_gather_on_life(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_gather_missing(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node);
static void ngx_zltunnel_gather_swept(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node);
static void ngx_zltunnel_gather_service(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, u_char *id, ngx_str_t *line);
static void ngx_zltunnel_gather_gone(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, u_char *id);
static ngx_zltunnel_node_t *ngx_zltunnel_gather_node(
    ngx_zltunnel_cluster_t *cluster, u_char *id, ngx_uint_t add);
static void ngx_zltunnel_gather_node_end(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, const char *why);
static void ngx_zltunnel_gather_node_free(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node);
static void ngx_zltunnel_gather_clear(ngx_zltunnel_node_t *node);
static ngx_zltunnel_node_service_t *ngx_zltunnel_gather_find(
    ngx_zltunnel_node_t *node, u_char *id);
static ngx_zltunnel_node_service_t *ngx_zltunnel_gather_add(
    ngx_zltunnel_cluster_t *cluster, ngx_zltunnel_node_t *node, u_char *id);
static void ngx_zltunnel_gather_remove(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, ngx_zltunnel_node_service_t *service);


void
ngx_zltunnel_gather_init(ngx_zltunnel_cluster_t *cluster)
{
    ngx_rbtree_init(&cluster->gather.nodes, &cluster->gather.sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&cluster->gather.queue);
}


void
ngx_zltunnel_gather_begin(ngx_zltunnel_cluster_t *cluster)
{
    cluster->gather.emptied = 0;
    cluster->gather.turn = 1;

    ngx_zltunnel_gather_zone(cluster);
}


/* another worker goes on with what is in the zone */

void
ngx_zltunnel_gather_end(ngx_zltunnel_cluster_t *cluster)
{
    ngx_zltunnel_gather_t  *gather;

    gather = &cluster->gather;

    ngx_zltunnel_gather_lost(cluster);

    while (gather->nodes.root != &gather->sentinel) {
        ngx_zltunnel_gather_node_free(cluster, (ngx_zltunnel_node_t *)
                                               gather->nodes.root);
    }
}


/* what the worker before this one has brought there: it stays if it is read
   again */

static void
ngx_zltunnel_gather_zone(ngx_zltunnel_cluster_t *cluster)
{
    u_char                     id[ZLT_ID_SIZE], of[ZLT_ID_SIZE];
    ngx_uint_t                 more;
    ngx_zltunnel_node_t       *node;

    for (more = ngx_zltunnel_remote_first(cluster->registry, of, id);
         more;
         more = ngx_zltunnel_remote_next(cluster->registry, of, id))
    {
        node = ngx_zltunnel_gather_node(cluster, of, 1);

        if (node) {
            (void) ngx_zltunnel_gather_add(cluster, node, id);
        }
    }
}


void
ngx_zltunnel_gather_ready(ngx_zltunnel_cluster_t *cluster)
{
    ngx_zltunnel_gather_all(cluster);
}


void
ngx_zltunnel_gather_lost(ngx_zltunnel_cluster_t *cluster)
{
    ngx_queue_t          *q;
    ngx_zltunnel_node_t  *node;

    /* the answer does not come any more */

    cluster->gather.node = NULL;

    while (!ngx_queue_empty(&cluster->gather.queue)) {
        q = ngx_queue_head(&cluster->gather.queue);
        ngx_queue_remove(q);

        node = ngx_queue_data(q, ngx_zltunnel_node_t, queue);
        node->queued = 0;
        node->read = 0;
    }
}


static void
ngx_zltunnel_gather_all(ngx_zltunnel_cluster_t *cluster)
{
    ngx_str_t  args[2];

    cluster->gather.begun = ngx_current_msec;

    if (cluster->gather.lost != ngx_zltunnel_remote_lost(cluster->registry)) {
        cluster->gather.lost = ngx_zltunnel_remote_lost(cluster->registry);
        ngx_zltunnel_gather_again(cluster);
    }

    ngx_str_set(&args[0], "SMEMBERS");
    args[1] = cluster->nodes;

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_gather_on_nodes, 0, args, 2);
}


/* The registry has lost some of what it was given: it gets all of it anew. */

static void
ngx_zltunnel_gather_again(ngx_zltunnel_cluster_t *cluster)
{
    ngx_rbtree_node_t            *p, *q;
    ngx_zltunnel_node_t          *node;
    ngx_zltunnel_node_service_t  *service;

    if (cluster->gather.nodes.root == &cluster->gather.sentinel) {
        return;
    }

    for (p = ngx_rbtree_min(cluster->gather.nodes.root,
                            &cluster->gather.sentinel);
         p;
         p = ngx_rbtree_next(&cluster->gather.nodes, p))
    {
        node = (ngx_zltunnel_node_t *) p;
        node->addr_len = 0;

        if (node->services.root == &node->sentinel) {
            continue;
        }

        for (q = ngx_rbtree_min(node->services.root, &node->sentinel);
             q;
             q = ngx_rbtree_next(&node->services, q))
        {
            service = (ngx_zltunnel_node_service_t *) q;
            service->hash = 0;
        }
    }
}


static void
ngx_zltunnel_gather_on_nodes(void *data, redisReply *reply, ngx_uint_t n)
{
    u_char                   id[ZLT_ID_SIZE];
    ngx_str_t                text;
    ngx_uint_t               i;
    ngx_rbtree_node_t       *p;
    ngx_zltunnel_node_t     *node;
    ngx_zltunnel_engine_t   *engine;
    ngx_zltunnel_gather_t   *gather;
    ngx_zltunnel_cluster_t  *cluster;

    engine = data;
    cluster = engine->data;
    gather = &cluster->gather;

    if (ngx_zltunnel_engine_error(engine, reply)
        || reply->type != REDIS_REPLY_ARRAY)
    {
        return;
    }

    for (i = 0; i < reply->elements; i++) {
        text.data = (u_char *) reply->element[i]->str;
        text.len = reply->element[i]->len;

        if (reply->element[i]->type == REDIS_REPLY_STRING
            && ngx_zltunnel_entry_id(&text, id) == NGX_OK
            && ngx_memcmp(id, cluster->id, ZLT_ID_SIZE) != 0)
        {
            (void) ngx_zltunnel_gather_node(cluster, id, 1);
        }
    }

    /* with those that are known and not in the set any more */

    if (gather->nodes.root != &gather->sentinel) {

        for (p = ngx_rbtree_min(gather->nodes.root, &gather->sentinel);
             p;
             p = ngx_rbtree_next(&gather->nodes, p))
        {
            node = (ngx_zltunnel_node_t *) p;
            ngx_zltunnel_gather_ask(cluster, node, 1);
        }
    }
}


static void
ngx_zltunnel_gather_ask(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, ngx_uint_t read)
{
    if (!cluster->ready) {
        return;
    }

    node->read |= read;

    if (!node->queued) {
        node->queued = 1;
        ngx_queue_insert_tail(&cluster->gather.queue, &node->queue);
    }

    if (cluster->gather.node == NULL) {
        ngx_zltunnel_gather_next(cluster);
    }
}


static void
ngx_zltunnel_gather_next(ngx_zltunnel_cluster_t *cluster)
{
    u_char                  key[NGX_ZLTUNNEL_CLUSTER_KEY],
                            hex[NGX_ZLTUNNEL_CLUSTER_HEX];
    ngx_str_t               args[3], cursor = ngx_string("0");
    ngx_queue_t            *q;
    ngx_zltunnel_node_t    *node;
    ngx_zltunnel_gather_t  *gather;

    gather = &cluster->gather;
    gather->node = NULL;

    if (ngx_queue_empty(&gather->queue)) {
        return;
    }

    q = ngx_queue_head(&gather->queue);
    ngx_queue_remove(q);

    node = ngx_queue_data(q, ngx_zltunnel_node_t, queue);
    node->queued = 0;
    gather->node = node;

    if (!node->read) {
        ngx_zltunnel_gather_life(cluster);
        return;
    }

    node->read = 0;
    node->seen = 0;
    node->turn = ++gather->turn;

    zlt_hex_encode((char *) hex, node->id, ZLT_ID_SIZE);

    ngx_str_set(&args[0], "HGET");
    ngx_zltunnel_cluster_module_key(cluster, key, &args[1], "node:", hex,
                                    NGX_ZLTUNNEL_CLUSTER_HEX);
    ngx_str_set(&args[2], "node");

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_gather_on_address, 0, args, 3);

    ngx_zltunnel_gather_scan(cluster, &cursor);
}


static void
ngx_zltunnel_gather_on_address(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_str_t                value;
    ngx_zltunnel_engine_t   *engine;
    ngx_zltunnel_cluster_t  *cluster;

    engine = data;
    cluster = engine->data;

    if (!ngx_zltunnel_engine_error(engine, reply)
        && reply->type == REDIS_REPLY_STRING)
    {
        value.data = (u_char *) reply->str;
        value.len = reply->len;
        ngx_zltunnel_gather_address(cluster, cluster->gather.node, &value);
    }
}


static void
ngx_zltunnel_gather_scan(ngx_zltunnel_cluster_t *cluster, ngx_str_t *cursor)
{
    u_char     key[NGX_ZLTUNNEL_CLUSTER_KEY], hex[NGX_ZLTUNNEL_CLUSTER_HEX];
    ngx_str_t  args[5];

    zlt_hex_encode((char *) hex, cluster->gather.node->id, ZLT_ID_SIZE);

    ngx_str_set(&args[0], "HSCAN");
    ngx_zltunnel_cluster_module_key(cluster, key, &args[1], "node:", hex,
                                    NGX_ZLTUNNEL_CLUSTER_HEX);
    args[2] = *cursor;
    ngx_str_set(&args[3], "COUNT");
    ngx_str_set(&args[4], NGX_ZLTUNNEL_GATHER_SCAN);

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_gather_on_scan, 0, args, 5);
}


static void
ngx_zltunnel_gather_on_scan(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_str_t                name, value;
    ngx_uint_t               i;
    redisReply              *pairs;
    ngx_zltunnel_node_t     *node;
    ngx_zltunnel_engine_t   *engine;
    ngx_zltunnel_cluster_t  *cluster;

    engine = data;
    cluster = engine->data;
    node = cluster->gather.node;

    if (ngx_zltunnel_engine_error(engine, reply)
        || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        if (cluster->ready) {
            ngx_zltunnel_gather_next(cluster);
        }

        return;
    }

    pairs = reply->element[1];

    for (i = 0; i + 1 < pairs->elements; i += 2) {

        if (pairs->element[i]->type != REDIS_REPLY_STRING
            || pairs->element[i + 1]->type != REDIS_REPLY_STRING)
        {
            continue;
        }

        name.data = (u_char *) pairs->element[i]->str;
        name.len = pairs->element[i]->len;
        value.data = (u_char *) pairs->element[i + 1]->str;
        value.len = pairs->element[i + 1]->len;

        ngx_zltunnel_gather_field(cluster, node, &name, &value);
    }

    node->seen += (node->seen == 0 && pairs->elements > 0);

    if (ngx_strcmp(reply->element[0]->str, "0") != 0
        && node->n < NGX_ZLTUNNEL_GATHER_SERVICES)
    {
        value.data = (u_char *) reply->element[0]->str;
        value.len = reply->element[0]->len;
        ngx_zltunnel_gather_scan(cluster, &value);
        return;
    }

    if (node->seen) {
        ngx_zltunnel_gather_swept(cluster, node);
    }

    ngx_zltunnel_gather_life(cluster);
}


static void
ngx_zltunnel_gather_field(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, ngx_str_t *name, ngx_str_t *value)
{
    u_char  id[ZLT_ID_SIZE];

    if (ngx_zltunnel_entry_id(name, id) == NGX_OK) {
        ngx_zltunnel_gather_service(cluster, node, id, value);
    }
}


/* HOST:PORT, and what follows */

static void
ngx_zltunnel_gather_address(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, ngx_str_t *value)
{
    u_char     *space;
    ngx_str_t   addr;

    space = ngx_strlchr(value->data, value->data + value->len, ' ');

    addr.data = value->data;
    addr.len = space ? (size_t) (space - value->data) : value->len;

    if (addr.len < 3 || addr.len > sizeof(node->addr)) {
        return;
    }

    if (addr.len == node->addr_len
        && ngx_memcmp(addr.data, node->addr, addr.len) == 0)
    {
        return;
    }

    if (ngx_zltunnel_remote_node(cluster->registry, node->id, &addr)
        != NGX_OK)
    {
        return;
    }

    ngx_memcpy(node->addr, addr.data, addr.len);
    node->addr_len = addr.len;
}


/* when does its hash go?  And is ours there? */

static void
ngx_zltunnel_gather_life(ngx_zltunnel_cluster_t *cluster)
{
    u_char     key[NGX_ZLTUNNEL_CLUSTER_KEY], hex[NGX_ZLTUNNEL_CLUSTER_HEX];
    ngx_str_t  args[2];

    ngx_str_set(&args[0], "EXISTS");
    args[1] = cluster->key;

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_publish_on_refresh, 0, args, 2);

    zlt_hex_encode((char *) hex, cluster->gather.node->id, ZLT_ID_SIZE);

    ngx_str_set(&args[0], "PTTL");
    ngx_zltunnel_cluster_module_key(cluster, key, &args[1], "node:", hex,
                                    NGX_ZLTUNNEL_CLUSTER_HEX);

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_gather_on_life, 0, args, 2);
}


static void
ngx_zltunnel_gather_on_life(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_msec_t               life;
    ngx_zltunnel_node_t     *node;
    ngx_zltunnel_engine_t   *engine;
    ngx_zltunnel_cluster_t  *cluster;

    engine = data;
    cluster = engine->data;
    node = cluster->gather.node;
    life = ngx_zltunnel_cluster_life(cluster);

    if (ngx_zltunnel_engine_error(engine, reply)
        || reply->type != REDIS_REPLY_INTEGER)
    {
        if (cluster->ready) {
            node->expires = ngx_current_msec + life;
            ngx_zltunnel_gather_next(cluster);
        }

        return;
    }

    if (reply->integer == -2) {
        ngx_zltunnel_gather_missing(cluster, node);

    } else {

        /* one that would stay for ever is no node's of ours: it is looked at
           again */

        if (reply->integer >= 0 && (ngx_msec_t) reply->integer < life) {
            life = reply->integer;
        }

        node->expires = ngx_current_msec + life + NGX_ZLTUNNEL_GATHER_MARGIN;
    }

    ngx_zltunnel_gather_next(cluster);
}


static void
ngx_zltunnel_gather_missing(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node)
{
    u_char                  hex[NGX_ZLTUNNEL_CLUSTER_HEX];
    ngx_str_t               args[3];
    ngx_zltunnel_gather_t  *gather;

    gather = &cluster->gather;

    if (gather->emptied) {

        if (ngx_current_msec - gather->emptied
            < ngx_zltunnel_cluster_life(cluster))
        {
            node->expires = ngx_current_msec + cluster->conf->refresh / 4;
            return;
        }

        gather->emptied = 0;
    }

    zlt_hex_encode((char *) hex, node->id, ZLT_ID_SIZE);

    ngx_str_set(&args[0], "SREM");
    args[1] = cluster->nodes;
    args[2].data = hex;
    args[2].len = NGX_ZLTUNNEL_CLUSTER_HEX;

    ngx_zltunnel_engine_command(&cluster->engine, NULL, 0, args, 3);

    gather->node = NULL;

    ngx_zltunnel_gather_node_end(cluster, node, "has not been refreshed");
}


/* all of it was read: what is not there has gone */

static void
ngx_zltunnel_gather_swept(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node)
{
    ngx_rbtree_node_t            *p, *next;
    ngx_zltunnel_node_service_t  *service;

    if (node->services.root == &node->sentinel) {
        return;
    }

    for (p = ngx_rbtree_min(node->services.root, &node->sentinel); p; p = next)
    {
        next = ngx_rbtree_next(&node->services, p);
        service = (ngx_zltunnel_node_service_t *) p;

        if (service->gone || service->turn < node->turn) {
            ngx_zltunnel_gather_remove(cluster, node, service);
        }
    }
}


void
ngx_zltunnel_gather_heard(ngx_zltunnel_cluster_t *cluster, ngx_str_t *text)
{
    u_char                id[ZLT_ID_SIZE], of[ZLT_ID_SIZE];
    ngx_str_t             line, hex, rest;
    ngx_zltunnel_node_t  *node;

    rest = *text;

    if (!ngx_zltunnel_entry_part(&rest, '\n', &line)
        || ngx_zltunnel_entry_id(&line, of) != NGX_OK)
    {
        return;
    }

    if (ngx_memcmp(of, cluster->id, ZLT_ID_SIZE) == 0) {
        ngx_zltunnel_publish_heard(cluster);
        return;
    }

    if (!ngx_zltunnel_cluster_shares(cluster)) {
        return;
    }

    cluster->registry->sh->cluster->heard++;

    node = ngx_zltunnel_gather_node(cluster, of, 0);

    if (node == NULL || node->addr_len == 0) {

        /* who is new is read, which has this as well */

        node = ngx_zltunnel_gather_node(cluster, of, 1);

        if (node) {
            ngx_zltunnel_gather_ask(cluster, node, 1);
        }

        return;
    }

    while (ngx_zltunnel_entry_part(&rest, '\n', &line)) {

        if (line.len == 1 && line.data[0] == '!') {
            ngx_zltunnel_gather_node_end(cluster, node, "has stopped");
            return;
        }

        if (line.len < 1 + NGX_ZLTUNNEL_CLUSTER_HEX) {
            continue;
        }

        hex.data = line.data + 1;
        hex.len = NGX_ZLTUNNEL_CLUSTER_HEX;

        if (ngx_zltunnel_entry_id(&hex, id) != NGX_OK) {
            continue;
        }

        if (line.data[0] == '-') {
            ngx_zltunnel_gather_gone(cluster, node, id);
            continue;
        }

        if (line.data[0] == '+' && line.len > 2 + NGX_ZLTUNNEL_CLUSTER_HEX) {
            line.data += 2 + NGX_ZLTUNNEL_CLUSTER_HEX;
            line.len -= 2 + NGX_ZLTUNNEL_CLUSTER_HEX;
            ngx_zltunnel_gather_service(cluster, node, id, &line);
        }
    }
}


/* read, or heard of */

static void
ngx_zltunnel_gather_service(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, u_char *id, ngx_str_t *line)
{
    uint64_t                        hash;
    ngx_int_t                       rc;
    ngx_str_t                       why;
    ngx_zltunnel_node_service_t    *service;
    ngx_zltunnel_remote_service_t   s;
    u_char                          name[NGX_ZLTUNNEL_TEXT_MAX];

    hash = ngx_zltunnel_entry_hash(line->data, line->len) | 1;

    service = ngx_zltunnel_gather_find(node, id);

    if (service && service->gone && service->turn >= node->turn
        && cluster->gather.node == node)
    {
        /* it went after this was read */

        return;
    }

    if (service && service->hash == hash && !service->refused) {
        service->turn = node->turn;
        service->gone = 0;
        return;
    }

    if (ngx_zltunnel_entry_read(line, &s) != NGX_OK) {
        ngx_zltunnel_log_complain(cluster->log, "zltunnel: an entry of another "
                                  "node in the engine of \"cluster\" does not "
                                  "parse, it is left out; the first one of "
                                  "this minute is of node %s",
                                  (char *) ngx_zltunnel_access_hex(node->id));
        return;
    }

    if (service == NULL) {
        service = ngx_zltunnel_gather_add(cluster, node, id);

        if (service == NULL) {
            return;
        }
    }

    service->turn = node->turn;
    service->hash = hash;
    service->gone = 0;

    ngx_memcpy(s.id, id, ZLT_ID_SIZE);

    if (node->addr_len == 0) {

        /* it does not say where it is */

        service->refused = 1;
        return;
    }

    ngx_str_null(&why);

    rc = ngx_zltunnel_remote_service(cluster->registry, node->id, &s, &why);

    if (rc == NGX_DECLINED && !service->refused
        && ngx_zltunnel_log_paced(cluster->log, "declined remote services"))
    {
        ngx_log_error(NGX_LOG_WARN, cluster->log, 0,
                      "zltunnel \"%V\": service \"%*s\" of token \"%V\" at "
                      "node %s is left out: %V", &cluster->registry->name,
                      ngx_zltunnel_log_printable(name, sizeof(name),
                                                 s.name.data, s.name.len),
                      name, &s.token, ngx_zltunnel_access_hex(node->id), &why);
    }

    service->refused = (rc != NGX_OK);
}


/* heard of: it is remembered as long as somebody may have read it before */

static void
ngx_zltunnel_gather_gone(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, u_char *id)
{
    ngx_zltunnel_node_service_t  *service;

    service = ngx_zltunnel_gather_find(node, id);

    if (cluster->gather.node != node) {

        if (service) {
            ngx_zltunnel_gather_remove(cluster, node, service);
        }

        return;
    }

    if (service == NULL) {
        service = ngx_zltunnel_gather_add(cluster, node, id);

        if (service == NULL) {
            return;
        }

    } else if (!service->gone) {
        ngx_zltunnel_remote_service_end(cluster->registry, node->id, id);
    }

    service->gone = 1;
    service->turn = node->turn;
}


void
ngx_zltunnel_gather_tick(ngx_zltunnel_cluster_t *cluster)
{
    ngx_msec_t                  now;
    ngx_rbtree_node_t          *p, *next;
    ngx_zltunnel_node_t        *node;
    ngx_zltunnel_gather_t      *gather;
    ngx_zltunnel_sh_cluster_t  *state;

    gather = &cluster->gather;
    state = cluster->registry->sh->cluster;
    now = ngx_current_msec;

    if (cluster->ready
        && now - gather->begun >= ngx_zltunnel_cluster_life(cluster))
    {
        ngx_zltunnel_gather_all(cluster);
    }

    state->nodes = gather->nnodes;
    state->services = 0;

    if (gather->nodes.root == &gather->sentinel) {
        return;
    }

    for (p = ngx_rbtree_min(gather->nodes.root, &gather->sentinel);
         p;
         p = next)
    {
        next = ngx_rbtree_next(&gather->nodes, p);
        node = (ngx_zltunnel_node_t *) p;

        state->services += node->n;

        if (cluster->ready) {

            if (node != gather->node && !node->queued
                && (ngx_msec_int_t) (now - node->expires) >= 0)
            {
                ngx_zltunnel_gather_ask(cluster, node, 0);
            }

            continue;
        }

        if (state->contact && (ngx_msec_int_t) (now - state->contact)
                              >= (ngx_msec_int_t) cluster->conf->keep)
        {
            ngx_zltunnel_gather_node_end(cluster, node,
                                         "is not known any more, since the "
                                         "engine has been away for too long");
        }
    }
}


static ngx_zltunnel_node_t *
ngx_zltunnel_gather_node(ngx_zltunnel_cluster_t *cluster, u_char *id,
    ngx_uint_t add)
{
    ngx_zltunnel_node_t    *node;
    ngx_zltunnel_gather_t  *gather;

    gather = &cluster->gather;

    node = (ngx_zltunnel_node_t *)
               ngx_zltunnel_util_id_lookup(&gather->nodes, id,
                                           offsetof(ngx_zltunnel_node_t, id));

    if (node || !add) {
        return node;
    }

    if (gather->nnodes == NGX_ZLTUNNEL_GATHER_NODES) {
        ngx_zltunnel_log_complain(cluster->log, "zltunnel: there are more than "
                                  "1024 nodes in the engine of \"cluster\", "
                                  "%s is left out",
                                  (char *) ngx_zltunnel_access_hex(id));
        return NULL;
    }

    node = ngx_calloc(sizeof(ngx_zltunnel_node_t), cluster->log);
    if (node == NULL) {
        return NULL;
    }

    ngx_memcpy(node->id, id, ZLT_ID_SIZE);
    node->node.key = ngx_zltunnel_id_key(id);
    node->expires = ngx_current_msec + ngx_zltunnel_cluster_life(cluster);
    ngx_rbtree_init(&node->services, &node->sentinel, ngx_rbtree_insert_value);

    ngx_rbtree_insert(&gather->nodes, &node->node);
    gather->nnodes++;

    return node;
}


static void
ngx_zltunnel_gather_node_end(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, const char *why)
{
    if (node->addr_len || node->n) {
        ngx_log_error(NGX_LOG_NOTICE, cluster->log, 0,
                      "zltunnel \"%V\": node %s %s, %ui of its services go%s",
                      &cluster->registry->name,
                      ngx_zltunnel_access_hex(node->id), why, node->n,
                      node->n == 1 ? "es" : "");

        ngx_zltunnel_remote_node_end(cluster->registry, node->id);
    }

    ngx_zltunnel_gather_clear(node);

    if (cluster->gather.node == node) {

        /* an answer of it is still to come: it is free after that */

        node->addr_len = 0;
        node->expires = ngx_current_msec;
        return;
    }

    ngx_zltunnel_gather_node_free(cluster, node);
}


static void
ngx_zltunnel_gather_node_free(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node)
{
    ngx_zltunnel_gather_clear(node);

    if (node->queued) {
        ngx_queue_remove(&node->queue);
    }

    ngx_rbtree_delete(&cluster->gather.nodes, &node->node);
    cluster->gather.nnodes--;

    ngx_free(node);
}


static void
ngx_zltunnel_gather_clear(ngx_zltunnel_node_t *node)
{
    ngx_rbtree_node_t  *p;

    while (node->services.root != &node->sentinel) {
        p = node->services.root;
        ngx_rbtree_delete(&node->services, p);
        ngx_free(p);
    }

    node->n = 0;
}


static ngx_zltunnel_node_service_t *
ngx_zltunnel_gather_find(ngx_zltunnel_node_t *node, u_char *id)
{
    return (ngx_zltunnel_node_service_t *)
               ngx_zltunnel_util_id_lookup(&node->services, id,
                                 offsetof(ngx_zltunnel_node_service_t, id));
}


static ngx_zltunnel_node_service_t *
ngx_zltunnel_gather_add(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, u_char *id)
{
    ngx_zltunnel_node_service_t  *service;

    if (node->n == NGX_ZLTUNNEL_GATHER_SERVICES) {
        ngx_zltunnel_log_complain(cluster->log, "zltunnel: node %s has more "
                                  "than 65536 services in the engine of "
                                  "\"cluster\", the others are left out",
                                  (char *) ngx_zltunnel_access_hex(node->id));
        return NULL;
    }

    service = ngx_calloc(sizeof(ngx_zltunnel_node_service_t), cluster->log);
    if (service == NULL) {
        return NULL;
    }

    ngx_memcpy(service->id, id, ZLT_ID_SIZE);
    service->node.key = ngx_zltunnel_id_key(id);

    ngx_rbtree_insert(&node->services, &service->node);
    node->n++;

    return service;
}


static void
ngx_zltunnel_gather_remove(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_node_t *node, ngx_zltunnel_node_service_t *service)
{
    if (!service->gone) {
        ngx_zltunnel_remote_service_end(cluster->registry, node->id,
                                        service->id);
    }

    ngx_rbtree_delete(&node->services, &service->node);
    node->n--;

    ngx_free(service);
}
