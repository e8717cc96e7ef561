
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What is said in the log: not too often, and nothing that a peer could
 * disguise.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_log.h"

#include "zlt_utf8.h"

#include <openssl/rand.h>


#define NGX_ZLTUNNEL_COMPLAINTS  16


void
ngx_zltunnel_log_complain(ngx_log_t *log, const char *fmt, const char *arg)
{
    ngx_uint_t  i;

    static struct {
        const char  *fmt;
        time_t       last;
        ngx_uint_t   count;
    } said[NGX_ZLTUNNEL_COMPLAINTS];

    for (i = 0; i < NGX_ZLTUNNEL_COMPLAINTS - 1; i++) {

        if (said[i].fmt == NULL) {
            said[i].fmt = fmt;
        }

        if (said[i].fmt == fmt) {
            break;
        }
    }

    /* the last one is shared by whatever finds no place */

    said[i].count++;

    if (said[i].last && ngx_time() - said[i].last < 60) {
        return;
    }

    said[i].last = ngx_time();

    if (said[i].count > 1) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "the next complaint was suppressed %ui times",
                      said[i].count - 1);
    }

    said[i].count = 0;

    ngx_log_error(NGX_LOG_WARN, log, 0, fmt, arg);
}


size_t
ngx_zltunnel_log_printable(u_char *dst, size_t size, const u_char *src,
    size_t len)
{
    u_char      *p, *last;
    ngx_uint_t   utf8;
    size_t       i;

    static const u_char  hex[] = "0123456789abcdef";

    p = dst;
    last = dst + size;
    utf8 = zlt_utf8_valid(src, len);

    for (i = 0; i < len; i++) {

        if ((src[i] >= 0x20 && src[i] < 0x7f && src[i] != '\\')
            || (src[i] >= 0x80 && utf8))
        {
            if (p == last) {
                break;
            }

            *p++ = src[i];
            continue;
        }

        if (last - p < 4) {
            break;
        }

        *p++ = '\\';
        *p++ = 'x';
        *p++ = hex[src[i] >> 4];
        *p++ = hex[src[i] & 0xf];
    }

    /* not within a character */

    while (i < len && p > dst && (src[i] & 0xc0) == 0x80
           && (p[-1] & 0x80))
    {
        p--;
        i--;
    }

    return p - dst;
}


