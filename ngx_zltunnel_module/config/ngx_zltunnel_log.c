
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
static u_char *ngx_zltunnel_log_escape(u_char *p, const u_char *src,
    size_t n);


void
ngx_zltunnel_log_complain(ngx_log_t *log, const char *fmt, const char *arg)
{
    ngx_uint_t  held;

    if (!ngx_zltunnel_log_due(fmt, 1, &held)) {
        return;
    }

    if (held) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "the next complaint was suppressed %ui time%s", held,
                      held == 1 ? "" : "s");
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
                      "%ui line%s of %s suppressed", held,
                      held == 1 ? "" : "s", what);
    }

    return 1;
}


void
ngx_zltunnel_log_missing(ngx_log_t *log, ngx_uint_t level,
    ngx_zltunnel_registry_t *registry, ngx_str_t *service, ngx_str_t *token,
    ngx_uint_t drained)
{
    u_char  name[NGX_ZLTUNNEL_TEXT_MAX];
    size_t  len;

    /* names may be what clients say */

    if (log->log_level < level
        || !ngx_zltunnel_log_paced(log, "services without an agent"))
    {
        return;
    }

    len = ngx_zltunnel_log_printable(name, sizeof(name), service->data,
                                     service->len);

    if (drained) {
        ngx_log_error(level, log, 0,
                      "service \"%*s\" of registry \"%V\" takes nobody: the "
                      "administrator has drained its tunnel",
                      len, name, &registry->name);
        return;
    }

    ngx_log_error(level, log, 0,
                  "no agent%s%V%s has registered service \"%*s\" in registry "
                  "\"%V\"", token->len ? " of token \"" : "", token,
                  token->len ? "\"" : "", len, name, &registry->name);
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
    size_t       n;
    uint32_t     cp;
    ngx_uint_t   utf8;

    p = dst;
    last = dst + size;
    utf8 = zlt_utf8_valid(src, len);

    while (len) {
        n = utf8 ? zlt_utf8_next(src, len, &cp) : 1;

        if (!utf8) {
            cp = (*src < 0x80) ? *src : 0;
        }

        if (zlt_utf8_shown(cp) && cp != '\\') {

            if ((size_t) (last - p) < n) {
                break;
            }

            p = ngx_cpymem(p, src, n);

        } else {

            if ((size_t) (last - p) < n * (sizeof("\\xXX") - 1)) {
                break;
            }

            p = ngx_zltunnel_log_escape(p, src, n);
        }

        src += n;
        len -= n;
    }

    return p - dst;
}


static u_char *
ngx_zltunnel_log_escape(u_char *p, const u_char *src, size_t n)
{
    for ( /* void */ ; n; n--) {
        p = ngx_sprintf(p, "\\x%02xd", *src++);
    }

    return p;
}
