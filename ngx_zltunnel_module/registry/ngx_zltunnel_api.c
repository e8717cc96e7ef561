
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the API answers to GET: lists, and one tunnel.
 *
 * A list is an object with one array, whose elements are objects: they have the
 * fields that were asked for.  A tunnel at a time is copied under the lock, and
 * written when it is open again.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_api.h"
#include "ngx_zltunnel_cluster_status.h"
#include "ngx_zltunnel_access_status.h"
#include "ngx_zltunnel_api_token.h"
#include "ngx_zltunnel_api_tunnel.h"
#include "ngx_zltunnel_node.h"
#include "ngx_zltunnel_past.h"
#include "ngx_zltunnel_status_copy.h"
#include "ngx_zltunnel_status_sum.h"


/* the depth at which the fields of a list's elements are, and those of an
   object that is alone */

#define NGX_ZLTUNNEL_API_ELEMENT  3
#define NGX_ZLTUNNEL_API_ALONE    1


typedef struct {
    ngx_str_t                    name;
    /* the whole of it, or what stands in the array, or is before it */
    ngx_int_t                  (*write)(ngx_zltunnel_status_t *st,
                                        ngx_zltunnel_api_t *api);
    /* what each tunnel adds to the array, or NULL */
    void                       (*tunnel)(ngx_zltunnel_status_t *st);
    unsigned                     alone:1;     /* an object, no list */
} ngx_zltunnel_api_list_t;


static ngx_zltunnel_api_list_t *ngx_zltunnel_api_list(ngx_str_t *name);
static ngx_int_t ngx_zltunnel_api_one(ngx_zltunnel_status_t *st, u_char *id);
static ngx_int_t ngx_zltunnel_api_each(ngx_zltunnel_status_t *st,
    void (*write)(ngx_zltunnel_status_t *st));
static ngx_int_t ngx_zltunnel_api_tunnels(ngx_zltunnel_status_t *st,
    ngx_zltunnel_api_t *api);
static ngx_uint_t ngx_zltunnel_api_written(ngx_zltunnel_status_t *st,
    ngx_zltunnel_sh_past_t *past);
static ngx_int_t ngx_zltunnel_api_root(ngx_zltunnel_status_t *st,
    ngx_zltunnel_api_t *api);
static ngx_int_t ngx_zltunnel_api_access(ngx_zltunnel_status_t *st,
    ngx_zltunnel_api_t *api);
static ngx_int_t ngx_zltunnel_api_tokens(ngx_zltunnel_status_t *st,
    ngx_zltunnel_api_t *api);
static ngx_int_t ngx_zltunnel_api_workers(ngx_zltunnel_status_t *st,
    ngx_zltunnel_api_t *api);
static ngx_int_t ngx_zltunnel_api_zone(ngx_zltunnel_status_t *st,
    ngx_zltunnel_api_t *api);


static ngx_zltunnel_api_list_t  ngx_zltunnel_api_lists[] = {

    { ngx_string(""), ngx_zltunnel_api_root, NULL, 1 },
    { ngx_string("tunnels"), ngx_zltunnel_api_tunnels, NULL, 0 },
    { ngx_string("services"), NULL, ngx_zltunnel_api_tunnel_services, 0 },
    { ngx_string("hosts"), NULL, ngx_zltunnel_api_tunnel_hosts, 0 },
    { ngx_string("ports"), NULL, ngx_zltunnel_api_tunnel_ports, 0 },
    { ngx_string("access"), ngx_zltunnel_api_access, NULL, 0 },
    { ngx_string("tokens"), ngx_zltunnel_api_tokens, NULL, 0 },
    { ngx_string("workers"), ngx_zltunnel_api_workers, NULL, 0 },
    { ngx_string("zone"), ngx_zltunnel_api_zone, NULL, 1 }
};

#define NGX_ZLTUNNEL_API_LISTS                                                \
    (sizeof(ngx_zltunnel_api_lists) / sizeof(ngx_zltunnel_api_list_t))


ngx_int_t
ngx_zltunnel_api(ngx_zltunnel_api_t *api, ngx_chain_t **out, off_t *size)
{
    ngx_int_t                 rc;
    ngx_uint_t                alone;
    ngx_zltunnel_json_t      *j;
    ngx_zltunnel_status_t    *st;
    ngx_zltunnel_api_list_t  *list;

    list = ngx_zltunnel_api_list(&api->name);
    if (list == NULL) {
        return NGX_DECLINED;
    }

    st = ngx_pcalloc(api->pool, sizeof(ngx_zltunnel_status_t));
    if (st == NULL) {
        return NGX_ERROR;
    }

    st->registry = api->registry;
    st->pool = api->pool;
    alone = list->alone || api->id;
    j = &st->json;

    ngx_zltunnel_json_init(j, api->pool);

    j->compact = !api->pretty;

    if (api->fields.len) {
        ngx_zltunnel_json_only(j, &api->fields,
                               alone ? NGX_ZLTUNNEL_API_ALONE
                                     : NGX_ZLTUNNEL_API_ELEMENT);
    }

    if (api->id) {
        rc = ngx_zltunnel_api_one(st, api->id);
        return (rc == NGX_OK) ? ngx_zltunnel_json_end(j, out, size) : rc;
    }

    if (ngx_zltunnel_status_copy(st) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_zltunnel_json_open(j, NULL, '{');

    if (!alone) {
        ngx_zltunnel_json_open(j, (char *) list->name.data, '[');
    }

    rc = list->tunnel ? ngx_zltunnel_api_each(st, list->tunnel)
                      : list->write(st, api);

    if (!alone) {
        ngx_zltunnel_json_close(j, ']');
    }

    ngx_zltunnel_json_close(j, '}');

    return (rc == NGX_OK) ? ngx_zltunnel_json_end(j, out, size) : rc;
}


ngx_uint_t
ngx_zltunnel_api_known(ngx_str_t *name)
{
    return ngx_zltunnel_api_list(name) != NULL;
}


static ngx_zltunnel_api_list_t *
ngx_zltunnel_api_list(ngx_str_t *name)
{
    ngx_uint_t                i;
    ngx_zltunnel_api_list_t  *list;

    for (i = 0; i < NGX_ZLTUNNEL_API_LISTS; i++) {
        list = &ngx_zltunnel_api_lists[i];

        if (list->name.len == name->len
            && ngx_memcmp(list->name.data, name->data, name->len) == 0)
        {
            return list;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_zltunnel_api_one(ngx_zltunnel_status_t *st, u_char *id)
{
    ngx_int_t                rc;
    ngx_uint_t               i, n;
    ngx_zltunnel_sh_past_t  *past;

    rc = ngx_zltunnel_status_copy_tunnel(st, id);

    if (rc == NGX_OK) {
        ngx_zltunnel_api_tunnel_whole(st);
        ngx_explicit_memzero(&st->tunnel, sizeof(ngx_zltunnel_sh_tunnel_t));
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    past = ngx_zltunnel_past_copy(st->registry, st->pool, &n);
    if (past == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (ngx_memcmp(past[i].id, id, ZLT_ID_SIZE) == 0) {
            ngx_zltunnel_api_tunnel_past(st, &past[i], 1);
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* those there are, and those that have gone of late */

static ngx_int_t
ngx_zltunnel_api_tunnels(ngx_zltunnel_status_t *st, ngx_zltunnel_api_t *api)
{
    ngx_uint_t               i, n;
    ngx_zltunnel_sh_past_t  *past;

    if (ngx_zltunnel_api_each(st, ngx_zltunnel_api_tunnel) != NGX_OK) {
        return NGX_ERROR;
    }

    past = ngx_zltunnel_past_copy(st->registry, st->pool, &n);
    if (past == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (!ngx_zltunnel_api_written(st, &past[i])) {
            ngx_zltunnel_api_tunnel_past(st, &past[i], 0);
        }
    }

    return NGX_OK;
}


/* it was there a moment ago, when it was its turn: ids are of those */

static ngx_uint_t
ngx_zltunnel_api_written(ngx_zltunnel_status_t *st,
    ngx_zltunnel_sh_past_t *past)
{
    ngx_uint_t  i;

    if (past->left + 2 < ngx_time()) {
        return 0;
    }

    for (i = 0; i < st->nids; i++) {

        if (ngx_memcmp(st->ids[i].id, past->id, ZLT_ID_SIZE) == 0) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_zltunnel_api_each(ngx_zltunnel_status_t *st,
    void (*write)(ngx_zltunnel_status_t *st))
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < st->nids; i++) {

        rc = ngx_zltunnel_status_copy_tunnel(st, st->ids[i].id);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK) {
            write(st);

        } else {
            ngx_memzero(st->ids[i].id, ZLT_ID_SIZE);
        }
    }

    /* keys are not to lie about in the memory of requests */

    ngx_explicit_memzero(&st->tunnel, sizeof(ngx_zltunnel_sh_tunnel_t));

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_api_root(ngx_zltunnel_status_t *st, ngx_zltunnel_api_t *api)
{
    ngx_str_t            *name;
    ngx_uint_t            i;
    ngx_zltunnel_json_t  *j;

    j = &st->json;

    ngx_zltunnel_json_string(j, "version", (u_char *) NGX_ZLTUNNEL_VERSION,
                             sizeof(NGX_ZLTUNNEL_VERSION) - 1);
    ngx_zltunnel_json_string(j, "registry", st->registry->name.data,
                             st->registry->name.len);
    ngx_zltunnel_json_string(j, "node", ngx_cycle->hostname.data,
                             ngx_cycle->hostname.len);
    ngx_zltunnel_json_hex(j, "node_id", ngx_zltunnel_node_id(st->registry),
                          ZLT_ID_SIZE);
    ngx_zltunnel_json_number(j, "generation", st->generation);

    ngx_zltunnel_json_open(j, "endpoints", '[');

    for (i = 1; i < NGX_ZLTUNNEL_API_LISTS; i++) {
        name = &ngx_zltunnel_api_lists[i].name;
        ngx_zltunnel_json_string(j, NULL, name->data, name->len);
    }

    ngx_zltunnel_json_close(j, ']');

    ngx_zltunnel_cluster_status(st->registry, j, 1);
    ngx_zltunnel_json_bool(j, "write", api->write);
    ngx_zltunnel_json_time(j, "time", ngx_time());

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_api_access(ngx_zltunnel_status_t *st, ngx_zltunnel_api_t *api)
{
    ngx_uint_t  i;

    for (i = 0; i < st->nids; i++) {

        if (ngx_zltunnel_access_status_api(st->registry, &st->json,
                                           st->ids[i].id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_api_tokens(ngx_zltunnel_status_t *st, ngx_zltunnel_api_t *api)
{
    return ngx_zltunnel_api_token_list(st);
}


static ngx_int_t
ngx_zltunnel_api_workers(ngx_zltunnel_status_t *st, ngx_zltunnel_api_t *api)
{
    ngx_uint_t                 i, way;
    ngx_zltunnel_json_t       *j;
    ngx_zltunnel_sh_worker_t  *worker;

    j = &st->json;

    for (i = 0; i < st->nworkers; i++) {
        worker = &st->workers[i];

        if (worker->pid == 0) {
            continue;
        }

        ngx_zltunnel_json_open(j, NULL, '{');
        ngx_zltunnel_json_number(j, "pid", worker->pid);
        ngx_zltunnel_json_number(j, "worker", worker->worker);
        ngx_zltunnel_json_number(j, "generation", worker->generation);
        ngx_zltunnel_json_number(j, "slot", i);
        ngx_zltunnel_json_bool(j, "exiting", worker->exiting);
        ngx_zltunnel_json_number(j, "idle_channels", worker->nidle);

        ngx_zltunnel_json_open(j, "acquired", '{');

        for (way = 0; way < NGX_ZLTUNNEL_WAYS; way++) {
            ngx_zltunnel_json_number(j,
                             (char *) ngx_zltunnel_status_sum_ways[way].data,
                             worker->acquired[way]);
        }

        ngx_zltunnel_json_close(j, '}');

        ngx_zltunnel_json_number(j, "repeated", worker->repeated);
        ngx_zltunnel_json_number(j, "reused", worker->reused);
        ngx_zltunnel_json_number(j, "left_lane", worker->left);
        ngx_zltunnel_json_number(j, "spliced", worker->spliced);
        ngx_zltunnel_json_close(j, '}');
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_api_zone(ngx_zltunnel_status_t *st, ngx_zltunnel_api_t *api)
{
    size_t                size;
    ngx_zltunnel_json_t  *j;

    j = &st->json;
    size = st->registry->shm_zone->shm.size;

    ngx_zltunnel_json_number(j, "size", size);
    ngx_zltunnel_json_number(j, "used", size - st->free);
    ngx_zltunnel_json_number(j, "free", st->free);
    ngx_zltunnel_json_number(j, "resets", st->resets);
    ngx_zltunnel_json_number(j, "tunnels", st->nids - st->nremote);
    ngx_zltunnel_json_number(j, "max_tunnels", st->registry->max_tunnels);

    ngx_zltunnel_json_open(j, "ports", '{');
    ngx_zltunnel_json_number(j, "configured",
                             ngx_zltunnel_status_sum_ports(st->registry));
    ngx_zltunnel_json_number(j, "open", st->open);
    ngx_zltunnel_json_close(j, '}');

    return NGX_OK;
}
