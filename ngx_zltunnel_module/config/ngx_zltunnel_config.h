
/*
 * Copyright (C) zltunnel authors
 */

/* What other folders need of the configuration. */


#ifndef _NGX_ZLTUNNEL_CONFIG_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONFIG_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_block.h"
#include "ngx_zltunnel_cert.h"
#include "ngx_zltunnel_cluster_cert.h"
#include "ngx_zltunnel_cluster_conf.h"
#include "ngx_zltunnel_conf.h"
#include "ngx_zltunnel_domain.h"
#include "ngx_zltunnel_granted.h"
#include "ngx_zltunnel_json.h"
#include "ngx_zltunnel_log.h"
#include "ngx_zltunnel_rights.h"
#include "ngx_zltunnel_token.h"
#include "ngx_zltunnel_token_file.h"
#include "ngx_zltunnel_util.h"


#endif /* _NGX_ZLTUNNEL_CONFIG_H_INCLUDED_ */
