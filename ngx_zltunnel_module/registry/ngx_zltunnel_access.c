
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Access sessions in the registry.
 *
 * Theory of operation.  A session belongs to the visitor's tunnel and goes
 * with it.  It says for which service, by name, until when, and what has been
 * counted; it holds nothing of the agent that serves, which is looked for at
 * each connection anew, so that agents may come and go.
 *
 * Nobody sets a timer for a deadline, since a renewal, a takeover and a reload
 * would have to move it from worker to worker.  Each worker looks once a
 * second at the sessions of its control channels, to tell the visitor, and at
 * the visits it has, to cut them; a session that is no longer here means a cut
 * at once.  So whoever removes one need tell nobody, and one that a worker
 * that exits holds ends like any other.  While the visitor is away, nobody can
 * be told, and the sweep removes what is over.
 *
 * Deadlines are of CLOCK_BOOTTIME: an hour is an hour, whether the clock is
 * set or the machine sleeps.
 *
 * All of this runs under the registry's lock.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_counter.h"
#include "ngx_zltunnel_event.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"

#include "zlt_msg.h"

#include <time.h>


static ngx_uint_t ngx_zltunnel_access_suits(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_access_ask_t *ask);


uint64_t
ngx_zltunnel_access_boottime(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_BOOTTIME, &ts);

    return (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


u_char *
ngx_zltunnel_access_hex(u_char *id)
{
    static u_char  text[2 * ZLT_ID_SIZE + 1];

    *ngx_hex_dump(text, id, ZLT_ID_SIZE) = '\0';

    return text;
}


ngx_zltunnel_sh_access_t *
ngx_zltunnel_access_find(ngx_zltunnel_sh_t *sh, u_char *id)
{
    return (ngx_zltunnel_sh_access_t *)
               ngx_zltunnel_util_id_lookup(&sh->accesses, id,
                                  offsetof(ngx_zltunnel_sh_access_t, id));
}


ngx_zltunnel_sh_access_t *
ngx_zltunnel_access_create(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, zlt_msg_t *m, u_char *id)
{
    u_char                    *p;
    ngx_zltunnel_sh_access_t  *access;

    access = ngx_zltunnel_zone_alloc(registry,
                              offsetof(ngx_zltunnel_sh_access_t, name)
                              + m->name.len + m->target.len);
    if (access == NULL) {
        return NULL;
    }

    ngx_memcpy(access->id, id, ZLT_ID_SIZE);
    access->tunnel = tunnel;
    access->created = ngx_time();
    access->opened = ngx_zltunnel_access_boottime();
    access->udp = (m->protocol == ZLT_PROTO_UDP);
    ngx_queue_init(&access->counters);

    access->name_len = (uint8_t) m->name.len;
    access->target_len = (uint16_t) m->target.len;

    p = ngx_cpymem(access->name, m->name.data, m->name.len);

    if (m->target.len) {
        ngx_memcpy(p, m->target.data, m->target.len);
    }

    access->node.key = ngx_zltunnel_id_key(access->id);
    ngx_rbtree_insert(&registry->sh->accesses, &access->node);

    ngx_queue_insert_tail(&tunnel->accesses, &access->queue);
    tunnel->naccesses++;

    return access;
}


ngx_uint_t
ngx_zltunnel_access_waits(ngx_zltunnel_sh_access_t *access)
{
    return access->stale || access->tunnel->state == NGX_ZLTUNNEL_GRACE;
}


void
ngx_zltunnel_access_move(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_zltunnel_access_sum_t  sum;

    ngx_zltunnel_access_sum(access, &sum);

    ngx_queue_remove(&access->queue);
    access->tunnel->naccesses--;
    access->tunnel->visits -= sum.active;

    access->tunnel = tunnel;

    ngx_queue_insert_tail(&tunnel->accesses, &access->queue);
    tunnel->naccesses++;
    tunnel->visits += sum.active;
}


void
ngx_zltunnel_access_tell(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_access_t *access, ngx_uint_t code, const char *reason)
{
    ngx_zltunnel_event_t       *event;
    ngx_zltunnel_access_sum_t   sum;

    if (access->told) {
        return;
    }

    access->told = 1;

    ngx_zltunnel_access_sum(access, &sum);

    event = ngx_zltunnel_event_new(registry, NGX_ZLTUNNEL_EVENT_CLOSED);

    ngx_zltunnel_event_access(event, access, &sum);
    ngx_zltunnel_event_reason(event, code, reason);
}


void
ngx_zltunnel_access_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_access_t *access, ngx_uint_t code, const char *reason)
{
    ngx_zltunnel_access_sum_t  sum;

    ngx_zltunnel_access_tell(registry, access, code, reason);

    ngx_zltunnel_access_sum(access, &sum);

    access->tunnel->visits -= sum.active;
    access->tunnel->naccesses--;

    ngx_zltunnel_counter_orphan(registry, &access->counters);

    ngx_rbtree_delete(&registry->sh->accesses, &access->node);
    ngx_queue_remove(&access->queue);

    ngx_zltunnel_zone_free(registry, access);
}


void
ngx_zltunnel_access_remove_all(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&tunnel->accesses)) {
        q = ngx_queue_head(&tunnel->accesses);

        ngx_zltunnel_access_remove(registry,
                       ngx_queue_data(q, ngx_zltunnel_sh_access_t, queue),
                       ZLT_E_UNREACHABLE, "the tunnel is gone");
    }
}


ngx_uint_t
ngx_zltunnel_access_stale(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_uint_t                 found;
    ngx_queue_t               *q, *next;
    ngx_zltunnel_sh_access_t  *access;

    found = 0;

    for (q = ngx_queue_head(&tunnel->accesses);
         q != ngx_queue_sentinel(&tunnel->accesses);
         q = next)
    {
        next = ngx_queue_next(q);
        access = ngx_queue_data(q, ngx_zltunnel_sh_access_t, queue);

        if (access->stale) {
            ngx_zltunnel_access_remove(registry, access, 0,
                                       "not resumed in time");
            found = 1;
        }
    }

    return found;
}


void
ngx_zltunnel_access_sweep(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    uint64_t                   now;
    ngx_queue_t               *q, *next;
    ngx_zltunnel_sh_access_t  *access;

    if (tunnel->naccesses == 0) {
        return;
    }

    now = ngx_zltunnel_access_boottime();

    for (q = ngx_queue_head(&tunnel->accesses);
         q != ngx_queue_sentinel(&tunnel->accesses);
         q = next)
    {
        next = ngx_queue_next(q);
        access = ngx_queue_data(q, ngx_zltunnel_sh_access_t, queue);

        if (access->deadline && now >= access->deadline + access->grace) {
            ngx_zltunnel_zone_change(registry);
            ngx_zltunnel_access_remove(registry, access, ZLT_E_EXPIRED,
                                       "expired");
        }
    }
}


ngx_uint_t
ngx_zltunnel_access_over(ngx_zltunnel_sh_access_t *access, uint64_t now)
{
    return access->deadline && now >= access->deadline;
}


uint32_t
ngx_zltunnel_access_left(ngx_zltunnel_sh_access_t *access, uint64_t now)
{
    if (access->deadline == 0) {
        return 0;
    }

    /* 0 would mean that there is no end */

    return now < access->deadline
           ? (uint32_t) ((access->deadline - now + 999) / 1000) : 1;
}


ngx_uint_t
ngx_zltunnel_access_allowed(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_token_t *token, uint64_t now)
{
    uint64_t   limit;
    ngx_str_t  name;

    name.data = access->name;
    name.len = access->name_len;

    if (!ngx_zltunnel_rights_reaches(token, &name, NULL)) {
        return 0;
    }

    if (token->access_ttl == 0) {
        return 1;
    }

    limit = now + (uint64_t) token->access_ttl * 1000;

    return access->deadline && access->deadline + access->grace <= limit;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_access_service(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_access_ask_t *ask)
{
    ngx_zltunnel_sh_service_t  *service, *best;

    best = NULL;

    ask->code = ZLT_E_UNREACHABLE;
    ask->reason = "No agent has registered the service";

    for (service = ngx_zltunnel_service_next(sh, &ask->name, NULL);
         service;
         service = ngx_zltunnel_service_next(sh, &ask->name, service))
    {
        if (ngx_zltunnel_access_suits(service, ask)
            && ngx_zltunnel_service_before(service, best))
        {
            best = service;
        }
    }

    if (best) {
        best->used = ngx_zltunnel_turn(sh);
    }

    return best;
}


static ngx_uint_t
ngx_zltunnel_access_suits(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_access_ask_t *ask)
{
    ngx_str_t   by;
    ngx_uint_t  open;

    by.data = service->tunnel->name;
    by.len = service->tunnel->name_len;

    open = service->flags & ZLT_R_OPEN;

    /* whom one of another node allows is known there alone */

    if (service->tunnel->remote) {
        return 0;
    }

    /* an open one serves both protocols; of others each has its own name */

    if ((!open && service->udp != ask->udp)
        || !ngx_zltunnel_rights_reaches(ask->token, &ask->name, &by))
    {
        return 0;
    }

    if (!ngx_zltunnel_access_listed(service, &ask->visitor)) {
        ask->reason = "The service does not allow this visitor";

    } else if ((service->flags & ZLT_R_INTERNAL) && !ask->local) {
        ask->reason = "The service is internal: only for the server's host";

    } else if (open && ask->target.len == 0) {
        ask->reason = "The service is an open one, it needs a target";

    } else if (!open && ask->target.len) {
        ask->reason = "The service takes no target, it is not an open one";

    } else if (ask->udp && !(service->tunnel->features & ZLT_F_DATAGRAMS)) {
        ask->reason = "The agent that serves does not carry UDP";

    } else if (!(service->tunnel->features & ZLT_F_CHANNELS)) {
        ask->reason = "The agent that serves does not carry connections";

    } else {
        return 1;
    }

    ask->code = ZLT_E_FORBIDDEN;

    return 0;
}


ngx_uint_t
ngx_zltunnel_access_listed(ngx_zltunnel_sh_service_t *service,
    ngx_str_t *visitor)
{
    u_char  *p, *last, *end;

    if (service->allow == NULL) {
        return 1;
    }

    last = service->allow + service->allow_len;

    for (p = service->allow; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) == visitor->len
            && ngx_memcmp(p, visitor->data, visitor->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_zltunnel_sh_counter_t *
ngx_zltunnel_access_enter(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_access_t *access)
{
    ngx_zltunnel_sh_counter_t  *counter;

    counter = ngx_zltunnel_counter_of(registry, &access->counters, NULL,
                                      access);
    if (counter == NULL) {
        return NULL;
    }

    counter->active++;

    if (counter->access) {
        access->tunnel->visits++;
    }

    return counter;
}


void
ngx_zltunnel_access_leave(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter)
{
    if (counter->access) {
        counter->access->tunnel->visits--;
    }

    ngx_zltunnel_counter_put(registry, counter);
}


void
ngx_zltunnel_access_fold(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_sh_counter_t *counter)
{
    ngx_uint_t  i;

    access->tunnel->visits -= counter->active;
    access->total += counter->total;

    for (i = 0; i < 2; i++) {
        access->bytes[i] += counter->bytes[i];
        access->datagrams[i] += counter->datagrams[i];
    }
}


void
ngx_zltunnel_access_sum(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_access_sum_t *sum)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_zltunnel_sh_counter_t  *counter;

    sum->active = 0;
    sum->total = access->total;
    ngx_memcpy(sum->bytes, access->bytes, sizeof(sum->bytes));
    ngx_memcpy(sum->datagrams, access->datagrams, sizeof(sum->datagrams));

    for (q = ngx_queue_head(&access->counters);
         q != ngx_queue_sentinel(&access->counters);
         q = ngx_queue_next(q))
    {
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);

        sum->active += counter->active;
        sum->total += counter->total;

        for (i = 0; i < 2; i++) {
            sum->bytes[i] += counter->bytes[i];
            sum->datagrams[i] += counter->datagrams[i];
        }
    }
}
