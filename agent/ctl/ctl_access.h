
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CTL_ACCESS_H_INCLUDED
#define ZLT_CTL_ACCESS_H_INCLUDED


#include "ctl_request.h"


void zlt_ctl_access_sessions(zlt_ctl_request_t *r);
void zlt_ctl_access_renew(zlt_ctl_request_t *r);

/* 1, with an answer, if there is an access session of that id, or of that name:
   there the id is told */
int zlt_ctl_access_stop(zlt_ctl_request_t *r);
int zlt_ctl_access_named(zlt_ctl_request_t *r, const char *name);


#endif /* ZLT_CTL_ACCESS_H_INCLUDED */
