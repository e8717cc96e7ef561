
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Tunnelled services as peers of nginx's upstreams, http and stream alike:
 * what the zltunnel_service directive says, which agent's service a request
 * goes to, and the connection to it.
 */


#ifndef _NGX_ZLTUNNEL_UPSTREAM_H_INCLUDED_
#define _NGX_ZLTUNNEL_UPSTREAM_H_INCLUDED_


#include <ngx_event_connect.h>

#include "ngx_zltunnel_dial.h"


typedef enum {
    NGX_ZLTUNNEL_ROUND_ROBIN = 0,
    NGX_ZLTUNNEL_LEAST_CONN,
    NGX_ZLTUNNEL_RANDOM,
    NGX_ZLTUNNEL_HASH
} ngx_zltunnel_balance_e;


/* zltunnel_service NAME ..; of one upstream{} */

typedef struct {
    ngx_zltunnel_registry_t     *registry;
    ngx_str_t                    service;     /* empty: no such directive */
    ngx_str_t                    token;
    ngx_zltunnel_balance_e       balance;
    ngx_str_t                    key;         /* of HASH, as written */
    ngx_uint_t                   max_fails;
    ngx_msec_t                   fail_timeout;
    unsigned                     backup:1;    /* there are other servers */
    unsigned                     lanes:1;     /* connections may share a
                                                 channel: http */
} ngx_zltunnel_upstream_conf_t;


typedef struct ngx_zltunnel_conn_s  ngx_zltunnel_conn_t;


/* what one request or session has chosen, and has tried before */

typedef struct {
    ngx_zltunnel_upstream_conf_t  *conf;
    ngx_pool_t                  *pool;        /* of the request or session */
    ngx_log_t                   *log;
    uint32_t                     hash;        /* of the key */
    unsigned                     local:1;     /* the client is on this host */
    unsigned                     direct:1;    /* nginx will not speak TLS on
                                                 the connection itself */
    unsigned                     framed:1;    /* .. nor use its descriptor:
                                                 set with direct only */
    unsigned                     early:1;     /* a request that failed may be
                                                 sent again: likewise */
    ngx_msec_t                   timeout;     /* for the connection, if early */

    /* results of ngx_zltunnel_balance() */
    ngx_uint_t                   candidates;  /* how many there were */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       service_id[ZLT_ID_SIZE];
    ngx_str_t                    name;        /* "tunnel/service" */
    struct sockaddr_un           sockaddr;    /* stands for it */
    socklen_t                    socklen;

    ngx_zltunnel_sh_counter_t   *busy;        /* counted there */
    ngx_array_t                 *tried;       /* ids of services */
    unsigned                     chosen:1;
    unsigned                     suspect:1;   /* it has failed before */
    unsigned                     again:1;     /* set by the caller: the next
                                                 may be the same one */
} ngx_zltunnel_upstream_t;


/*
 * The connection to a service that nginx's upstream code holds, with what of
 * it is ours: it lasts as long as that connection, beyond a request if it is
 * kept alive.
 */

struct ngx_zltunnel_conn_s {
    ngx_zltunnel_dial_t          dial;
    ngx_connection_t            *connection;  /* NULL: closed */
    ngx_zltunnel_upstream_t     *up;          /* until it is bound */
    void                        *pair;        /* the relay behind it */
    ngx_zltunnel_channel_t      *lent;        /* the channel, to come back */
    ngx_connection_t            *own;         /* .. its own connection */
    ngx_zltunnel_channel_t      *moving;      /* the one to take its place */
    ngx_queue_t                  queue;       /* bound, of this worker */
    unsigned                     dialling:1;  /* the dial is being started */
    unsigned                     failed:1;    /* .. and failed at once */
    unsigned                     bound:1;
    unsigned                     early:1;     /* written to, not bound yet */
    unsigned                     tcp:1;       /* without keepalive yet */
    unsigned                     asked:1;     /* the agent knows of moving */
    unsigned                     moved:1;     /* .. and that we have left the
                                                 lane */
    ngx_msec_t                   since;       /* bound */
    u_char                       addr[NGX_SOCKADDR_STRLEN];
};


/* ngx_zltunnel_balance.c */

/*
 * Chooses a service that has not been tried.  NGX_OK, or NGX_BUSY: there is
 * none (or, with backup servers, none that is ready); NGX_ERROR: no memory.
 * ngx_zltunnel_balance_done() must follow NGX_OK.
 */
ngx_int_t ngx_zltunnel_balance(ngx_zltunnel_upstream_t *up);
/* the request or session is done with it, or tries another one */
void ngx_zltunnel_balance_done(ngx_zltunnel_upstream_t *up);
/* it has failed, or it works again */
void ngx_zltunnel_balance_failed(ngx_zltunnel_upstream_t *up);
void ngx_zltunnel_balance_works(ngx_zltunnel_upstream_t *up);


/* ngx_zltunnel_upstream_conf.c */

/* The directive's arguments, in cf->args; sets conf->key, to be compiled, for
   "balance=hash:KEY". */
char *ngx_zltunnel_upstream_parse(ngx_conf_t *cf,
    ngx_zltunnel_upstream_conf_t *conf);


/* ngx_zltunnel_upstream.c */

/*
 * What peer.get returns for the chosen service.  NGX_AGAIN: pc->connection
 * is a placeholder that will be connected, fail, or time out as if connect()
 * were under way; NGX_DONE: it can be written to already; NGX_DECLINED: it has
 * failed at once; NGX_ERROR.
 *
 * pool: NULL, and the connection gets a pool of its own, with which its state
 * is freed; or that of a session, and ngx_zltunnel_conn_release() must follow.
 */
ngx_int_t ngx_zltunnel_upstream_connect(ngx_zltunnel_upstream_t *up,
    ngx_peer_connection_t *pc, ngx_connection_t *client, ngx_pool_t *pool,
    ngx_zltunnel_conn_t **conn);
/* the state of a connection with a pool of its own, or NULL */
ngx_zltunnel_conn_t *ngx_zltunnel_conn_of(ngx_connection_t *c);
/* may be called again; the connection is closed by its owner, soon */
void ngx_zltunnel_conn_release(ngx_zltunnel_conn_t *conn);
/* marks a connection that has ended as such, before it may be kept alive */
void ngx_zltunnel_conn_settle(ngx_zltunnel_conn_t *conn);
/* adds to what the status shows of the service */
void ngx_zltunnel_conn_count(ngx_zltunnel_conn_t *conn, off_t sent,
    off_t received);
/*
 * The upstream code is done with the connection: if it is a channel that was
 * lent, that can carry another connection, this one is freed, and its pool,
 * and NGX_OK returned.  reset: it was not used to its end.
 */
ngx_int_t ngx_zltunnel_lent_return(ngx_zltunnel_conn_t *conn,
    ngx_uint_t reset);
/* every second: closes kept connections to services that are gone */
void ngx_zltunnel_conns_check(void);


/* ngx_zltunnel_early.c, for ngx_zltunnel_upstream.c */

/* the connection can be written to; peer.get is to return NGX_DONE */
void ngx_zltunnel_early_start(ngx_zltunnel_conn_t *conn);
/* its descriptor is about to be replaced */
void ngx_zltunnel_early_done(ngx_zltunnel_conn_t *conn);
void ngx_zltunnel_early_fail(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_dial_e rc);


/* ngx_zltunnel_lend.c, for ngx_zltunnel_upstream.c */

/* gives the dial's channel to the connection, which is writable then */
void ngx_zltunnel_lend(ngx_zltunnel_conn_t *conn);
void ngx_zltunnel_lent_attach(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_channel_t *channel);
/* the connection is closed by its owner, and the channel with it */
void ngx_zltunnel_lent_close(ngx_zltunnel_conn_t *conn);
/* its end was read already */
ngx_uint_t ngx_zltunnel_lent_ended(ngx_zltunnel_conn_t *conn);


/* ngx_zltunnel_move.c, for ngx_zltunnel_lend.c */

/* it carries bulk, and shall leave its lane */
void ngx_zltunnel_move_start(ngx_zltunnel_conn_t *conn);
/* goes on with that, if asked: between two messages, and to flush the last */
void ngx_zltunnel_move_leave(ngx_zltunnel_conn_t *conn);
/* Moved has come: conn->lent is another channel; or NGX_ERROR */
ngx_int_t ngx_zltunnel_move_finish(ngx_zltunnel_conn_t *conn);
void ngx_zltunnel_move_cancel(ngx_zltunnel_conn_t *conn);
/* the upstream code is done with it */
void ngx_zltunnel_move_end(ngx_zltunnel_conn_t *conn);


/* ngx_zltunnel_pair.c, for ngx_zltunnel_upstream.c */

/* Relays between the dial's channel and the descriptor that it returns; or -1,
   and the channel is closed. */
ngx_socket_t ngx_zltunnel_pair_start(ngx_zltunnel_conn_t *conn);
/* the connection is closed by its owner */
void ngx_zltunnel_pair_leave(ngx_zltunnel_conn_t *conn);


/* ngx_zltunnel_upstream.c, for the others */

/* whoever holds the connection finds it reset */
void ngx_zltunnel_conn_break(ngx_zltunnel_conn_t *conn);

/* keeps the descriptor of a placeholder for the next one */
void ngx_zltunnel_conn_spare(ngx_connection_t *c);
/* reports c as writable; polled: its descriptor is in epoll */
void ngx_zltunnel_conn_ready(ngx_connection_t *c, ngx_uint_t polled);
/* c->recv_chain() by c->recv() */
ssize_t ngx_zltunnel_recv_chain(ngx_connection_t *c, ngx_chain_t *cl,
    off_t limit);


#endif /* _NGX_ZLTUNNEL_UPSTREAM_H_INCLUDED_ */
