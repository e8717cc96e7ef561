
/*
 * Copyright (C) zltunnel authors
 */

/* The upgrade requests and their answer; no I/O. */


#ifndef ZLT_HTTP_H_INCLUDED
#define ZLT_HTTP_H_INCLUDED


#include <sys/types.h>
#include <time.h>

#include "types.h"
#include "zlt_msg.h"


#define ZLT_HTTP_REQUEST_SIZE  2048
#define ZLT_HTTP_HEADER_MAX    8192      /* of the answer */
#define ZLT_HTTP_ACCEPT_SIZE   29        /* 28 characters and a terminator */

#define ZLT_RETRY_MAX          300000    /* ms, the longest wait that a server,
                                            or who says so, can ask for */


struct zlt_http_answer_s {
    unsigned         status;
    char             reason[64];         /* printable */
    unsigned         worker;
    unsigned         workers;            /* 0: not told: not our server */
    uint32_t         retry_after;        /* ms, 0: not told */
    time_t           date;               /* the server's clock, 0: not told */
    unsigned         websocket:1;        /* Upgrade: websocket */
    unsigned         zltunnel:1;         /* Upgrade: zltunnel */
    unsigned         upgrade:1;          /* Connection: upgrade */
    unsigned         data:1;             /* Sec-WebSocket-Protocol: .. */
    unsigned         has_node:1;         /* it says which one it is */
    unsigned         beside:1;           /* .. or another binary that serves
                                            there, too */
    uint8_t          node[ZLT_ID_SIZE];
    char             accept[ZLT_HTTP_ACCEPT_SIZE];
};


/* what a request asks for */

typedef enum {
    ZLT_HTTP_WANT_NONE = 0,            /* no upgrade, as a browser would */
    ZLT_HTTP_WANT_CONTROL,             /* a control channel, a WebSocket */
    ZLT_HTTP_WANT_ZLTUNNEL,            /* a data channel */
    ZLT_HTTP_WANT_WEBSOCKET            /* .. within a WebSocket */
} zlt_http_protocol_e;


typedef struct {
    zlt_http_protocol_e  protocol;
    char             accept[ZLT_HTTP_ACCEPT_SIZE];     /* of a WebSocket */
} zlt_http_want_t;


/* the tunnel that a data channel is for */

typedef struct {
    const uint8_t   *id;
    const uint8_t   *key;
    const uint8_t   *node;               /* where it is; NULL: not known */
} zlt_http_tunnel_t;


/* They write into buf of ZLT_HTTP_REQUEST_SIZE bytes, and into want what has
   to be answered; they return the size, or 0 if it does not fit. */

size_t zlt_http_control(char *buf, const zlt_url_t *url,
    zlt_http_want_t *want);
size_t zlt_http_plain(char *buf, const zlt_url_t *url, zlt_http_want_t *want);

/* connection_id: NULL for an idle channel */
size_t zlt_http_channel(char *buf, const zlt_url_t *url,
    const zlt_http_tunnel_t *tunnel, const uint8_t *connection_id,
    int websocket, zlt_http_want_t *want);

/* For a client of an access session; client is only told, in the log. */
size_t zlt_http_access(char *buf, const zlt_url_t *url,
    const zlt_http_tunnel_t *tunnel, const uint8_t *access_id,
    const char *client, int websocket, zlt_http_want_t *want);

/* 1 if the answer is the 101 that the request has asked for */
int zlt_http_upgraded(const zlt_http_answer_t *a,
    const zlt_http_want_t *want);

/*
 * Parses the answer's header at the start of data.  Its size, with the empty
 * line; 0 if it is not complete; -1 if it is not HTTP or is too long.
 */
ssize_t zlt_http_parse(zlt_http_answer_t *a, const char *data, size_t len);


#endif /* ZLT_HTTP_H_INCLUDED */
