
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What this node has, written to the engine: a hash with a field for each
 * service, which lasts as long as it is refreshed, and a message with what has
 * changed of it.  Both go in one transaction, so that who reads either sees the
 * same.
 *
 * Nobody tells this worker of a change.  It looks through the registry when there
 * was an event, and each few seconds anyhow, and compares with what the engine has
 * been told: so it does not matter what it missed, or which worker did it before.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_publish.h"
#include "ngx_zltunnel_entry.h"

#include "zlt_hex.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_PUBLISH_ROOM   (128 * 1024)      /* of lines, at a time */
#define NGX_ZLTUNNEL_PUBLISH_BATCH  200               /* .. of them */
#define NGX_ZLTUNNEL_PUBLISH_LOOK   5000              /* ms */
#define NGX_ZLTUNNEL_PUBLISH_SCAN   "512"

/* "+", the id, a space, before a line; and its end */
#define NGX_ZLTUNNEL_PUBLISH_HEAD   (NGX_ZLTUNNEL_CLUSTER_HEX + 3)


typedef struct {
    ngx_rbtree_node_t            node;
    u_char                       id[ZLT_ID_SIZE];
    uint64_t                     hash;        /* of its line */
    ngx_uint_t                   turn;        /* seen in */
} ngx_zltunnel_publish_told_t;


/* what is sent at once: the message, whose lines the fields are, too */

typedef struct {
    u_char                      *text;
    u_char                      *last;
    ngx_uint_t                   n;
    ngx_uint_t                   full;
    ngx_uint_t                   again;
    struct {
        ngx_str_t                id;          /* in hexadecimal */
        ngx_str_t                line;        /* empty: it is gone */
        uint64_t                 hash;
    } change[NGX_ZLTUNNEL_PUBLISH_BATCH];
} ngx_zltunnel_publish_batch_t;


static void ngx_zltunnel_publish_scan(ngx_zltunnel_cluster_t *cluster,
    ngx_str_t *cursor);
static void ngx_zltunnel_publish_on_scan(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_publish_self(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_publish_refresh(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_publish_look(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_publish_tunnel(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_publish_batch_t *batch);
static void ngx_zltunnel_publish_service(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_publish_batch_t *batch);
static void ngx_zltunnel_publish_gone(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_publish_batch_t *batch);
static void ngx_zltunnel_publish_send(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_publish_batch_t *batch);
static void ngx_zltunnel_publish_fields(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_publish_batch_t *batch, ngx_uint_t gone);
static void ngx_zltunnel_publish_on_queued(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_publish_on_sent(void *data, redisReply *reply,
    ngx_uint_t n);
static ngx_zltunnel_publish_told_t *ngx_zltunnel_publish_find(
    ngx_zltunnel_publish_t *publish, u_char *id);
static ngx_zltunnel_publish_told_t *ngx_zltunnel_publish_add(
    ngx_zltunnel_cluster_t *cluster, u_char *id);
static void ngx_zltunnel_publish_remove(ngx_zltunnel_publish_t *publish,
    ngx_zltunnel_publish_told_t *told);


void
ngx_zltunnel_publish_init(ngx_zltunnel_cluster_t *cluster)
{
    ngx_rbtree_init(&cluster->publish.told, &cluster->publish.sentinel,
                    ngx_rbtree_insert_value);
}


void
ngx_zltunnel_publish_ready(ngx_zltunnel_cluster_t *cluster)
{
    ngx_str_t  cursor = ngx_string("0");

    cluster->publish.loaded = 0;
    cluster->publish.found = 0;
    cluster->publish.published = 0;

    ngx_zltunnel_publish_forget(cluster);

    ngx_zltunnel_publish_scan(cluster, &cursor);
}


static void
ngx_zltunnel_publish_scan(ngx_zltunnel_cluster_t *cluster, ngx_str_t *cursor)
{
    ngx_str_t  args[5];

    ngx_str_set(&args[0], "HSCAN");
    args[1] = cluster->key;
    args[2] = *cursor;
    ngx_str_set(&args[3], "COUNT");
    ngx_str_set(&args[4], NGX_ZLTUNNEL_PUBLISH_SCAN);

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_publish_on_scan, 0, args, 5);
}


static void
ngx_zltunnel_publish_on_scan(void *data, redisReply *reply, ngx_uint_t n)
{
    u_char                        id[ZLT_ID_SIZE];
    ngx_str_t                     text;
    ngx_uint_t                    i;
    redisReply                   *pairs;
    ngx_zltunnel_engine_t        *engine;
    ngx_zltunnel_cluster_t       *cluster;
    ngx_zltunnel_publish_told_t  *told;

    engine = data;
    cluster = engine->data;

    if (ngx_zltunnel_engine_error(engine, reply)
        || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        /* something else has that name: the fields are not to be had */

        return;
    }

    pairs = reply->element[1];
    cluster->publish.found |= (pairs->elements != 0);

    for (i = 0; i + 1 < pairs->elements; i += 2) {
        text.data = (u_char *) pairs->element[i]->str;
        text.len = pairs->element[i]->len;

        if (pairs->element[i]->type != REDIS_REPLY_STRING
            || pairs->element[i + 1]->type != REDIS_REPLY_STRING
            || ngx_zltunnel_entry_id(&text, id) != NGX_OK)
        {
            continue;
        }

        told = ngx_zltunnel_publish_find(&cluster->publish, id);

        if (told == NULL) {
            told = ngx_zltunnel_publish_add(cluster, id);
        }

        if (told) {
            told->hash = ngx_zltunnel_entry_hash(
                                     (u_char *) pairs->element[i + 1]->str,
                                     pairs->element[i + 1]->len);
        }
    }

    if (reply->element[0]->type == REDIS_REPLY_STRING
        && ngx_strcmp(reply->element[0]->str, "0") != 0)
    {
        text.data = (u_char *) reply->element[0]->str;
        text.len = reply->element[0]->len;
        ngx_zltunnel_publish_scan(cluster, &text);
        return;
    }

    cluster->publish.loaded = 1;

    if (!cluster->publish.found) {

        /* the engine is new, or we were away for a life: so may others be */

        cluster->gather.emptied = ngx_current_msec | 1;
    }

    ngx_zltunnel_publish_self(cluster);
    ngx_zltunnel_publish_refresh(cluster);
    ngx_zltunnel_publish_look(cluster);
}


/* where this node is: the field of the hash that is always there */

static void
ngx_zltunnel_publish_self(ngx_zltunnel_cluster_t *cluster)
{
    u_char      text[NGX_ZLTUNNEL_TEXT_MAX + 64];
    ngx_str_t   args[4];

    ngx_str_set(&args[0], "HSET");
    args[1] = cluster->key;
    ngx_str_set(&args[2], "node");
    args[3].data = text;
    args[3].len = ngx_sprintf(text, "%V version=" NGX_ZLTUNNEL_VERSION,
                              &cluster->conf->node)
                  - text;

    if (cluster->conf->node.len == 0) {
        text[0] = '-';
        args[3].len = ngx_sprintf(text, "- version=" NGX_ZLTUNNEL_VERSION)
                      - text;
    }

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_publish_on_sent, 0, args, 4);
}


static void
ngx_zltunnel_publish_refresh(ngx_zltunnel_cluster_t *cluster)
{
    u_char     text[NGX_INT_T_LEN];
    ngx_str_t  args[3];

    cluster->publish.refreshed = ngx_current_msec;

    ngx_str_set(&args[0], "PEXPIRE");
    args[1] = cluster->key;
    args[2].data = text;
    args[2].len = ngx_sprintf(text, "%M", ngx_zltunnel_cluster_life(cluster))
                  - text;

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_publish_on_refresh, 0, args, 3);

    ngx_str_set(&args[0], "SADD");
    args[1] = cluster->nodes;
    args[2].data = cluster->hex;
    args[2].len = NGX_ZLTUNNEL_CLUSTER_HEX;

    ngx_zltunnel_engine_command(&cluster->engine,
                                ngx_zltunnel_publish_on_refresh, 1, args, 3);
}


void
ngx_zltunnel_publish_on_refresh(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_zltunnel_engine_t   *engine;
    ngx_zltunnel_cluster_t  *cluster;

    engine = data;
    cluster = engine->data;

    if (ngx_zltunnel_engine_error(engine, reply)) {
        return;
    }

    if (n == 0 && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0
        && cluster->publish.loaded)
    {
        ngx_zltunnel_cluster_module_emptied(cluster);
    }
}


void
ngx_zltunnel_publish_forget(ngx_zltunnel_cluster_t *cluster)
{
    ngx_zltunnel_publish_t  *publish;

    publish = &cluster->publish;

    while (publish->told.root != &publish->sentinel) {
        ngx_zltunnel_publish_remove(publish, (ngx_zltunnel_publish_told_t *)
                                             publish->told.root);
    }

    publish->looked = 0;

    if (publish->loaded) {
        ngx_zltunnel_publish_self(cluster);
        ngx_zltunnel_publish_refresh(cluster);
    }
}


void
ngx_zltunnel_publish_tick(ngx_zltunnel_cluster_t *cluster)
{
    ngx_msec_t               now;
    ngx_zltunnel_publish_t  *publish;

    publish = &cluster->publish;
    now = ngx_current_msec;

    if (!publish->loaded) {

        if (now - publish->refreshed >= cluster->conf->refresh) {

            /* an error has kept it from being read */

            publish->refreshed = now;
            ngx_zltunnel_publish_ready(cluster);
        }

        return;
    }

    if (publish->overlap && !ngx_zltunnel_overlap) {

        /* what the other binary has left */

        publish->overlap = 0;
        ngx_zltunnel_publish_ready(cluster);
        return;
    }

    publish->overlap = ngx_zltunnel_overlap;

    if (now - publish->refreshed >= cluster->conf->refresh) {
        ngx_zltunnel_publish_refresh(cluster);
    }

    if (publish->more || publish->events != cluster->registry->sh->events
        || publish->looked == 0
        || now - publish->looked >= NGX_ZLTUNNEL_PUBLISH_LOOK)
    {
        ngx_zltunnel_publish_look(cluster);
    }
}


static void
ngx_zltunnel_publish_look(ngx_zltunnel_cluster_t *cluster)
{
    ngx_uint_t                     work;
    ngx_rbtree_key_t               key;
    ngx_zltunnel_publish_t        *publish;
    ngx_zltunnel_registry_t       *registry;
    ngx_zltunnel_sh_tunnel_t      *tunnel;
    ngx_zltunnel_publish_batch_t  *batch;

    registry = cluster->registry;
    publish = &cluster->publish;

    batch = ngx_alloc(sizeof(ngx_zltunnel_publish_batch_t)
                      + NGX_ZLTUNNEL_PUBLISH_ROOM, cluster->log);
    if (batch == NULL) {
        return;
    }

    batch->text = (u_char *) batch + sizeof(ngx_zltunnel_publish_batch_t);
    batch->last = ngx_cpymem(batch->text, cluster->hex,
                             NGX_ZLTUNNEL_CLUSTER_HEX);
    *batch->last++ = '\n';
    batch->n = 0;
    batch->full = 0;
    batch->again = 0;

    publish->events = registry->sh->events;
    publish->looked = ngx_current_msec | 1;
    publish->turn++;
    work = 0;

    ngx_zltunnel_zone_lock_read(registry);

    for (tunnel = ngx_zltunnel_tunnel_after(registry->sh, NULL);
         tunnel && !batch->full;
         tunnel = ngx_zltunnel_tunnel_after(registry->sh, &key))
    {
        key = tunnel->node.key;
        work += 1 + tunnel->nservices;

        ngx_zltunnel_publish_tunnel(cluster, tunnel, batch);

        (void) ngx_zltunnel_zone_unlock_briefly(registry, &work);
    }

    ngx_zltunnel_zone_unlock(registry);

    if (!batch->full && !ngx_zltunnel_overlap) {
        ngx_zltunnel_publish_gone(cluster, batch);
    }

    publish->more = batch->full || batch->again;

    if (batch->n) {
        ngx_zltunnel_publish_send(cluster, batch);
    }

    registry->sh->cluster->published = publish->n;

    ngx_free(batch);
}


static void
ngx_zltunnel_publish_tunnel(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_publish_batch_t *batch)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_service_t  *service;

    if (ngx_zltunnel_remote_tunnel(tunnel) || cluster->conf->node.len == 0) {
        return;
    }

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services) && !batch->full;
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        if (!(service->flags & ZLT_R_INTERNAL)) {
            ngx_zltunnel_publish_service(cluster, service, batch);
        }
    }
}


static void
ngx_zltunnel_publish_service(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_publish_batch_t *batch)
{
    u_char                       *p, *line;
    uint64_t                      hash;
    ngx_zltunnel_publish_told_t  *told;

    if (batch->n == NGX_ZLTUNNEL_PUBLISH_BATCH
        || batch->last + NGX_ZLTUNNEL_PUBLISH_HEAD + NGX_ZLTUNNEL_ENTRY_SIZE
           > batch->text + NGX_ZLTUNNEL_PUBLISH_ROOM)
    {
        batch->full = 1;
        return;
    }

    line = batch->last + NGX_ZLTUNNEL_PUBLISH_HEAD - 1;
    p = ngx_zltunnel_entry_write(line, service);
    hash = ngx_zltunnel_entry_hash(line, p - line);

    told = ngx_zltunnel_publish_find(&cluster->publish, service->id);

    if (told) {
        told->turn = cluster->publish.turn;

        if (told->hash == hash) {
            return;
        }
    }

    *batch->last = '+';
    zlt_hex_encode((char *) batch->last + 1, service->id, ZLT_ID_SIZE);
    line[-1] = ' ';
    *p = '\n';

    batch->change[batch->n].id.data = batch->last + 1;
    batch->change[batch->n].id.len = NGX_ZLTUNNEL_CLUSTER_HEX;
    batch->change[batch->n].line.data = line;
    batch->change[batch->n].line.len = p - line;
    batch->change[batch->n].hash = hash;

    batch->n++;
    batch->last = p + 1;
}


/* what was not seen in two turns: between them it may have moved from one tunnel
   to another */

static void
ngx_zltunnel_publish_gone(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_publish_batch_t *batch)
{
    ngx_rbtree_node_t            *node;
    ngx_zltunnel_publish_t       *publish;
    ngx_zltunnel_publish_told_t  *told;

    publish = &cluster->publish;

    if (publish->told.root == &publish->sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(publish->told.root, &publish->sentinel);
         node;
         node = ngx_rbtree_next(&publish->told, node))
    {
        told = (ngx_zltunnel_publish_told_t *) node;

        if (told->turn == publish->turn) {
            continue;
        }

        if (publish->turn - told->turn < 2) {
            batch->again = 1;
            continue;
        }

        if (batch->n == NGX_ZLTUNNEL_PUBLISH_BATCH
            || batch->last + NGX_ZLTUNNEL_PUBLISH_HEAD
               > batch->text + NGX_ZLTUNNEL_PUBLISH_ROOM)
        {
            batch->full = 1;
            return;
        }

        *batch->last++ = '-';
        zlt_hex_encode((char *) batch->last, told->id, ZLT_ID_SIZE);

        batch->change[batch->n].id.data = batch->last;
        batch->change[batch->n].id.len = NGX_ZLTUNNEL_CLUSTER_HEX;
        batch->change[batch->n].line.len = 0;
        batch->n++;

        batch->last += NGX_ZLTUNNEL_CLUSTER_HEX;
        *batch->last++ = '\n';
    }
}


static void
ngx_zltunnel_publish_send(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_publish_batch_t *batch)
{
    ngx_str_t               args[3], multi = ngx_string("MULTI"),
                            exec = ngx_string("EXEC");
    ngx_zltunnel_engine_t  *engine;

    engine = &cluster->engine;

    ngx_zltunnel_engine_command(engine, ngx_zltunnel_publish_on_queued, 0,
                                &multi, 1);

    ngx_zltunnel_publish_fields(cluster, batch, 0);
    ngx_zltunnel_publish_fields(cluster, batch, 1);

    ngx_str_set(&args[0], "PUBLISH");
    args[1] = engine->channel;
    args[2].data = batch->text;
    args[2].len = batch->last - batch->text;

    ngx_zltunnel_engine_command(engine, ngx_zltunnel_publish_on_queued, 0,
                                args, 3);
    ngx_zltunnel_engine_command(engine, ngx_zltunnel_publish_on_sent, 0, &exec,
                                1);

    cluster->publish.published = ngx_current_msec | 1;
    cluster->registry->sh->cluster->sent += batch->n;
}


/* those that are there, or those that are gone */

static void
ngx_zltunnel_publish_fields(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_publish_batch_t *batch, ngx_uint_t gone)
{
    u_char                        id[ZLT_ID_SIZE];
    ngx_str_t                     args[2 + 2 * NGX_ZLTUNNEL_PUBLISH_BATCH];
    ngx_uint_t                    i, n;
    ngx_zltunnel_publish_told_t  *told;

    if (gone) {
        ngx_str_set(&args[0], "HDEL");

    } else {
        ngx_str_set(&args[0], "HSET");
    }

    args[1] = cluster->key;
    n = 2;

    for (i = 0; i < batch->n; i++) {

        if ((batch->change[i].line.len == 0) != gone) {
            continue;
        }

        args[n++] = batch->change[i].id;

        (void) ngx_zltunnel_entry_id(&batch->change[i].id, id);
        told = ngx_zltunnel_publish_find(&cluster->publish, id);

        if (gone) {

            if (told) {
                ngx_zltunnel_publish_remove(&cluster->publish, told);
            }

            continue;
        }

        args[n++] = batch->change[i].line;

        if (told == NULL) {
            told = ngx_zltunnel_publish_add(cluster, id);
        }

        if (told) {
            told->hash = batch->change[i].hash;
            told->turn = cluster->publish.turn;
        }
    }

    if (n > 2) {
        ngx_zltunnel_engine_command(&cluster->engine,
                                    ngx_zltunnel_publish_on_queued, 0, args, n);
    }
}


/* what is wrong is told by this, and that it is by the answer to EXEC */

static void
ngx_zltunnel_publish_on_queued(void *data, redisReply *reply, ngx_uint_t n)
{
    (void) ngx_zltunnel_engine_error(data, reply);
}


/* what it has not taken is compared, and told, again */

static void
ngx_zltunnel_publish_on_sent(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_uint_t               i, failed;
    ngx_zltunnel_engine_t   *engine;
    ngx_zltunnel_cluster_t  *cluster;

    engine = data;
    cluster = engine->data;

    failed = ngx_zltunnel_engine_error(engine, reply);

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        failed |= ngx_zltunnel_engine_error(engine, reply->element[i]);
    }

    if (failed) {
        cluster->publish.loaded = 0;
    }
}


void
ngx_zltunnel_publish_heard(ngx_zltunnel_cluster_t *cluster)
{
    if (cluster->publish.published) {
        cluster->registry->sh->cluster->lag =
                                ngx_current_msec - cluster->publish.published;
        cluster->publish.published = 0;
    }
}


void
ngx_zltunnel_publish_bye(ngx_zltunnel_cluster_t *cluster)
{
    u_char      text[NGX_ZLTUNNEL_CLUSTER_HEX + 3];
    ngx_str_t   args[3];

    ngx_str_set(&args[0], "DEL");
    args[1] = cluster->key;

    ngx_zltunnel_engine_command(&cluster->engine, NULL, 0, args, 2);

    ngx_str_set(&args[0], "SREM");
    args[1] = cluster->nodes;
    args[2].data = cluster->hex;
    args[2].len = NGX_ZLTUNNEL_CLUSTER_HEX;

    ngx_zltunnel_engine_command(&cluster->engine, NULL, 0, args, 3);

    ngx_memcpy(text, cluster->hex, NGX_ZLTUNNEL_CLUSTER_HEX);
    ngx_memcpy(text + NGX_ZLTUNNEL_CLUSTER_HEX, "\n!\n", 3);

    ngx_str_set(&args[0], "PUBLISH");
    args[1] = cluster->engine.channel;
    args[2].data = text;
    args[2].len = sizeof(text);

    ngx_zltunnel_engine_command(&cluster->engine, NULL, 0, args, 3);

    ngx_zltunnel_redis_flush(&cluster->engine.commands);
}


static ngx_zltunnel_publish_told_t *
ngx_zltunnel_publish_find(ngx_zltunnel_publish_t *publish, u_char *id)
{
    return (ngx_zltunnel_publish_told_t *)
               ngx_zltunnel_util_id_lookup(&publish->told, id,
                                 offsetof(ngx_zltunnel_publish_told_t, id));
}


static ngx_zltunnel_publish_told_t *
ngx_zltunnel_publish_add(ngx_zltunnel_cluster_t *cluster, u_char *id)
{
    ngx_zltunnel_publish_told_t  *told;

    told = ngx_alloc(sizeof(ngx_zltunnel_publish_told_t), cluster->log);
    if (told == NULL) {
        return NULL;
    }

    ngx_memcpy(told->id, id, ZLT_ID_SIZE);
    told->node.key = ngx_zltunnel_id_key(id);
    told->turn = 0;
    told->hash = 0;

    ngx_rbtree_insert(&cluster->publish.told, &told->node);
    cluster->publish.n++;

    return told;
}


static void
ngx_zltunnel_publish_remove(ngx_zltunnel_publish_t *publish,
    ngx_zltunnel_publish_told_t *told)
{
    ngx_rbtree_delete(&publish->told, &told->node);
    publish->n--;

    ngx_free(told);
}
