
/*
 * Copyright (C) zltunnel authors
 */

/* What the API changes: DELETE and POST. */


#include "ngx_http_zltunnel_api.h"
#include "ngx_zltunnel_control.h"


/* the longest that an agent is kept out, seconds */
#define NGX_HTTP_ZLTUNNEL_API_FOR  (366 * 24 * 3600)

/* bytes of an argument's name that an error tells */
#define NGX_HTTP_ZLTUNNEL_API_ARG  64


static ngx_uint_t ngx_http_zltunnel_api_write_is(ngx_str_t *part,
    const char *name);
static ngx_uint_t ngx_http_zltunnel_api_write_foreign(ngx_http_request_t *r);
static ngx_int_t ngx_http_zltunnel_api_write_args(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path);
static ngx_int_t ngx_http_zltunnel_api_write_kick(ngx_http_request_t *r,
    ngx_zltunnel_registry_t *registry, u_char *id);
static ngx_int_t ngx_http_zltunnel_api_write_done(ngx_http_request_t *r,
    ngx_int_t rc, const char *code, const char *text);


ngx_uint_t
ngx_http_zltunnel_api_write_method(ngx_http_zltunnel_api_path_t *path)
{
    ngx_uint_t  tunnel;

    if (path->n < 3) {
        return 0;
    }

    tunnel = ngx_http_zltunnel_api_write_is(&path->part[1], "tunnels");

    if (path->n == 3) {
        return (tunnel
                || ngx_http_zltunnel_api_write_is(&path->part[1], "access"))
               ? NGX_HTTP_DELETE : 0;
    }

    return (tunnel && (ngx_http_zltunnel_api_write_is(&path->part[3], "drain")
                       || ngx_http_zltunnel_api_write_is(&path->part[3],
                                                         "resume")))
           ? NGX_HTTP_POST : 0;
}


static ngx_uint_t
ngx_http_zltunnel_api_write_is(ngx_str_t *part, const char *name)
{
    return part->len == ngx_strlen(name)
           && ngx_memcmp(part->data, name, part->len) == 0;
}


ngx_int_t
ngx_http_zltunnel_api_write_do(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path)
{
    ngx_int_t                      rc;
    ngx_uint_t                     drain;
    ngx_zltunnel_registry_t       *registry;
    ngx_http_zltunnel_loc_conf_t  *zlcf;

    if (ngx_http_zltunnel_api_write_foreign(r)) {
        return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_FORBIDDEN,
                                              "CrossSite",
                                              "a page of another site must not "
                                              "change anything");
    }

    rc = ngx_http_zltunnel_api_write_args(r, path);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    zlcf = ngx_http_get_module_loc_conf(r, ngx_http_zltunnel_module);
    registry = zlcf->registry;

    if (path->n == 4) {
        drain = ngx_http_zltunnel_api_write_is(&path->part[3], "drain");
        rc = ngx_zltunnel_drain(registry, path->id, drain);

        return ngx_http_zltunnel_api_write_done(r, rc, "TunnelNotFound",
                                             "there is no tunnel with that id");
    }

    if (ngx_http_zltunnel_api_write_is(&path->part[1], "tunnels")) {
        return ngx_http_zltunnel_api_write_kick(r, registry, path->id);
    }

    rc = ngx_zltunnel_access_end_now(registry, path->id);

    return ngx_http_zltunnel_api_write_done(r, rc, "AccessNotFound",
                                         "there is no access session with that "
                                         "id");
}


/* One that is misspelt would do something else than what was meant.
   NGX_DECLINED: there is none, or what came of the answer that says so. */

static ngx_int_t
ngx_http_zltunnel_api_write_args(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path)
{
    u_char      *p, *last, *next, *end;
    ngx_str_t    name;
    ngx_uint_t   kicks;
    u_char       text[NGX_HTTP_ZLTUNNEL_API_ARG + 128];

    kicks = (path->n == 3
             && ngx_http_zltunnel_api_write_is(&path->part[1], "tunnels"));

    p = r->args.data;
    last = p + r->args.len;

    for ( /* void */ ; p && p < last; p = next) {

        end = ngx_strlchr(p, last, '&');
        next = end ? end + 1 : last;
        end = end ? end : last;

        name.data = p;
        name.len = end - p;

        p = ngx_strlchr(p, end, '=');

        if (p) {
            name.len = p - name.data;
        }

        if (name.len == 0
            || ngx_http_zltunnel_api_write_is(&name, "pretty")
            || (kicks && p && ngx_http_zltunnel_api_write_is(&name, "for")))
        {
            continue;
        }

        name.len = ngx_min(name.len, NGX_HTTP_ZLTUNNEL_API_ARG);

        (void) ngx_snprintf(text, sizeof(text), "there is no argument \"%V\" "
                            "here%s%Z", &name,
                            kicks ? "; how long agents are to be kept out says "
                                    "for=, as in for=10m" : "");

        return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_BAD_REQUEST,
                                                  "ParameterInvalid",
                                                  (char *) text);
    }

    return NGX_DECLINED;
}


/* a browser tells whose page has sent it, and may have the password */

static ngx_uint_t
ngx_http_zltunnel_api_write_foreign(ngx_http_request_t *r)
{
    size_t      len;
    u_char     *p, *last;
    ngx_str_t  *site, *origin, *host;

    site = ngx_http_zltunnel_api_answer_header(r, "Sec-Fetch-Site");

    if (site && (ngx_http_zltunnel_api_write_is(site, "cross-site")
                 || ngx_http_zltunnel_api_write_is(site, "same-site")))
    {
        return 1;
    }

    /* "scheme://host:port", or "null" */

    origin = ngx_http_zltunnel_api_answer_header(r, "Origin");

    if (origin == NULL) {
        return 0;
    }

    last = origin->data + origin->len;
    p = ngx_strlchr(origin->data, last, '/');

    if (p == NULL || last - p < 2 || r->headers_in.host == NULL) {
        return 1;
    }

    p += 2;
    len = last - p;
    host = &r->headers_in.host->value;

    return host->len != len || ngx_strncasecmp(host->data, p, len) != 0;
}


static ngx_int_t
ngx_http_zltunnel_api_write_kick(ngx_http_request_t *r,
    ngx_zltunnel_registry_t *registry, u_char *id)
{
    time_t      until;
    ngx_int_t   rc;
    ngx_str_t   value;

    until = 0;

    if (ngx_http_arg(r, (u_char *) "for", 3, &value) == NGX_OK) {

        rc = value.len ? ngx_parse_time(&value, 1) : NGX_ERROR;

        if (rc <= 0 || rc > NGX_HTTP_ZLTUNNEL_API_FOR) {
            return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_BAD_REQUEST,
                                                 "ParameterInvalid",
                                                 "for= must be a time, from 1s "
                                                 "to 366d, as 10m");
        }

        until = ngx_time() + rc;
    }

    rc = ngx_zltunnel_kick(registry, id, until);

    if (rc == NGX_BUSY) {
        return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_CONFLICT,
                                            "TooManyKeptOut",
                                            "the agents of too many tokens are "
                                            "kept out already; remove the "
                                            "token's line");
    }

    return ngx_http_zltunnel_api_write_done(r, rc, "TunnelNotFound",
                                            "there is no tunnel with that id");
}


/* 204, unless it was not there */

static ngx_int_t
ngx_http_zltunnel_api_write_done(ngx_http_request_t *r, ngx_int_t rc,
    const char *code, const char *text)
{
    if (rc != NGX_OK) {
        return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_NOT_FOUND, code,
                                                  text);
    }

    if (ngx_http_zltunnel_answer_header(r, "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}
