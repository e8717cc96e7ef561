
/*
 * Copyright (C) zltunnel authors
 */

/* What the API answers, as HTTP. */


#include "ngx_http_zltunnel_api.h"
#include "ngx_zltunnel_config.h"


static ngx_int_t ngx_http_zltunnel_api_answer_json(ngx_http_request_t *r,
    ngx_uint_t status, ngx_chain_t *out, off_t size);
static ngx_uint_t ngx_http_zltunnel_api_answer_quality(ngx_str_t *accept,
    const char *type, const char *family);
static ngx_uint_t ngx_http_zltunnel_api_answer_q(u_char *p, u_char *last);


ngx_uint_t
ngx_http_zltunnel_api_answer_pretty(ngx_http_request_t *r)
{
    u_char     *p, *last;
    ngx_str_t  *accept, value;

    if (ngx_http_arg(r, (u_char *) "pretty", 6, &value) == NGX_OK) {
        return 1;
    }

    /* ngx_http_arg() does not see one without "=" */

    p = r->args.data;
    last = p + r->args.len;

    while (p && p < last) {

        if (last - p >= 6 && ngx_strncmp(p, "pretty", 6) == 0
            && (last - p == 6 || p[6] == '&'))
        {
            return 1;
        }

        p = ngx_strlchr(p, last, '&');

        if (p) {
            p++;
        }
    }

    accept = ngx_http_zltunnel_api_answer_header(r, "Accept");

    return accept
           && ngx_http_zltunnel_api_answer_quality(accept, "text/html",
                                                   "text/*")
              > ngx_http_zltunnel_api_answer_quality(accept, "application/json",
                                                     "application/*");
}


ngx_str_t *
ngx_http_zltunnel_api_answer_header(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                return &h[i].value;
            }
        }
    }

    return NULL;
}


/* in thousandths, of the range that fits best: RFC 9110, section 12.5.1 */

static ngx_uint_t
ngx_http_zltunnel_api_answer_quality(ngx_str_t *accept, const char *type,
    const char *family)
{
    u_char      *p, *end, *last;
    size_t       len;
    ngx_uint_t   rank, best, q;

    q = 0;
    best = 0;
    last = accept->data + accept->len;

    for (p = accept->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        for (len = 0; p + len < end; len++) {

            if (p[len] == ';' || p[len] == ' ' || p[len] == '\t') {
                break;
            }
        }

        rank = 0;

        if (len == 3 && ngx_strncmp(p, "*/*", 3) == 0) {
            rank = 1;

        } else if (len == ngx_strlen(family)
                   && ngx_strncasecmp(p, (u_char *) family, len) == 0)
        {
            rank = 2;

        } else if (len == ngx_strlen(type)
                   && ngx_strncasecmp(p, (u_char *) type, len) == 0)
        {
            rank = 3;
        }

        if (rank > best) {
            best = rank;
            q = ngx_http_zltunnel_api_answer_q(p + len, end);
        }
    }

    return q;
}


static ngx_uint_t
ngx_http_zltunnel_api_answer_q(u_char *p, u_char *last)
{
    ngx_int_t  q;

    p = ngx_strlcasestrn(p, last, (u_char *) "q=", 1);

    if (p == NULL) {
        return 1000;
    }

    p += 2;

    q = ngx_atofp(p, ngx_min(last - p, 5), 3);

    return (q == NGX_ERROR) ? 1000 : (ngx_uint_t) q;
}


ngx_int_t
ngx_http_zltunnel_api_answer_ok(ngx_http_request_t *r, ngx_chain_t *out,
    off_t size)
{
    return ngx_http_zltunnel_api_answer_json(r, NGX_HTTP_OK, out, size);
}


ngx_int_t
ngx_http_zltunnel_api_answer_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *text)
{
    off_t                 size;
    ngx_chain_t          *out;
    ngx_zltunnel_json_t   j;

    ngx_zltunnel_json_init(&j, r->pool);

    j.compact = !ngx_http_zltunnel_api_answer_pretty(r);

    ngx_zltunnel_json_open(&j, NULL, '{');
    ngx_zltunnel_json_open(&j, "error", '{');
    ngx_zltunnel_json_number(&j, "status", status);
    ngx_zltunnel_json_string(&j, "code", (u_char *) code, ngx_strlen(code));
    ngx_zltunnel_json_string(&j, "text", (u_char *) text, ngx_strlen(text));
    ngx_zltunnel_json_close(&j, '}');
    ngx_zltunnel_json_close(&j, '}');

    if (ngx_zltunnel_json_end(&j, &out, &size) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_zltunnel_api_answer_json(r, status, out, size);
}


ngx_int_t
ngx_http_zltunnel_api_answer_not_allowed(ngx_http_request_t *r,
    const char *allow, const char *code, const char *text)
{
    if (ngx_http_zltunnel_answer_header(r, "Allow", allow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_NOT_ALLOWED, code,
                                              text);
}


static ngx_int_t
ngx_http_zltunnel_api_answer_json(ngx_http_request_t *r, ngx_uint_t status,
    ngx_chain_t *out, off_t size)
{
    if (ngx_http_zltunnel_answer_header(r, "X-Content-Type-Options", "nosniff")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_zltunnel_answer_body(r, status, "application/json", out,
                                         size);
}
