
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Warns of a location with write=on that anybody may use.
 *
 * nginx does not tell which modules restrict a location.  Those of its own are
 * found by their names, since it may have been built without them; the first
 * fields of their configurations, which are theirs alone, have been the same in
 * all versions: pointers that are set, or the length of an URI that is not 0.
 */


#include "ngx_http_zltunnel_api_guard.h"

#if (NGX_HTTP_SSL)
#include <ngx_http_ssl_module.h>
#endif


typedef struct {
    const char                  *module;
    ngx_uint_t                   pointers;   /* one of which is set */
} ngx_http_zltunnel_api_guard_t;


typedef struct {
    ngx_http_conf_ctx_t         *ctx;
    u_char                      *file;
    ngx_uint_t                   line;
} ngx_http_zltunnel_api_place_t;


static ngx_uint_t ngx_http_zltunnel_api_guard_open(ngx_conf_t *cf,
    ngx_http_zltunnel_api_place_t *place);
static ngx_uint_t ngx_http_zltunnel_api_guard_off(
    ngx_http_zltunnel_api_guard_t *guard, void *field);
static void *ngx_http_zltunnel_api_guard_conf(ngx_conf_t *cf, void **loc_conf,
    const char *name);


static ngx_http_zltunnel_api_guard_t  ngx_http_zltunnel_api_guards[] = {

    /* rules for IPv4, IPv6, UNIX */
#if (NGX_HAVE_INET6 && NGX_HAVE_UNIX_DOMAIN)
    { "ngx_http_access_module", 3 },
#elif (NGX_HAVE_INET6 || NGX_HAVE_UNIX_DOMAIN)
    { "ngx_http_access_module", 2 },
#else
    { "ngx_http_access_module", 1 },
#endif

    /* the realm */
    { "ngx_http_auth_basic_module", 1 },

    /* the length of the URI */
    { "ngx_http_auth_request_module", 1 },

    { NULL, 0 }
};


/* of the configuration that is read */

static ngx_array_t  *ngx_http_zltunnel_api_places;
static ngx_pool_t   *ngx_http_zltunnel_api_pool;


ngx_int_t
ngx_http_zltunnel_api_guard_add(ngx_conf_t *cf)
{
    ngx_http_zltunnel_api_place_t  *place;

    if (ngx_http_zltunnel_api_pool != cf->pool) {
        ngx_http_zltunnel_api_pool = cf->pool;
        ngx_http_zltunnel_api_places = ngx_array_create(cf->pool, 4,
                                      sizeof(ngx_http_zltunnel_api_place_t));
    }

    if (ngx_http_zltunnel_api_places == NULL) {
        return NGX_ERROR;
    }

    place = ngx_array_push(ngx_http_zltunnel_api_places);
    if (place == NULL) {
        return NGX_ERROR;
    }

    place->ctx = cf->ctx;
    place->file = cf->conf_file->file.name.data;
    place->line = cf->conf_file->line;

    return NGX_OK;
}


void
ngx_http_zltunnel_api_guard_check(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_http_zltunnel_api_place_t  *place;

    if (ngx_http_zltunnel_api_pool != cf->pool
        || ngx_http_zltunnel_api_places == NULL)
    {
        return;
    }

    place = ngx_http_zltunnel_api_places->elts;

    for (i = 0; i < ngx_http_zltunnel_api_places->nelts; i++) {

        if (ngx_http_zltunnel_api_guard_open(cf, &place[i])) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"zltunnel_api\" with \"write=on\" is in a location "
                          "that anybody may use: restrict it by \"allow\" and "
                          "\"deny\", \"auth_basic\" or \"auth_request\" in "
                          "%s:%ui", place[i].file, place[i].line);
        }
    }

    ngx_http_zltunnel_api_pool = NULL;
    ngx_http_zltunnel_api_places = NULL;
}


static ngx_uint_t
ngx_http_zltunnel_api_guard_open(ngx_conf_t *cf,
    ngx_http_zltunnel_api_place_t *place)
{
    void                           **field, **loc_conf;
    ngx_uint_t                       i;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_zltunnel_api_guard_t   *guard;
#if (NGX_HTTP_SSL)
    ngx_http_ssl_srv_conf_t         *sscf;
#endif

    loc_conf = place->ctx->loc_conf;
    clcf = loc_conf[ngx_http_core_module.ctx_index];

    if (clcf->internal) {
        return 0;
    }

    /* methods that change something are in a location of their own then */

    if (clcf->limit_except_loc_conf) {
        loc_conf = clcf->limit_except_loc_conf;
    }

    for (guard = ngx_http_zltunnel_api_guards; guard->module; guard++) {

        field = ngx_http_zltunnel_api_guard_conf(cf, loc_conf, guard->module);

        for (i = 0; field && i < guard->pointers; i++) {

            if (field[i] != NULL && field[i] != NGX_CONF_UNSET_PTR
                && !ngx_http_zltunnel_api_guard_off(guard, field[i]))
            {
                return 0;
            }
        }
    }

#if (NGX_HTTP_SSL)

    sscf = ngx_http_zltunnel_api_guard_conf(cf, place->ctx->srv_conf,
                                            "ngx_http_ssl_module");

    if (sscf && sscf->verify == 1) {
        return 0;
    }

#endif

    return 1;
}


/* "auth_basic off" */

static ngx_uint_t
ngx_http_zltunnel_api_guard_off(ngx_http_zltunnel_api_guard_t *guard,
    void *field)
{
    ngx_http_complex_value_t  *realm;

    if (ngx_strcmp(guard->module, "ngx_http_auth_basic_module") != 0) {
        return 0;
    }

    realm = field;

    return realm->value.len == 3
           && ngx_strncmp(realm->value.data, "off", 3) == 0;
}


/* NULL: nginx has no such module */

static void *
ngx_http_zltunnel_api_guard_conf(ngx_conf_t *cf, void **loc_conf,
    const char *name)
{
    ngx_uint_t  i;

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (ngx_strcmp(cf->cycle->modules[i]->name, name) == 0) {
            return loc_conf[cf->cycle->modules[i]->ctx_index];
        }
    }

    return NULL;
}
