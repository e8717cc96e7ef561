
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Events: what happens to agents, services and access sessions that somebody
 * who runs the server wants to know.  An event is told once, by the worker that
 * made it happen, and whatever is said of it, in the log or elsewhere, is made
 * of it.
 */


#ifndef _NGX_ZLTUNNEL_EVENT_H_INCLUDED_
#define _NGX_ZLTUNNEL_EVENT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_shm.h"


#define NGX_ZLTUNNEL_EVENT_ROOM  4096         /* bytes, of all its texts */
#define NGX_ZLTUNNEL_EVENT_TEXT  1536         /* .. of its line */


typedef enum {
    NGX_ZLTUNNEL_EVENT_CONNECTED = 0,         /* an agent, with a new tunnel */
    NGX_ZLTUNNEL_EVENT_BACK,                  /* .. that was disconnected */
    NGX_ZLTUNNEL_EVENT_MOVED,                 /* .. by another control channel,
                                                 without a gap */
    NGX_ZLTUNNEL_EVENT_TAKEN_OVER,            /* .. from another process */
    NGX_ZLTUNNEL_EVENT_REFUSED,
    NGX_ZLTUNNEL_EVENT_DISCONNECTED,
    NGX_ZLTUNNEL_EVENT_GONE,                  /* .. for longer than its grace */
    NGX_ZLTUNNEL_EVENT_REVOKED,
    NGX_ZLTUNNEL_EVENT_KICKED,
    NGX_ZLTUNNEL_EVENT_DRAINED,
    NGX_ZLTUNNEL_EVENT_RESUMED,
    NGX_ZLTUNNEL_EVENT_REGISTERED,            /* a service */
    NGX_ZLTUNNEL_EVENT_AGAIN,                 /* .. that waited for its agent */
    NGX_ZLTUNNEL_EVENT_SERVICE_REFUSED,
    NGX_ZLTUNNEL_EVENT_SERVICE_GONE,          /* .. and its tunnel is not */
    NGX_ZLTUNNEL_EVENT_OPENED,                /* access */
    NGX_ZLTUNNEL_EVENT_ACCESS_RESUMED,
    NGX_ZLTUNNEL_EVENT_RENEWED,
    NGX_ZLTUNNEL_EVENT_ACCESS_REFUSED,
    NGX_ZLTUNNEL_EVENT_RENEWAL_REFUSED,
    NGX_ZLTUNNEL_EVENT_STOPPED,               /* by the visitor */
    NGX_ZLTUNNEL_EVENT_CLOSED,
    NGX_ZLTUNNEL_EVENTS                       /* how many there are */
} ngx_zltunnel_event_e;


/* what is not known is empty */

typedef struct {
    ngx_queue_t                  queue;
    ngx_zltunnel_event_e         type;
    ngx_zltunnel_registry_t     *registry;
    time_t                       sec;
    ngx_uint_t                   msec;
    uint64_t                     sequence;    /* in the registry, of all
                                                 workers */

    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       service_id[ZLT_ID_SIZE];
    u_char                       access_id[ZLT_ID_SIZE];

    ngx_str_t                    token;       /* its name */
    ngx_str_t                    agent;       /* name and version, as it says */
    ngx_str_t                    address;
    ngx_str_t                    former;      /* .. of who was taken over */

    ngx_str_t                    service;
    ngx_str_t                    hosts;       /* separated by spaces */
    in_port_t                    port;        /* 0: none */
    ngx_str_t                    target;
    ngx_str_t                    by;          /* token of who serves it */
    time_t                       until;       /* 0: without an end */

    ngx_uint_t                   code;        /* ZLT_E_*, or 0 */
    ngx_str_t                    reason;
    ngx_zltunnel_access_sum_t    sum;

    unsigned                     tunnel:1;    /* there is an id of it */
    unsigned                     registered:1; /* .. of the service */
    unsigned                     access:1;
    unsigned                     udp:1;

    size_t                       used;        /* of room */
    u_char                       room[NGX_ZLTUNNEL_EVENT_ROOM];
} ngx_zltunnel_event_t;


typedef void (*ngx_zltunnel_event_pt)(ngx_zltunnel_event_t *event);


/* until then nothing is told: the master has nobody to tell */
void ngx_zltunnel_event_init(ngx_cycle_t *cycle);
/* who else is told of each event, behind the log, but for those that only the log
   is told of; the event lasts until it returns */
void ngx_zltunnel_event_listen(ngx_zltunnel_event_pt handler);
/*
 * Something has happened: it is told at the end of this turn of the loop, or
 * when somebody calls ngx_zltunnel_event_tell(), with what has been said of it
 * until then.  Under the lock or not.  NULL, which those below take, if there is
 * no memory.
 */
ngx_zltunnel_event_t *ngx_zltunnel_event_new(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_event_e type);
/* copies a text into a field of the event, or what of it has room */
void ngx_zltunnel_event_text(ngx_zltunnel_event_t *event, ngx_str_t *field,
    u_char *data, size_t len);
/* code: ZLT_E_*, or 0; reason: ended by a 0, or NULL */
void ngx_zltunnel_event_reason(ngx_zltunnel_event_t *event, ngx_uint_t code,
    const char *reason);
/* whose it is, and of what; under the lock */
void ngx_zltunnel_event_tunnel(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_tunnel_t *tunnel);
void ngx_zltunnel_event_past(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_past_t *past);
/* .. with the tunnel that it is of */
void ngx_zltunnel_event_service(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_service_t *service);
void ngx_zltunnel_event_access(ngx_zltunnel_event_t *event,
    ngx_zltunnel_sh_access_t *access, ngx_zltunnel_access_sum_t *sum);
/* without the lock: tells the log, and who listens, what has happened, in
   order */
void ngx_zltunnel_event_tell(ngx_log_t *log);


/* ngx_zltunnel_event_log.c */

void ngx_zltunnel_event_log(ngx_zltunnel_event_t *event, ngx_log_t *log);
/* of its type; empty: nobody but the log is told */
const ngx_str_t *ngx_zltunnel_event_log_name(ngx_zltunnel_event_t *event);
/* its line, cut to size bytes; returns the length */
size_t ngx_zltunnel_event_log_text(ngx_zltunnel_event_t *event, u_char *text,
    size_t size);


/* ngx_zltunnel_event_json.c */

/* the event as JSON, in memory of ngx_alloc(); id: of ZLT_ID_SIZE bytes, by
   which it is known if it comes twice */
ngx_int_t ngx_zltunnel_event_json(ngx_zltunnel_event_t *event, u_char *id,
    ngx_str_t *text);


#endif /* _NGX_ZLTUNNEL_EVENT_H_INCLUDED_ */
