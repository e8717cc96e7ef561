
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel_api: what is behind the location's name is "VERSION/LIST", or
 * "VERSION/LIST/ID".  GET answers what the registry has of it; what changes it
 * is in ngx_http_zltunnel_api_write.c.
 */


#include "ngx_http_zltunnel_api.h"
#include "ngx_http_zltunnel_api_guard.h"
#include "ngx_zltunnel_config.h"

#include "zlt_hex.h"


#define NGX_HTTP_ZLTUNNEL_API_VERSION  "1"


static ngx_int_t ngx_http_zltunnel_api_path(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path);
static ngx_int_t ngx_http_zltunnel_api_method(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path, ngx_uint_t write);
static ngx_int_t ngx_http_zltunnel_api_versions(ngx_http_request_t *r);
static ngx_int_t ngx_http_zltunnel_api_get(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path);
static ngx_int_t ngx_http_zltunnel_api_fields(ngx_http_request_t *r,
    ngx_str_t *fields);


char *
ngx_http_zltunnel_api_conf(ngx_conf_t *cf, ngx_http_zltunnel_loc_conf_t *zlcf,
    ngx_zltunnel_registry_t **registry)
{
    ngx_str_t                 *value, name;
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    *registry = NULL;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "write=on") == 0) {
            zlcf->write = 1;
            continue;
        }

        if (ngx_strcmp(value[i].data, "write=off") == 0) {
            zlcf->write = 0;
            continue;
        }

        switch (ngx_zltunnel_conf_registry_arg(cf, &value[i], registry)) {

        case NGX_OK:
            continue;

        case NGX_DECLINED:
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of "
                               "\"zltunnel_api\": it must be "
                               "\"write=on\", \"write=off\" or "
                               "\"registry=NAME\"",
                               &value[i]);
            return NGX_CONF_ERROR;

        default:
            return NGX_CONF_ERROR;
        }
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->exact_match || clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
       )
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"zltunnel_api\" must be in a location with a "
                           "prefix, as \"location /api/\"; it is in \"%V\"",
                           &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (clcf->name.len && clcf->name.data[clcf->name.len - 1] == '/') {
        clcf->auto_redirect = 1;
    }

    if (zlcf->write && ngx_http_zltunnel_api_guard_add(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (*registry == NULL) {
        ngx_str_null(&name);
        *registry = ngx_zltunnel_conf_registry(cf, &name);
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_zltunnel_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_zltunnel_loc_conf_t  *zlcf;
    ngx_http_zltunnel_api_path_t   path;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    zlcf = ngx_http_get_module_loc_conf(r, ngx_http_zltunnel_module);

    if (zlcf->registry->sh == NULL) {
        return ngx_http_zltunnel_api_answer_error(r,
                                                 NGX_HTTP_SERVICE_UNAVAILABLE,
                                                 "NoRegistry",
                                                 "this worker has no registry");
    }

    rc = ngx_http_zltunnel_api_path(r, &path);

    if (rc == NGX_DECLINED) {
        return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_NOT_FOUND,
                                            "PathNotFound",
                                            "there is nothing of that name; "
                                            "GET " NGX_HTTP_ZLTUNNEL_API_VERSION
                                            "/ tells what there is");
    }

    if (rc == NGX_ABORT) {
        return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_NOT_FOUND,
                                               "UnknownVersion",
                                               "the version of the API must be "
                                               NGX_HTTP_ZLTUNNEL_API_VERSION);
    }

    return ngx_http_zltunnel_api_method(r, &path, zlcf->write);
}


static ngx_int_t
ngx_http_zltunnel_api_method(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path, ngx_uint_t write)
{
    ngx_uint_t   reads, writes;
    const char  *allow;

    /* of what has an id only tunnels can be read */

    reads = (path->n < 3
             || (path->n == 3
                 && ngx_strncmp(path->part[1].data, "tunnels/", 8) == 0));
    writes = ngx_http_zltunnel_api_write_method(path);

    if (!reads && !writes) {
        return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_NOT_FOUND,
                                               "PathNotFound",
                                               "there is nothing of that name");
    }

    if (reads && (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return path->n ? ngx_http_zltunnel_api_get(r, path)
                       : ngx_http_zltunnel_api_versions(r);
    }

    if (write && (r->method & writes)) {
        return ngx_http_zltunnel_api_write_do(r, path);
    }

    if (r->method & writes) {
        return ngx_http_zltunnel_api_answer_not_allowed(r,
                                                  reads ? "GET, HEAD" : "",
                                                  "MethodDisabled",
                                                  "nothing can be changed: it "
                                                  "is \"zltunnel_api\" without "
                                                  "\"write=on\"");
    }

    allow = reads ? "GET, HEAD" : "";

    if (write && writes) {
        allow = reads ? "GET, HEAD, DELETE"
                      : (writes == NGX_HTTP_POST) ? "POST" : "DELETE";
    }

    return ngx_http_zltunnel_api_answer_not_allowed(r,
                                                 allow, "MethodNotAllowed",
                                                 "\"Allow\" says which methods "
                                                 "there are");
}


/* NGX_DECLINED: there is nothing of that name; NGX_ABORT: nor such a version */

static ngx_int_t
ngx_http_zltunnel_api_path(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path)
{
    u_char                    *p, *last, *slash;
    ngx_str_t                 *part;
    ngx_http_core_loc_conf_t  *clcf;

    ngx_memzero(path, sizeof(ngx_http_zltunnel_api_path_t));

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r->uri.len < clcf->name.len) {
        return NGX_DECLINED;
    }

    p = r->uri.data + clcf->name.len;
    last = r->uri.data + r->uri.len;

    if (p < last && *p == '/') {
        p++;
    }

    while (p < last) {

        if (path->n == NGX_HTTP_ZLTUNNEL_API_PARTS) {
            return NGX_DECLINED;
        }

        slash = ngx_strlchr(p, last, '/');
        if (slash == NULL) {
            slash = last;
        }

        part = &path->part[path->n++];
        part->data = p;
        part->len = slash - p;

        p = slash + 1;
    }

    part = path->part;

    if (path->n == 0) {
        return NGX_OK;
    }

    if (part[0].len != sizeof(NGX_HTTP_ZLTUNNEL_API_VERSION) - 1
        || ngx_memcmp(part[0].data, NGX_HTTP_ZLTUNNEL_API_VERSION, part[0].len)
           != 0)
    {
        return NGX_ABORT;
    }

    if (path->n > 1
        && (part[1].len == 0 || !ngx_zltunnel_api_known(&part[1])))
    {
        return NGX_DECLINED;
    }

    if (path->n > 2
        && (part[2].len != 2 * ZLT_ID_SIZE
            || zlt_hex_decode(path->id, (char *) part[2].data, ZLT_ID_SIZE)
               != 0))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* of the API itself */

static ngx_int_t
ngx_http_zltunnel_api_versions(ngx_http_request_t *r)
{
    off_t                 size;
    ngx_chain_t          *out;
    ngx_zltunnel_json_t   j;

    ngx_zltunnel_json_init(&j, r->pool);

    j.compact = !ngx_http_zltunnel_api_answer_pretty(r);

    ngx_zltunnel_json_open(&j, NULL, '[');
    ngx_zltunnel_json_number(&j, NULL,
                             ngx_atoi((u_char *) NGX_HTTP_ZLTUNNEL_API_VERSION,
                                sizeof(NGX_HTTP_ZLTUNNEL_API_VERSION) - 1));
    ngx_zltunnel_json_close(&j, ']');

    if (ngx_zltunnel_json_end(&j, &out, &size) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_zltunnel_api_answer_ok(r, out, size);
}


static ngx_int_t
ngx_http_zltunnel_api_get(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path)
{
    off_t                          size;
    ngx_int_t                      rc;
    ngx_chain_t                   *out;
    ngx_zltunnel_api_t             api;
    ngx_http_zltunnel_loc_conf_t  *zlcf;

    zlcf = ngx_http_get_module_loc_conf(r, ngx_http_zltunnel_module);

    ngx_memzero(&api, sizeof(ngx_zltunnel_api_t));

    api.registry = zlcf->registry;
    api.pool = r->pool;
    api.name = path->part[1];
    api.write = zlcf->write;
    api.pretty = ngx_http_zltunnel_api_answer_pretty(r);

    if (path->n == 3) {
        api.id = path->id;
    }

    if (ngx_http_zltunnel_api_fields(r, &api.fields) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_zltunnel_api(&api, &out, &size);

    if (rc == NGX_DECLINED) {
        return ngx_http_zltunnel_api_answer_error(r, NGX_HTTP_NOT_FOUND,
                                             "TunnelNotFound",
                                             "there is no tunnel with that id");
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_zltunnel_api_answer_ok(r, out, size);
}


/* a comma may come as "%2C" */

static ngx_int_t
ngx_http_zltunnel_api_fields(ngx_http_request_t *r, ngx_str_t *fields)
{
    u_char     *dst, *src;
    ngx_str_t   value;

    ngx_str_null(fields);

    if (ngx_http_arg(r, (u_char *) "fields", 6, &value) != NGX_OK
        || value.len == 0)
    {
        return NGX_OK;
    }

    dst = ngx_pnalloc(r->pool, value.len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    fields->data = dst;
    src = value.data;

    ngx_unescape_uri(&dst, &src, value.len, 0);

    fields->len = dst - fields->data;

    return NGX_OK;
}
