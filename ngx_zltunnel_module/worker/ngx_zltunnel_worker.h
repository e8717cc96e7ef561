
/*
 * Copyright (C) zltunnel authors
 */

/* What other folders need of workers that work together. */


#ifndef _NGX_ZLTUNNEL_WORKER_H_INCLUDED_
#define _NGX_ZLTUNNEL_WORKER_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_gate.h"
#include "ngx_zltunnel_ipc.h"
#include "ngx_zltunnel_listener.h"
#include "ngx_zltunnel_peer.h"
#include "ngx_zltunnel_room.h"
#include "ngx_zltunnel_share.h"
#include "ngx_zltunnel_stay.h"
#include "ngx_zltunnel_way.h"


#endif /* _NGX_ZLTUNNEL_WORKER_H_INCLUDED_ */
