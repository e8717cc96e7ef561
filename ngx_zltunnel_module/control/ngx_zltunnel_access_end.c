
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The end of access sessions: at their deadline, or when the token's rights
 * have shrunk.
 *
 * The worker of the control channel ends a session and tells the visitor.
 * What others hold of it they find out by themselves, a message makes it
 * sooner.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_access_end.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_ACCESS_BATCH  32


/* a session that has ended */

typedef struct {
    u_char                       id[ZLT_ID_SIZE];
    ngx_uint_t                   code;
    ngx_uint_t                   ended;        /* by the administrator */
} ngx_zltunnel_access_end_t;


static ngx_uint_t ngx_zltunnel_access_ended(ngx_zltunnel_control_t *control,
    ngx_zltunnel_access_end_t *ends);
static ngx_uint_t ngx_zltunnel_access_end(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_access_t *access, ngx_zltunnel_token_t *token,
    uint64_t now, ngx_zltunnel_access_end_t *end);
static void ngx_zltunnel_access_end_tell(ngx_zltunnel_control_t *control,
    ngx_zltunnel_access_end_t *end);


void
ngx_zltunnel_access_end_check(ngx_zltunnel_control_t *control)
{
    ngx_uint_t                 i, n, total;
    ngx_zltunnel_registry_t   *registry;

    static ngx_zltunnel_access_end_t  ends[NGX_ZLTUNNEL_ACCESS_BATCH];

    if (control->state != NGX_ZLTUNNEL_CONTROL_OPEN
        || !(control->features & ZLT_F_ACCESS))
    {
        return;
    }

    registry = control->registry;
    total = 0;

    ngx_zltunnel_control_enter(control);

    do {
        n = ngx_zltunnel_access_ended(control, ends);

        ngx_zltunnel_event_tell(control->end.connection->log);

        for (i = 0; i < n; i++) {
            ngx_zltunnel_access_end_tell(control, &ends[i]);
        }

        total += n;

    } while (n == NGX_ZLTUNNEL_ACCESS_BATCH);

    ngx_zltunnel_control_leave(control);

    if (total) {
        ngx_zltunnel_access_end_notify(registry);
    }
}


/* a batch of sessions that have just ended; called again if it was full */

static ngx_uint_t
ngx_zltunnel_access_ended(ngx_zltunnel_control_t *control,
    ngx_zltunnel_access_end_t *ends)
{
    uint64_t                   now;
    ngx_uint_t                 n;
    ngx_queue_t               *q, *next;
    ngx_zltunnel_token_t      *token;
    ngx_zltunnel_sh_access_t  *access;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    n = 0;
    token = ngx_zltunnel_token_find(control->registry, control->token);

    ngx_zltunnel_zone_lock_read(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);

    if (tunnel && tunnel->epoch == control->epoch && tunnel->naccesses) {
        now = ngx_zltunnel_access_boottime();

        for (q = ngx_queue_head(&tunnel->accesses);
             q != ngx_queue_sentinel(&tunnel->accesses)
             && n < NGX_ZLTUNNEL_ACCESS_BATCH;
             q = next)
        {
            next = ngx_queue_next(q);
            access = ngx_queue_data(q, ngx_zltunnel_sh_access_t, queue);

            n += ngx_zltunnel_access_end(control->registry, access, token,
                                         now, &ends[n]);
        }
    }

    ngx_zltunnel_zone_unlock(control->registry);

    return n;
}


/* 1 if it has just ended, and the visitor is to be told */

static ngx_uint_t
ngx_zltunnel_access_end(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_access_t *access, ngx_zltunnel_token_t *token,
    uint64_t now, ngx_zltunnel_access_end_t *end)
{
    ngx_uint_t                 told, remove;
    ngx_zltunnel_access_sum_t  sum;

    told = access->told;

    end->ended = access->ended;

    if (access->ended) {
        remove = 1;
        end->code = ZLT_E_FORBIDDEN;

    } else if (ngx_zltunnel_access_over(access, now)) {
        remove = (now >= access->deadline + access->grace);
        end->code = ZLT_E_EXPIRED;

    } else if (token && !ngx_zltunnel_access_allowed(access, token, now)) {
        remove = 1;
        end->code = ZLT_E_FORBIDDEN;

    } else {
        return 0;
    }

    if (told && !remove) {
        return 0;
    }

    ngx_zltunnel_zone_change(registry);

    ngx_memcpy(end->id, access->id, ZLT_ID_SIZE);
    ngx_zltunnel_access_sum(access, &sum);

    ngx_zltunnel_access_tell(registry, access, end->code,
                             end->ended ? "by the administrator"
                             : (end->code == ZLT_E_EXPIRED) ? "expired"
                                                    : "no longer allowed");

    if (remove || sum.active == 0) {
        ngx_zltunnel_access_remove(registry, access, 0, NULL);
    }

    return !told;
}


static void
ngx_zltunnel_access_end_tell(ngx_zltunnel_control_t *control,
    ngx_zltunnel_access_end_t *end)
{
    zlt_msg_t    m;
    const char  *reason;

    reason = (end->code == ZLT_E_EXPIRED)
             ? "The access session has expired"
             : "The token does not allow the access any more";

    if (end->ended) {
        reason = "ended by the administrator";
    }

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_ACCESS_CLOSE;
    m.access_id = end->id;
    m.reason.data = (u_char *) reason;
    m.reason.len = ngx_strlen(reason);
    m.ext = ZLT_X_CODE;
    m.code = end->code;

    ngx_zltunnel_control_io_write(control, &m);
}


ngx_int_t
ngx_zltunnel_access_end_now(ngx_zltunnel_registry_t *registry, u_char *id)
{
    ngx_uint_t                 found;
    ngx_zltunnel_ipc_t         msg;
    ngx_zltunnel_sh_access_t  *access;

    ngx_zltunnel_zone_lock(registry);

    access = ngx_zltunnel_access_find(registry->sh, id);
    found = (access != NULL);

    if (access && access->tunnel->state == NGX_ZLTUNNEL_LIVE) {

        /* the worker of the visitor's control channel does the rest */

        access->ended = 1;

    } else if (access) {
        ngx_zltunnel_access_remove(registry, access, ZLT_E_FORBIDDEN,
                                   "by the administrator");
    }

    ngx_zltunnel_zone_unlock(registry);

    if (!found) {
        return NGX_DECLINED;
    }

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_ACCESS;
    msg.code = 1;

    ngx_zltunnel_ipc_broadcast(registry, &msg);
    ngx_zltunnel_ipc_handle(registry, &msg, NULL);

    return NGX_OK;
}


/* those who hold connections of sessions that are gone need not wait */

void
ngx_zltunnel_access_end_notify(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_ipc_t  msg;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_ACCESS;

    ngx_zltunnel_ipc_broadcast(registry, &msg);
    (void) ngx_zltunnel_ipc_send(registry, registry->slot, &msg, NULL, -1);
}


void
ngx_zltunnel_access_end_away(ngx_zltunnel_registry_t *registry)
{
    uint64_t                   now;
    ngx_queue_t               *q, *sq, *next;
    ngx_zltunnel_token_t      *token;
    ngx_zltunnel_sh_access_t  *access;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    now = ngx_zltunnel_access_boottime();

    ngx_zltunnel_zone_lock(registry);

    for (q = ngx_queue_head(&registry->sh->list);
         q != ngx_queue_sentinel(&registry->sh->list);
         q = ngx_queue_next(q))
    {
        tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);

        if (tunnel->state != NGX_ZLTUNNEL_GRACE || tunnel->naccesses == 0) {
            continue;
        }

        token = ngx_zltunnel_token_find(registry, tunnel->token);

        for (sq = ngx_queue_head(&tunnel->accesses);
             sq != ngx_queue_sentinel(&tunnel->accesses);
             sq = next)
        {
            next = ngx_queue_next(sq);
            access = ngx_queue_data(sq, ngx_zltunnel_sh_access_t, queue);

            if (token == NULL
                || !ngx_zltunnel_access_allowed(access, token, now))
            {
                ngx_zltunnel_access_remove(registry, access, ZLT_E_FORBIDDEN,
                                           "no longer allowed");
            }
        }
    }

    ngx_zltunnel_zone_unlock(registry);
}
