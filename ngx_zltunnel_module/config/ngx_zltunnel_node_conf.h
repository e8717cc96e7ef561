
/*
 * Copyright (C) zltunnel authors
 */

/* Who this server is, among several behind one name. */


#ifndef _NGX_ZLTUNNEL_NODE_CONF_H_INCLUDED_
#define _NGX_ZLTUNNEL_NODE_CONF_H_INCLUDED_


#include "ngx_zltunnel.h"


/* "node_id": sets registry->node_id and node_given */
char *ngx_zltunnel_node_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _NGX_ZLTUNNEL_NODE_CONF_H_INCLUDED_ */
