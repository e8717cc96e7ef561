
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The way to a server, tried step by step, as an agent would go it: name,
 * addresses, proxy, TLS, path, clock, upgrades, token.  No tunnel is made.
 */


#ifndef ZLT_PROBE_H_INCLUDED
#define ZLT_PROBE_H_INCLUDED


#include <uv.h>

#include "addr.h"
#include "token.h"
#include "types.h"


typedef enum {
    ZLT_PROBE_OK = 0,
    ZLT_PROBE_NO,              /* it does not work, and something else does */
    ZLT_PROBE_FAILED
} zlt_probe_result_e;


/* A step, and what came of it, with the remedy. */
typedef void (*zlt_probe_pt)(const char *step, zlt_probe_result_e result,
    const char *text);


/*
 * Tries the current server of conf, whose proxy has been chosen, with its tls
 * (NULL: none), and returns when that is done; it turns the loop itself.  The
 * number of steps that have failed.
 *
 * "at", which may be NULL, has the addresses of its name, of which the first is
 * tried; if there is none they are looked for, and are there afterwards, if it
 * has a name that is resolved here.
 */
unsigned zlt_probe(uv_loop_t *loop, zlt_conf_t *conf, zlt_tls_t *tls,
    const zlt_token_t *token, zlt_addrs_t *at, zlt_probe_pt tell);


#endif /* ZLT_PROBE_H_INCLUDED */
