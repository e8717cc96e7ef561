
/*
 * Copyright (C) zltunnel authors
 */

/* URLs that the server tells. */


#include <stdlib.h>
#include <string.h>

#include "urls.h"


#define ZLT_URLS_LETTERS                                                      \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* no "@", before which there may be anything to make a host look like another */

#define ZLT_URLS_HOST  ZLT_URLS_LETTERS ".-*:[]"
#define ZLT_URLS_PATH  ZLT_URLS_LETTERS ".-_~%/"


static int zlt_urls_plain(const uint8_t *url, size_t len);
static size_t zlt_urls_span(const uint8_t *p, size_t len, const char *accept);


char *
zlt_urls_take(zlt_str_t text, zlt_str_t *bad)
{
    char           *urls, *to;
    size_t          len;
    unsigned        n;
    const uint8_t  *p, *end;

    memset(bad, 0, sizeof(zlt_str_t));

    urls = malloc(ZLT_URLS_MAX * (ZLT_URLS_LEN + 1));

    if (urls == NULL) {
        return NULL;
    }

    to = urls;
    n = 0;
    end = text.data + text.len;

    for (p = text.data; p < end && n < ZLT_URLS_MAX; p += len + (p + len < end))
    {
        for (len = 0; p + len < end && p[len] != ' '; len++) {
            /* void */
        }

        if (len == 0) {
            continue;
        }

        n++;

        if (zlt_urls_plain(p, len)) {

            if (to != urls) {
                *to++ = ' ';
            }

            memcpy(to, p, len);
            to += len;

        } else if (bad->data == NULL) {
            bad->data = p;
            bad->len = len;
        }
    }

    *to = '\0';

    if (to == urls) {
        free(urls);
        return NULL;
    }

    to = realloc(urls, (size_t) (to - urls) + 1);

    return to ? to : urls;
}


static int
zlt_urls_plain(const uint8_t *url, size_t len)
{
    size_t  n;

    if (len > ZLT_URLS_LEN) {
        return 0;
    }

    if (len > 7 && memcmp(url, "http://", 7) == 0) {
        n = 7;

    } else if (len > 8 && memcmp(url, "https://", 8) == 0) {
        n = 8;

    } else {
        return 0;
    }

    url += n;
    len -= n;

    n = zlt_urls_span(url, len, ZLT_URLS_HOST);

    return n && (n == len
                 || (url[n] == '/'
                     && n + zlt_urls_span(url + n, len - n, ZLT_URLS_PATH)
                        == len));
}


static size_t
zlt_urls_span(const uint8_t *p, size_t len, const char *accept)
{
    size_t  n;

    for (n = 0; n < len && p[n] && strchr(accept, p[n]); n++) {
        /* void */
    }

    return n;
}


int
zlt_urls_next(const char **p, const char **url)
{
    size_t  len;

    if (*p == NULL) {
        return 0;
    }

    len = strcspn(*p, " ");
    *url = *p;

    *p += len;
    *p += (**p == ' ');

    return (int) len;
}
