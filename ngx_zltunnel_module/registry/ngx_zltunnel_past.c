
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Tunnels that have gone, for who asks why.  They are a ring, of a size that
 * depends on that of the zone; a new one takes the place of the oldest.  One by
 * which an agent is kept out stays as long, since it is let in by it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_past.h"
#include "ngx_zltunnel_kept.h"
#include "ngx_zltunnel_zone.h"


#define NGX_ZLTUNNEL_PAST_MOST   256
#define NGX_ZLTUNNEL_PAST_PART   64           /* of the zone */
#define NGX_ZLTUNNEL_PAST_TIME   3600         /* s */


static ngx_zltunnel_sh_past_t *ngx_zltunnel_past_place(ngx_zltunnel_sh_t *sh);
static ngx_uint_t ngx_zltunnel_past_keeps(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_past_t *past);
static void ngx_zltunnel_past_sum(ngx_zltunnel_sh_past_t *past,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static ngx_zltunnel_sh_past_t *ngx_zltunnel_past_of(ngx_zltunnel_sh_t *sh,
    ngx_uint_t i);


void
ngx_zltunnel_past_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_uint_t               n;
    ngx_msec_t               ago;
    ngx_zltunnel_sh_t       *sh;
    ngx_zltunnel_sh_past_t  *past;

    sh = registry->sh;

    if (sh->past == NULL) {
        n = registry->shm_zone->shm.size / NGX_ZLTUNNEL_PAST_PART
            / sizeof(ngx_zltunnel_sh_past_t);
        n = ngx_max(ngx_min(n, NGX_ZLTUNNEL_PAST_MOST), 1);

        sh->past = ngx_zltunnel_zone_alloc(registry,
                                         n * sizeof(ngx_zltunnel_sh_past_t));
        if (sh->past == NULL) {
            return;
        }

        sh->past_size = n;
    }

    past = ngx_zltunnel_past_place(sh);

    ngx_memzero(past, sizeof(ngx_zltunnel_sh_past_t));

    ngx_memcpy(past->id, tunnel->id, ZLT_ID_SIZE);

    past->name_len = tunnel->name_len;
    ngx_memcpy(past->name, tunnel->name, tunnel->name_len);

    past->agent_len = tunnel->agent_len;
    ngx_memcpy(past->agent, tunnel->agent, tunnel->agent_len);

    past->address_len = tunnel->address_len;
    ngx_memcpy(past->address, tunnel->address, tunnel->address_len);

    past->error_len = tunnel->error_len;
    ngx_memcpy(past->error, tunnel->error, tunnel->error_len);
    past->failed = tunnel->failed;

    ago = ngx_zltunnel_zone_since(tunnel->heard);

    past->since = tunnel->since;
    past->heard = ngx_time() - (time_t) (ago / 1000);
    past->left = tunnel->left ? tunnel->left : ngx_time();

    ngx_zltunnel_past_sum(past, tunnel);
}


/* The oldest, but none by which somebody is kept out, unless all are. */

static ngx_zltunnel_sh_past_t *
ngx_zltunnel_past_place(ngx_zltunnel_sh_t *sh)
{
    ngx_uint_t               i;
    ngx_zltunnel_sh_past_t  *past;

    i = 0;

    do {
        past = &sh->past[sh->npast++ % sh->past_size];
    } while (ngx_zltunnel_past_keeps(sh, past) && i++ < sh->past_size);

    return past;
}


static ngx_uint_t
ngx_zltunnel_past_keeps(ngx_zltunnel_sh_t *sh, ngx_zltunnel_sh_past_t *past)
{
    ngx_str_t  name;

    if (!past->kept) {
        return 0;
    }

    name.data = past->name;
    name.len = past->name_len;

    return ngx_zltunnel_kept_until(sh, &name) != 0;
}


static void
ngx_zltunnel_past_sum(ngx_zltunnel_sh_past_t *past,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_queue_t                *q, *cq;
    ngx_zltunnel_sh_service_t  *service;
    ngx_zltunnel_sh_counter_t  *counter;

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        past->total += service->total;
        past->bytes[0] += service->bytes[0];
        past->bytes[1] += service->bytes[1];

        for (cq = ngx_queue_head(&service->counters);
             cq != ngx_queue_sentinel(&service->counters);
             cq = ngx_queue_next(cq))
        {
            counter = ngx_queue_data(cq, ngx_zltunnel_sh_counter_t, queue);

            past->total += counter->total;
            past->bytes[0] += counter->bytes[0];
            past->bytes[1] += counter->bytes[1];
        }
    }
}


/* the one before the i latest, or NULL */

static ngx_zltunnel_sh_past_t *
ngx_zltunnel_past_of(ngx_zltunnel_sh_t *sh, ngx_uint_t i)
{
    ngx_zltunnel_sh_past_t  *past;

    if (i >= sh->past_size || i >= sh->npast) {
        return NULL;
    }

    past = &sh->past[(sh->npast - 1 - i) % sh->past_size];

    return (past->left + NGX_ZLTUNNEL_PAST_TIME > ngx_time()
            || ngx_zltunnel_past_keeps(sh, past)) ? past : NULL;
}


ngx_zltunnel_sh_past_t *
ngx_zltunnel_past_find(ngx_zltunnel_sh_t *sh, u_char *id)
{
    ngx_uint_t               i;
    ngx_zltunnel_sh_past_t  *past;

    for (i = 0; i < sh->past_size; i++) {
        past = ngx_zltunnel_past_of(sh, i);

        if (past && ngx_memcmp(past->id, id, ZLT_ID_SIZE) == 0) {
            return past;
        }
    }

    return NULL;
}


void
ngx_zltunnel_past_keep(ngx_zltunnel_sh_t *sh, u_char *id)
{
    ngx_zltunnel_sh_past_t  *past;

    past = ngx_zltunnel_past_find(sh, id);

    if (past) {
        past->kept = 1;
    }
}


ngx_zltunnel_sh_past_t *
ngx_zltunnel_past_copy(ngx_zltunnel_registry_t *registry, ngx_pool_t *pool,
    ngx_uint_t *n)
{
    ngx_str_t                name;
    ngx_uint_t               i;
    ngx_zltunnel_sh_t       *sh;
    ngx_zltunnel_sh_past_t  *past, *copies;

    *n = 0;

    copies = ngx_palloc(pool, NGX_ZLTUNNEL_PAST_MOST
                              * sizeof(ngx_zltunnel_sh_past_t));
    if (copies == NULL) {
        return NULL;
    }

    sh = registry->sh;

    ngx_zltunnel_zone_lock_read(registry);

    for (i = 0; i < sh->past_size; i++) {
        past = ngx_zltunnel_past_of(sh, i);

        if (past == NULL) {
            continue;
        }

        name.data = past->name;
        name.len = past->name_len;

        copies[*n] = *past;
        copies[*n].kept = (ngx_zltunnel_kept_until(sh, &name) != 0);
        (*n)++;
    }

    ngx_zltunnel_zone_unlock(registry);

    return copies;
}
