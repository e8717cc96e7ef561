
/*
 * Copyright (C) zltunnel authors
 */

/* Where the server of a URL is. */


#ifndef ZLT_WHERE_H_INCLUDED
#define ZLT_WHERE_H_INCLUDED


#include "addr.h"
#include "srv.h"
#include "url.h"


#define ZLT_WHERE_SRV   "SRV "
#define ZLT_WHERE_TEXT  (ZLT_SRV_NAME + ZLT_ADDRS_TEXT + 16)


typedef struct zlt_where_s  zlt_where_t;

/*
 * why is NULL, or says what failed.  asked is the name that it was found by, as
 * "tunnel.example.com" or "SRV _zltunnel._tcp.tunnel.example.com".  addrs, with
 * a port each, are in the order in which they are to be tried.  All of it is
 * valid during the call, after which the question is over.
 */
typedef void (*zlt_where_pt)(void *data, const char *why, const char *asked,
    const zlt_addrs_t *addrs);

/* the same by names, for a proxy that resolves them */
typedef void (*zlt_where_hosts_pt)(void *data, const char *why,
    const char *asked, const zlt_srv_t *hosts);


/* The addresses of a server, whose URL has a name.  Calls back from the loop,
   unless cancelled; NULL if it cannot be started. */
zlt_where_t *zlt_where_start(const zlt_url_t *url, zlt_where_pt handler,
    void *data);

/* What its SRV records say: hosts and their ports, in that order.  Of a URL of
   that kind only. */
zlt_where_t *zlt_where_hosts(const zlt_url_t *url, zlt_where_hosts_pt handler,
    void *data);

/* "tunnel.example.com is 192.0.2.1, 192.0.2.2", of SRV records with the ports;
   buf has ZLT_WHERE_TEXT bytes; returns it */
const char *zlt_where_text(char *buf, const char *asked,
    const zlt_addrs_t *addrs);

/* NULL is fine; from within the handler it is not needed. */
void zlt_where_cancel(zlt_where_t *w);


#endif /* ZLT_WHERE_H_INCLUDED */
