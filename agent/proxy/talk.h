
/*
 * Copyright (C) zltunnel authors
 */

/* What is said to a proxy before a connection to it leads to the server. */


#ifndef ZLT_TALK_H_INCLUDED
#define ZLT_TALK_H_INCLUDED


#include <stdint.h>

#include "types.h"


/* To be led to host, a name or an address, and port; via must live as long.
   NULL: no memory. */
zlt_talk_t *zlt_talk_create(const zlt_proxy_t *via, const char *host,
    uint16_t port);

/*
 * To be called first, and at each event of the connection: 0 when it leads to
 * the server, ZLT_CONN_AGAIN, or ZLT_CONN_ERROR with a text in error
 * (ZLT_PROXY_ERROR_SIZE bytes) that names the proxy.
 */
int zlt_talk_step(zlt_talk_t *t, zlt_conn_t *c, char *error);

/* 1 if it failed because the proxy cannot reach that address */
int zlt_talk_unreachable(const zlt_talk_t *t);

/* NULL is fine. */
void zlt_talk_free(zlt_talk_t *t);


#endif /* ZLT_TALK_H_INCLUDED */
