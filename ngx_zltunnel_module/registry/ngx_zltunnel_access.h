
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Sessions of on-demand access, in the registry.  All of it runs under the
 * lock.
 */


#ifndef _NGX_ZLTUNNEL_ACCESS_H_INCLUDED_
#define _NGX_ZLTUNNEL_ACCESS_H_INCLUDED_


#include "ngx_zltunnel.h"


/* an access session, in the registry */

struct ngx_zltunnel_sh_access_s {
    ngx_rbtree_node_t            node;        /* in sh->accesses, by id */
    ngx_queue_t                  queue;       /* in tunnel->accesses */
    ngx_zltunnel_sh_tunnel_t    *tunnel;      /* the visitor's */
    u_char                       id[ZLT_ID_SIZE];
    time_t                       created;
    uint64_t                     opened;      /* the same, of CLOCK_BOOTTIME,
                                                 ms */
    uint64_t                     deadline;    /* of CLOCK_BOOTTIME, ms;
                                                 0: none */
    uint64_t                     grace;       /* ms, for connections */
    uint8_t                      udp;
    uint8_t                      stale;       /* not resumed yet */
    uint8_t                      told;        /* its end, to the visitor */
    uint8_t                      ended;       /* by the administrator */

    ngx_queue_t                  counters;    /* ngx_zltunnel_sh_counter_t */
    uint64_t                     total;       /* folded in from dead workers */
    uint64_t                     bytes[2];    /* 0 from the visitor, 1 to it */
    uint64_t                     datagrams[2];

    uint8_t                      name_len;    /* of the service */
    uint16_t                     target_len;
    u_char                       name[1];     /* the target is behind it;
                                                 allocated to fit */
};


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


#define ngx_zltunnel_access_target(access)                                    \
    ((access)->name + (access)->name_len)


/* milliseconds of CLOCK_BOOTTIME, which goes on while a machine sleeps */
uint64_t ngx_zltunnel_access_boottime(void);
/* an id for the log; static, until the next call */
u_char *ngx_zltunnel_access_hex(u_char *id);
ngx_zltunnel_sh_access_t *ngx_zltunnel_access_find(ngx_zltunnel_sh_t *sh,
    u_char *id);
/* m is an AccessOpen; NULL: zone full */
ngx_zltunnel_sh_access_t *ngx_zltunnel_access_create(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    zlt_msg_t *m, u_char *id);
/* its visitor is away, or is back and has not resumed it */
ngx_uint_t ngx_zltunnel_access_waits(ngx_zltunnel_sh_access_t *access);
/* to another tunnel of its token's name, with its visits */
void ngx_zltunnel_access_move(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* its end is told, with the reason, unless it was before */
void ngx_zltunnel_access_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_access_t *access, ngx_uint_t code, const char *reason);
void ngx_zltunnel_access_tell(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_access_t *access, ngx_uint_t code, const char *reason);
void ngx_zltunnel_access_remove_all(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* those that were not resumed in time; 1 if there was one */
ngx_uint_t ngx_zltunnel_access_stale(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* the visitor is away: those whose time and grace are over */
void ngx_zltunnel_access_sweep(ngx_zltunnel_registry_t *registry,
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
/* one of its visits begins in this worker; in a full zone none of its tunnel's
   max_connections; NULL: the worker has no slot */
ngx_zltunnel_sh_counter_t *ngx_zltunnel_access_enter(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_access_t *access);
void ngx_zltunnel_access_leave(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter);
void ngx_zltunnel_access_fold(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_sh_counter_t *counter);
void ngx_zltunnel_access_sum(ngx_zltunnel_sh_access_t *access,
    ngx_zltunnel_access_sum_t *sum);


#endif /* _NGX_ZLTUNNEL_ACCESS_H_INCLUDED_ */
