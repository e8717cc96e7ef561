
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The control socket: what "status" and its like ask a running process.
 *
 * A request is one line, the command and its words; the answer is a line
 * "OK LENGTH" or "FAIL LENGTH" and so many bytes behind it: a table, JSON, or
 * the reason.  One request a connection.
 */


#ifndef ZLT_CTL_H_INCLUDED
#define ZLT_CTL_H_INCLUDED


#include "ctl_client.h"
#include "process_run.h"


#define ZLT_CTL_NONE  "none"           /* in place of a path */


/* for zlt_process_run() */
extern const zlt_process_ctl_t  zlt_ctl_process;


#endif /* ZLT_CTL_H_INCLUDED */
