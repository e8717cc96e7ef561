
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Directives of nginx's stream proxy in a server that does not proxy.
 *
 * With zltunnel_ports and zltunnel_pass a rate or a timeout of the proxy would
 * be read and mean nothing.  Where such a server has one of its own it is
 * refused, with what has that effect here; what a server inherits may be meant
 * for others.
 *
 * The proxy's configuration is its own business, but its table of directives
 * tells where each value is.  So it is asked for the configuration of a server
 * that says nothing, and whatever differs was said.
 */


#include "ngx_stream_zltunnel.h"


#define NGX_STREAM_ZLTUNNEL_PROXY_VALUE(conf, cmd)                            \
    (*(ngx_uint_t *) ((u_char *) (conf) + (cmd)->offset))


typedef struct {
    const char                  *name;
    const char                  *instead;
} ngx_stream_zltunnel_proxy_instead_t;


static ngx_module_t *ngx_stream_zltunnel_proxy_module(ngx_conf_t *cf);
static ngx_uint_t ngx_stream_zltunnel_proxy_simple(ngx_command_t *cmd);
static const char *ngx_stream_zltunnel_proxy_instead(ngx_str_t *name);


static ngx_stream_zltunnel_proxy_instead_t  ngx_stream_zltunnel_proxy_all[] = {
    { "proxy_timeout", "use \"zltunnel_timeout\"" },
    { "proxy_half_close", "use \"zltunnel_half_timeout\"" },
    { "proxy_responses", "use \"zltunnel_responses\"" },
    { "proxy_download_rate", "use \"zltunnel_download_rate\"" },
    { "proxy_upload_rate", "use \"zltunnel_upload_rate\"" },
    { "proxy_connect_timeout",
      "use \"connect_timeout\" of the \"zltunnel\" block" },
    { "proxy_protocol", "use \"proxy_protocol\" of the service, in the "
                        "agent's configuration" },
    { NULL, "use \"proxy_pass\" with an upstream that has "
            "\"zltunnel_service\"" }
};


char *
ngx_stream_zltunnel_proxy_check(ngx_conf_t *cf, ngx_stream_conf_ctx_t *outer,
    const char *directive)
{
    void                        *here, *silent;
    ngx_uint_t                   value;
    ngx_module_t                *proxy;
    ngx_command_t               *cmd;
    ngx_stream_module_t         *module;
    ngx_stream_core_srv_conf_t  *cscf;

    proxy = ngx_stream_zltunnel_proxy_module(cf);

    if (proxy == NULL) {
        return NGX_CONF_OK;
    }

    module = proxy->ctx;

    here = ((ngx_stream_conf_ctx_t *) cf->ctx)->srv_conf[proxy->ctx_index];

    silent = module->create_srv_conf(cf);
    if (silent == NULL) {
        return NGX_CONF_ERROR;
    }

    if (module->merge_srv_conf(cf, outer->srv_conf[proxy->ctx_index], silent)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (cmd = proxy->commands; cmd->name.len; cmd++) {

        if (!ngx_stream_zltunnel_proxy_simple(cmd)) {
            continue;
        }

        value = NGX_STREAM_ZLTUNNEL_PROXY_VALUE(here, cmd);

        if (value == NGX_CONF_UNSET_UINT
            || value == NGX_STREAM_ZLTUNNEL_PROXY_VALUE(silent, cmd))
        {
            continue;
        }

        cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" has no effect in a server with \"%s\", %s, "
                      "in %s:%ui", &cmd->name, directive,
                      ngx_stream_zltunnel_proxy_instead(&cmd->name),
                      cscf->file_name, cscf->line);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_module_t *
ngx_stream_zltunnel_proxy_module(ngx_conf_t *cf)
{
    ngx_uint_t            i;
    ngx_module_t         *proxy;
    ngx_stream_module_t  *module;

    for (i = 0; cf->cycle->modules[i]; i++) {
        proxy = cf->cycle->modules[i];

        if (proxy->type != NGX_STREAM_MODULE
            || ngx_strcmp(proxy->name, "ngx_stream_proxy_module") != 0)
        {
            continue;
        }

        module = proxy->ctx;

        return (module->create_srv_conf && module->merge_srv_conf) ? proxy
                                                                   : NULL;
    }

    return NULL;
}


/* one whose value is a word of memory: a number, a time, a pointer */

static ngx_uint_t
ngx_stream_zltunnel_proxy_simple(ngx_command_t *cmd)
{
    return cmd->set == ngx_conf_set_msec_slot
           || cmd->set == ngx_conf_set_size_slot
           || cmd->set == ngx_conf_set_flag_slot
           || cmd->set == ngx_conf_set_num_slot
           || cmd->set == ngx_stream_set_complex_value_size_slot;
}


static const char *
ngx_stream_zltunnel_proxy_instead(ngx_str_t *name)
{
    ngx_stream_zltunnel_proxy_instead_t  *p;

    for (p = ngx_stream_zltunnel_proxy_all; p->name; p++) {

        if (ngx_strcmp(name->data, p->name) == 0) {
            break;
        }
    }

    return p->instead;
}
