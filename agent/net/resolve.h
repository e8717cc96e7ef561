
/*
 * Copyright (C) zltunnel authors
 */

/* Names to addresses, off the loop. */


#ifndef ZLT_RESOLVE_H_INCLUDED
#define ZLT_RESOLVE_H_INCLUDED


#include <uv.h>

#include "lookup.h"


typedef struct zlt_resolve_s  zlt_resolve_t;

/* why is NULL, or says what failed; addrs is valid during the call */
typedef void (*zlt_resolve_pt)(void *data, const char *why,
    const zlt_addrs_t *addrs);


/* the same for SRV records; srv has them, and the name that has them, if why is
   NULL */
typedef void (*zlt_resolve_srv_pt)(void *data, const char *why,
    const zlt_srv_t *srv);


/* For the whole process: 0, or -1 with errno set. */
int zlt_resolve_init(uv_loop_t *loop);

/* Forgets all names.  1 if a thread still waits for a name server: it must not
   be waited for. */
int zlt_resolve_done(void);

/* Call back from the loop, unless cancelled.  NULL if it cannot be started. */
zlt_resolve_t *zlt_resolve_start(zlt_lookup_e kind, const char *host,
    uint16_t port, zlt_resolve_pt handler, void *data);
zlt_resolve_t *zlt_resolve_srv(const char *name, zlt_resolve_srv_pt handler,
    void *data);
void zlt_resolve_cancel(zlt_resolve_t *r);

/* That address of the name has proven right, and is the first for a while. */
void zlt_resolve_worked(const char *host, const zlt_addr_t *addr);

/* Of the hosts of these SRV records that one is to be the first for a while; the
   one that is, or NULL. */
void zlt_resolve_srv_prefer(const char *name, const zlt_srv_host_t *host);
const zlt_srv_host_t *zlt_resolve_srv_preferred(const char *name);


#endif /* ZLT_RESOLVE_H_INCLUDED */
