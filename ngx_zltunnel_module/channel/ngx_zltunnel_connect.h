
/*
 * Copyright (C) zltunnel authors
 */

/* What joins a client's connection to a service: a dial, and then a relay. */


#ifndef _NGX_ZLTUNNEL_CONNECT_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONNECT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_transport.h"


typedef struct ngx_zltunnel_connect_s  ngx_zltunnel_connect_t;


struct ngx_zltunnel_connect_s {

    /* set by the caller, who has zeroed the rest; and of the relay the
       timeouts, and "also" */
    ngx_zltunnel_dial_t         *dial;
    ngx_zltunnel_end_t          *end;        /* the client's */
    char                        *action;     /* of its log, while relayed */
    ngx_zltunnel_relay_t         relay;
    void                        *data;

    /* The agent has answered, and nothing has been relayed yet: what the client
       is to get before it.  May be NULL. */
    ngx_int_t                  (*answered)(ngx_zltunnel_connect_t *connect);

    /*
     * Called once, at the end.  rc is of the dial.  If that is OK, how tells
     * how the relay ended, and the client's end is prepared for its close; the
     * caller closes it.  The channel is taken care of.
     */
    void                       (*handler)(ngx_zltunnel_connect_t *connect,
                                    ngx_zltunnel_dial_e rc,
                                    ngx_zltunnel_relay_end_e how);

    /* state */
    ngx_zltunnel_channel_t      *channel;    /* while it is relayed */
    ngx_zltunnel_link_t          link;       /* likewise */
    size_t                       early;      /* bytes put into the relay */
    unsigned                     eof:1;      /* of the client, early */
};


/* Has the dial tell of its end; to be dialled by one of ngx_zltunnel_dial_*(),
   and ngx_zltunnel_dial_done() must follow in the end, as ever. */
void ngx_zltunnel_connect_start(ngx_zltunnel_connect_t *connect);
/* bytes of the client that were read before; NGX_ERROR: they cannot be kept */
ngx_int_t ngx_zltunnel_connect_put(ngx_zltunnel_connect_t *connect,
    u_char *data, size_t len);
/* the client's end is readable while the dial runs; NGX_ERROR: it has failed */
ngx_int_t ngx_zltunnel_connect_read(ngx_zltunnel_connect_t *connect);
/* Relays, for who has dialled by itself; how it ends is told to handler.
   NGX_ERROR: there is no memory, and the channel is closed. */
ngx_int_t ngx_zltunnel_connect_relay(ngx_zltunnel_connect_t *connect);
/* resets the channel that a dial has got */
void ngx_zltunnel_connect_close(ngx_zltunnel_dial_t *dial);
/* resets both sides, and handler is called; NGX_DECLINED: there is no relay
   yet, or no more, so that the caller has all there is */
ngx_int_t ngx_zltunnel_connect_abort(ngx_zltunnel_connect_t *connect);


#endif /* _NGX_ZLTUNNEL_CONNECT_H_INCLUDED_ */
