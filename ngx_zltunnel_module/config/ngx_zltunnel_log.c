
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


#define NGX_ZLTUNNEL_LOG_KINDS  32
#define NGX_ZLTUNNEL_LOG_TIME   60      /* s */
#define NGX_ZLTUNNEL_LOG_LINES  32      /* of a kind in that time */


static ngx_uint_t ngx_zltunnel_log_due(const char *what, ngx_uint_t lines,
    ngx_uint_t *held);


void
ngx_zltunnel_log_complain(ngx_log_t *log, const char *fmt, const char *arg)
{
    ngx_uint_t  held;

    if (!ngx_zltunnel_log_due(fmt, 1, &held)) {
        return;
    }

    if (held) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "the next complaint was suppressed %ui times", held);
    }

    ngx_log_error(NGX_LOG_WARN, log, 0, fmt, arg);
}


ngx_uint_t
ngx_zltunnel_log_paced(ngx_log_t *log, const char *what)
{
    ngx_uint_t  held;

    if (!ngx_zltunnel_log_due(what, NGX_ZLTUNNEL_LOG_LINES, &held)) {
        return 0;
    }

    if (held) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "%ui lines of %s were suppressed", held, what);
    }

    return 1;
}


/* held: how many there have been since the last time without being said */

static ngx_uint_t
ngx_zltunnel_log_due(const char *what, ngx_uint_t lines, ngx_uint_t *held)
{
    ngx_uint_t  i;

    static struct {
        const char  *what;
        time_t       since;
        ngx_uint_t   said;
        ngx_uint_t   held;
    } kinds[NGX_ZLTUNNEL_LOG_KINDS];

    /* the last one is shared by whatever finds no place */

    for (i = 0; i < NGX_ZLTUNNEL_LOG_KINDS - 1; i++) {

        if (kinds[i].what == NULL) {
            kinds[i].what = what;
        }

        if (kinds[i].what == what) {
            break;
        }
    }

    if (kinds[i].since == 0
        || ngx_time() - kinds[i].since >= NGX_ZLTUNNEL_LOG_TIME)
    {
        kinds[i].since = ngx_time();
        kinds[i].said = 0;
    }

    if (kinds[i].said == lines) {
        kinds[i].held++;
        return 0;
    }

    kinds[i].said++;

    *held = kinds[i].held;
    kinds[i].held = 0;

    return 1;
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


