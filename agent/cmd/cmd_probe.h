
/*
 * Copyright (C) zltunnel authors
 */

/* The way to the servers of a configuration, tried and told. */


#ifndef ZLT_CMD_PROBE_H_INCLUDED
#define ZLT_CMD_PROBE_H_INCLUDED


#include "config.h"


/* The exit code. */
int zlt_cmd_probe(const zlt_config_t *config);


#endif /* ZLT_CMD_PROBE_H_INCLUDED */
