
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a configuration has of registries.
 *
 * A directive anywhere may name a registry before its block has been read, so
 * registries are made at the first mention, and what can be judged only with
 * everything read is judged in ngx_zltunnel_conf_init().
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_block.h"
#include "ngx_zltunnel_cluster_cert.h"
#include "ngx_zltunnel_cluster_conf.h"
#include "ngx_zltunnel_conf.h"
#include "ngx_zltunnel_descriptors.h"
#include "ngx_zltunnel_limits.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_rights.h"
#include "ngx_zltunnel_taken.h"
#include "ngx_zltunnel_token.h"
#include "ngx_zltunnel_token_file.h"


#define NGX_ZLTUNNEL_NAME_MAX  64


static ngx_int_t ngx_zltunnel_conf_name_check(ngx_conf_t *cf, ngx_str_t *name);
static ngx_int_t ngx_zltunnel_conf_registry_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_conf_reference_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_reference_t *ref);


static ngx_str_t  ngx_zltunnel_default_name = ngx_string("default");


void *
ngx_zltunnel_conf_create(ngx_cycle_t *cycle)
{
    ngx_zltunnel_conf_t  *conf;

    conf = ngx_pcalloc(cycle->pool, sizeof(ngx_zltunnel_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->registries, cycle->pool, 1,
                       sizeof(ngx_zltunnel_registry_t *))
        != NGX_OK
        || ngx_array_init(&conf->datagrams, cycle->pool, 1,
                          sizeof(ngx_uint_t))
           != NGX_OK
        || ngx_array_init(&conf->streams, cycle->pool, 1, sizeof(ngx_uint_t))
           != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


char *
ngx_zltunnel_conf_init(ngx_cycle_t *cycle, void *data)
{
    ngx_zltunnel_conf_t *conf = data;

    ngx_uint_t                 i, n;
    ngx_zltunnel_registry_t  **registry;
    ngx_zltunnel_reference_t  *ref;

    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (ngx_zltunnel_conf_registry_check(cycle, registry[i]) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        if (registry[i]->public_url.len == 0 && conf->url
            && conf->url(cycle, registry[i]) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (conf->listen && conf->listen(cycle) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->registries.nelts
        && ngx_zltunnel_descriptors_check(cycle) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < conf->registries.nelts; i++) {

        ngx_zltunnel_limits_check(cycle, registry[i]);
        ngx_zltunnel_taken_check(cycle, registry[i]);

        ref = registry[i]->references.elts;

        for (n = 0; n < registry[i]->references.nelts; n++) {
            ngx_zltunnel_conf_reference_check(cycle, registry[i], &ref[n]);
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_zltunnel_conf_registry_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    ngx_str_t   name;
    ngx_conf_t  cf;

    if (!registry->defined) {
        ngx_str_null(&name);

        if (registry->hash != ngx_crc32_long(ngx_zltunnel_default_name.data,
                                             ngx_zltunnel_default_name.len))
        {
            name = registry->name;
        }

        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "there is no \"zltunnel\" block for registry \"%V\": "
                      "write \"zltunnel%s%V { token_file FILE; }\" beside "
                      "\"http\" and \"stream\", or name a registry that "
                      "exists, in %s:%ui", &registry->name,
                      name.len ? " " : "", &name, registry->file,
                      registry->line);
        return NGX_ERROR;
    }

    if (registry->cluster
        && (ngx_zltunnel_cluster_conf_check(cycle, registry) != NGX_OK
            || ngx_zltunnel_cluster_cert_init(cycle, registry) != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (registry->token_file.len == 0 && !registry->asks
        && (registry->cluster == NULL
            || registry->cluster->token_key.len == 0))
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "no \"token_file\" in zltunnel \"%V\", it is "
                      "required where no \"zltunnel_auth\" is, in %s:%ui",
                      &registry->name, registry->file, registry->line);
        return NGX_ERROR;
    }

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.cycle = cycle;
    cf.pool = cycle->pool;
    cf.log = cycle->log;

    return ngx_zltunnel_token_file_read(registry, &cf, cycle->log);
}


static void
ngx_zltunnel_conf_reference_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_reference_t *ref)
{
    ngx_str_t             *first;
    ngx_uint_t             i, n;
    ngx_zltunnel_token_t  *token;

    if (registry->asks
        || (registry->cluster && registry->cluster->token_key.len))
    {
        /* what it will let in is not known */

        return;
    }

    token = registry->tokens->tokens.elts;

    first = NULL;
    n = 0;

    for (i = 0; i < registry->tokens->tokens.nelts; i++) {

        if (ref->token.len) {

            if (token[i].name.len == ref->token.len
                && ngx_memcmp(token[i].name.data, ref->token.data,
                              ref->token.len)
                   == 0)
            {
                return;
            }

            continue;
        }

        if (!ngx_zltunnel_rights_service(&token[i], ref->service.data,
                                         ref->service.len))
        {
            continue;
        }

        /* lines of one name are one identity */

        if (first
            && first->len == token[i].name.len
            && ngx_memcmp(first->data, token[i].name.data, first->len) == 0)
        {
            continue;
        }

        first = &token[i].name;
        n++;
    }

    if (ref->token.len) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "no token has the name \"%V\" that \"%s %V\" wants, "
                      "in %s:%ui",
                      &ref->token, ref->directive, &ref->service, ref->file,
                      ref->line);
        return;
    }

    if (n > 1) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "more than one token may register the service of "
                      "\"%s %V\", bind it to one by \"token=NAME\", "
                      "in %s:%ui",
                      ref->directive, &ref->service, ref->file, ref->line);
    }
}


ngx_zltunnel_registry_t *
ngx_zltunnel_conf_registry(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t   *registry, **p;

    if (name->len == 0) {
        name = &ngx_zltunnel_default_name;
    }

    if (ngx_zltunnel_conf_name_check(cf, name) != NGX_OK) {
        return NULL;
    }

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                                ngx_zltunnel_module);

    p = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (p[i]->name.len == name->len
            && ngx_memcmp(p[i]->name.data, name->data, name->len) == 0)
        {
            return p[i];
        }
    }

    registry = ngx_pcalloc(cf->pool, sizeof(ngx_zltunnel_registry_t));
    if (registry == NULL) {
        return NULL;
    }

    if (ngx_array_init(&registry->listeners, cf->pool, 4,
                       sizeof(ngx_zltunnel_listener_t))
        != NGX_OK
        || ngx_array_init(&registry->passes, cf->pool, 4,
                          sizeof(ngx_zltunnel_listener_t))
           != NGX_OK
        || ngx_array_init(&registry->references, cf->pool, 4,
                          sizeof(ngx_zltunnel_reference_t))
           != NGX_OK)
    {
        return NULL;
    }

    registry->name = *name;
    registry->hash = ngx_crc32_long(name->data, name->len);
    registry->file = cf->conf_file->file.name.data;
    registry->line = cf->conf_file->line;

    ngx_zltunnel_block_unset(registry);

    p = ngx_array_push(&conf->registries);
    if (p == NULL) {
        return NULL;
    }

    *p = registry;

    return registry;
}


static ngx_int_t
ngx_zltunnel_conf_name_check(ngx_conf_t *cf, ngx_str_t *name)
{
    u_char      ch;
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_')
        {
            continue;
        }

        break;
    }

    if (i == name->len && i <= NGX_ZLTUNNEL_NAME_MAX) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid registry name \"%V\": it must be 1 to %d "
                       "letters, digits, \"-\" or \"_\"",
                       name, NGX_ZLTUNNEL_NAME_MAX);

    return NGX_ERROR;
}


ngx_int_t
ngx_zltunnel_conf_registry_arg(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_zltunnel_registry_t **registry)
{
    ngx_str_t  name;

    if (ngx_strncmp(arg->data, "registry=", 9) != 0) {
        return NGX_DECLINED;
    }

    name.data = arg->data + 9;
    name.len = arg->len - 9;

    if (name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no name in parameter \"%V\"", arg);
        return NGX_ERROR;
    }

    *registry = ngx_zltunnel_conf_registry(cf, &name);

    return *registry ? NGX_OK : NGX_ERROR;
}


ngx_zltunnel_reference_t *
ngx_zltunnel_conf_reference(ngx_conf_t *cf, ngx_zltunnel_registry_t *registry,
    ngx_str_t *service, ngx_str_t *token, const char *directive)
{
    ngx_zltunnel_reference_t  *ref;

    ref = ngx_array_push(&registry->references);
    if (ref == NULL) {
        return NULL;
    }

    ngx_memzero(ref, sizeof(ngx_zltunnel_reference_t));

    ref->service = *service;

    if (token) {
        ref->token = *token;
    }

    ref->directive = directive;
    ref->file = cf->conf_file->file.name.data;
    ref->line = cf->conf_file->line;

    return ref;
}
