
/*
 * Copyright (C) zltunnel authors
 */

/* ws://host[:port][/path] and wss:// */


#ifndef ZLT_URL_H_INCLUDED
#define ZLT_URL_H_INCLUDED


#include <stdint.h>


#define ZLT_URL_HOST_MAX     255
#define ZLT_URL_PATH_MAX     1024
#define ZLT_URL_DEFAULT_PATH "/tunnel/v1"


typedef struct {
    char         host[ZLT_URL_HOST_MAX + 1];      /* no brackets */
    char         path[ZLT_URL_PATH_MAX + 1];      /* with the query */
    char         authority[ZLT_URL_HOST_MAX + 16];/* for the Host header */
    uint16_t     port;
    unsigned     tls:1;
} zlt_url_t;


/* 0, or -1 with a static text in *error. */
int zlt_url_parse(zlt_url_t *url, const char *text, const char **error);

/* 1 for "localhost", 127/8 and ::1 */
int zlt_url_loopback(const char *host);


#endif /* ZLT_URL_H_INCLUDED */
