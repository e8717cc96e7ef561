
/*
 * Copyright (C) zltunnel authors
 */

/* Lines of services, as they are written and read. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_entry.h"

#include "zlt_hex.h"
#include "zlt_host.h"
#include "zlt_msg.h"
#include "zlt_name.h"


static ngx_int_t ngx_zltunnel_entry_word(ngx_str_t *word,
    ngx_zltunnel_remote_service_t *service);
static ngx_int_t ngx_zltunnel_entry_number(ngx_str_t *value, ngx_uint_t max,
    ngx_uint_t *n);
static ngx_int_t ngx_zltunnel_entry_hosts(ngx_str_t *hosts);


u_char *
ngx_zltunnel_entry_write(u_char *p, ngx_zltunnel_sh_service_t *service)
{
    ngx_uint_t                 n;
    ngx_queue_t               *q;
    ngx_zltunnel_sh_tunnel_t  *tunnel;
    ngx_zltunnel_sh_hosted_t  *hosted;

    tunnel = service->tunnel;

    p = ngx_cpymem(p, service->udp ? "udp " : "tcp ", 4);
    p = ngx_cpymem(p, service->name, service->name_len);
    p = ngx_cpymem(p, " token=", sizeof(" token=") - 1);
    p = ngx_cpymem(p, tunnel->name, tunnel->name_len);

    if (service->port) {
        p = ngx_sprintf(p, " port=%d", (int) service->port);
    }

    if (service->flags) {
        p = ngx_sprintf(p, " flags=%d", (int) service->flags);
    }

    if (ngx_zltunnel_health_down(service) || tunnel->draining) {
        p = ngx_cpymem(p, " down=1", sizeof(" down=1") - 1);
    }

    n = 0;

    for (q = ngx_queue_head(&service->hosts);
         q != ngx_queue_sentinel(&service->hosts)
         && n < NGX_ZLTUNNEL_ENTRY_HOSTS;
         q = ngx_queue_next(q))
    {
        hosted = ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list);

        if (n++ == 0) {
            p = ngx_cpymem(p, " hosts=", sizeof(" hosts=") - 1);

        } else {
            *p++ = ',';
        }

        p = ngx_cpymem(p, hosted->host->name, hosted->host->len);
    }

    return p;
}


ngx_int_t
ngx_zltunnel_entry_read(ngx_str_t *line,
    ngx_zltunnel_remote_service_t *service)
{
    ngx_str_t  rest, word;

    ngx_memzero(service, sizeof(ngx_zltunnel_remote_service_t));

    rest = *line;

    if (rest.len > NGX_ZLTUNNEL_ENTRY_SIZE
        || !ngx_zltunnel_entry_part(&rest, ' ', &word) || word.len != 3)
    {
        return NGX_ERROR;
    }

    if (ngx_strncmp(word.data, "udp", 3) == 0) {
        service->protocol = ZLT_PROTO_UDP;

    } else if (ngx_strncmp(word.data, "tcp", 3) == 0) {
        service->protocol = ZLT_PROTO_TCP;

    } else {
        return NGX_ERROR;
    }

    if (!ngx_zltunnel_entry_part(&rest, ' ', &service->name)
        || !zlt_name_valid(service->name.data, service->name.len))
    {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_entry_part(&rest, ' ', &word)) {

        if (ngx_zltunnel_entry_word(&word, service) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return service->token.len ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_zltunnel_entry_word(ngx_str_t *word,
    ngx_zltunnel_remote_service_t *service)
{
    u_char      *p;
    ngx_str_t    value;
    ngx_uint_t   n;

    p = ngx_strlchr(word->data, word->data + word->len, '=');
    if (p == NULL) {
        return NGX_OK;
    }

    value.data = p + 1;
    value.len = word->data + word->len - value.data;

#define ngx_zltunnel_entry_is(name)                                           \
    ((size_t) (p - word->data) == sizeof(name) - 1                            \
     && ngx_strncmp(word->data, name, sizeof(name) - 1) == 0)

    if (ngx_zltunnel_entry_is("token")) {
        service->token = value;
        return value.len && value.len <= NGX_ZLTUNNEL_TOKEN_NAME ? NGX_OK
                                                                 : NGX_ERROR;
    }

    if (ngx_zltunnel_entry_is("port")) {

        if (ngx_zltunnel_entry_number(&value, 65535, &n) != NGX_OK) {
            return NGX_ERROR;
        }

        service->port = (in_port_t) n;
        return NGX_OK;
    }

    if (ngx_zltunnel_entry_is("flags")) {
        return ngx_zltunnel_entry_number(&value, 255, &service->flags);
    }

    if (ngx_zltunnel_entry_is("down")) {
        return ngx_zltunnel_entry_number(&value, 1, &service->down);
    }

    if (ngx_zltunnel_entry_is("hosts")) {
        service->hosts = value;
        return ngx_zltunnel_entry_hosts(&value);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_entry_number(ngx_str_t *value, ngx_uint_t max, ngx_uint_t *n)
{
    ngx_int_t  number;

    number = ngx_atoi(value->data, value->len);

    if (number == NGX_ERROR || (ngx_uint_t) number > max) {
        return NGX_ERROR;
    }

    *n = number;

    return NGX_OK;
}


/* each in the form that a name has here */

static ngx_int_t
ngx_zltunnel_entry_hosts(ngx_str_t *hosts)
{
    u_char      *p, *comma, *last, name[ZLT_MAX_HOST];
    size_t       len;
    ngx_uint_t   n;

    last = hosts->data + hosts->len;
    n = 0;

    for (p = hosts->data; /* void */ ; p = comma + 1) {
        comma = ngx_strlchr(p, last, ',');
        len = (comma ? comma : last) - p;

        if (len == 0 || ++n > NGX_ZLTUNNEL_ENTRY_HOSTS
            || zlt_host_name(name, p, len) != len
            || ngx_memcmp(name, p, len) != 0)
        {
            return NGX_ERROR;
        }

        if (comma == NULL) {
            return NGX_OK;
        }
    }
}


ngx_uint_t
ngx_zltunnel_entry_part(ngx_str_t *text, u_char at, ngx_str_t *part)
{
    u_char  *end, *last;

    if (text->len == 0) {
        return 0;
    }

    last = text->data + text->len;
    end = ngx_strlchr(text->data, last, at);

    part->data = text->data;
    part->len = (end ? end : last) - text->data;

    text->data = end ? end + 1 : last;
    text->len = last - text->data;

    return 1;
}


uint64_t
ngx_zltunnel_entry_hash(u_char *data, size_t len)
{
    return ngx_zltunnel_name_hash(data, len);
}


ngx_int_t
ngx_zltunnel_entry_id(ngx_str_t *text, u_char *id)
{
    return text->len == 2 * ZLT_ID_SIZE
           && zlt_hex_decode(id, (char *) text->data, ZLT_ID_SIZE) == 0
           ? NGX_OK : NGX_ERROR;
}
