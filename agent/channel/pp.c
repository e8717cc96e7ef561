
/*
 * Copyright (C) zltunnel authors
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pp.h"


#define ZLT_PP_SIGNATURE  "\r\n\r\n\0\r\nQUIT\n"


typedef struct {
    int       family;                  /* 0: unknown */
    size_t    size;                    /* of an address */
    uint8_t   addr[2][16];             /* client, service */
    char      text[2][INET6_ADDRSTRLEN];
    uint16_t  port[2];
} zlt_proxy_t;


static void zlt_pp_client(zlt_proxy_t *p, const uint8_t *client,
    size_t len);
static void zlt_pp_service(zlt_proxy_t *p, const char *host,
    uint16_t port);
static size_t zlt_pp_v1(uint8_t *out, const zlt_proxy_t *p);
static size_t zlt_pp_v2(uint8_t *out, const zlt_proxy_t *p);


size_t
zlt_pp_header(uint8_t *out, unsigned version, const uint8_t *client,
    size_t len, const char *host, uint16_t port)
{
    zlt_proxy_t  p;

    memset(&p, 0, sizeof(zlt_proxy_t));

    zlt_pp_client(&p, client, len);

    if (p.family) {
        zlt_pp_service(&p, host, port);
    }

    return (version == ZLT_PP_V1) ? zlt_pp_v1(out, &p)
                                  : zlt_pp_v2(out, &p);
}


/* 192.0.2.1:1234 or [2001:db8::1]:1234 */

static void
zlt_pp_client(zlt_proxy_t *p, const uint8_t *client, size_t len)
{
    char   buf[64], *host, *colon, *end;
    long   port;

    if (len >= sizeof(buf)) {
        return;
    }

    memcpy(buf, client, len);
    buf[len] = '\0';

    colon = strrchr(buf, ':');
    if (colon == NULL) {
        return;
    }

    *colon = '\0';

    port = strtol(colon + 1, &end, 10);

    if (end == colon + 1 || *end != '\0' || port < 0 || port > 65535) {
        return;
    }

    host = buf;

    if (*host == '[' && colon[-1] == ']') {
        host++;
        colon[-1] = '\0';

        if (inet_pton(AF_INET6, host, p->addr[0]) != 1) {
            return;
        }

        p->family = AF_INET6;
        p->size = 16;

    } else {

        if (inet_pton(AF_INET, host, p->addr[0]) != 1) {
            return;
        }

        p->family = AF_INET;
        p->size = 4;
    }

    (void) inet_ntop(p->family, p->addr[0], p->text[0], sizeof(p->text[0]));
    p->port[0] = (uint16_t) port;
}


static void
zlt_pp_service(zlt_proxy_t *p, const char *host, uint16_t port)
{
    if (inet_pton(p->family, host, p->addr[1]) != 1) {

        /* a name, or another family */

        memset(p->addr[1], 0, sizeof(p->addr[1]));
    }

    (void) inet_ntop(p->family, p->addr[1], p->text[1], sizeof(p->text[1]));
    p->port[1] = port;
}


static size_t
zlt_pp_v1(uint8_t *out, const zlt_proxy_t *p)
{
    int  n;

    if (p->family == 0) {
        n = snprintf((char *) out, ZLT_PP_HEADER, "PROXY UNKNOWN\r\n");

    } else {
        n = snprintf((char *) out, ZLT_PP_HEADER,
                     "PROXY %s %s %s %u %u\r\n",
                     p->family == AF_INET ? "TCP4" : "TCP6",
                     p->text[0], p->text[1],
                     (unsigned) p->port[0], (unsigned) p->port[1]);
    }

    return (size_t) n;
}


static size_t
zlt_pp_v2(uint8_t *out, const zlt_proxy_t *p)
{
    size_t    len;
    uint8_t  *pos;

    len = p->family ? 2 * p->size + 4 : 0;

    pos = out;

    memcpy(pos, ZLT_PP_SIGNATURE, 12);
    pos += 12;

    /* version 2, PROXY; or LOCAL, where the receiver takes what it sees */

    *pos++ = p->family ? 0x21 : 0x20;
    *pos++ = (p->family == 0) ? 0 : (p->family == AF_INET) ? 0x11 : 0x21;
    *pos++ = 0;
    *pos++ = (uint8_t) len;

    if (p->family == 0) {
        return (size_t) (pos - out);
    }

    memcpy(pos, p->addr[0], p->size);
    pos += p->size;

    memcpy(pos, p->addr[1], p->size);
    pos += p->size;

    *pos++ = (uint8_t) (p->port[0] >> 8);
    *pos++ = (uint8_t) p->port[0];
    *pos++ = (uint8_t) (p->port[1] >> 8);
    *pos++ = (uint8_t) p->port[1];

    return (size_t) (pos - out);
}
