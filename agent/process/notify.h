
/*
 * Copyright (C) zltunnel authors
 */

/* Messages to systemd, if it started us. */


#ifndef ZLT_NOTIFY_H_INCLUDED
#define ZLT_NOTIFY_H_INCLUDED


/* "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..." */
void zlt_notify(const char *state);


#endif /* ZLT_NOTIFY_H_INCLUDED */
