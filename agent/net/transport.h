
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How data channels are opened: by an upgrade to "zltunnel", or within a
 * WebSocket, where something on the way lets nothing else pass.  What has
 * worked with a server is remembered while the agent runs.
 */


#ifndef ZLT_TRANSPORT_H_INCLUDED
#define ZLT_TRANSPORT_H_INCLUDED


#include <stdint.h>


typedef enum {
    ZLT_TRANSPORT_AUTO = 0,
    ZLT_TRANSPORT_RAW,
    ZLT_TRANSPORT_WEBSOCKET
} zlt_transport_e;


/* how much a failure says of something on the way */

#define ZLT_TRANSPORT_HINT   1     /* closed; an answer as of an overload */
#define ZLT_TRANSPORT_SIGN   2     /* no answer at all */
#define ZLT_TRANSPORT_PROOF  3     /* an answer that is not our server's */


typedef struct {
    zlt_transport_e  mode;
    const char      *label;        /* of the link, for the log */
    uint64_t         counted;      /* ms, the last hint */
    uint64_t         probe;        /* ms, when raw is tried again */
    unsigned         doubts;       /* in a row */
    unsigned         websocket:1;  /* what is used now */
    unsigned         proven:1;     /* a channel was opened so */
    char             why[128];
} zlt_transport_t;


/* For a server that nothing is known of; label: zlt_log_link(), it stays. */
void zlt_transport_init(zlt_transport_t *t, zlt_transport_e mode,
    const char *label);

/* The way to the server may be another one. */
void zlt_transport_anew(zlt_transport_t *t);

/* 1: the next channel is to be opened within a WebSocket; "probe": it may be
   the one to try again without.  now in ms. */
int zlt_transport_pick(zlt_transport_t *t, int probe, uint64_t now);

/* A channel was opened, or failed in a way that is no answer of our server;
   "why" says how. */
void zlt_transport_opened(zlt_transport_t *t, int websocket, uint64_t now);
void zlt_transport_failed(zlt_transport_t *t, int websocket, unsigned doubt,
    const char *why, uint64_t now);

/* What an answer says, or 0.  Our server's, "ours", says which worker gave it,
   but for servers of before that; and if it does not see the request for what it
   is, something on the way has changed it. */
unsigned zlt_transport_doubt(unsigned status, int ours);


#endif /* ZLT_TRANSPORT_H_INCLUDED */
