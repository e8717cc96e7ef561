
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Leases.
 *
 * An agent need not wait for one: its service is there at once, and a lease is
 * asked for within a moment.  If another token has it, the service ends, or gets
 * another port if this server has chosen it.  A lease is its token's, not its
 * node's, since an agent may be at several nodes with the same services: whoever
 * has it renews it.  For that reason nobody gives one back at once; it is made to
 * end soon, and whoever else has it renews it before that.
 *
 * All of it is one script, which the engine runs as a whole.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_lease.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_LEASE_BATCH  100
#define NGX_ZLTUNNEL_LEASE_TEXT   (16 + 254)  /* "port:tcp:7001", "host:a.b" */
#define NGX_ZLTUNNEL_LEASE_LOOK   5000        /* ms */


typedef struct {
    ngx_rbtree_node_t            node;        /* by hash of text */
    ngx_queue_t                  queue;       /* leases, to be renewed */
    u_char                       service[ZLT_ID_SIZE];
    u_char                       tunnel[ZLT_ID_SIZE];
    ngx_uint_t                   turn;        /* seen in */
    unsigned                     port:1;      /* it is one; else a host */
    unsigned                     asked:1;
    uint8_t                      token_len;
    uint16_t                     len;
    u_char                       token[NGX_ZLTUNNEL_TOKEN_NAME];
    u_char                       text[1];     /* allocated to fit */
} ngx_zltunnel_lease_t;


typedef struct {
    ngx_str_t                    args[3 + 2 * NGX_ZLTUNNEL_LEASE_BATCH + 1];
    ngx_str_t                    tokens[NGX_ZLTUNNEL_LEASE_BATCH];
    u_char                       number[NGX_INT_T_LEN];
    u_char                       life[NGX_INT_T_LEN];
    ngx_uint_t                   n;
    u_char                       keys[NGX_ZLTUNNEL_LEASE_BATCH]
                                     [64 + NGX_ZLTUNNEL_LEASE_TEXT];
} ngx_zltunnel_lease_batch_t;


static void ngx_zltunnel_lease_look(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_lease_service(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_sh_service_t *service);
static void ngx_zltunnel_lease_want(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_sh_service_t *service, ngx_uint_t port, u_char *text,
    size_t len);
static void ngx_zltunnel_lease_release(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_lease_claim(ngx_zltunnel_cluster_t *cluster,
    ngx_uint_t all);
static void ngx_zltunnel_lease_batch(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_lease_batch_t *batch, ngx_zltunnel_lease_t *lease);
static void ngx_zltunnel_lease_send(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_lease_batch_t *batch, const char *script,
    ngx_zltunnel_redis_pt handler, ngx_msec_t life);
static void ngx_zltunnel_lease_on_claimed(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_lease_lost(ngx_zltunnel_cluster_t *cluster,
    ngx_str_t *key, ngx_str_t *holder);
static ngx_zltunnel_lease_t *ngx_zltunnel_lease_find(
    ngx_zltunnel_cluster_t *cluster, u_char *text, size_t len);
static void ngx_zltunnel_lease_free(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_lease_t *lease);


/* ARGV[1]: milliseconds; then the token of each key.  The answer has two texts for
   each key that another token has: the key, and whose it is. */

static const char  ngx_zltunnel_lease_script[] =
    "local lost = {} "
    "for i, key in ipairs(KEYS) do "
        "local token = ARGV[i + 1] "
        "local holder = redis.pcall('GET', key) "
        "if type(holder) == 'table' then holder = '?' end "
        "if not holder then "
            "redis.call('SET', key, token, 'PX', ARGV[1]) "
        "elseif holder == token then "
            "redis.call('PEXPIRE', key, ARGV[1]) "
        "else "
            "lost[#lost + 1] = key "
            "lost[#lost + 1] = holder "
        "end "
    "end "
    "return lost";

static const char  ngx_zltunnel_lease_over[] =
    "for i, key in ipairs(KEYS) do "
        "if redis.pcall('GET', key) == ARGV[i + 1] then "
            "redis.call('PEXPIRE', key, ARGV[1]) "
        "end "
    "end "
    "return {}";


void
ngx_zltunnel_lease_init(ngx_zltunnel_cluster_t *cluster)
{
    ngx_rbtree_init(&cluster->lease.leases, &cluster->lease.sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&cluster->lease.list);
}


void
ngx_zltunnel_lease_ready(ngx_zltunnel_cluster_t *cluster)
{
    cluster->lease.looked = 0;

    ngx_zltunnel_lease_claim(cluster, 1);
}


void
ngx_zltunnel_lease_end(ngx_zltunnel_cluster_t *cluster)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&cluster->lease.list)) {
        q = ngx_queue_head(&cluster->lease.list);
        ngx_zltunnel_lease_free(cluster, ngx_queue_data(q, ngx_zltunnel_lease_t,
                                                        queue));
    }
}


void
ngx_zltunnel_lease_tick(ngx_zltunnel_cluster_t *cluster)
{
    ngx_msec_t  now;

    now = ngx_current_msec;

    if (cluster->lease.events != cluster->registry->sh->events
        || cluster->lease.looked == 0 || cluster->lease.again
        || now - cluster->lease.looked >= NGX_ZLTUNNEL_LEASE_LOOK)
    {
        ngx_zltunnel_lease_look(cluster);
        ngx_zltunnel_lease_claim(cluster, 0);
    }

    if (now - cluster->lease.renewed >= cluster->conf->refresh) {
        ngx_zltunnel_lease_claim(cluster, 1);
    }

    cluster->registry->sh->cluster->leases = cluster->lease.n;
}


static void
ngx_zltunnel_lease_look(ngx_zltunnel_cluster_t *cluster)
{
    ngx_uint_t                  work;
    ngx_queue_t                *q;
    ngx_rbtree_key_t            key;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    registry = cluster->registry;

    cluster->lease.events = registry->sh->events;
    cluster->lease.looked = ngx_current_msec | 1;
    cluster->lease.turn++;
    work = 0;

    ngx_zltunnel_zone_lock_read(registry);

    for (tunnel = ngx_zltunnel_tunnel_after(registry->sh, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_after(registry->sh, &key))
    {
        key = tunnel->node.key;
        work += 1 + tunnel->nservices;

        if (ngx_zltunnel_remote_tunnel(tunnel)) {
            continue;
        }

        for (q = ngx_queue_head(&tunnel->services);
             q != ngx_queue_sentinel(&tunnel->services);
             q = ngx_queue_next(q))
        {
            service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

            if (!(service->flags & ZLT_R_INTERNAL)) {
                ngx_zltunnel_lease_service(cluster, service);
            }
        }

        (void) ngx_zltunnel_zone_unlock_briefly(registry, &work);
    }

    ngx_zltunnel_zone_unlock(registry);

    ngx_zltunnel_lease_release(cluster);
}


static void
ngx_zltunnel_lease_service(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_sh_service_t *service)
{
    u_char                    *p, text[NGX_ZLTUNNEL_LEASE_TEXT];
    ngx_queue_t               *q;
    ngx_zltunnel_sh_hosted_t  *hosted;

    if (service->lost) {
        return;
    }

    if (service->port) {
        p = ngx_sprintf(text, "port:%s:%d", service->udp ? "udp" : "tcp",
                        (int) service->port);
        ngx_zltunnel_lease_want(cluster, service, 1, text, p - text);
    }

    for (q = ngx_queue_head(&service->hosts);
         q != ngx_queue_sentinel(&service->hosts);
         q = ngx_queue_next(q))
    {
        hosted = ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list);

        p = ngx_cpymem(text, "host:", 5);
        p = ngx_cpymem(p, hosted->host->name, hosted->host->len);
        ngx_zltunnel_lease_want(cluster, service, 0, text, p - text);
    }
}


static void
ngx_zltunnel_lease_want(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_sh_service_t *service, ngx_uint_t port, u_char *text,
    size_t len)
{
    ngx_zltunnel_lease_t      *lease;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    tunnel = service->tunnel;
    lease = ngx_zltunnel_lease_find(cluster, text, len);

    if (lease && (lease->token_len != tunnel->name_len
                  || ngx_memcmp(lease->token, tunnel->name, tunnel->name_len)
                     != 0))
    {
        /* another token has it here now: it is a new one */

        ngx_zltunnel_lease_free(cluster, lease);
        lease = NULL;
    }

    if (lease == NULL) {
        lease = malloc(offsetof(ngx_zltunnel_lease_t, text) + len);
        if (lease == NULL) {
            return;
        }

        lease->node.key = (ngx_rbtree_key_t) ngx_zltunnel_name_hash(text, len);
        lease->asked = 0;
        lease->port = port;
        lease->len = (uint16_t) len;
        ngx_memcpy(lease->text, text, len);
        lease->token_len = tunnel->name_len;
        ngx_memcpy(lease->token, tunnel->name, tunnel->name_len);

        ngx_rbtree_insert(&cluster->lease.leases, &lease->node);
        ngx_queue_insert_tail(&cluster->lease.list, &lease->queue);
        cluster->lease.n++;
    }

    lease->turn = cluster->lease.turn;
    ngx_memcpy(lease->service, service->id, ZLT_ID_SIZE);
    ngx_memcpy(lease->tunnel, tunnel->id, ZLT_ID_SIZE);
}


/* what was not seen in two turns, as services move from tunnel to tunnel */

static void
ngx_zltunnel_lease_release(ngx_zltunnel_cluster_t *cluster)
{
    ngx_queue_t                 *q, *next;
    ngx_zltunnel_lease_t        *lease;
    ngx_zltunnel_lease_batch_t  *batch;

    batch = ngx_alloc(sizeof(ngx_zltunnel_lease_batch_t), cluster->log);
    if (batch == NULL) {
        return;
    }

    batch->n = 0;
    cluster->lease.again = 0;

    for (q = ngx_queue_head(&cluster->lease.list);
         q != ngx_queue_sentinel(&cluster->lease.list)
         && batch->n < NGX_ZLTUNNEL_LEASE_BATCH;
         q = next)
    {
        next = ngx_queue_next(q);
        lease = ngx_queue_data(q, ngx_zltunnel_lease_t, queue);

        if (lease->turn == cluster->lease.turn) {
            continue;
        }

        cluster->lease.again = 1;

        if (cluster->lease.turn - lease->turn < 2) {
            continue;
        }

        ngx_zltunnel_lease_batch(cluster, batch, lease);
        ngx_queue_remove(&lease->queue);
        ngx_queue_insert_head(&cluster->lease.list, &lease->queue);
    }

    if (batch->n) {

        /* who else has it renews it before it is over */

        ngx_zltunnel_lease_send(cluster, batch, ngx_zltunnel_lease_over, NULL,
                                cluster->conf->refresh * 3 / 2);
    }

    for ( /* void */ ; batch->n; batch->n--) {
        q = ngx_queue_head(&cluster->lease.list);
        ngx_zltunnel_lease_free(cluster, ngx_queue_data(q, ngx_zltunnel_lease_t,
                                                        queue));
    }

    ngx_free(batch);
}


/* all of them are renewed, or those that were not asked for yet are */

static void
ngx_zltunnel_lease_claim(ngx_zltunnel_cluster_t *cluster, ngx_uint_t all)
{
    ngx_queue_t                 *q;
    ngx_zltunnel_lease_t        *lease;
    ngx_zltunnel_lease_batch_t  *batch;

    if (all) {
        cluster->lease.renewed = ngx_current_msec;
    }

    batch = ngx_alloc(sizeof(ngx_zltunnel_lease_batch_t), cluster->log);
    if (batch == NULL) {
        return;
    }

    batch->n = 0;

    for (q = ngx_queue_head(&cluster->lease.list);
         q != ngx_queue_sentinel(&cluster->lease.list);
         q = ngx_queue_next(q))
    {
        lease = ngx_queue_data(q, ngx_zltunnel_lease_t, queue);

        if (lease->asked && !all) {
            continue;
        }

        lease->asked = 1;
        ngx_zltunnel_lease_batch(cluster, batch, lease);

        if (batch->n == NGX_ZLTUNNEL_LEASE_BATCH) {
            ngx_zltunnel_lease_send(cluster, batch, ngx_zltunnel_lease_script,
                                    ngx_zltunnel_lease_on_claimed,
                                    ngx_zltunnel_cluster_life(cluster));
            batch->n = 0;
        }
    }

    if (batch->n) {
        ngx_zltunnel_lease_send(cluster, batch, ngx_zltunnel_lease_script,
                                ngx_zltunnel_lease_on_claimed,
                                ngx_zltunnel_cluster_life(cluster));
    }

    ngx_free(batch);
}


static void
ngx_zltunnel_lease_batch(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_lease_batch_t *batch, ngx_zltunnel_lease_t *lease)
{
    u_char      *p;
    ngx_str_t   *key;
    ngx_uint_t   n;

    n = batch->n++;

    p = ngx_cpymem(batch->keys[n], cluster->conf->prefix.data,
                   cluster->conf->prefix.len);
    p = ngx_cpymem(p, lease->text, lease->len);

    key = &batch->args[3 + n];
    key->data = batch->keys[n];
    key->len = p - key->data;

    batch->tokens[n].data = lease->token;
    batch->tokens[n].len = lease->token_len;
}


static void
ngx_zltunnel_lease_send(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_lease_batch_t *batch, const char *script,
    ngx_zltunnel_redis_pt handler, ngx_msec_t life)
{
    ngx_str_t  *args;

    args = batch->args;

    ngx_str_set(&args[0], "EVAL");
    args[1].data = (u_char *) script;
    args[1].len = ngx_strlen(script);
    args[2].data = batch->number;
    args[2].len = ngx_sprintf(batch->number, "%ui", batch->n) - batch->number;

    args[3 + batch->n].data = batch->life;
    args[3 + batch->n].len = ngx_sprintf(batch->life, "%M", life)
                             - batch->life;

    ngx_memcpy(&args[4 + batch->n], batch->tokens,
               batch->n * sizeof(ngx_str_t));

    ngx_zltunnel_engine_command(&cluster->engine, handler, 0, args,
                                4 + 2 * batch->n);
}


static void
ngx_zltunnel_lease_on_claimed(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_str_t               key, holder;
    ngx_uint_t              i;
    ngx_zltunnel_engine_t  *engine;

    engine = data;

    if (ngx_zltunnel_engine_error(engine, reply)
        || reply->type != REDIS_REPLY_ARRAY)
    {
        return;
    }

    for (i = 0; i + 1 < reply->elements; i += 2) {

        if (reply->element[i]->type != REDIS_REPLY_STRING
            || reply->element[i + 1]->type != REDIS_REPLY_STRING)
        {
            continue;
        }

        key.data = (u_char *) reply->element[i]->str;
        key.len = reply->element[i]->len;
        holder.data = (u_char *) reply->element[i + 1]->str;
        holder.len = reply->element[i + 1]->len;

        ngx_zltunnel_lease_lost(engine->data, &key, &holder);
    }
}


static void
ngx_zltunnel_lease_lost(ngx_zltunnel_cluster_t *cluster, ngx_str_t *key,
    ngx_str_t *holder)
{
    size_t                      prefix, len, named;
    u_char                      shown[NGX_ZLTUNNEL_TOKEN_NAME + 1],
                                name[NGX_ZLTUNNEL_TEXT_MAX];
    ngx_str_t                   host;
    ngx_uint_t                  there;
    ngx_zltunnel_lease_t       *lease;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    registry = cluster->registry;
    prefix = cluster->conf->prefix.len;

    if (key->len <= prefix) {
        return;
    }

    lease = ngx_zltunnel_lease_find(cluster, key->data + prefix,
                                    key->len - prefix);
    if (lease == NULL) {
        return;
    }

    there = 0;
    named = 0;

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, lease->tunnel);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel, lease->service)
                     : NULL;

    if (service && !service->lost) {
        there = 1;
        named = service->name_len;
        ngx_memcpy(name, service->name, named);
        host.data = lease->text + 5;
        host.len = lease->len - 5;
        ngx_zltunnel_lost_service(registry, service, lease->port ? NULL : &host,
                                  holder);
    }

    ngx_zltunnel_zone_unlock(registry);

    if (there) {
        registry->sh->cluster->lost++;

        len = ngx_zltunnel_log_printable(shown, sizeof(shown), holder->data,
                                         holder->len);

        ngx_log_error(NGX_LOG_WARN, cluster->log, 0,
                      "zltunnel \"%V\": service \"%*s\" of token \"%*s\" "
                      "loses %*s, which token \"%*s\" has at another node",
                      &registry->name, named, name, (size_t) lease->token_len,
                      lease->token, (size_t) lease->len, lease->text, len,
                      shown);
    }

    ngx_zltunnel_lease_free(cluster, lease);
}


static ngx_zltunnel_lease_t *
ngx_zltunnel_lease_find(ngx_zltunnel_cluster_t *cluster, u_char *text,
    size_t len)
{
    ngx_rbtree_key_t       key;
    ngx_rbtree_node_t     *node;
    ngx_zltunnel_lease_t  *lease;

    key = (ngx_rbtree_key_t) ngx_zltunnel_name_hash(text, len);
    node = cluster->lease.leases.root;

    while (node != &cluster->lease.sentinel) {

        if (key != node->key) {
            node = (key < node->key) ? node->left : node->right;
            continue;
        }

        /* no two that are wanted have the same 64 bits, or one goes without */

        lease = (ngx_zltunnel_lease_t *) node;

        return lease->len == len && ngx_memcmp(lease->text, text, len) == 0
               ? lease : NULL;
    }

    return NULL;
}


static void
ngx_zltunnel_lease_free(ngx_zltunnel_cluster_t *cluster,
    ngx_zltunnel_lease_t *lease)
{
    ngx_rbtree_delete(&cluster->lease.leases, &lease->node);
    ngx_queue_remove(&lease->queue);
    cluster->lease.n--;

    free(lease);
}
