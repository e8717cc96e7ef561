
/*
 * Copyright (C) zltunnel authors
 */

/*
 * On-demand access: agents that reach services of other agents.
 *
 * A visitor opens an access session for a service on its control channel, and
 * a data channel for each connection of its own clients; a dial gets the
 * channel of the agent that has the service, and a relay joins the two.  What
 * is said of a session on control channels is in _access_control.c and
 * _access_end.c, what all workers know of it in _access.c.  A visit is one such
 * connection, in the worker where it landed: _access_visit.c and _access_tcp.c;
 * or, of a session of UDP, the one channel with its datagrams: _access_udp.c
 * and _access_side.c.
 */


#ifndef _NGX_ZLTUNNEL_ACCESS_H_INCLUDED_
#define _NGX_ZLTUNNEL_ACCESS_H_INCLUDED_


#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_json.h"
#include "zlt_dgram.h"


/* an access session, in the registry */

struct ngx_zltunnel_sh_access_s {
    ngx_rbtree_node_t            node;        /* in sh->accesses, by id */
    ngx_queue_t                  queue;       /* in tunnel->accesses */
    ngx_zltunnel_sh_tunnel_t    *tunnel;      /* the visitor's */
    u_char                       id[ZLT_ID_SIZE];
    time_t                       created;
    uint64_t                     deadline;    /* of CLOCK_BOOTTIME, ms;
                                                 0: none */
    uint64_t                     grace;       /* ms, for connections */
    uint8_t                      udp;
    uint8_t                      stale;       /* not resumed yet */
    uint8_t                      told;        /* its end, to the visitor */

    ngx_queue_t                  counters;    /* ngx_zltunnel_sh_counter_t */
    uint64_t                     total;       /* folded in from dead workers */
    uint64_t                     bytes[2];    /* 0 from the visitor, 1 to it */
    uint64_t                     datagrams[2];

    uint8_t                      name_len;    /* of the service */
    uint16_t                     target_len;
    u_char                       name[1];     /* the target is behind it;
                                                 allocated to fit */
};


#define ngx_zltunnel_access_target(access)                                    \
    ((access)->name + (access)->name_len)


/* what is counted of a session, by all workers */

typedef struct {
    ngx_uint_t                   active;
    uint64_t                     total;
    uint64_t                     bytes[2];
    uint64_t                     datagrams[2];
} ngx_zltunnel_access_sum_t;


/* what a session is for, and who asks */

typedef struct {
    ngx_str_t                    name;        /* of the service */
    ngx_str_t                    target;      /* empty: none */
    ngx_str_t                    visitor;     /* name of its token */
    ngx_zltunnel_token_t        *token;       /* the visitor's */
    ngx_uint_t                   udp;
    ngx_uint_t                   local;       /* it is on this host */

    ngx_uint_t                   code;        /* of the refusal: ZLT_E_* */
    const char                  *reason;
} ngx_zltunnel_access_ask_t;


typedef struct ngx_zltunnel_visit_s  ngx_zltunnel_visit_t;


/* one of the two ends of datagram channels */

typedef struct {
    ngx_zltunnel_end_t          *end;
    zlt_dgram_reader_t           reader;
    u_char                      *in;          /* the beginning of a frame */
    size_t                       in_len;
    size_t                       in_size;
    u_char                      *out;         /* frames on their way there */
    size_t                       out_pos;
    size_t                       out_len;
    size_t                       out_size;
    ngx_msec_t                   due;         /* a heartbeat, or its answer */
    unsigned                     asked:1;
} ngx_zltunnel_visit_side_t;


struct ngx_zltunnel_visit_s {
    ngx_queue_t                  queue;       /* of this worker */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_end_t           end;         /* the visitor's channel */
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
    ngx_zltunnel_relay_t         relay;
    ngx_event_t                  timer;
    size_t                       early;       /* bytes the relay was given */

    /* of datagrams */
    ngx_zltunnel_visit_side_t    side[2];     /* 0 visitor, 1 service */
    ngx_zltunnel_sh_counter_t   *served;      /* while there are sessions */
    ngx_rbtree_t                 sessions;    /* their numbers */
    ngx_rbtree_node_t            sentinel;
    ngx_uint_t                   nsessions;
    uint32_t                     number;      /* the last one */

    unsigned                     dialling:1;
    unsigned                     relaying:1;
    unsigned                     carrying:1;
    unsigned                     failing:1;   /* ConnectFail was sent */
    unsigned                     eof:1;
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


/* ngx_zltunnel_access.c: sessions in the registry; under its lock */

/* milliseconds of CLOCK_BOOTTIME, which goes on while a machine sleeps */
uint64_t ngx_zltunnel_boottime(void);
/* an id for the log; static, until the next call */
u_char *ngx_zltunnel_access_hex(u_char *id);
ngx_zltunnel_sh_access_t *ngx_zltunnel_access_find(ngx_zltunnel_sh_t *sh,
    u_char *id);
/* m is an AccessOpen; NULL: zone full */
ngx_zltunnel_sh_access_t *ngx_zltunnel_access_create(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    zlt_msg_t *m, u_char *id);
void ngx_zltunnel_access_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_access_t *access);
void ngx_zltunnel_accesses_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* those that were not resumed in time; 1 if there was one */
ngx_uint_t ngx_zltunnel_accesses_stale(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* the visitor is away: those whose time and grace are over */
void ngx_zltunnel_accesses_sweep(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* the deadline has passed */
ngx_uint_t ngx_zltunnel_access_over(ngx_zltunnel_sh_access_t *access,
    uint64_t now);
/* seconds, rounded up; 0: no end */
uint32_t ngx_zltunnel_access_left(ngx_zltunnel_sh_access_t *access,
    uint64_t now);
/* the token still allows it: the name, and the time */
ngx_uint_t ngx_zltunnel_access_allowed(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_token_t *token, uint64_t now);
/* of the services that may serve this the one whose turn it is; NULL:
   ask->code and ask->reason say why there is none */
ngx_zltunnel_sh_service_t *ngx_zltunnel_access_service(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_access_ask_t *ask);
/* the visitor's token is on the serving agent's list, if that gave one */
ngx_uint_t ngx_zltunnel_access_listed(ngx_zltunnel_sh_service_t *service,
    ngx_str_t *visitor);
/* one of its visits begins in this worker: NULL: zone full */
ngx_zltunnel_sh_counter_t *ngx_zltunnel_access_enter(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_access_t *access);
void ngx_zltunnel_access_leave(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter);
void ngx_zltunnel_access_fold(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_sh_counter_t *counter);
void ngx_zltunnel_access_sum(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_access_sum_t *sum);


/* ngx_zltunnel_access_control.c: what is said on control channels */

/* AccessOpen, AccessRenew, AccessClose */
void ngx_zltunnel_access_message(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);


/* ngx_zltunnel_access_end.c */

/* every second: ends what is over, or no longer allowed */
void ngx_zltunnel_access_check(ngx_zltunnel_control_t *control);
/* sessions of agents that are away: the token set has changed */
void ngx_zltunnel_access_away(ngx_zltunnel_registry_t *registry);
/* those who hold connections of sessions that are gone need not wait */
void ngx_zltunnel_access_notify(ngx_zltunnel_registry_t *registry);


/* ngx_zltunnel_access_visit.c: connections of visitors in this worker */

/* As ngx_zltunnel_channel_check(), _cancel() and _start(): NGX_OK, 403, 410,
   421, 503.  Strings of the request are copied; data may be changed. */
ngx_int_t ngx_zltunnel_visit_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_request_t *req, u_char *key, ngx_log_t *log);
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
void ngx_zltunnel_visits_check(ngx_zltunnel_registry_t *registry);
/* the worker begins to exit: datagrams go elsewhere; or it does: all */
void ngx_zltunnel_visits_exit(ngx_uint_t all);


/* ngx_zltunnel_access_tcp.c */

/* data: bytes of its client that came behind the request */
void ngx_zltunnel_visit_connect(ngx_zltunnel_visit_t *visit, u_char *data,
    size_t len);
/* answers ConnectFail, and waits for the visitor to close */
void ngx_zltunnel_visit_refuse(ngx_zltunnel_visit_t *visit, ngx_uint_t code,
    const char *reason);


/* ngx_zltunnel_access_udp.c */

/* data: frames that came behind the request */
void ngx_zltunnel_visit_carry(ngx_zltunnel_visit_t *visit, u_char *data,
    size_t len);
/* frees what it has */
void ngx_zltunnel_visit_carry_done(ngx_zltunnel_visit_t *visit);
/* passes on the frames that side[i] has sent: NGX_ERROR: it must end */
ngx_int_t ngx_zltunnel_visit_parse(ngx_zltunnel_visit_t *visit, ngx_uint_t i,
    const u_char *data, size_t len);


/* ngx_zltunnel_access_side.c */

/* both channels are there; NGX_ERROR: one has failed */
ngx_int_t ngx_zltunnel_visit_sides_start(ngx_zltunnel_visit_t *visit,
    ngx_zltunnel_end_t *service);
/* the beginning of a frame, for the next time: copied */
ngx_int_t ngx_zltunnel_visit_keep(ngx_zltunnel_visit_side_t *side,
    const u_char *data, size_t len);
/* Where a frame of that size to that side may be put; the caller raises
   side->out_len.  NULL: no memory, or far too much waits. */
u_char *ngx_zltunnel_visit_room(ngx_zltunnel_visit_side_t *side, size_t size);
/* puts a heartbeat there, with the time of now, or the answer to one */
ngx_int_t ngx_zltunnel_visit_beat(ngx_zltunnel_visit_side_t *side,
    ngx_uint_t type, uint64_t timestamp);


/* ngx_zltunnel_access_status.c */

/* the list of a tunnel's sessions into an array of JSON: NGX_ERROR */
ngx_int_t ngx_zltunnel_access_status(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, u_char *tunnel_id);


#endif /* _NGX_ZLTUNNEL_ACCESS_H_INCLUDED_ */
