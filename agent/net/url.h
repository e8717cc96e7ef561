
/*
 * Copyright (C) zltunnel authors
 */

/* ws://host[:port][/path], wss://, srv+wss://name[/path], srv+ws://, and
   ws+unix:/socket[:/path] */


#ifndef ZLT_URL_H_INCLUDED
#define ZLT_URL_H_INCLUDED


#include <stdint.h>

#include "types.h"


#define ZLT_URL_HOST_MAX     255
#define ZLT_URL_PATH_MAX     1024
#define ZLT_URL_TEXT         (ZLT_URL_HOST_MAX + 32)
#define ZLT_URL_DEFAULT_PATH "/tunnel/v1"


struct zlt_url_s {
    char         host[ZLT_URL_HOST_MAX + 1];      /* no brackets; the path of
                                                     a UNIX socket */
    char         record[ZLT_URL_HOST_MAX + 1];    /* as it is written, whose SRV
                                                     says where the host is;
                                                     "": the URL does */
    char         path[ZLT_URL_PATH_MAX + 1];      /* with the query */
    char         authority[ZLT_URL_HOST_MAX + 16];/* for the Host header */
    uint16_t     port;
    unsigned     tls:1;
    unsigned     is_unix:1;
};


/* 0, or -1 with a static text in *error. */
int zlt_url_parse(zlt_url_t *url, const char *text, const char **error);

/*
 * host, host:port or [address]:port, up to end; host has ZLT_URL_HOST_MAX + 1
 * bytes and is without brackets then, *port is left alone if there is none.
 * 1 if there were brackets, 0, or -1 with a static text in *error.
 */
int zlt_url_host(const char *text, const char *end, char *host,
    uint16_t *port, const char **error);

/* Where it leads to, without the path, for logs; buf has ZLT_URL_TEXT bytes;
   returns it. */
const char *zlt_url_text(char *buf, const zlt_url_t *url);

/* "host:port", "[address]:port", "SRV of name" or "unix:/path"; as above */
const char *zlt_url_place(char *buf, const zlt_url_t *url);

/* 1 for "localhost", 127/8 and ::1 */
int zlt_url_loopback(const char *host);


#endif /* ZLT_URL_H_INCLUDED */
