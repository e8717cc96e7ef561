
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONF_NODE_H_INCLUDED
#define ZLT_CONF_NODE_H_INCLUDED


#include "conf_file.h"


/* [node], [nodes], [tunnel NAME] */
extern const zlt_conf_section_t  zlt_conf_node_section;
extern const zlt_conf_section_t  zlt_conf_node_list;
extern const zlt_conf_section_t  zlt_conf_node_tunnel;

/* Once all is read: whose tunnels they are; defaults.  0 or -1. */
int zlt_conf_node_tunnels(zlt_conf_file_t *f);

/* Paths in a file are relative to where it is: 0, or -1 without memory. */
int zlt_conf_node_paths(zlt_conf_t *conf, const char *file);


#endif /* ZLT_CONF_NODE_H_INCLUDED */
