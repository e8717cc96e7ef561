
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The process: one event loop, the configuration, signals, the control socket,
 * and the links, which share all of that and nothing else: what fails at one
 * does not touch the others.
 */


#ifndef ZLT_PROCESS_H_INCLUDED
#define ZLT_PROCESS_H_INCLUDED


#include "link.h"
#include "config.h"


typedef struct zlt_ctl_s  zlt_ctl_t;


struct zlt_process_s {
    uv_loop_t        loop;
    uv_timer_t       tick;
    uv_timer_t       held;             /* zlt_agent_hold() */
    uv_signal_t      signals[3];

    zlt_config_t    *config;
    const char      *conf_file;        /* NULL: from the command line */
    const char      *control;          /* --control; NULL: not given */
    zlt_ctl_t       *ctl;              /* NULL: no control socket */

    zlt_list_t       links;            /* in the configuration's order */
    zlt_list_t       ending;           /* that are removed, until they are
                                          done with what runs */

    unsigned         stopping:1;
    unsigned         stopped:1;
    unsigned         failed:1;         /* the exit code is 1 */
    unsigned         ticks;
    time_t           started;
    int64_t          suspended;        /* ms, BOOTTIME less MONOTONIC */
};


/*
 * Runs until it is told to end; the exit code.  Takes over what config holds;
 * zlt_config_links() must have been called.  conf_file is NULL if it came from
 * the command line, control if the option was not given.
 */
int zlt_process_run(zlt_config_t *config, const char *conf_file,
    const char *control);

/* The next link of that name (NULL: any) behind "after" (NULL: the first one);
   NULL if there is none. */
zlt_agent_t *zlt_process_find(zlt_process_t *p, const char *name,
    const zlt_agent_t *after);

/* What a link needs that may fail, the proxy in *conf as well: 0, or -1 with
   a text in error (ZLT_CONF_ERROR_SIZE bytes). */
int zlt_process_prepare(zlt_conf_t *conf, zlt_token_t *token,
    zlt_tls_t **tls, char *error);

/* A link has become connected, or is so no more. */
void zlt_process_notify(zlt_process_t *p);

/* There is nothing more to do. */
void zlt_process_finish(zlt_process_t *p, int failed);

/* A link has finished what ran. */
void zlt_process_link_gone(zlt_process_t *p, zlt_agent_t *a);


/* reload.c */

/* Reads the configuration again and does what has changed: 0, or -1 with a
   text in error and nothing changed. */
int zlt_process_reload(zlt_process_t *p, char *error);


#endif /* ZLT_PROCESS_H_INCLUDED */
