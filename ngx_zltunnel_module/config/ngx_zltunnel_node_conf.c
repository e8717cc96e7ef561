
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The id of this server, as it is configured: 16 bytes, or a name that they
 * are made of.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_node_conf.h"

#include "zlt_hex.h"

#include <openssl/sha.h>


#define NGX_ZLTUNNEL_NODE_NAME  63


static ngx_int_t ngx_zltunnel_node_conf_hex(ngx_str_t *value, u_char *id);
static ngx_int_t ngx_zltunnel_node_conf_name(ngx_str_t *value, u_char *id);


char *
ngx_zltunnel_node_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_zltunnel_registry_t *registry = conf;

    ngx_str_t  *value;

    if (registry->node_given) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_zltunnel_node_conf_hex(&value[1], registry->node_id) != NGX_OK
        && ngx_zltunnel_node_conf_name(&value[1], registry->node_id) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"node_id\": it must be 32 "
                           "hexadecimal digits, or a name of 1 to %d letters, "
                           "digits, \"-\", \"_\", \".\", such as \"node-1\"",
                           &value[1], NGX_ZLTUNNEL_NODE_NAME);
        return NGX_CONF_ERROR;
    }

    registry->node_given = 1;

    return NGX_CONF_OK;
}


/* 32 digits, among which a UUID has hyphens */

static ngx_int_t
ngx_zltunnel_node_conf_hex(ngx_str_t *value, u_char *id)
{
    char        digits[2 * ZLT_ID_SIZE];
    size_t      i, n;
    ngx_uint_t  uuid;

    uuid = (value->len == sizeof(digits) + 4);
    n = 0;

    if (!uuid && value->len != sizeof(digits)) {
        return NGX_DECLINED;
    }

    for (i = 0; i < value->len; i++) {

        if (uuid && (i == 8 || i == 13 || i == 18 || i == 23)) {

            if (value->data[i] != '-') {
                return NGX_DECLINED;
            }

            continue;
        }

        digits[n++] = (char) value->data[i];
    }

    return zlt_hex_decode(id, digits, ZLT_ID_SIZE) == 0 ? NGX_OK
                                                        : NGX_DECLINED;
}


static ngx_int_t
ngx_zltunnel_node_conf_name(ngx_str_t *value, u_char *id)
{
    u_char  ch, hash[SHA256_DIGEST_LENGTH];
    size_t  i;

    if (value->len == 0 || value->len > NGX_ZLTUNNEL_NODE_NAME) {
        return NGX_DECLINED;
    }

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (!((ch >= '0' && ch <= '9')
              || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z')
              || ch == '-' || ch == '_' || ch == '.'))
        {
            return NGX_DECLINED;
        }
    }

    SHA256(value->data, value->len, hash);
    ngx_memcpy(id, hash, ZLT_ID_SIZE);

    return NGX_OK;
}
