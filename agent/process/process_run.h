
/*
 * Copyright (C) zltunnel authors
 */

/* How the process is begun, for those who see no more of it: process.c. */


#ifndef ZLT_PROCESS_RUN_H_INCLUDED
#define ZLT_PROCESS_RUN_H_INCLUDED


#include "types.h"


/* what is asked of the process from outside: the control socket, metrics */

typedef struct {

    /* 0, or the exit code */
    int   (*start)(zlt_process_t *p);

    /* takes *conf over: 0, or -1 with a text in error (ZLT_CONF_ERROR_SIZE
       bytes), and nothing has changed */
    int   (*reload)(zlt_process_t *p, const zlt_conf_t *conf, char *error);
    void  (*stop)(zlt_process_t *p);

    /* each second */
    void  (*tick)(zlt_process_t *p);
} zlt_process_ctl_t;


/*
 * Runs until it is told to end; the exit code.  Takes over what config holds;
 * zlt_config_links() must have been called.  conf_file is NULL if it came from
 * the command line; *with stands above the file when it is read again, and is
 * the caller's.
 */
int zlt_process_run(zlt_config_t *config, const char *conf_file,
    const zlt_conf_t *with, const zlt_process_ctl_t *ctl_ops);


#endif /* ZLT_PROCESS_RUN_H_INCLUDED */
