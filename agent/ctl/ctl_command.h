
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CTL_COMMAND_H_INCLUDED
#define ZLT_CTL_COMMAND_H_INCLUDED


#include "ctl_request.h"


void zlt_ctl_command(zlt_ctl_request_t *r);


#endif /* ZLT_CTL_COMMAND_H_INCLUDED */
