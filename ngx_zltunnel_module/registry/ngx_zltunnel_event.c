
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Events, from when they happen until they are told.
 *
 * Much of it happens under the lock, where nothing may be logged or sent.  So an
 * event is noted, with all that is worth telling of it, and told once the lock
 * is gone: by whoever noted it, with the log that it has, or else at the end of
 * this turn of the loop.  Those of one worker are told in the order in which
 * they happened.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_event.h"


static void ngx_zltunnel_event_handler(ngx_event_t *ev);
static void ngx_zltunnel_event_hosts(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_service_t *service);


static ngx_queue_t            ngx_zltunnel_event_noted;
static ngx_zltunnel_event_pt  ngx_zltunnel_event_listener;
static ngx_event_t            ngx_zltunnel_event_event;
static ngx_connection_t       ngx_zltunnel_event_dummy;


void
ngx_zltunnel_event_init(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_zltunnel_event_noted);

    ngx_zltunnel_event_dummy.fd = (ngx_socket_t) -1;

    ngx_zltunnel_event_event.handler = ngx_zltunnel_event_handler;
    ngx_zltunnel_event_event.data = &ngx_zltunnel_event_dummy;
    ngx_zltunnel_event_event.log = cycle->log;
}


void
ngx_zltunnel_event_listen(ngx_zltunnel_event_pt handler)
{
    ngx_zltunnel_event_listener = handler;
}


ngx_zltunnel_event_t *
ngx_zltunnel_event_new(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_event_e type)
{
    ngx_time_t            *tp;
    ngx_zltunnel_event_t  *event;

    if (ngx_zltunnel_event_event.handler == NULL) {
        return NULL;
    }

    event = ngx_alloc(sizeof(ngx_zltunnel_event_t),
                      ngx_zltunnel_event_event.log);
    if (event == NULL) {
        return NULL;
    }

    ngx_memzero(event, offsetof(ngx_zltunnel_event_t, room));

    tp = ngx_timeofday();

    event->type = type;
    event->registry = registry;
    event->sec = tp->sec;
    event->msec = tp->msec;

    if (ngx_zltunnel_event_log_name(event)->len) {
        event->sequence = ngx_atomic_fetch_add(&registry->sh->events, 1) + 1;
    }

    ngx_queue_insert_tail(&ngx_zltunnel_event_noted, &event->queue);

    ngx_post_event(&ngx_zltunnel_event_event, &ngx_posted_events);

    return event;
}


void
ngx_zltunnel_event_text(ngx_zltunnel_event_t *event, ngx_str_t *field,
    u_char *data, size_t len)
{
    if (event == NULL) {
        return;
    }

    field->data = event->room + event->used;
    field->len = ngx_min(len, NGX_ZLTUNNEL_EVENT_ROOM - event->used);

    ngx_memcpy(field->data, data, field->len);

    event->used += field->len;
}


void
ngx_zltunnel_event_reason(ngx_zltunnel_event_t *event, ngx_uint_t code,
    const char *reason)
{
    if (event == NULL) {
        return;
    }

    event->code = code;

    if (reason) {
        ngx_zltunnel_event_text(event, &event->reason, (u_char *) reason,
                                ngx_strlen(reason));
    }
}


void
ngx_zltunnel_event_tunnel(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    if (event == NULL) {
        return;
    }

    event->tunnel = 1;
    ngx_memcpy(event->tunnel_id, tunnel->id, ZLT_ID_SIZE);

    ngx_zltunnel_event_text(event, &event->token, tunnel->name,
                            tunnel->name_len);
    ngx_zltunnel_event_text(event, &event->agent, tunnel->agent,
                            tunnel->agent_len);
    ngx_zltunnel_event_text(event, &event->address, tunnel->address,
                            tunnel->address_len);
}


void
ngx_zltunnel_event_past(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_past_t *past)
{
    if (event == NULL) {
        return;
    }

    event->tunnel = 1;
    ngx_memcpy(event->tunnel_id, past->id, ZLT_ID_SIZE);

    ngx_zltunnel_event_text(event, &event->token, past->name, past->name_len);
    ngx_zltunnel_event_text(event, &event->agent, past->agent,
                            past->agent_len);
    ngx_zltunnel_event_text(event, &event->address, past->address,
                            past->address_len);
}


void
ngx_zltunnel_event_service(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_service_t *service)
{
    if (event == NULL) {
        return;
    }

    ngx_zltunnel_event_tunnel(event, service->tunnel);

    event->registered = 1;
    ngx_memcpy(event->service_id, service->id, ZLT_ID_SIZE);

    event->udp = service->udp;
    event->port = service->port;

    ngx_zltunnel_event_text(event, &event->service, service->name,
                            service->name_len);
    ngx_zltunnel_event_hosts(event, service);
}


/* as many of them as leave room for a reason */

static void
ngx_zltunnel_event_hosts(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_service_t *service)
{
    u_char                    *p, *last;
    ngx_queue_t               *q;
    ngx_zltunnel_sh_hosted_t  *hosted;

    p = event->room + event->used;
    last = event->room + NGX_ZLTUNNEL_EVENT_ROOM - NGX_ZLTUNNEL_TEXT_MAX;

    event->hosts.data = p;

    for (q = ngx_queue_head(&service->hosts);
         q != ngx_queue_sentinel(&service->hosts);
         q = ngx_queue_next(q))
    {
        hosted = ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list);

        if (last - p < hosted->host->len + 1) {
            break;
        }

        if (p != event->hosts.data) {
            *p++ = ' ';
        }

        p = ngx_cpymem(p, hosted->host->name, hosted->host->len);
    }

    event->hosts.len = p - event->hosts.data;
    event->used += event->hosts.len;
}


void
ngx_zltunnel_event_access(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_access_t *access, ngx_zltunnel_access_sum_t *sum)
{
    if (event == NULL) {
        return;
    }

    ngx_zltunnel_event_tunnel(event, access->tunnel);

    event->access = 1;
    ngx_memcpy(event->access_id, access->id, ZLT_ID_SIZE);

    event->udp = access->udp;

    ngx_zltunnel_event_text(event, &event->service, access->name,
                            access->name_len);
    ngx_zltunnel_event_text(event, &event->target,
                            ngx_zltunnel_access_target(access),
                            access->target_len);

    event->sum = *sum;
}


static void
ngx_zltunnel_event_handler(ngx_event_t *ev)
{
    ngx_zltunnel_event_tell(ev->log);
}


void
ngx_zltunnel_event_tell(ngx_log_t *log)
{
    ngx_queue_t           *q;
    ngx_zltunnel_event_t  *event;

    if (ngx_zltunnel_event_event.handler == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_zltunnel_event_noted)) {
        q = ngx_queue_head(&ngx_zltunnel_event_noted);
        ngx_queue_remove(q);

        event = ngx_queue_data(q, ngx_zltunnel_event_t, queue);

        ngx_zltunnel_event_log(event, log);

        if (ngx_zltunnel_event_listener && event->sequence) {
            ngx_zltunnel_event_listener(event);
        }

        ngx_free(event);
    }
}
