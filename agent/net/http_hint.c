
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What went wrong should lead to the line of nginx.conf that does it, or to
 * the word of the URL that is wrong.
 *
 * Our server's answers bear Zltunnel-Worker.  One without it is of something
 * else: of another location, of nginx itself, or of what is on the way.
 */


#define _GNU_SOURCE           /* memmem() */

#include <stdio.h>
#include <string.h>

#include "http.h"
#include "http_hint.h"
#include "tls.h"


#define ZLT_HTTP_HINT_TLS    ": is it a TLS port? then wss://"
#define ZLT_HTTP_HINT_ALERT  21        /* the type of a record of TLS */


static const char *zlt_http_hint_malformed(const uint8_t *body, size_t len,
    const zlt_tls_t *tls);
static int zlt_http_hint_has(const uint8_t *body, size_t len,
    const char *word);


const char *
zlt_http_hint(const zlt_http_answer_t *a, const uint8_t *body, size_t len,
    const zlt_tls_t *tls, const char *path)
{
    static char  text[160];

    switch (a->status) {

    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        return ": redirects are not followed";

    case 401:
    case 403:
        return ": something in front of the tunnel refuses us";

    case 426:
        return ": does a proxy on the way pass on the upgrade?";

    case 429:
        return a->workers ? "" : ": something in front of the tunnel limits "
                                 "us";

    case 400:
        return zlt_http_hint_malformed(body, len, tls);
    }

    if (a->workers) {
        return "";
    }

    (void) snprintf(text, sizeof(text), ": is the path \"%.80s\" the one "
                    "where zltunnel is served?", path);

    return text;
}


/* As nginx, and others, answer http at a port of https. */

static const char *
zlt_http_hint_malformed(const uint8_t *body, size_t len, const zlt_tls_t *tls)
{
    const char  *hint;

    hint = zlt_tls_hint(tls);

    if (*hint) {
        return hint;
    }

    if (tls == NULL && (zlt_http_hint_has(body, len, "HTTPS")
                        || zlt_http_hint_has(body, len, "SSL")))
    {
        return ZLT_HTTP_HINT_TLS;
    }

    return ": does a proxy on the way pass on the upgrade?";
}


static int
zlt_http_hint_has(const uint8_t *body, size_t len, const char *word)
{
    return memmem(body, len, word, strlen(word)) != NULL;
}


const char *
zlt_http_hint_foreign(const uint8_t *data, size_t len, const zlt_tls_t *tls)
{
    if (tls) {
        return zlt_tls_hint(tls);
    }

    return len == 0 || *data == ZLT_HTTP_HINT_ALERT ? ZLT_HTTP_HINT_TLS : "";
}
