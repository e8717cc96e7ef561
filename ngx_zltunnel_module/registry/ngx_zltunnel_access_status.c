
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Access sessions in the status: copied under the lock, a tunnel at a time,
 * and written when it is open again.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_access_status.h"
#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_zone.h"


typedef struct {
    u_char                       id[ZLT_ID_SIZE];
    time_t                       created;
    uint32_t                     left;        /* seconds; 0: no end */
    ngx_uint_t                   over;
    ngx_uint_t                   udp;
    ngx_zltunnel_access_sum_t    sum;
    size_t                       name_len;
    size_t                       target_len;
    u_char                       name[ZLT_MAX_NAME];
    u_char                       target[ZLT_MAX_TARGET];
} ngx_zltunnel_access_copy_t;


typedef void (*ngx_zltunnel_access_write_pt)(ngx_zltunnel_json_t *j,
    u_char *tunnel_id, ngx_str_t *visitor, ngx_zltunnel_access_copy_t *copy);


static ngx_int_t ngx_zltunnel_access_each(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, u_char *tunnel_id,
    ngx_zltunnel_access_write_pt write);
static ngx_uint_t ngx_zltunnel_access_copy(ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_zltunnel_access_copy_t *copies, ngx_uint_t n);
static void ngx_zltunnel_access_write_head(ngx_zltunnel_json_t *j,
    u_char *tunnel_id, const char *key, ngx_str_t *visitor,
    ngx_zltunnel_access_copy_t *copy);
static void ngx_zltunnel_access_write(ngx_zltunnel_json_t *j,
    u_char *tunnel_id, ngx_str_t *visitor, ngx_zltunnel_access_copy_t *copy);
static void ngx_zltunnel_access_write_api(ngx_zltunnel_json_t *j,
    u_char *tunnel_id, ngx_str_t *visitor, ngx_zltunnel_access_copy_t *copy);


ngx_int_t
ngx_zltunnel_access_status(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, u_char *tunnel_id)
{
    return ngx_zltunnel_access_each(registry, j, tunnel_id,
                                    ngx_zltunnel_access_write);
}


ngx_int_t
ngx_zltunnel_access_status_api(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, u_char *tunnel_id)
{
    return ngx_zltunnel_access_each(registry, j, tunnel_id,
                                    ngx_zltunnel_access_write_api);
}


static ngx_int_t
ngx_zltunnel_access_each(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, u_char *tunnel_id,
    ngx_zltunnel_access_write_pt write)
{
    u_char                       text[NGX_ZLTUNNEL_TOKEN_NAME];
    ngx_str_t                    visitor;
    ngx_uint_t                   i, n, room;
    ngx_zltunnel_sh_tunnel_t    *tunnel;
    ngx_zltunnel_access_copy_t  *copies;

    room = 0;
    copies = NULL;

    visitor.data = text;
    visitor.len = 0;

    for ( ;; ) {
        n = 0;

        ngx_zltunnel_zone_lock_read(registry);

        tunnel = ngx_zltunnel_tunnel_find(registry->sh, tunnel_id);

        if (tunnel) {
            n = tunnel->naccesses;

            visitor.len = tunnel->name_len;
            ngx_memcpy(text, tunnel->name, visitor.len);

            if (n <= room) {
                n = ngx_zltunnel_access_copy(tunnel, copies, room);
            }
        }

        ngx_zltunnel_zone_unlock(registry);

        if (n <= room) {
            break;
        }

        /* some may come meanwhile */

        if (copies) {
            ngx_free(copies);
        }

        room = n + 16;
        copies = ngx_alloc(room * sizeof(ngx_zltunnel_access_copy_t),
                           ngx_cycle->log);
        if (copies == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < n; i++) {
        write(j, tunnel_id, &visitor, &copies[i]);
    }

    if (copies) {
        ngx_free(copies);
    }

    return NGX_OK;
}


/* under the lock */

static ngx_uint_t
ngx_zltunnel_access_copy(ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_zltunnel_access_copy_t *copies, ngx_uint_t n)
{
    uint64_t                     now;
    ngx_uint_t                   i;
    ngx_queue_t                 *q;
    ngx_zltunnel_sh_access_t    *access;
    ngx_zltunnel_access_copy_t  *copy;

    i = 0;
    now = ngx_zltunnel_access_boottime();

    for (q = ngx_queue_head(&tunnel->accesses);
         q != ngx_queue_sentinel(&tunnel->accesses) && i < n;
         q = ngx_queue_next(q))
    {
        access = ngx_queue_data(q, ngx_zltunnel_sh_access_t, queue);
        copy = &copies[i++];

        ngx_memcpy(copy->id, access->id, ZLT_ID_SIZE);
        copy->created = access->created;
        copy->left = ngx_zltunnel_access_left(access, now);
        copy->over = ngx_zltunnel_access_over(access, now);
        copy->udp = access->udp;

        copy->name_len = access->name_len;
        ngx_memcpy(copy->name, access->name, access->name_len);

        copy->target_len = access->target_len;
        ngx_memcpy(copy->target, ngx_zltunnel_access_target(access),
                   access->target_len);

        ngx_zltunnel_access_sum(access, &copy->sum);
    }

    return i;
}


/* opens it: what status and API have alike, but that a token is a name here */

static void
ngx_zltunnel_access_write_head(ngx_zltunnel_json_t *j, u_char *tunnel_id,
    const char *key, ngx_str_t *visitor, ngx_zltunnel_access_copy_t *copy)
{
    ngx_zltunnel_json_open(j, NULL, '{');
    ngx_zltunnel_json_hex(j, "id", copy->id, ZLT_ID_SIZE);
    ngx_zltunnel_json_hex(j, "tunnel", tunnel_id, ZLT_ID_SIZE);
    ngx_zltunnel_json_string(j, key, visitor->data, visitor->len);
    ngx_zltunnel_json_string(j, "service", copy->name, copy->name_len);
    ngx_zltunnel_json_string(j, "protocol",
                             (u_char *) (copy->udp ? "udp" : "tcp"), 3);

    if (copy->target_len) {
        ngx_zltunnel_json_string(j, "target", copy->target, copy->target_len);

    } else {
        ngx_zltunnel_json_null(j, "target");
    }
}


static void
ngx_zltunnel_access_write(ngx_zltunnel_json_t *j, u_char *tunnel_id,
    ngx_str_t *visitor, ngx_zltunnel_access_copy_t *copy)
{
    ngx_zltunnel_access_sum_t  *sum;

    sum = &copy->sum;

    ngx_zltunnel_access_write_head(j, tunnel_id, "name", visitor, copy);

    ngx_zltunnel_json_number(j, "created", copy->created);

    if (copy->left) {
        ngx_zltunnel_json_number(j, "remaining", copy->over ? 0 : copy->left);

    } else {
        ngx_zltunnel_json_null(j, "remaining");
    }

    ngx_zltunnel_json_open(j, "connections", '{');
    ngx_zltunnel_json_number(j, "active", sum->active);
    ngx_zltunnel_json_number(j, "total", sum->total);
    ngx_zltunnel_json_close(j, '}');

    ngx_zltunnel_json_open(j, "bytes", '{');
    ngx_zltunnel_json_number(j, "in", sum->bytes[0]);
    ngx_zltunnel_json_number(j, "out", sum->bytes[1]);
    ngx_zltunnel_json_close(j, '}');

    if (copy->udp) {
        ngx_zltunnel_json_open(j, "datagrams", '{');
        ngx_zltunnel_json_number(j, "in", sum->datagrams[0]);
        ngx_zltunnel_json_number(j, "out", sum->datagrams[1]);
        ngx_zltunnel_json_close(j, '}');
    }

    ngx_zltunnel_json_close(j, '}');
}


/* the same for the API */

static void
ngx_zltunnel_access_write_api(ngx_zltunnel_json_t *j, u_char *tunnel_id,
    ngx_str_t *visitor, ngx_zltunnel_access_copy_t *copy)
{
    time_t                      expires;
    ngx_zltunnel_access_sum_t  *sum;

    sum = &copy->sum;
    expires = copy->left ? ngx_time() + (time_t) copy->left : 0;

    ngx_zltunnel_access_write_head(j, tunnel_id, "token", visitor, copy);

    ngx_zltunnel_json_time(j, "created", copy->created);
    ngx_zltunnel_json_time(j, "expires", copy->over ? ngx_time() : expires);
    ngx_zltunnel_json_bool(j, "over", copy->over);
    ngx_zltunnel_json_number(j, "active", sum->active);
    ngx_zltunnel_json_number(j, "total", sum->total);
    ngx_zltunnel_json_number(j, "bytes_in", sum->bytes[0]);
    ngx_zltunnel_json_number(j, "bytes_out", sum->bytes[1]);
    ngx_zltunnel_json_number(j, "datagrams_in", sum->datagrams[0]);
    ngx_zltunnel_json_number(j, "datagrams_out", sum->datagrams[1]);
    ngx_zltunnel_json_close(j, '}');
}
