
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CONN_STATE_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONN_STATE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* how far a connection is: see ngx_zltunnel_conn_state.c */

typedef enum {
    NGX_ZLTUNNEL_CONN_NEW = 0,
    NGX_ZLTUNNEL_CONN_SEARCHES,     /* for an agent that has its host */
    NGX_ZLTUNNEL_CONN_STARTS,       /* its dial, within this call */
    NGX_ZLTUNNEL_CONN_DIALS,
    NGX_ZLTUNNEL_CONN_EARLY,        /* .. and is written to already */
    NGX_ZLTUNNEL_CONN_REFUSED,      /* at once, and nobody was told */
    NGX_ZLTUNNEL_CONN_FAILED,

    NGX_ZLTUNNEL_CONN_PAIRED,       /* a socketpair, with a relay behind it */
    NGX_ZLTUNNEL_CONN_OVER,         /* .. of which the relay has ended */
    NGX_ZLTUNNEL_CONN_LENT,         /* a channel, with its socket */
    NGX_ZLTUNNEL_CONN_LANE,         /* a channel that is a lane */
    NGX_ZLTUNNEL_CONN_ASKS,         /* .. whether it may leave that */
    NGX_ZLTUNNEL_CONN_LEAVES,       /* .. which it may, behind a message */
    NGX_ZLTUNNEL_CONN_MOVED,        /* .. and writes to the other channel */
    NGX_ZLTUNNEL_CONN_BROKEN,       /* whoever holds it finds it reset */

    NGX_ZLTUNNEL_CONN_CLOSED
} ngx_zltunnel_conn_state_e;


/* it has what its dial has found, and may last longer than a request */
#define ngx_zltunnel_conn_bound(conn)                                         \
    ((conn)->state >= NGX_ZLTUNNEL_CONN_PAIRED                                \
     && (conn)->state < NGX_ZLTUNNEL_CONN_CLOSED)

/* and what that is, is a lane, which it may be about to leave */
#define ngx_zltunnel_conn_on_lane(conn)                                       \
    ((conn)->state >= NGX_ZLTUNNEL_CONN_LANE                                  \
     && (conn)->state <= NGX_ZLTUNNEL_CONN_MOVED)


/* The one place where the state changes: last, when all is as the new one has
   it.  What is no step is said in the log, and ends the connection. */
void ngx_zltunnel_conn_state(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_conn_state_e state);


#endif /* _NGX_ZLTUNNEL_CONN_STATE_H_INCLUDED_ */
