
/*
 * Copyright (C) zltunnel authors
 */

/* The proxy through which the server is reached, if there is one. */


#ifndef ZLT_VIA_H_INCLUDED
#define ZLT_VIA_H_INCLUDED


#include "proxy_choose.h"
#include "reach.h"
#include "talk.h"
#include "types.h"
#include "url.h"


#define ZLT_VIA_ERROR_SIZE  512
#define ZLT_VIA_USER_MAX    255        /* bytes, as in SOCKS */


typedef enum {
    ZLT_VIA_NONE = 0,
    ZLT_VIA_HTTP,
    ZLT_VIA_SOCKS5,                    /* names are resolved here */
    ZLT_VIA_SOCKS5H                    /* .. or by the proxy */
} zlt_via_kind_e;


struct zlt_via_s {
    zlt_via_kind_e   kind;
    uint16_t         port;
    unsigned         has_user:1;
    char             host[ZLT_URL_HOST_MAX + 1];
    char             name[ZLT_URL_TEXT];           /* for logs: no user */
    char             source[64];                   /* who says so */
    char             user[ZLT_VIA_USER_MAX + 1];
    char             password[ZLT_VIA_USER_MAX + 1];
};


/*
 * [scheme://][user[:password]@]host[:port]; 0, or -1 with a static text in
 * *error.
 */
int zlt_via_parse(zlt_via_t *via, const char *text, const char **error);

/* 1 if the two are the same proxy, with the same user */
int zlt_via_same(const zlt_via_t *a, const zlt_via_t *b);

/* Forgets the password. */
void zlt_via_wipe(zlt_via_t *via);


#endif /* ZLT_VIA_H_INCLUDED */
