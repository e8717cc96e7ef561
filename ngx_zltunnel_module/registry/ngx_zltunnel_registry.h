
/*
 * Copyright (C) zltunnel authors
 */

/* What other folders need of the registry. */


#ifndef _NGX_ZLTUNNEL_REGISTRY_H_INCLUDED_
#define _NGX_ZLTUNNEL_REGISTRY_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_api.h"
#include "ngx_zltunnel_cluster_status.h"
#include "ngx_zltunnel_counter.h"
#include "ngx_zltunnel_event.h"
#include "ngx_zltunnel_figure.h"
#include "ngx_zltunnel_grant.h"
#include "ngx_zltunnel_health.h"
#include "ngx_zltunnel_host.h"
#include "ngx_zltunnel_kept.h"
#include "ngx_zltunnel_lost.h"
#include "ngx_zltunnel_metrics.h"
#include "ngx_zltunnel_node.h"
#include "ngx_zltunnel_notice.h"
#include "ngx_zltunnel_overlap.h"
#include "ngx_zltunnel_past.h"
#include "ngx_zltunnel_pending.h"
#include "ngx_zltunnel_port.h"
#include "ngx_zltunnel_port_socket.h"
#include "ngx_zltunnel_quota.h"
#include "ngx_zltunnel_rate.h"
#include "ngx_zltunnel_remote.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_status.h"
#include "ngx_zltunnel_sweep.h"
#include "ngx_zltunnel_token_text.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_worker_slot.h"
#include "ngx_zltunnel_zone.h"


#endif /* _NGX_ZLTUNNEL_REGISTRY_H_INCLUDED_ */
