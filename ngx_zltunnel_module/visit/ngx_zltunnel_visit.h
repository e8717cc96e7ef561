
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections of visitors in this worker: what on-demand access carries.
 *
 * A visitor opens an access session for a service on its control channel, and
 * a data channel for each connection of its own clients; a dial gets the
 * channel of the agent that has the service, and a relay joins the two.  A
 * visit is one such connection, in the worker where it landed,
 * ngx_zltunnel_visit_tcp.c; or, of a session of UDP, the one channel with its
 * datagrams, ngx_zltunnel_visit_udp.c.
 */


#ifndef _NGX_ZLTUNNEL_VISIT_H_INCLUDED_
#define _NGX_ZLTUNNEL_VISIT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_forward.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"


struct ngx_zltunnel_visit_s {
    ngx_queue_t                  queue;       /* of this worker */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_end_t           end;         /* the visitor's channel */
    zlt_frames_t                 frames;      /* of it, for TCP */
    ngx_zltunnel_link_t          link;        /* to the visitor's tunnel */
    ngx_zltunnel_sh_counter_t   *counter;     /* of the session */
    u_char                       access_id[ZLT_ID_SIZE];
    u_char                       tunnel_id[ZLT_ID_SIZE];
    uint64_t                     end_time;    /* deadline and grace, as last
                                                 seen; 0: none */
    ngx_uint_t                   resets;      /* of the registry, so far */
    ngx_zltunnel_access_ask_t    ask;         /* but for the token */
    ngx_str_t                    client_addr; /* the visitor's */
    ngx_zltunnel_dial_t          dial;
    ngx_zltunnel_connect_t       connect;     /* of TCP */
    ngx_event_t                  timer;

    /* of datagrams */
    ngx_zltunnel_datagrams_t     side[2];     /* 0 visitor, 1 service */
    ngx_zltunnel_sh_counter_t   *served;      /* while there are sessions */
    ngx_rbtree_t                 sessions;    /* their numbers */
    ngx_rbtree_node_t            sentinel;
    ngx_uint_t                   nsessions;
    uint32_t                     number;      /* the last one */
    ngx_zltunnel_portion_t       portion[2];    /* [i] from side[i] */

    unsigned                     carrying:1;
    unsigned                     failing:1;   /* ConnectFail was sent */
};


/* what the http side knows of a channel that is to become a visit */

typedef struct {
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       access_id[ZLT_ID_SIZE];
    ngx_zltunnel_sh_counter_t   *counter;     /* reserved */
    ngx_str_t                    client_addr; /* "ip:port" of the visitor */
    ngx_str_t                    client;      /* that of its client, or empty */
    ngx_uint_t                   local;       /* it is on this host */
    ngx_uint_t                   ws;          /* within a WebSocket */
} ngx_zltunnel_access_request_t;


/* As ngx_zltunnel_channel_place_take(), _leave() and ngx_zltunnel_channel_start():
   NGX_OK, 403, 410, 421, 503.  Strings of the request are copied; data may be changed. */
ngx_int_t ngx_zltunnel_visit_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_request_t *req, u_char *key, ngx_connection_t **held,
    ngx_log_t *log);
void ngx_zltunnel_visit_cancel(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_request_t *req);
void ngx_zltunnel_visit_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, ngx_zltunnel_access_request_t *req, u_char *data,
    size_t len, ngx_str_t *answer);
/* cuts it and closes both channels, by a reset */
void ngx_zltunnel_visit_cut(ngx_zltunnel_visit_t *visit);
/* frees the visit; its channel was prepared for what the close is to be */
void ngx_zltunnel_visit_close(ngx_zltunnel_visit_t *visit);
/* dials the service; what comes of it is dial->handler's */
void ngx_zltunnel_visit_dial(ngx_zltunnel_visit_t *visit);
/* ends those whose session is over or gone: every second, or when told */
void ngx_zltunnel_visit_check_all(ngx_zltunnel_registry_t *registry);
/* the worker begins to exit: datagrams go elsewhere; or it does: all */
void ngx_zltunnel_visit_exit(ngx_uint_t all);


#endif /* _NGX_ZLTUNNEL_VISIT_H_INCLUDED_ */
