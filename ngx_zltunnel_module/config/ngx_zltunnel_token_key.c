
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The parameters of a token, key=value: what may stand there, and reading it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_token_key.h"
#include "ngx_zltunnel_cert.h"

#include "zlt_host.h"
#include "zlt_name.h"

#include <time.h>


#define NGX_ZLTUNNEL_TOKEN_KEY_TIME_MAX  315360000    /* s, ten years */
#define NGX_ZLTUNNEL_TOKEN_KEY_RATE_MIN  1024         /* bytes a second */
#define NGX_ZLTUNNEL_TOKEN_KEY_RATE_MAX  ((off_t) 1 << 40)


static ngx_uint_t ngx_zltunnel_token_key_item(ngx_str_t *list,
    ngx_str_t *item);
static ngx_int_t ngx_zltunnel_token_key_globs(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_glob(ngx_pool_t *pool, ngx_str_t *glob,
    ngx_str_t *item);
static ngx_int_t ngx_zltunnel_token_key_accesses(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_ports(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_hosts(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_protocols(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_number(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_rate(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_date(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_time(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_key_cert(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);


static ngx_zltunnel_token_key_t  ngx_zltunnel_token_keys[] = {

    { ngx_string("services"), ngx_zltunnel_token_key_globs,
      offsetof(ngx_zltunnel_token_t, services),
      "service names separated by commas, each of which may end in \"*\"" },

    { ngx_string("ports"), ngx_zltunnel_token_key_ports,
      offsetof(ngx_zltunnel_token_t, ports),
      "ports from 1 to 65535 and ranges of them, as in 2222,30000-30100" },

    { ngx_string("protocols"), ngx_zltunnel_token_key_protocols,
      0,
      "\"tcp\", \"udp\" or \"tcp,udp\"" },

    { ngx_string("hosts"), ngx_zltunnel_token_key_hosts,
      0,
      "names of hosts separated by commas, as in "
      "*.alice.example.com,shop.example.org, or \"auto\"" },

    { ngx_string("max_hosts"), ngx_zltunnel_token_key_number,
      offsetof(ngx_zltunnel_token_t, max_hosts),
      "a number from 1 to 65535" },

    { ngx_string("max_services"), ngx_zltunnel_token_key_number,
      offsetof(ngx_zltunnel_token_t, max_services),
      "a number from 1 to 65535" },

    { ngx_string("max_connections"), ngx_zltunnel_token_key_number,
      offsetof(ngx_zltunnel_token_t, max_connections),
      "a number from 1 to 65535; for no limit leave it out" },

    { ngx_string("max_udp_sessions"), ngx_zltunnel_token_key_number,
      offsetof(ngx_zltunnel_token_t, max_udp_sessions),
      "a number from 1 to 65535; for no limit leave it out" },

    { ngx_string("rate"), ngx_zltunnel_token_key_rate,
      0,
      "bytes a second from 1k to 1024g, as in 10m; for no limit leave it out" },

    { ngx_string("sessions"), ngx_zltunnel_token_key_number,
      offsetof(ngx_zltunnel_token_t, sessions),
      "a number from 1 to 65535" },

    { ngx_string("expires"), ngx_zltunnel_token_key_date,
      offsetof(ngx_zltunnel_token_t, expires),
      "a time in UTC, as in 2027-01-31T00:00:00Z" },

    { ngx_string("access"), ngx_zltunnel_token_key_accesses,
      0,
      "service names separated by commas, each of which may end in \"*\" and "
      "be followed by \"@\" and the name of the token that registers it" },

    { ngx_string("access_ttl"), ngx_zltunnel_token_key_time,
      offsetof(ngx_zltunnel_token_t, access_ttl),
      "a time, as in 8h, or 0 for no limit" },

    { ngx_string("max_access"), ngx_zltunnel_token_key_number,
      offsetof(ngx_zltunnel_token_t, max_access),
      "a number from 1 to 65535" },

    { ngx_string("cert"), ngx_zltunnel_token_key_cert,
      0,
      "sha256:<64 hexadecimal digits>, cn:<name> or dn:<subject>, or several "
      "separated by \"|\", with %20 for a space" },

    { ngx_null_string, NULL, 0, NULL }
};


ngx_zltunnel_token_key_t *
ngx_zltunnel_token_key_find(u_char *name, size_t len, ngx_uint_t *n)
{
    ngx_uint_t                 i;
    ngx_zltunnel_token_key_t  *key;

    for (i = 0; ngx_zltunnel_token_keys[i].name.len; i++) {

        key = &ngx_zltunnel_token_keys[i];

        if (key->name.len == len
            && ngx_strncmp(key->name.data, name, len) == 0)
        {
            *n = i;
            return key;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_zltunnel_token_key_item(ngx_str_t *list, ngx_str_t *item)
{
    u_char  *p, *last;

    /* the end of a list is at data of NULL, so that "a," has an empty item */

    if (list->data == NULL) {
        return 0;
    }

    last = list->data + list->len;
    p = ngx_strlchr(list->data, last, ',');

    item->data = list->data;

    if (p == NULL) {
        item->len = list->len;
        list->data = NULL;
        return 1;
    }

    item->len = p - list->data;
    list->data = p + 1;
    list->len = last - p - 1;

    return 1;
}


static ngx_int_t
ngx_zltunnel_token_key_globs(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    ngx_str_t     *glob, item;
    ngx_array_t  **globs;

    globs = (ngx_array_t **) ((char *) token + key->offset);

    *globs = ngx_array_create(pool, 4, sizeof(ngx_str_t));
    if (*globs == NULL) {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_token_key_item(value, &item)) {

        glob = ngx_array_push(*globs);

        if (glob == NULL
            || ngx_zltunnel_token_key_glob(pool, glob, &item) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_glob(ngx_pool_t *pool, ngx_str_t *glob, ngx_str_t *item)
{
    size_t  len;

    len = item->len;

    if (len && item->data[len - 1] == '*') {
        len--;
    }

    if (item->len == 0 || (len && !zlt_name_valid(item->data, len))) {
        return NGX_ERROR;
    }

    glob->len = item->len;
    glob->data = ngx_pstrdup(pool, item);

    return glob->data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_zltunnel_token_key_accesses(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    u_char                       *at;
    ngx_str_t                     item, name;
    ngx_zltunnel_token_access_t  *access;

    token->access = ngx_array_create(pool, 4,
                                     sizeof(ngx_zltunnel_token_access_t));
    if (token->access == NULL) {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_token_key_item(value, &item)) {

        access = ngx_array_push(token->access);
        if (access == NULL) {
            return NGX_ERROR;
        }

        ngx_str_null(&access->token);

        name = item;
        at = ngx_strlchr(item.data, item.data + item.len, '@');

        if (at) {
            name.len = at - item.data;

            item.len -= name.len + 1;
            item.data = at + 1;

            if (item.len > NGX_ZLTUNNEL_TOKEN_NAME
                || !zlt_name_valid(item.data, item.len))
            {
                return NGX_ERROR;
            }

            access->token.len = item.len;
            access->token.data = ngx_pstrdup(pool, &item);
            if (access->token.data == NULL) {
                return NGX_ERROR;
            }
        }

        if (ngx_zltunnel_token_key_glob(pool, &access->name, &name) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_ports(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    u_char     *dash, *last;
    ngx_int_t   from, to;
    ngx_str_t   item;
    in_port_t  *range;

    token->ports = ngx_array_create(pool, 4, 2 * sizeof(in_port_t));
    if (token->ports == NULL) {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_token_key_item(value, &item)) {

        last = item.data + item.len;
        dash = ngx_strlchr(item.data, last, '-');

        if (dash) {
            from = ngx_atoi(item.data, dash - item.data);
            to = ngx_atoi(dash + 1, last - dash - 1);

        } else {
            from = ngx_atoi(item.data, item.len);
            to = from;
        }

        if (from < 1 || to < from || to > 65535) {
            return NGX_ERROR;
        }

        range = ngx_array_push(token->ports);
        if (range == NULL) {
            return NGX_ERROR;
        }

        range[0] = (in_port_t) from;
        range[1] = (in_port_t) to;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_hosts(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    u_char      name[ZLT_MAX_HOST];
    ngx_str_t   item, *host;

    token->hosts = ngx_array_create(pool, 4, sizeof(ngx_str_t));
    if (token->hosts == NULL) {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_token_key_item(value, &item)) {

        host = ngx_array_push(token->hosts);
        if (host == NULL) {
            return NGX_ERROR;
        }

        item.len = zlt_host_short(name, item.data, item.len);

        if (item.len == 0) {
            return NGX_ERROR;
        }

        item.data = name;

        host->len = item.len;
        host->data = ngx_pstrdup(pool, &item);

        if (host->data == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_protocols(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    ngx_str_t  item;

    token->tcp = 0;
    token->udp = 0;

    while (ngx_zltunnel_token_key_item(value, &item)) {

        if (item.len == 3 && ngx_strncmp(item.data, "tcp", 3) == 0) {
            token->tcp = 1;

        } else if (item.len == 3 && ngx_strncmp(item.data, "udp", 3) == 0) {
            token->udp = 1;

        } else {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_number(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n < 1 || n > 65535) {
        return NGX_ERROR;
    }

    *(ngx_uint_t *) ((char *) token + key->offset) = n;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_rate(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    off_t  n;

    n = ngx_parse_offset(value);

    if (n < NGX_ZLTUNNEL_TOKEN_KEY_RATE_MIN
        || n > NGX_ZLTUNNEL_TOKEN_KEY_RATE_MAX)
    {
        return NGX_ERROR;
    }

    token->rate = n;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_date(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    time_t     t;
    u_char     ch;
    size_t     i;
    struct tm  tm, check;

    static const char  form[] = "0000-00-00T00:00:00Z";

    if (value->len != sizeof(form) - 1) {
        return NGX_ERROR;
    }

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (form[i] == '0' ? (ch < '0' || ch > '9') : ch != form[i]) {
            return NGX_ERROR;
        }
    }

    ngx_memzero(&tm, sizeof(struct tm));

    tm.tm_year = (int) ngx_atoi(value->data, 4) - 1900;
    tm.tm_mon = (int) ngx_atoi(value->data + 5, 2) - 1;
    tm.tm_mday = (int) ngx_atoi(value->data + 8, 2);
    tm.tm_hour = (int) ngx_atoi(value->data + 11, 2);
    tm.tm_min = (int) ngx_atoi(value->data + 14, 2);
    tm.tm_sec = (int) ngx_atoi(value->data + 17, 2);

    check = tm;
    t = timegm(&check);

    /* timegm() makes March of the 30th of February */

    if (t <= 0
        || check.tm_mon != tm.tm_mon || check.tm_mday != tm.tm_mday
        || check.tm_hour != tm.tm_hour || check.tm_min != tm.tm_min
        || check.tm_sec != tm.tm_sec)
    {
        return NGX_ERROR;
    }

    token->expires = t;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_time(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_parse_time(value, 1);

    if (n == NGX_ERROR || n > NGX_ZLTUNNEL_TOKEN_KEY_TIME_MAX) {
        return NGX_ERROR;
    }

    *(time_t *) ((char *) token + key->offset) = n;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_key_cert(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    token->certs = ngx_zltunnel_cert_parse(pool, value);

    return token->certs ? NGX_OK : NGX_ERROR;
}
