
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

/* A node's name, and a list of them: 0, or -1 with a text in error. */
int zlt_conf_node_name(const char *key, const char *value, char *name,
    char *error);
int zlt_conf_node_names(zlt_config_t *c, const char *key, const char *value,
    char *error);

/* Keeps where a key stands that is complained about later. */
void zlt_conf_node_place(zlt_conf_file_t *f, const zlt_key_t *k);

/* Once all is read: whose tunnels they are; defaults.  0 or -1. */
int zlt_conf_node_tunnels(zlt_conf_file_t *f);

/* Paths in a file are relative to where it is: 0, or -1 without memory. */
int zlt_conf_node_paths(zlt_conf_t *conf, const char *file);


#endif /* ZLT_CONF_NODE_H_INCLUDED */
