
/*
 * Copyright (C) zltunnel authors
 */

/* A connection to the server, directly or through a proxy: for upgrade.c. */


#ifndef ZLT_REACH_H_INCLUDED
#define ZLT_REACH_H_INCLUDED


#include <uv.h>

#include "addr.h"
#include "race.h"
#include "resolve.h"
#include "where.h"
#include "types.h"


#define ZLT_REACH_ERROR_SIZE  1024


/* where a connection has led, so that others need not look for it again */

typedef struct {
    zlt_addr_t       addr;             /* of the server, or of the proxy */
    zlt_srv_host_t   target;           /* what the proxy was asked for; "": the
                                          server by its name */
} zlt_way_t;


typedef enum {
    ZLT_REACH_TARGET = 0,      /* looks for what the proxy is to be asked */
    ZLT_REACH_NAME,            /* .. for the next hop, server or proxy */
    ZLT_REACH_CONNECT,         /* is on its way there */
    ZLT_REACH_TALK             /* asks the proxy */
} zlt_reach_step_e;


struct zlt_reach_s {
    uv_loop_t         *loop;
    zlt_conn_t        *conn;           /* that is to lead to the server */
    const zlt_url_t   *url;
    const zlt_proxy_t *via;
    const zlt_addr_t  *only;           /* of the server; NULL: any that its
                                          name has */
    unsigned           limit;          /* s, for the texts */
    zlt_way_t          way;

    zlt_reach_step_e   step;
    zlt_srv_t         *targets;        /* NULL: there is no choice */
    unsigned           next;           /* of them */
    zlt_resolve_t     *resolve;        /* the proxy's name */
    zlt_where_t       *where;          /* .. the server's */
    zlt_race_t        *race;
    zlt_talk_t        *talk;

    /* conn leads to the server, or error says why it does not; not called
       from within zlt_reach_start() */
    void  (*handler)(zlt_reach_t *r, const char *error);

    /* where the name of the server, or of the proxy, leads to; some of them may
       be taken out */
    void  (*found)(zlt_reach_t *r, const char *host, zlt_addrs_t *addrs);
};


/* Looks for the way: 0, or -1 without memory. */
int zlt_reach_start(zlt_reach_t *r);

/* Goes r->way, which was found before: 0, or -1 with errno set. */
int zlt_reach_start_known(zlt_reach_t *r);

/* The next step, after zlt_conn_presume() too. */
void zlt_reach_event(zlt_io_t *io);

/* What it was waiting for, as a text in error (ZLT_REACH_ERROR_SIZE bytes): the
   time is over. */
void zlt_reach_late(zlt_reach_t *r, char *error);

void zlt_reach_cancel(zlt_reach_t *r);


#endif /* ZLT_REACH_H_INCLUDED */
