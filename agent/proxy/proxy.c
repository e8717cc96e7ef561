
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Proxies, as the user writes them: in the shape that curl takes, so that one
 * value does for both.  Without a scheme it is http://, without a port 1080.
 */


#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <openssl/crypto.h>

#include "via.h"


#define ZLT_PROXY_PORT  1080


typedef struct {
    const char       *scheme;
    zlt_proxy_kind_e  kind;            /* ZLT_PROXY_NONE: not supported */
} zlt_proxy_scheme_t;


static int zlt_proxy_user(zlt_proxy_t *via, const char *text, const char *end,
    const char **error);
static int zlt_proxy_decode(char *dst, size_t size, const char *text,
    const char *end);
static int zlt_proxy_hex(char c);


static const zlt_proxy_scheme_t  zlt_proxy_schemes[] = {
    { "http",    ZLT_PROXY_HTTP },
    { "socks5",  ZLT_PROXY_SOCKS5 },
    { "socks5h", ZLT_PROXY_SOCKS5H },
    { NULL,      ZLT_PROXY_NONE }
};


int
zlt_proxy_parse(zlt_proxy_t *via, const char *text, const char **error)
{
    int                        bracketed;
    size_t                     len;
    const char                *p, *end, *at;
    const zlt_proxy_scheme_t  *s;

    memset(via, 0, sizeof(zlt_proxy_t));

    s = &zlt_proxy_schemes[0];

    p = strstr(text, "://");

    if (p) {
        len = (size_t) (p - text);

        for ( /* void */ ; s->scheme; s++) {
            if (strlen(s->scheme) == len
                && strncasecmp(text, s->scheme, len) == 0)
            {
                break;
            }
        }

        text = p + 3;
    }

    if (s->scheme == NULL) {
        *error = "must begin with http://, socks5:// or socks5h://";
        return -1;
    }

    via->kind = s->kind;
    via->port = ZLT_PROXY_PORT;

    for (p = text; *p; p++) {
        if ((unsigned char) *p <= 0x20 || *p == 0x7f) {
            *error = "contains a space or a control character";
            return -1;
        }
    }

    end = text + strcspn(text, "/?#");

    /* a password may have an "@" in it, as people write it */

    for (at = end; at > text && at[-1] != '@'; at--) { /* void */ }

    if (at > text && zlt_proxy_user(via, text, at - 1, error) == -1) {
        return -1;
    }

    bracketed = zlt_url_host(at, end, via->host, &via->port, error);

    if (bracketed == -1) {
        return -1;
    }

    (void) snprintf(via->name, sizeof(via->name),
                    bracketed ? "%s://[%s]:%u" : "%s://%s:%u", s->scheme,
                    via->host, (unsigned) via->port);

    return 0;
}


static int
zlt_proxy_user(zlt_proxy_t *via, const char *text, const char *end,
    const char **error)
{
    const char  *colon;

    colon = memchr(text, ':', (size_t) (end - text));

    if (colon == NULL) {
        colon = end;

    } else if (zlt_proxy_decode(via->password, sizeof(via->password),
                                colon + 1, end)
               == -1)
    {
        *error = "has a password that is too long or wrongly encoded";
        return -1;
    }

    if (zlt_proxy_decode(via->user, sizeof(via->user), text, colon) == -1
        || (via->kind == ZLT_PROXY_HTTP && strchr(via->user, ':')))
    {
        *error = "has a user name that is too long or wrongly encoded";
        return -1;
    }

    via->has_user = 1;

    return 0;
}


/* %XX; 0, or -1 */

static int
zlt_proxy_decode(char *dst, size_t size, const char *text, const char *end)
{
    int   high, low;
    char  *last;

    last = dst + size - 1;

    while (text < end) {

        if (dst == last) {
            return -1;
        }

        if (*text != '%') {
            *dst++ = *text++;
            continue;
        }

        high = (end - text >= 3) ? zlt_proxy_hex(text[1]) : -1;
        low = (end - text >= 3) ? zlt_proxy_hex(text[2]) : -1;

        if (high == -1 || low == -1 || (high == 0 && low == 0)) {
            return -1;
        }

        *dst++ = (char) (high << 4 | low);
        text += 3;
    }

    *dst = '\0';

    return 0;
}


static int
zlt_proxy_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}


int
zlt_proxy_same(const zlt_proxy_t *a, const zlt_proxy_t *b)
{
    return a->kind == b->kind
           && strcmp(a->name, b->name) == 0
           && a->has_user == b->has_user
           && strcmp(a->user, b->user) == 0
           && strcmp(a->password, b->password) == 0;
}


void
zlt_proxy_wipe(zlt_proxy_t *via)
{
    OPENSSL_cleanse(via, sizeof(zlt_proxy_t));
}
