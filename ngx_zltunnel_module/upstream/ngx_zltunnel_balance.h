
/*
 * Copyright (C) zltunnel authors
 */

/* Which agent's service a request or session goes to. */


#ifndef _NGX_ZLTUNNEL_BALANCE_H_INCLUDED_
#define _NGX_ZLTUNNEL_BALANCE_H_INCLUDED_


#include <ngx_event_connect.h>

#include "ngx_zltunnel.h"
#include "ngx_zltunnel_upstream_conf.h"


/* why there is none, for whom it was the name of a host */

typedef enum {
    NGX_ZLTUNNEL_THERE = 0,
    NGX_ZLTUNNEL_NOWHERE,           /* nobody has that name */
    NGX_ZLTUNNEL_EXPECTED,          /* .. yet: agents are on their way */
    NGX_ZLTUNNEL_RESTING            /* its agent is away for longer */
} ngx_zltunnel_absent_e;


/* servers marked "backup", as round robin has them */

typedef struct {
    ngx_event_get_peer_pt        get;
    ngx_event_free_peer_pt       free;
    void                        *data;
#if (NGX_SSL)
    ngx_event_set_peer_session_pt  set_session;
    ngx_event_save_peer_session_pt  save_session;
#endif
    unsigned                     serves:1;    /* from now on */
} ngx_zltunnel_backup_t;


/* what one request or session has chosen, and has tried before */

typedef struct {
    ngx_zltunnel_upstream_conf_t  *conf;
    ngx_pool_t                  *pool;        /* of the request or session */
    ngx_log_t                   *log;
    ngx_str_t                    host;        /* with conf->host: asked for, in
                                                 the form of zlt_host_name();
                                                 empty: it is no host's name */
    /* with conf->host; or NULL.  A connection has failed before anybody could
       write to it: 1 if somebody else sees to the request now. */
    ngx_uint_t                 (*failed)(void *data, ngx_zltunnel_dial_e rc,
        ngx_uint_t code);
    void                        *data;
    uint32_t                     hash;        /* of the key */
    unsigned                     local:1;     /* the client is on this host */
    unsigned                     direct:1;    /* nginx will not speak TLS on
                                                 the connection itself, nor use
                                                 its descriptor */
    unsigned                     early:1;     /* a request that failed may be
                                                 sent again: set with direct
                                                 only */
    unsigned                     requests:1;  /* each with an answer, for which
                                                 somebody waits */
    ngx_msec_t                   timeout;     /* for the connection, if early */
    ngx_zltunnel_backup_t        backup;      /* with conf->backup */
    uintptr_t                    speaks[2];   /* what is spoken there, and with
                                                 which TLS; to be compared */

    /* results of ngx_zltunnel_balance() */
    ngx_uint_t                   candidates;  /* how many there were */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       service_id[ZLT_ID_SIZE];
    ngx_str_t                    name;        /* "tunnel/service" */
    struct sockaddr_un           sockaddr;    /* stands for it */
    socklen_t                    socklen;

    ngx_zltunnel_sh_counter_t   *busy;        /* counted there */
    ngx_array_t                 *tried;       /* ids of services */
    ngx_zltunnel_sh_host_t      *sh_host;     /* under the lock, as is this: */
    ngx_queue_t                 *cursor;
    ngx_zltunnel_absent_e        absent;      /* if none was chosen */
    unsigned                     chosen:1;
    unsigned                     waits:1;     /* .. and its agent is away */
    unsigned                     told:1;      /* that there is none */
    unsigned                     suspect:1;   /* it has failed before */
    unsigned                     down:1;      /* .. its agent says so: as do
                                                 those of all that are left */
    unsigned                     again:1;     /* set by the caller: the next
                                                 may be the same one */
} ngx_zltunnel_upstream_t;


/*
 * Chooses a service that has not been tried.  NGX_OK, or NGX_BUSY: there is
 * none (or, with backup servers, none that is ready); NGX_ERROR: no memory.
 * ngx_zltunnel_balance_done() must follow NGX_OK.
 */
ngx_int_t ngx_zltunnel_balance(ngx_zltunnel_upstream_t *up);
/* the request or session is done with it, or tries another one */
void ngx_zltunnel_balance_done(ngx_zltunnel_upstream_t *up);
/* 1 if the agent of what was chosen is away, or it is gone */
ngx_uint_t ngx_zltunnel_balance_away(ngx_zltunnel_upstream_t *up);
/* it has failed, or it works again */
void ngx_zltunnel_balance_failed(ngx_zltunnel_upstream_t *up);
void ngx_zltunnel_balance_works(ngx_zltunnel_upstream_t *up);


#endif /* _NGX_ZLTUNNEL_BALANCE_H_INCLUDED_ */
