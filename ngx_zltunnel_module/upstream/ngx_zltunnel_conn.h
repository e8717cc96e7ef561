
/*
 * Copyright (C) zltunnel authors
 */

/* Tunnelled services as peers of nginx's upstreams, http and stream alike. */


#ifndef _NGX_ZLTUNNEL_CONN_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONN_H_INCLUDED_


#include <ngx_event_connect.h>

#include "ngx_zltunnel.h"
#include "ngx_zltunnel_balance.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn_state.h"


typedef void (*ngx_zltunnel_conn_pt)(ngx_zltunnel_conn_t *conn);


/*
 * The connection to a service that nginx's upstream code holds, with what of
 * it is ours: it lasts as long as that connection, beyond a request if it is
 * kept alive.
 */

struct ngx_zltunnel_conn_s {
    ngx_zltunnel_dial_t          dial;
    ngx_zltunnel_conn_pt         release;     /* when its pool is destroyed */
    ngx_zltunnel_conn_state_e    state;
    ngx_connection_t            *connection;  /* NULL: closed */
    ngx_zltunnel_upstream_t     *up;          /* until it is bound */
    void                        *pair;        /* the relay behind it */
    ngx_zltunnel_channel_t      *lent;        /* the channel, to come back */
    ngx_connection_t            *own;         /* .. its own connection */
    ngx_connection_t            *held;        /* for the relay, until then */
    ngx_zltunnel_channel_t      *moving;      /* the one to take its place */
    ngx_queue_t                  queue;       /* of this worker, if bound */
    ngx_send_chain_pt            send_chain;  /* while it is lent */
    void                        *pace;        /* of conn_pace, once its token has
                                                 a rate */
    ngx_event_t                  later;       /* see ngx_zltunnel_search.c */
    ngx_msec_t                   until;
    ngx_uint_t                   seen;        /* hosts.added, at the last look */
    ngx_zltunnel_dial_e          rc;          /* of the dial, if it failed */
    unsigned                     kept:1;      /* by TCP's keepalive */
    unsigned                     settles:1;   /* it is looked at what is left */
    ngx_msec_t                   dead;        /* its channel is, that says
                                                 nothing; 0: in a minute */
    ngx_msec_t                   since;       /* bound */
    ngx_msec_t                   unacked;     /* bytes, since; 0: none */
    u_char                       addr[NGX_SOCKADDR_STRLEN];
};


/*
 * What peer.get returns for the chosen service.  NGX_AGAIN: pc->connection
 * is a placeholder that will be connected, fail, or time out as if connect()
 * were under way; NGX_DONE: it can be written to already; NGX_DECLINED: it has
 * failed at once; NGX_ERROR.
 *
 * pool: NULL, and the connection gets a pool of its own, with which its state
 * is freed; or that of a session, and ngx_zltunnel_conn_release() must follow.
 */
ngx_int_t ngx_zltunnel_conn_connect(ngx_zltunnel_upstream_t *up,
    ngx_peer_connection_t *pc, ngx_connection_t *client, ngx_pool_t *pool,
    ngx_zltunnel_conn_t **result);
/* may be called again; the connection is closed by its owner, soon */
void ngx_zltunnel_conn_release(ngx_zltunnel_conn_t *conn);
/* adds to what the status shows of the service */
void ngx_zltunnel_conn_count(ngx_zltunnel_conn_t *conn, off_t sent,
    off_t received);
/* starts the dial to what was chosen; NGX_DECLINED: it has failed at once */
ngx_int_t ngx_zltunnel_conn_dial(ngx_zltunnel_conn_t *conn);
/* it has failed before it was bound */
void ngx_zltunnel_conn_fail(ngx_zltunnel_conn_t *conn, ngx_zltunnel_dial_e rc);


#endif /* _NGX_ZLTUNNEL_CONN_H_INCLUDED_ */
