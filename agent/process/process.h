
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


#include <time.h>
#include <uv.h>

#include "process_run.h"
#include "reload.h"
#include "token.h"
#include "types.h"
#include "zlt_list.h"


struct zlt_process_s {
    uv_loop_t        loop;
    uv_timer_t       tick;
    uv_signal_t      signals[3];

    zlt_config_t    *config;
    const char      *conf_file;        /* NULL: from the command line */
    const zlt_conf_t  *with;           /* options and environment */
    const zlt_process_ctl_t  *ctl_ops;
    zlt_ctl_t       *ctl;              /* NULL: no control socket */
    zlt_ctl_http_t  *metrics;          /* NULL: they are nowhere */

    zlt_list_t       links;            /* in the configuration's order */
    zlt_list_t       ending;           /* that are removed, until they are
                                          done with what runs */

    zlt_list_t       spreads;          /* of links, over the addresses of their
                                          server */

    unsigned         stopping:1;
    unsigned         stopped:1;
    int              code;             /* of the exit */
    unsigned         ticks;
    time_t           started;
    int64_t          suspended;        /* ms, BOOTTIME less MONOTONIC */
};


/* The next link of that name (NULL: any) behind "after" (NULL: the first one);
   NULL if there is none. */
zlt_link_t *zlt_process_find(zlt_process_t *p, const char *name,
    const zlt_link_t *after);

/* What a link needs that may fail, the proxy in *conf as well: 0, or -1 with
   a text in error (ZLT_CONF_ERROR_SIZE bytes). */
int zlt_process_prepare(zlt_conf_t *conf, zlt_token_t *token,
    zlt_tls_t **tls, char *error);

/* for zlt_link_create() */
extern const zlt_link_ops_t  zlt_process_link_ops;

/* A link has become connected, or is so no more. */
void zlt_process_notify(zlt_process_t *p);

/* A link goes, when what runs has ended. */
void zlt_process_remove(zlt_process_t *p, zlt_link_t *l, const char *why);

/* A link has finished what ran. */
void zlt_process_link_gone(zlt_process_t *p, zlt_link_t *l);


#endif /* ZLT_PROCESS_H_INCLUDED */
