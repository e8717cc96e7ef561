
/*
 * Copyright (C) zltunnel authors
 */

/* The proxy that the way to the server leads through, or none: proxy.c. */


#ifndef ZLT_VIA_H_INCLUDED
#define ZLT_VIA_H_INCLUDED


#include <stdint.h>

#include "types.h"
#include "url.h"


#define ZLT_PROXY_ERROR_SIZE  512
#define ZLT_PROXY_USER_MAX    255      /* bytes, as in SOCKS */


typedef enum {
    ZLT_PROXY_NONE = 0,
    ZLT_PROXY_HTTP,
    ZLT_PROXY_SOCKS5,                  /* names are resolved here */
    ZLT_PROXY_SOCKS5H                  /* .. or by the proxy */
} zlt_proxy_kind_e;


struct zlt_proxy_s {
    zlt_proxy_kind_e  kind;
    uint16_t         port;
    unsigned         has_user:1;
    char             host[ZLT_URL_HOST_MAX + 1];
    char             name[ZLT_URL_TEXT];           /* for logs: no user */
    char             source[64];                   /* who says so */
    char             user[ZLT_PROXY_USER_MAX + 1];
    char             password[ZLT_PROXY_USER_MAX + 1];
};


/*
 * [scheme://][user[:password]@]host[:port]; 0, or -1 with a static text in
 * *error.
 */
int zlt_proxy_parse(zlt_proxy_t *via, const char *text, const char **error);

/* 1 if the two are the same proxy, with the same user */
int zlt_proxy_same(const zlt_proxy_t *a, const zlt_proxy_t *b);

/* Forgets the password. */
void zlt_proxy_wipe(zlt_proxy_t *via);


#endif /* ZLT_VIA_H_INCLUDED */
