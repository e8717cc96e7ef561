
/*
 * Copyright (C) zltunnel authors
 */

/* Messages between workers. */


#ifndef _NGX_ZLTUNNEL_IPC_H_INCLUDED_
#define _NGX_ZLTUNNEL_IPC_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_ipc.h"


#if (NGX_ZLTUNNEL_TEXT_MAX > ZLT_IPC_TEXT)
#error "a peer's text does not fit into a message"
#endif


typedef enum {
    NGX_ZLTUNNEL_IPC_HELLO = 1,     /* the way to a younger generation */
    NGX_ZLTUNNEL_IPC_PORT,          /* a port was opened or closed */
    NGX_ZLTUNNEL_IPC_TAKE,          /* give me an idle channel of .. */
    NGX_ZLTUNNEL_IPC_CHANNEL,       /* here it is: moved, with its fd */
    NGX_ZLTUNNEL_IPC_BRIDGE,        /* here it is: a socketpair to it */
    NGX_ZLTUNNEL_IPC_NONE,          /* there is none */
    NGX_ZLTUNNEL_IPC_CONNECT,       /* send Connect on your control channel */
    NGX_ZLTUNNEL_IPC_FAIL,          /* ConnectFail came on it */
    NGX_ZLTUNNEL_IPC_ACK,           /* ConnectAck came on it */
    NGX_ZLTUNNEL_IPC_UP,            /* a tunnel is back: dial again */
    NGX_ZLTUNNEL_IPC_PROBE,         /* heartbeat the control channel now */
    NGX_ZLTUNNEL_IPC_CLOSE,         /* your control channel was taken over */
    NGX_ZLTUNNEL_IPC_DROP,          /* drop idle channels of older epochs */
    NGX_ZLTUNNEL_IPC_LOST,          /* the registry had to be emptied */
    NGX_ZLTUNNEL_IPC_ACCESS,        /* access sessions have ended; code 1: are
                                       to end */
    NGX_ZLTUNNEL_IPC_KICK,          /* the administrator has ended a tunnel */
    NGX_ZLTUNNEL_IPC_TYPES
} ngx_zltunnel_ipc_e;


/* data: msg->data_len bytes; *fd: closed by the caller, unless set to -1 */

typedef void (*ngx_zltunnel_ipc_pt)(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);


/* handlers: one for each type of message; exiting: the worker has begun to exit
   gracefully */
ngx_int_t ngx_zltunnel_ipc_init_process(ngx_cycle_t *cycle,
    const ngx_zltunnel_ipc_pt *handlers, void (*exiting)(void));
/* tells the workers of older generations how to reach this one */
void ngx_zltunnel_ipc_hello(ngx_zltunnel_registry_t *registry);
/* closes the ways to generations of which no worker is left */
void ngx_zltunnel_ipc_tidy(void);
void ngx_zltunnel_ipc_exit(void);
/* Sends to the worker in that slot; fd (or -1) is passed on, and is closed
   here in any case.  Queued when the socket is full.  NGX_ERROR: there is no
   way to that worker. */
ngx_int_t ngx_zltunnel_ipc_send(ngx_zltunnel_registry_t *registry,
    ngx_uint_t slot, ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t fd);
/* to every live worker of the registry but this one */
void ngx_zltunnel_ipc_broadcast(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* acts on it here and now, as if it had come from another worker */
void ngx_zltunnel_ipc_handle(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data);


#endif /* _NGX_ZLTUNNEL_IPC_H_INCLUDED_ */
