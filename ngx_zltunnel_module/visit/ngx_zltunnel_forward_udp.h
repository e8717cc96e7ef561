
/*
 * Copyright (C) zltunnel authors
 */

/* A channel of another node with datagrams. */


#ifndef _NGX_ZLTUNNEL_FORWARD_UDP_H_INCLUDED_
#define _NGX_ZLTUNNEL_FORWARD_UDP_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_msg.h"


typedef struct {
    /* set by the caller, who has zeroed the rest */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_end_t          *end;        /* the node's */
    void                        *data;

    /* called once, at the end; end is to be closed */
    void                       (*handler)(void *data);

    /* state; first lasts until it is joined */
    ngx_str_t                    first;
    ngx_zltunnel_dial_t          dial;
    ngx_zltunnel_channel_t      *channel;    /* of the agent */
    ngx_zltunnel_relay_t         relay;
    ngx_zltunnel_link_t          link;
} ngx_zltunnel_forward_udp_t;


/* DatagramOpen has come: data begins with it, and lasts as long as the end.
   NGX_ERROR: the handler will not be called, and end is to be closed. */
ngx_int_t ngx_zltunnel_forward_udp(ngx_zltunnel_forward_udp_t *fu, zlt_msg_t *m,
    u_char *data, size_t len);
/* ends it, and the handler is called */
void ngx_zltunnel_forward_udp_abort(ngx_zltunnel_forward_udp_t *fu);


#endif /* _NGX_ZLTUNNEL_FORWARD_UDP_H_INCLUDED_ */
