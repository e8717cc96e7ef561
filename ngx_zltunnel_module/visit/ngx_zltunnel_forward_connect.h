
/*
 * Copyright (C) zltunnel authors
 */

/* One connection that another node asks for. */


#ifndef _NGX_ZLTUNNEL_FORWARD_CONNECT_H_INCLUDED_
#define _NGX_ZLTUNNEL_FORWARD_CONNECT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_frames.h"
#include "zlt_msg.h"


typedef enum {
    /* both of its end markers have gone, and what is read behind the node's is in
       end->rest */
    NGX_ZLTUNNEL_FORWARD_OVER = 0,
    /* end is to be closed */
    NGX_ZLTUNNEL_FORWARD_FAILED,
    /* .. once the node knows that nobody has acted on its Connect: its service may
       come soon, or be at another binary of this server */
    NGX_ZLTUNNEL_FORWARD_ELSEWHERE
} ngx_zltunnel_forward_e;


typedef struct {
    /* set by the caller, who has zeroed the rest */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_end_t          *end;        /* the node's */
    void                        *data;

    /* called once for each connection */
    void                       (*handler)(void *data,
                                          ngx_zltunnel_forward_e how);

    /* state */
    unsigned                     runs:1;
    unsigned                     lanes:1;    /* to the agent, too */
    u_char                       id[ZLT_ID_SIZE];
    zlt_frames_t                 frames;
    ngx_zltunnel_dial_t          dial;
    ngx_zltunnel_connect_t       connect;
    ngx_event_t                  timer;      /* while it drains */
    size_t                       drained;    /* bytes */
} ngx_zltunnel_forward_connect_t;


/* Connect has come, and data behind it.  NGX_ERROR: the handler will not be
   called, and end is to be closed. */
ngx_int_t ngx_zltunnel_forward_connect(ngx_zltunnel_forward_connect_t *fc,
    zlt_msg_t *m, u_char *data, size_t len);
/* resets the connection if there is one, and the handler is called */
void ngx_zltunnel_forward_connect_abort(ngx_zltunnel_forward_connect_t *fc);


#endif /* _NGX_ZLTUNNEL_FORWARD_CONNECT_H_INCLUDED_ */
