
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DIAL_START_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_START_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial.h"


/* whether a service takes one more connection */

typedef struct {
    ngx_zltunnel_dial_e          rc;
    const char                  *limit;      /* that is reached, or NULL */
    u_char                       token[32];  /* of the tunnel: SHA-256 */
    ngx_str_t                    ill;        /* REFUSED: why it is down */
} ngx_zltunnel_admission_t;


/*
 * Dials a service: by the port that the client came to, by name (token: the
 * name of the token that must have it, or NULL), or by its id.  handler is
 * called once, perhaps before this returns; on NGX_ZLTUNNEL_DIAL_OK
 * dial->channel is the caller's.  Whatever came of it,
 * ngx_zltunnel_dial_done() must follow.
 */
void ngx_zltunnel_dial_start_port(ngx_zltunnel_dial_t *dial, in_port_t port);
void ngx_zltunnel_dial_start_name(ngx_zltunnel_dial_t *dial, ngx_str_t *name,
    ngx_str_t *token);
/* likewise by the name of a host, in the form of zlt_host_name() */
void ngx_zltunnel_dial_start_host(ngx_zltunnel_dial_t *dial, ngx_str_t *host,
    ngx_str_t *token);
/* by its ids; with dial->datagrams it is not counted as a connection, and there
   is no Connect on the channel */
void ngx_zltunnel_dial_start_service(ngx_zltunnel_dial_t *dial,
    u_char *tunnel_id, u_char *service_id);
/*
 * The same in two steps, for who finds the service by itself: admit under the
 * lock (service may be NULL: there is none), start without it.  Between them
 * the dial is counted as a connection, so the second must follow.
 */
void ngx_zltunnel_dial_start_admit(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_admission_t *admission);
void ngx_zltunnel_dial_start(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_admission_t *admission);


#endif /* _NGX_ZLTUNNEL_DIAL_START_H_INCLUDED_ */
