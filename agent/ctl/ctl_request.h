
/*
 * Copyright (C) zltunnel authors
 */

/* A request at the control socket: what its handlers know of it. */


#ifndef ZLT_CTL_REQUEST_H_INCLUDED
#define ZLT_CTL_REQUEST_H_INCLUDED


#include "ctl_client.h"
#include "text.h"
#include "types.h"


typedef struct zlt_ctl_request_s  zlt_ctl_request_t;


struct zlt_ctl_request_s {
    zlt_process_t   *process;
    char            *words[ZLT_CTL_WORDS];     /* the first is the command */
    unsigned         nwords;

    zlt_text_t       text;             /* the answer, to be filled */

    /* for handlers that answer later: called if the client goes before that,
       as then nothing must be answered any more */
    void           (*cancel)(zlt_ctl_request_t *r);
    void            *data;
};


typedef struct {
    const char      *name;
    unsigned         least;            /* words behind the command */
    unsigned         most;
    /* answers with zlt_ctl_done() or zlt_ctl_fail(), now or later */
    void           (*run)(zlt_ctl_request_t *r);
} zlt_ctl_command_t;


/* The answer is r->text; r must not be touched afterwards. */
void zlt_ctl_done(zlt_ctl_request_t *r);
void zlt_ctl_fail(zlt_ctl_request_t *r, const char *fmt, ...)
    zlt_printf_like(2, 3);


#endif /* ZLT_CTL_REQUEST_H_INCLUDED */
