
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The log at syslog: a datagram a line, to the socket of this machine's, or to
 * another one.
 */


#ifndef ZLT_LOG_SYSLOG_H_INCLUDED
#define ZLT_LOG_SYSLOG_H_INCLUDED


#include <stddef.h>


#define ZLT_LOG_SYSLOG_PATH  "/dev/log"


/* Whether a line can be sent there; a path that is too long is none. */
int zlt_log_syslog_path(const char *path);

/* From now on to that socket, which need not be there; NULL: to none. */
void zlt_log_syslog_set(const char *path);

/* Whether there is one. */
int zlt_log_syslog_is(void);

/* A line without '\n', of that priority (3 to 7): 0; -1: nobody took it, or
   would have at once. */
int zlt_log_syslog_write(int priority, const char *line, size_t len);


#endif /* ZLT_LOG_SYSLOG_H_INCLUDED */
