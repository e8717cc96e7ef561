
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What peer.get of http and of stream have in common: a service, or else a
 * server that is marked "backup".
 */


#ifndef _NGX_ZLTUNNEL_CHOICE_H_INCLUDED_
#define _NGX_ZLTUNNEL_CHOICE_H_INCLUDED_


#include <ngx_event_connect.h>

#include "ngx_zltunnel.h"
#include "ngx_zltunnel_balance.h"


/* what stands for a service among an upstream's servers, with an address that
   nobody ever connects to; that server is told by the data of this name */
extern ngx_addr_t  ngx_zltunnel_choice_addr;


/* what round robin has made of pc, for the servers marked "backup" */
void ngx_zltunnel_choice_backup(ngx_zltunnel_upstream_t *up,
    ngx_peer_connection_t *pc);
/* peer.get: a service has been chosen, or a server if up->backup.serves; or
   what that function returns.  pc->name is valid until the next choice. */
ngx_int_t ngx_zltunnel_choice_get(ngx_zltunnel_upstream_t *up,
    ngx_peer_connection_t *pc);

#if (NGX_SSL)
/* peer.set_session and peer.save_session: data begins with what was chosen */
ngx_int_t ngx_zltunnel_choice_set_session(ngx_peer_connection_t *pc,
    void *data);
void ngx_zltunnel_choice_save_session(ngx_peer_connection_t *pc, void *data);
#endif


#endif /* _NGX_ZLTUNNEL_CHOICE_H_INCLUDED_ */
