
/*
 * Copyright (C) zltunnel authors
 */

/* SRV records (RFC 2782): the machines that a service is at. */


#ifndef ZLT_SRV_H_INCLUDED
#define ZLT_SRV_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "url.h"


#define ZLT_SRV_MAX   32
#define ZLT_SRV_NAME  (ZLT_URL_HOST_MAX + 32)
#define ZLT_SRV_WHY   768


typedef struct {
    char            host[ZLT_URL_HOST_MAX + 1];
    uint16_t        port;
    uint16_t        priority;
    uint16_t        weight;
} zlt_srv_host_t;


typedef struct {
    unsigned        n;                     /* 0: why */
    char            asked[ZLT_SRV_NAME];   /* the name that has the records */
    char            why[ZLT_SRV_WHY];
    zlt_srv_host_t  hosts[ZLT_SRV_MAX];
} zlt_srv_t;


/*
 * Asks the name servers, and takes as long as these do.  A name that begins
 * with "_" is asked for as it is; for another one "_zltunnel._tcp.NAME" is, and
 * if that has none, NAME itself.  0; or EAI_NONAME if there is no service of
 * that name, or another EAI_*, and why says it with the names that were asked.
 */
int zlt_srv_ask(zlt_srv_t *srv, const char *name);

/* What an answer has: 0, or EAI_NONAME if there is no record in it, or none that
   leads anywhere, as why says then; EAI_FAIL if it cannot be read. */
int zlt_srv_read(zlt_srv_t *srv, const uint8_t *answer, size_t len);

/* By priority, and at random among those of one, by weight.  Those at the
   beginning are to be tried first. */
void zlt_srv_order(zlt_srv_t *srv);

/* Those before that host, if it is one of them, come last. */
void zlt_srv_begin(zlt_srv_t *srv, const zlt_srv_host_t *host);


#endif /* ZLT_SRV_H_INCLUDED */
