
/*
 * Copyright (C) zltunnel authors
 */

/* What other folders need of how bytes move. */


#ifndef _NGX_ZLTUNNEL_TRANSPORT_H_INCLUDED_
#define _NGX_ZLTUNNEL_TRANSPORT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_budget.h"
#include "ngx_zltunnel_buffer.h"
#include "ngx_zltunnel_connection.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_framed.h"
#include "ngx_zltunnel_pace.h"
#include "ngx_zltunnel_relay.h"
#include "ngx_zltunnel_socket.h"
#include "ngx_zltunnel_splice.h"
#include "ngx_zltunnel_tls.h"
#include "ngx_zltunnel_ws.h"


#endif /* _NGX_ZLTUNNEL_TRANSPORT_H_INCLUDED_ */
