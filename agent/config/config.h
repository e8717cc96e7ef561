
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The configuration of a process: its links, each a zlt_conf_t.
 *
 * In a file there are [agent], whose services make one link, and tunnels
 * between nodes, each a link of its own at the node where it begins.  The
 * same file can be on every node, which [node] tells apart.
 */


#ifndef ZLT_CONFIG_H_INCLUDED
#define ZLT_CONFIG_H_INCLUDED


#include "allow.h"
#include "conf.h"
#include "option_access.h"
#include "option_check.h"
#include "option_host.h"
#include "option_range.h"
#include "option_service.h"


#define ZLT_CONFIG_MAX_TUNNELS  256
#define ZLT_CONFIG_MAX_NODES    256


/* where something stands: which of the files, which line */

typedef struct {
    unsigned         file;
    unsigned         line;     /* 0: in the file as a whole */
} zlt_conf_place_t;


/* [tunnel NAME] */

typedef struct {
    char             from[ZLT_CONF_NODE_MAX + 1];      /* "": no node */
    char             to[ZLT_CONF_NODE_MAX + 1];
    zlt_conf_place_t at;
    zlt_conf_place_t from_at;
    zlt_conf_place_t to_at;
    uint8_t          is_public;
    char             host[ZLT_OPTION_HOST_MAX + 1];    /* local_host */
    uint16_t         port;                             /* local_port, 0: none */
    zlt_conf_t       conf;     /* with one service, once it is complete */
} zlt_tunnel_conf_t;


struct zlt_config_s {
    zlt_conf_t           agent;            /* [agent], [service NAME] */

    char                 node[ZLT_CONF_NODE_MAX + 1];  /* "": no [node] */
    zlt_conf_place_t     node_at;
    char               (*nodes)[ZLT_CONF_NODE_MAX + 1];    /* [nodes] */
    unsigned             nnodes;

    zlt_tunnel_conf_t   *tunnels;          /* of all nodes */
    unsigned             ntunnels;

    /* what begins here; a link takes its own and leaves NULL */
    zlt_conf_t         **links;
    unsigned             nlinks;
};


void zlt_config_init(zlt_config_t *config);
void zlt_config_free(zlt_config_t *config);

/*
 * Reads and checks a file into *config, which was initialized; what is set in
 * *with (NULL: nothing) stands above its [agent].  0, or -1 with "file:line:
 * what" in error (ZLT_CONF_ERROR_SIZE bytes); *config may then be half filled.
 */
int zlt_conf_file_read(zlt_config_t *config, const char *file,
    const zlt_conf_t *with, char *error);

/*
 * Makes the links of [agent] and of the tunnels that begin here.  All must
 * have been checked.  0, or -1 without memory.
 */
int zlt_config_links(zlt_config_t *config);

/* Makes a link the one of that number, and takes *conf over: 0, or -1 without
   memory, and conf is the caller's. */
int zlt_config_insert(zlt_config_t *config, unsigned i, zlt_conf_t *conf);

/* 1 if this tunnel begins here, or ends here */
int zlt_config_begins(const zlt_config_t *config, const zlt_tunnel_conf_t *t);
int zlt_config_expects(const zlt_config_t *config,
    const zlt_tunnel_conf_t *t);

/* The next tunnel of that name (NULL: any) that is expected here, behind
   "after" (NULL: the first one); NULL if there is none. */
const zlt_tunnel_conf_t *zlt_config_expected(const zlt_config_t *config,
    const char *name, const zlt_tunnel_conf_t *after);

/* 1 if both are one link: the name, and where a name has several links, the
   server */
int zlt_config_same(const zlt_conf_t *a, const zlt_conf_t *b);


#endif /* ZLT_CONFIG_H_INCLUDED */
