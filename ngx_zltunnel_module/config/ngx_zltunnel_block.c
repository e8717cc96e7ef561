
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The directives of the zltunnel{} block.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_block.h"
#include "ngx_zltunnel_cluster_conf.h"
#include "ngx_zltunnel_conf.h"
#include "ngx_zltunnel_domain.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_node_conf.h"


/* no directive of a core module has this context: those of the block only */
#define NGX_ZLTUNNEL_CONF             0x02000000

#define NGX_ZLTUNNEL_ZONE_PAGES       8
#define NGX_ZLTUNNEL_ZONE_DEFAULT     (32 * 1024 * 1024)


typedef struct {
    ngx_int_t                  (*parse)(ngx_str_t *value);
    ngx_uint_t                   min;
    ngx_uint_t                   max;
    ngx_uint_t                   value;       /* the default */
    const char                  *allowed;
} ngx_zltunnel_range_t;


static char *ngx_zltunnel_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_zltunnel_block_defaults(ngx_conf_t *cf,
    ngx_zltunnel_registry_t *registry);
static char *ngx_zltunnel_block_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_zltunnel_block_token_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_zltunnel_block_range(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

static ngx_int_t ngx_zltunnel_block_number(ngx_str_t *value);
static ngx_int_t ngx_zltunnel_block_msec(ngx_str_t *value);
static ngx_int_t ngx_zltunnel_block_percent(ngx_str_t *value);


static ngx_zltunnel_range_t  ngx_zltunnel_heartbeat_interval = {
    ngx_zltunnel_block_msec, 100, 3600000, 30000, "a time from 100ms to 1h"
};

static ngx_zltunnel_range_t  ngx_zltunnel_heartbeat_timeout = {
    ngx_zltunnel_block_msec, 101, 86400000, 40000,
    "a time above \"heartbeat_interval\", up to 1d"
};

static ngx_zltunnel_range_t  ngx_zltunnel_nodes = {
    ngx_zltunnel_block_number, 1, 1000, 0, "a number from 1 to 1000"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_tunnels = {
    ngx_zltunnel_block_number, 1, 1000000, 1000, "a number from 1 to 1000000"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_services = {
    ngx_zltunnel_block_number, 1, 65535, 50, "a number from 1 to 65535"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_hosts = {
    ngx_zltunnel_block_number, 1, 65535, 256, "a number from 1 to 65535"
};

static ngx_zltunnel_range_t  ngx_zltunnel_connect_timeout = {
    ngx_zltunnel_block_msec, 1, 3600000, 10000, "a time from 1ms to 1h"
};

static ngx_zltunnel_range_t  ngx_zltunnel_reconnect_grace = {
    ngx_zltunnel_block_msec, 0, 86400000, 30000, "a time from 0 to 1d"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_unauthenticated = {
    ngx_zltunnel_block_number, 1, 1000000, 256, "a number from 1 to 1000000"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_idle_channels = {
    ngx_zltunnel_block_number, 1, 65535, 64, "a number from 1 to 65535"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_pending = {
    ngx_zltunnel_block_number, 1, 65535, 128, "a number from 1 to 65535"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_connections = {
    ngx_zltunnel_block_number, 1, 10000000, 10000,
    "a number from 1 to 10000000"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_udp_sessions = {
    ngx_zltunnel_block_number, 1, 1000000, 1024, "a number from 1 to 1000000"
};

static ngx_zltunnel_range_t  ngx_zltunnel_max_channel_share = {
    ngx_zltunnel_block_percent, 1, 100, 50, "a share from 1% to 100%"
};

#if (NGX_DEBUG)
static ngx_zltunnel_range_t  ngx_zltunnel_debug_delay = {
    ngx_zltunnel_block_msec, 0, 60000, 0, "a time from 0 to 1m"
};
#endif


/* ngx_uint_t and ngx_msec_t are the same type */

#define ngx_zltunnel_block_value(registry, cmd)                               \
    ((ngx_uint_t *) ((char *) (registry) + (cmd)->offset))

#define ngx_zltunnel_range_command(name)                                      \
    { ngx_string(#name),                                                      \
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,                       \
      ngx_zltunnel_block_range,                                               \
      0,                                                                      \
      offsetof(ngx_zltunnel_registry_t, name),                                \
      &ngx_zltunnel_##name }


ngx_command_t  ngx_zltunnel_block_commands[] = {

    { ngx_string("zltunnel"),
      NGX_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_zltunnel_block,
      0,
      0,
      NULL },

    /* within the block */

    { ngx_string("zone"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_zltunnel_block_zone,
      0,
      0,
      NULL },

    { ngx_string("token_file"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_zltunnel_block_token_file,
      0,
      0,
      NULL },

    { ngx_string("domain"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_zltunnel_domain,
      0,
      0,
      NULL },

    { ngx_string("public_url"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_zltunnel_domain_url,
      0,
      0,
      NULL },

    { ngx_string("node_id"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_zltunnel_node_conf,
      0,
      0,
      NULL },

    ngx_zltunnel_range_command(nodes),

    { ngx_string("cluster"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_1MORE,
      ngx_zltunnel_cluster_conf,
      0,
      0,
      NULL },

    { ngx_string("cluster_certificate"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_zltunnel_cluster_conf_file,
      0,
      0,
      (void *) offsetof(ngx_zltunnel_cluster_conf_t, certificate) },

    { ngx_string("cluster_certificate_key"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_zltunnel_cluster_conf_file,
      0,
      0,
      (void *) offsetof(ngx_zltunnel_cluster_conf_t, certificate_key) },

    { ngx_string("cluster_trusted_certificate"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_zltunnel_cluster_conf_file,
      0,
      0,
      (void *) offsetof(ngx_zltunnel_cluster_conf_t, trusted_certificate) },

    ngx_zltunnel_range_command(heartbeat_interval),
    ngx_zltunnel_range_command(heartbeat_timeout),
    ngx_zltunnel_range_command(max_tunnels),
    ngx_zltunnel_range_command(max_services),
    ngx_zltunnel_range_command(max_hosts),
    ngx_zltunnel_range_command(connect_timeout),
    ngx_zltunnel_range_command(reconnect_grace),
    ngx_zltunnel_range_command(max_unauthenticated),
    ngx_zltunnel_range_command(max_idle_channels),
    ngx_zltunnel_range_command(max_pending),
    ngx_zltunnel_range_command(max_connections),
    ngx_zltunnel_range_command(max_udp_sessions),
    ngx_zltunnel_range_command(max_channel_share),
#if (NGX_DEBUG)
    ngx_zltunnel_range_command(debug_delay),

    { ngx_string("debug_stop"),
      NGX_ZLTUNNEL_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_zltunnel_registry_t, debug_stop),
      NULL },
#endif

      ngx_null_command
};


void
ngx_zltunnel_block_unset(ngx_zltunnel_registry_t *registry)
{
    ngx_command_t  *cmd;

    registry->zone_size = NGX_CONF_UNSET_SIZE;

    for (cmd = ngx_zltunnel_block_commands; cmd->name.len; cmd++) {

        if (cmd->set == ngx_zltunnel_block_range) {
            *ngx_zltunnel_block_value(registry, cmd) = NGX_CONF_UNSET_UINT;
        }
    }
}


static char *
ngx_zltunnel_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                     *rv;
    void                    **ctx;
    ngx_str_t                *value, name;
    ngx_conf_t                save;
    ngx_zltunnel_registry_t  *registry;

    value = cf->args->elts;

    if (cf->args->nelts == 2) {
        name = value[1];

        if (name.len == 0) {
            return "has an empty name";
        }

    } else {
        ngx_str_null(&name);
    }

    registry = ngx_zltunnel_conf_registry(cf, &name);
    if (registry == NULL) {
        return NGX_CONF_ERROR;
    }

    if (registry->defined) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate \"zltunnel\" block \"%V\", the first "
                           "one is in %s:%ui",
                           &registry->name, registry->file, registry->line);
        return NGX_CONF_ERROR;
    }

    registry->defined = 1;
    registry->file = cf->conf_file->file.name.data;
    registry->line = cf->conf_file->line;

    /* the block's directives find the registry as their configuration */

    ctx = ngx_pcalloc(cf->pool, ngx_max_module * sizeof(void *));
    if (ctx == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx[ngx_zltunnel_module.index] = registry;

    save = *cf;
    cf->ctx = ctx;
    cf->module_type = NGX_CORE_MODULE;
    cf->cmd_type = NGX_ZLTUNNEL_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_zltunnel_block_defaults(cf, registry);
}


static char *
ngx_zltunnel_block_defaults(ngx_conf_t *cf, ngx_zltunnel_registry_t *registry)
{
    u_char                *p;
    ngx_str_t              name;
    ngx_uint_t            *value;
    ngx_command_t         *cmd;
    ngx_zltunnel_conf_t   *zcf;
    ngx_zltunnel_range_t  *range;

    for (cmd = ngx_zltunnel_block_commands; cmd->name.len; cmd++) {

        if (cmd->set != ngx_zltunnel_block_range) {
            continue;
        }

        range = cmd->post;
        value = ngx_zltunnel_block_value(registry, cmd);

        ngx_conf_init_uint_value(*value, range->value);
    }

    ngx_conf_init_size_value(registry->zone_size, NGX_ZLTUNNEL_ZONE_DEFAULT);

    if (registry->heartbeat_timeout <= registry->heartbeat_interval) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"heartbeat_timeout\" (%Mms) must exceed "
                           "\"heartbeat_interval\" (%Mms) in zltunnel \"%V\"",
                           registry->heartbeat_timeout,
                           registry->heartbeat_interval, &registry->name);
        return NGX_CONF_ERROR;
    }

    name.len = sizeof("zltunnel:") - 1 + registry->name.len;
    name.data = ngx_pnalloc(cf->pool, name.len + 1);
    if (name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    p = ngx_cpymem(name.data, "zltunnel:", sizeof("zltunnel:") - 1);
    p = ngx_cpymem(p, registry->name.data, registry->name.len);
    *p = '\0';

    registry->shm_zone = ngx_shared_memory_add(cf, &name, registry->zone_size,
                                               &ngx_zltunnel_module);
    if (registry->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zcf = (ngx_zltunnel_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                               ngx_zltunnel_module);

    registry->shm_zone->init = zcf->zone_init;
    registry->shm_zone->data = registry;

    return NGX_CONF_OK;
}


static char *
ngx_zltunnel_block_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_zltunnel_registry_t *registry = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (registry->zone_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR
        || (size_t) size < NGX_ZLTUNNEL_ZONE_PAGES * ngx_pagesize)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"zone\": it must be a "
                           "size of at least %d pages, %uzk, such as 8m",
                           &value[1], NGX_ZLTUNNEL_ZONE_PAGES,
                           NGX_ZLTUNNEL_ZONE_PAGES * ngx_pagesize / 1024);
        return NGX_CONF_ERROR;
    }

    registry->zone_size = size;

    return NGX_CONF_OK;
}


static char *
ngx_zltunnel_block_token_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_zltunnel_registry_t *registry = conf;

    ngx_str_t  *value;

    if (registry->token_file.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"\" of \"token_file\": it must be "
                           "the path of a file");
        return NGX_CONF_ERROR;
    }

    registry->token_file = value[1];

    if (ngx_conf_full_name(cf->cycle, &registry->token_file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_zltunnel_block_range(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_int_t              n;
    ngx_str_t             *value;
    ngx_uint_t            *np;
    ngx_zltunnel_range_t  *range;

    np = ngx_zltunnel_block_value(conf, cmd);

    if (*np != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    range = cmd->post;
    value = cf->args->elts;

    n = range->parse(&value[1]);

    if (n == NGX_ERROR
        || (ngx_uint_t) n < range->min || (ngx_uint_t) n > range->max)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"%V\": it must be %s",
                           &value[1], &cmd->name, range->allowed);
        return NGX_CONF_ERROR;
    }

    *np = n;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_zltunnel_block_number(ngx_str_t *value)
{
    return ngx_atoi(value->data, value->len);
}


static ngx_int_t
ngx_zltunnel_block_msec(ngx_str_t *value)
{
    return ngx_parse_time(value, 0);
}


static ngx_int_t
ngx_zltunnel_block_percent(ngx_str_t *value)
{
    if (value->len < 2 || value->data[value->len - 1] != '%') {
        return NGX_ERROR;
    }

    return ngx_atoi(value->data, value->len - 1);
}
