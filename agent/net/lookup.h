
/*
 * Copyright (C) zltunnel authors
 */

/* One question to the system's resolver, or to name servers, in a thread of its
   own. */


#ifndef ZLT_LOOKUP_H_INCLUDED
#define ZLT_LOOKUP_H_INCLUDED


#include "addr.h"
#include "srv.h"
#include "zlt_list.h"


/* Whose name it is.  None waits behind the names of another kind. */

typedef enum {
    ZLT_LOOKUP_SERVER = 0,     /* a server's, or a proxy's */
    ZLT_LOOKUP_SERVICE,
    ZLT_LOOKUP_TARGET,         /* chosen by a visitor */
    ZLT_LOOKUP_SRV,            /* a server's, and its SRV records are wanted */

    ZLT_LOOKUP_KINDS
} zlt_lookup_e;


typedef struct zlt_lookup_s      zlt_lookup_t;
typedef struct zlt_lookup_job_s  zlt_lookup_job_t;

/* error is 0, or an EAI_*; addrs, whose ports are 0, is valid during the call.
   For SRV records there is srv, unless there is no memory: to be freed. */
typedef void (*zlt_lookup_pt)(zlt_lookup_t *l, int error,
    const zlt_addrs_t *addrs, zlt_srv_t *srv);


struct zlt_lookup_s {
    zlt_list_t         link;           /* waits for a thread */
    zlt_lookup_job_t  *job;            /* has one */
    zlt_lookup_e       kind;
    zlt_lookup_pt      handler;
    const char        *host;
    uint64_t           begun;          /* ms */
};


/* For the whole process: 0, or -1 with errno set. */
int zlt_lookup_init(void);

/* 1 if a thread is still at work. */
int zlt_lookup_done(void);

void zlt_lookup_prepare(zlt_lookup_t *l, zlt_lookup_pt handler);

/* Asks for the host, which must live as long, unless it is being asked for
   already.  0, and the handler is called from the loop, or -1 without
   memory. */
int zlt_lookup_start(zlt_lookup_t *l, zlt_lookup_e kind, const char *host);

/* 1 between start and handler */
int zlt_lookup_runs(const zlt_lookup_t *l);

/* Nobody waits for it: if it has no thread yet it need not get one. */
void zlt_lookup_unwanted(zlt_lookup_t *l);

/* The handler is not called any more. */
void zlt_lookup_cancel(zlt_lookup_t *l);

/* a static text */
const char *zlt_lookup_error(int error);

/* Of what getaddrinfo() has found, at least one, so many as there is room for;
   *a has none yet. */
void zlt_lookup_collect(zlt_addrs_t *a, const struct addrinfo *res);


#endif /* ZLT_LOOKUP_H_INCLUDED */
