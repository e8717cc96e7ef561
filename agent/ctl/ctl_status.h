
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CTL_STATUS_H_INCLUDED
#define ZLT_CTL_STATUS_H_INCLUDED


#include "ctl_request.h"


void zlt_ctl_status(zlt_ctl_request_t *r);

/* A link that has a service of that name; NULL: none has. */
const zlt_link_t *zlt_ctl_status_has(zlt_process_t *p, const char *service);


#endif /* ZLT_CTL_STATUS_H_INCLUDED */
