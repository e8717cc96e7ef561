
/*
 * Copyright (C) zltunnel authors
 */

/* The metrics' place: an HTTP server that knows two paths. */


#ifndef ZLT_CTL_HTTP_H_INCLUDED
#define ZLT_CTL_HTTP_H_INCLUDED


#include "types.h"


/*
 * Listens where the configuration says, in place of where it was, if it says
 * so: 0, or -1 with a text in error (ZLT_CONF_ERROR_SIZE bytes), and all is as
 * it was.
 */
int zlt_ctl_http_open(zlt_process_t *p, const zlt_conf_t *conf, char *error);

void zlt_ctl_http_stop(zlt_process_t *p);

/* To be called each second. */
void zlt_ctl_http_tick(zlt_process_t *p);


#endif /* ZLT_CTL_HTTP_H_INCLUDED */
