
/*
 * Copyright (C) zltunnel authors
 */

/* The way from the server's address to its 101. */


#ifndef ZLT_UPGRADE_H_INCLUDED
#define ZLT_UPGRADE_H_INCLUDED


#include "http.h"
#include "reach.h"
#include "types.h"


#define ZLT_UPGRADE_IN          16384  /* what comes behind the answer's header
                                          is less */
#define ZLT_UPGRADE_ERROR_SIZE  ZLT_REACH_ERROR_SIZE


/* what is under way, and then what has failed, but for the last */

typedef enum {
    ZLT_UPGRADE_REACH = 0,     /* to the server, or through the proxy */
    ZLT_UPGRADE_TLS,
    ZLT_UPGRADE_REQUEST,       /* it could not be made, or sent */
    ZLT_UPGRADE_ANSWER,        /* none came */
    ZLT_UPGRADE_FOREIGN,       /* it is not HTTP */
    ZLT_UPGRADE_REFUSED,       /* it is not the 101 that was asked for */
    ZLT_UPGRADE_OPEN
} zlt_upgrade_step_e;


typedef struct {
    uv_loop_t         *loop;
    zlt_conn_t        *conn;           /* closed; to be closed by the caller,
                                          whatever becomes of it */
    const zlt_url_t   *url;
    const zlt_proxy_t *via;
    zlt_tls_t *const  *tls;            /* where that is which there is by then;
                                          NULL there: plain */
    const zlt_way_t   *way;            /* as an earlier one has found it; NULL:
                                          it is looked for */
    char *const       *header;         /* what the request bears besides, and */
    char *const       *header_file;    /* .. a file of such, as there is by
                                          then; NULL there: nothing */
    const zlt_addr_t  *only;           /* without a way and a proxy, the one
                                          address where it is looked for; NULL:
                                          all of its name */
    unsigned           reach;          /* s, to reach the server */
    unsigned           answer;         /* s, from there to the answer; 0: there
                                          is no other limit than "reach" is for
                                          all of it, and 0 is none at all */
} zlt_upgrade_param_t;


typedef struct {
    zlt_upgrade_step_e  step;
    unsigned            late:1;        /* the time is over */
    const char         *error;         /* in short; "" if it is open */
    const zlt_upgrade_param_t  *param;
    const zlt_way_t    *way;
    zlt_http_answer_t   answer;        /* REFUSED and OPEN */
    uint8_t            *data;          /* what has come behind it, or instead;
                                          may be overwritten */
    size_t              len;
} zlt_upgrade_end_t;


typedef struct {

    /* Writes the request: zlt_http_*(). */
    size_t  (*request)(void *data, char *buf, zlt_http_want_t *want);

    /* It has ended, in one way or the other, and is gone afterwards.  Not
       called from within zlt_upgrade_start(). */
    void    (*done)(void *data, const zlt_upgrade_end_t *end);

    /* What follows may be NULL. */

    /* where the name of the server, or of the proxy, leads to; some of them may
       be taken out, but not all */
    void    (*found)(void *data, const char *host, zlt_addrs_t *addrs);

    /* REACH or TLS is behind it. */
    void    (*passed)(void *data, zlt_upgrade_step_e step,
                      const zlt_way_t *way);
} zlt_upgrade_ops_t;


/* NULL with errno set.  What param points to must live as long. */
zlt_upgrade_t *zlt_upgrade_start(const zlt_upgrade_param_t *param,
    const zlt_upgrade_ops_t *ops, void *data);

/* Takes a connection to be there already, as on loopback it is; with a way
   only.  It may have ended then. */
void zlt_upgrade_presume(zlt_upgrade_t *u);

/* NULL is fine; so is a call from its handlers. */
void zlt_upgrade_cancel(zlt_upgrade_t *u);

/* What it has come to, and what that may mean, for the log; text has
   ZLT_UPGRADE_ERROR_SIZE bytes; returns it. */
const char *zlt_upgrade_told(const zlt_upgrade_end_t *end, char *text);


#endif /* ZLT_UPGRADE_H_INCLUDED */
