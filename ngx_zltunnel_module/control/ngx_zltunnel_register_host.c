
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The names of hosts in a Register: which they are in full, and whether the
 * token allows them.
 *
 * "auto" asks for a name below the domain.  It comes from the hash of the token
 * and the service's name, so that it is the same one after a restart, and nobody
 * else knows it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_register_host.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"

#include <openssl/sha.h>


#define NGX_ZLTUNNEL_REGISTER_LABEL  8    /* characters of an automatic one */
#define NGX_ZLTUNNEL_REGISTER_TRIES  16


static ngx_uint_t ngx_zltunnel_register_host_add(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_token_t *token,
    ngx_str_t *item, ngx_zltunnel_register_host_t *hosts,
    const char **reason);
static ngx_uint_t ngx_zltunnel_register_host_automatic(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_host_name_t *host);
static void ngx_zltunnel_register_host_label(u_char *label,
    ngx_zltunnel_token_t *token, ngx_zltunnel_sh_service_t *service,
    ngx_uint_t n);
static const char *ngx_zltunnel_register_host_text(const char *fmt,
    ngx_str_t *name, ngx_uint_t n);


ngx_uint_t
ngx_zltunnel_register_host_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, zlt_msg_t *m,
    ngx_zltunnel_register_host_t *hosts, const char **reason)
{
    u_char      *p, *last;
    ngx_str_t    item;
    ngx_uint_t   code;

    hosts->n = 0;

    if (!(m->ext & ZLT_X_HOSTS) || m->hosts.len == 0) {
        return 0;
    }

    if (m->protocol == ZLT_PROTO_UDP
        || ((m->ext & ZLT_X_FLAGS) && (m->flags & ZLT_R_OPEN)))
    {
        *reason = "Names of hosts are for TCP services that have a target";
        return ZLT_E_FORBIDDEN;
    }

    p = (u_char *) m->hosts.data;
    last = p + m->hosts.len;

    for ( ;; ) {

        while (p < last && *p == ' ') {
            p++;
        }

        item.data = p;

        while (p < last && *p != ',') {
            p++;
        }

        for (item.len = p - item.data;
             item.len && item.data[item.len - 1] == ' ';
             item.len--)
        {
            /* void */
        }

        code = ngx_zltunnel_register_host_add(registry, token, &item, hosts,
                                              reason);

        if (code || p == last) {
            return code;
        }

        p++;
    }
}


static ngx_uint_t
ngx_zltunnel_register_host_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_str_t *item,
    ngx_zltunnel_register_host_t *hosts, const char **reason)
{
    ngx_uint_t                 i;
    ngx_zltunnel_host_name_t  *host;

    if (token->hosts == NULL) {
        *reason = "The token allows no names of hosts: its line in the server's "
                  "token file has no \"hosts=\", as in hosts=*.t.example.com";
        return ZLT_E_FORBIDDEN;
    }

    if (hosts->n == NGX_ZLTUNNEL_REGISTER_HOSTS) {
        *reason = ngx_zltunnel_register_host_text("A service has at most %ui "
                      "names of hosts%Z", NULL, NGX_ZLTUNNEL_REGISTER_HOSTS);
        return ZLT_E_LIMIT;
    }

    host = &hosts->names[hosts->n];

    host->name.data = hosts->text[hosts->n];
    host->automatic = (item->len == 4
                       && ngx_strncasecmp(item->data, (u_char *) "auto", 4)
                          == 0);

    if (host->automatic) {

        if (registry->domain.len == 0) {
            *reason = "The server makes up no names of hosts: there is no "
                      "\"domain\" in its configuration";
            return ZLT_E_FORBIDDEN;
        }

        host->name.len = 0;

    } else {
        host->name.len = zlt_host_full(host->name.data, item->data, item->len,
                                       registry->domain.data,
                                       registry->domain.len);

        if (host->name.len == 0) {
            *reason = ngx_zltunnel_register_host_text("\"%V\" is not a host's "
                          "name: labels have 1 to 63 letters, digits and "
                          "\"-\", 253 bytes in all, and are written as "
                          "\"xn--..\" in other scripts%Z", item, 0);
            return ZLT_E_FORBIDDEN;
        }

        if (!ngx_zltunnel_rights_host(token, &registry->domain, &host->name,
                                      0))
        {
            *reason = ngx_zltunnel_register_host_text("The token does not "
                          "allow the host \"%V\": \"hosts=\" in the server's "
                          "token file says which%Z", &host->name, 0);
            return ZLT_E_FORBIDDEN;
        }
    }

    for (i = 0; i < hosts->n; i++) {

        if (hosts->names[i].automatic == host->automatic
            && hosts->names[i].name.len == host->name.len
            && ngx_memcmp(hosts->names[i].name.data, host->name.data,
                          host->name.len)
               == 0)
        {
            /* twice */
            return 0;
        }
    }

    hosts->n++;

    return 0;
}


ngx_uint_t
ngx_zltunnel_register_host_claim(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_register_host_t *hosts, const char **reason)
{
    ngx_str_t            failed;
    ngx_uint_t           i, max;
    ngx_zltunnel_host_e  rc;

    for (i = 0; i < hosts->n; i++) {

        if (hosts->names[i].automatic
            && !ngx_zltunnel_register_host_automatic(registry, token, service,
                                                     &hosts->names[i]))
        {
            *reason = "The token does not allow a name that the server makes "
                      "up: \"hosts=\" in its token file has neither \"auto\" "
                      "nor the domain";
            return ZLT_E_FORBIDDEN;
        }
    }

    max = token->max_hosts ? token->max_hosts : registry->max_hosts;

    rc = ngx_zltunnel_host_claim(registry, service, &token->name,
                                 hosts->names, hosts->n, max, &failed);

    switch (rc) {

    case NGX_ZLTUNNEL_HOST_OK:
        return 0;

    case NGX_ZLTUNNEL_HOST_TAKEN:
        *reason = ngx_zltunnel_register_host_text("The host \"%V\" is another "
                      "token's, or was so in the last ten minutes%Z", &failed,
                      0);
        return ZLT_E_HOST_TAKEN;

    case NGX_ZLTUNNEL_HOST_LIMIT:
        *reason = ngx_zltunnel_register_host_text("The token has as many names "
                      "of hosts as \"max_hosts\" in the server's configuration "
                      "or token file allows: %ui%Z", NULL, max);
        return ZLT_E_LIMIT;

    default:
        *reason = NGX_ZLTUNNEL_ZONE_FULL;
        return ZLT_E_BUSY;
    }
}


/* 0: the token may not have it */

static ngx_uint_t
ngx_zltunnel_register_host_automatic(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_host_name_t *host)
{
    u_char      *p;
    uint64_t     tenant;
    ngx_uint_t   n;

    if (NGX_ZLTUNNEL_REGISTER_LABEL + 1 + registry->domain.len > ZLT_MAX_HOST) {
        return 0;
    }

    tenant = ngx_zltunnel_host_tenant(&token->name);

    for (n = 0; n < NGX_ZLTUNNEL_REGISTER_TRIES; n++) {

        ngx_zltunnel_register_host_label(host->name.data, token, service, n);

        p = host->name.data + NGX_ZLTUNNEL_REGISTER_LABEL;
        *p++ = '.';
        p = ngx_cpymem(p, registry->domain.data, registry->domain.len);

        host->name.len = p - host->name.data;

        if (ngx_zltunnel_host_free(registry->sh, &host->name, tenant)) {
            break;
        }
    }

    return ngx_zltunnel_rights_host(token, &registry->domain, &host->name, 1);
}


static void
ngx_zltunnel_register_host_label(u_char *label, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, ngx_uint_t n)
{
    u_char      digest[SHA256_DIGEST_LENGTH];
    u_char      text[sizeof(token->hash) + 1 + ZLT_MAX_NAME], *p;
    ngx_uint_t  i;

    static const u_char  alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

    p = ngx_cpymem(text, token->hash, sizeof(token->hash));
    *p++ = (u_char) n;
    p = ngx_cpymem(p, service->name, service->name_len);

    (void) SHA256(text, p - text, digest);

    for (i = 0; i < NGX_ZLTUNNEL_REGISTER_LABEL; i++) {
        label[i] = alphabet[i ? digest[i] % 32 : digest[i] % 26];
    }
}


/* with the name that it is about; until the next call */

static const char *
ngx_zltunnel_register_host_text(const char *fmt, ngx_str_t *name, ngx_uint_t n)
{
    u_char     printable[ZLT_MAX_HOST];
    ngx_str_t  shown;

    static u_char  text[512];

    if (name) {
        shown.data = printable;
        shown.len = ngx_zltunnel_log_printable(printable, sizeof(printable),
                                               name->data, name->len);

        (void) ngx_snprintf(text, sizeof(text), fmt, &shown);

    } else {
        (void) ngx_snprintf(text, sizeof(text), fmt, n);
    }

    text[sizeof(text) - 1] = '\0';

    return (char *) text;
}
