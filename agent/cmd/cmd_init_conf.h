
/*
 * Copyright (C) zltunnel authors
 */

/* The agent's configuration that "zltunnel-agent init" writes. */


#ifndef ZLT_CMD_INIT_CONF_H_INCLUDED
#define ZLT_CMD_INIT_CONF_H_INCLUDED


#include "text.h"


/* All return 0, or -1, and have said then what is wrong. */

/* A value of --server, and one of --service. */
int zlt_cmd_init_conf_server(const char *text);
int zlt_cmd_init_conf_service(const char *text);

/* Adds the lines of a configuration to text; hosts: of each service, or NULL. */
int zlt_cmd_init_conf_text(zlt_text_t *text, const char *server,
    const char *const *services, const char *const *hosts,
    unsigned nservices);

/* Reads the file, a draft, as "check" would. */
int zlt_cmd_init_conf_check(const char *file);


#endif /* ZLT_CMD_INIT_CONF_H_INCLUDED */
