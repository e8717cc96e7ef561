
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The directive "cluster" and those that go with it.  All of it is read here,
 * in a server that has the module for it and in one that has not: who speaks to
 * the engine is a module of its own, since only that needs a library for it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cluster_conf.h"


#define NGX_ZLTUNNEL_CLUSTER_PORT      6379
#define NGX_ZLTUNNEL_CLUSTER_ENGINES   16
#define NGX_ZLTUNNEL_CLUSTER_DB        65535
#define NGX_ZLTUNNEL_CLUSTER_PREFIX    64
#define NGX_ZLTUNNEL_CLUSTER_KEY       256
#define NGX_ZLTUNNEL_CLUSTER_PASSWORD  4096
#define NGX_ZLTUNNEL_CLUSTER_REFRESH   10000      /* ms */
#define NGX_ZLTUNNEL_CLUSTER_KEEP      600000     /* ms */


typedef struct {
    ngx_str_t                    name;        /* with "=" */
    ngx_int_t                  (*set)(ngx_conf_t *cf,
        ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
    const char                  *allowed;
} ngx_zltunnel_cluster_param_t;


static ngx_zltunnel_cluster_conf_t *ngx_zltunnel_cluster_conf_of(
    ngx_conf_t *cf, ngx_zltunnel_registry_t *registry);
static char *ngx_zltunnel_cluster_conf_url(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *url);
static char *ngx_zltunnel_cluster_conf_engine(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, u_char *data, size_t len);
static char *ngx_zltunnel_cluster_conf_param(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *param);
static ngx_int_t ngx_zltunnel_cluster_conf_node(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
static ngx_int_t ngx_zltunnel_cluster_conf_prefix(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
static ngx_int_t ngx_zltunnel_cluster_conf_user(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
static ngx_int_t ngx_zltunnel_cluster_conf_password(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
static ngx_int_t ngx_zltunnel_cluster_conf_ca(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
static ngx_int_t ngx_zltunnel_cluster_conf_key(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
static ngx_int_t ngx_zltunnel_cluster_conf_refresh(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
static ngx_int_t ngx_zltunnel_cluster_conf_keep(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value);
static ngx_uint_t ngx_zltunnel_cluster_conf_text(ngx_str_t *value, size_t max);


static const ngx_zltunnel_cluster_param_t  ngx_zltunnel_cluster_params[] = {

    { ngx_string("node="), ngx_zltunnel_cluster_conf_node,
      "HOST:PORT, at which the other nodes reach this one" },

    { ngx_string("prefix="), ngx_zltunnel_cluster_conf_prefix,
      "1 to 64 printable characters without spaces, as in zlt:" },

    { ngx_string("user="), ngx_zltunnel_cluster_conf_user,
      "the name of a user of the engine" },

    { ngx_string("password_file="), ngx_zltunnel_cluster_conf_password,
      "a file whose first line is the engine's password" },

    { ngx_string("ca="), ngx_zltunnel_cluster_conf_ca,
      "a file with the certificates that the engine's is checked by" },

    { ngx_string("token_key="), ngx_zltunnel_cluster_conf_key,
      "1 to 256 printable characters without spaces, the name of a key in the "
      "engine" },

    { ngx_string("refresh="), ngx_zltunnel_cluster_conf_refresh,
      "a time from 1s to 5m" },

    { ngx_string("keep="), ngx_zltunnel_cluster_conf_keep,
      "a time from 1s to 1d" },

    { ngx_null_string, NULL, NULL }
};


static ngx_zltunnel_cluster_conf_t *
ngx_zltunnel_cluster_conf_of(ngx_conf_t *cf, ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_cluster_conf_t  *cluster;

    if (registry->cluster) {
        return registry->cluster;
    }

    cluster = ngx_pcalloc(cf->pool, sizeof(ngx_zltunnel_cluster_conf_t));

    if (cluster == NULL
        || ngx_array_init(&cluster->engines, cf->pool, 1,
                          sizeof(ngx_zltunnel_engine_addr_t))
           != NGX_OK)
    {
        return NULL;
    }

    ngx_str_set(&cluster->prefix, "zlt:");
    cluster->refresh = NGX_ZLTUNNEL_CLUSTER_REFRESH;
    cluster->keep = NGX_ZLTUNNEL_CLUSTER_KEEP;
    cluster->file = cf->conf_file->file.name.data;
    cluster->line = cf->conf_file->line;

    registry->cluster = cluster;

    return cluster;
}


char *
ngx_zltunnel_cluster_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_zltunnel_registry_t *registry = conf;

    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_zltunnel_cluster_conf_t  *cluster;

    cluster = ngx_zltunnel_cluster_conf_of(cf, registry);
    if (cluster == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cluster->engines.nelts) {
        return "is duplicate";
    }

    cluster->file = cf->conf_file->file.name.data;
    cluster->line = cf->conf_file->line;

    value = cf->args->elts;

    if (ngx_zltunnel_cluster_conf_url(cf, cluster, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_zltunnel_cluster_conf_param(cf, cluster, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (cluster->user.len && cluster->password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"user=%V\" of \"cluster\" needs "
                           "\"password_file=FILE\" beside it", &cluster->user);
        return NGX_CONF_ERROR;
    }

    if (cluster->engine_ca.len && !cluster->tls) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"ca=\" of \"cluster\" is for an engine with TLS: "
                           "write rediss:// in place of redis://");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* redis://HOST:PORT[,HOST:PORT...][/DB] */

static char *
ngx_zltunnel_cluster_conf_url(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *url)
{
    u_char     *p, *comma, *last, *slash;
    ngx_int_t   db;

    last = url->data + url->len;

    if (ngx_strncmp(url->data, "redis://", 8) == 0) {
        p = url->data + 8;

    } else if (ngx_strncmp(url->data, "rediss://", 9) == 0) {
        p = url->data + 9;
        cluster->tls = 1;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URL \"%V\" of \"cluster\": it must be "
                           "redis://HOST:PORT/DB, or rediss:// with TLS, as in "
                           "redis://10.0.0.9:6379/0", url);
        return NGX_CONF_ERROR;
    }

    if (ngx_strlchr(p, last, '@')) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the URL of \"cluster\" has a password or a user in "
                           "it: whoever reads the configuration would know it; "
                           "use password_file=FILE, and user=NAME");
        return NGX_CONF_ERROR;
    }

    slash = ngx_strlchr(p, last, '/');

    if (slash) {
        db = (slash + 1 == last) ? 0 : ngx_atoi(slash + 1, last - slash - 1);

        if (db == NGX_ERROR || db > NGX_ZLTUNNEL_CLUSTER_DB) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid database in the URL \"%V\" of "
                               "\"cluster\": it must be a number, as in "
                               "redis://10.0.0.9:6379/0", url);
            return NGX_CONF_ERROR;
        }

        cluster->db = db;
        last = slash;
    }

    for ( ;; ) {
        comma = ngx_strlchr(p, last, ',');

        if (ngx_zltunnel_cluster_conf_engine(cf, cluster, p,
                                             (comma ? comma : last) - p)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        if (comma == NULL) {
            return NGX_CONF_OK;
        }

        p = comma + 1;
    }
}


static char *
ngx_zltunnel_cluster_conf_engine(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, u_char *data, size_t len)
{
    ngx_url_t                    u;
    ngx_zltunnel_engine_addr_t  *engine;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url.data = data;
    u.url.len = len;
    u.default_port = NGX_ZLTUNNEL_CLUSTER_PORT;

    if (cluster->engines.nelts == NGX_ZLTUNNEL_CLUSTER_ENGINES) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"cluster\" has more than %d engines",
                           NGX_ZLTUNNEL_CLUSTER_ENGINES);
        return NGX_CONF_ERROR;
    }

    if (len == 0 || ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in engine \"%V\" of \"cluster\": it must be "
                           "HOST or HOST:PORT, and a name must resolve",
                           u.err ? u.err : "no host", &u.url);
        return NGX_CONF_ERROR;
    }

    engine = ngx_array_push(&cluster->engines);
    if (engine == NULL) {
        return NGX_CONF_ERROR;
    }

    engine->name = u.url;
    engine->host = u.host;
    engine->addrs = u.addrs;
    engine->naddrs = u.naddrs;

    return NGX_CONF_OK;
}


static char *
ngx_zltunnel_cluster_conf_param(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *param)
{
    ngx_int_t                            rc;
    ngx_str_t                            value;
    const ngx_zltunnel_cluster_param_t  *p;

    for (p = ngx_zltunnel_cluster_params; p->set; p++) {

        if (param->len >= p->name.len
            && ngx_strncmp(param->data, p->name.data, p->name.len) == 0)
        {
            break;
        }
    }

    if (p->set == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown parameter \"%V\" of \"cluster\": there "
                           "are node=, prefix=, user=, password_file=, ca=, "
                           "token_key=, refresh= and keep=", param);
        return NGX_CONF_ERROR;
    }

    value.data = param->data + p->name.len;
    value.len = param->len - p->name.len;

    rc = value.len ? p->set(cf, cluster, &value) : NGX_DECLINED;

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"cluster\": it must "
                           "be %s", param, p->allowed);
    }

    return rc == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_int_t
ngx_zltunnel_cluster_conf_node(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *value;
    u.no_resolve = 1;

    if (!ngx_zltunnel_cluster_conf_text(value, NGX_ZLTUNNEL_TEXT_MAX - 1)
        || ngx_parse_url(cf->pool, &u) != NGX_OK
        || u.no_port || u.family == AF_UNIX || u.uri.len || u.last_port
        || u.host.data[0] == '*')
    {
        return NGX_DECLINED;
    }

    cluster->node = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_cluster_conf_prefix(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value)
{
    if (!ngx_zltunnel_cluster_conf_text(value, NGX_ZLTUNNEL_CLUSTER_PREFIX)) {
        return NGX_DECLINED;
    }

    cluster->prefix = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_cluster_conf_user(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value)
{
    cluster->user = *value;

    return NGX_OK;
}


/* the master reads it: no worker needs to be able to */

static ngx_int_t
ngx_zltunnel_cluster_conf_password(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value)
{
    u_char    *data;
    size_t     len;
    ssize_t    n;
    ngx_fd_t   fd;

    if (ngx_conf_full_name(cf->cycle, value, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    data = ngx_pnalloc(cf->pool, NGX_ZLTUNNEL_CLUSTER_PASSWORD);
    if (data == NULL) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(value->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    n = fd == NGX_INVALID_FILE ? -1
                               : read(fd, data, NGX_ZLTUNNEL_CLUSTER_PASSWORD);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"password_file=%V\" of \"cluster\" cannot be read",
                           value);
    }

    if (fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(fd);
    }

    if (n == -1) {
        return NGX_ERROR;
    }

    for (len = 0; len < (size_t) n; len++) {

        if (data[len] == '\n' || data[len] == '\r') {
            break;
        }
    }

    if (len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"password_file=%V\" of \"cluster\" has no "
                           "password: it must be the first line", value);
        return NGX_ERROR;
    }

    cluster->password.data = data;
    cluster->password.len = len;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_cluster_conf_ca(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value)
{
    if (ngx_conf_full_name(cf->cycle, value, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    cluster->engine_ca = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_cluster_conf_key(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value)
{
    if (!ngx_zltunnel_cluster_conf_text(value, NGX_ZLTUNNEL_CLUSTER_KEY)) {
        return NGX_DECLINED;
    }

    cluster->token_key = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_cluster_conf_refresh(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value)
{
    ngx_int_t  time;

    time = ngx_parse_time(value, 0);

    if (time < 1000 || time > 300000) {
        return NGX_DECLINED;
    }

    cluster->refresh = time;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_cluster_conf_keep(ngx_conf_t *cf,
    ngx_zltunnel_cluster_conf_t *cluster, ngx_str_t *value)
{
    ngx_int_t  time;

    time = ngx_parse_time(value, 0);

    if (time < 1000 || time > 86400000) {
        return NGX_DECLINED;
    }

    cluster->keep = time;

    return NGX_OK;
}


static ngx_uint_t
ngx_zltunnel_cluster_conf_text(ngx_str_t *value, size_t max)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] <= ' ' || value->data[i] >= 0x7f) {
            return 0;
        }
    }

    return value->len > 0 && value->len <= max;
}


char *
ngx_zltunnel_cluster_conf_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_zltunnel_registry_t *registry = conf;

    ngx_str_t                    *value, *file;
    ngx_zltunnel_cluster_conf_t  *cluster;

    cluster = ngx_zltunnel_cluster_conf_of(cf, registry);
    if (cluster == NULL) {
        return NGX_CONF_ERROR;
    }

    file = (ngx_str_t *) ((u_char *) cluster + (uintptr_t) cmd->post);

    if (file->len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"\" of \"%V\": it must be the path "
                           "of a file", &cmd->name);
        return NGX_CONF_ERROR;
    }

    *file = value[1];

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_zltunnel_cluster_conf_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                    i, n;
    ngx_zltunnel_cluster_conf_t  *cluster;

    cluster = registry->cluster;

    if (cluster->engines.nelts == 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"cluster_certificate\" or its like in zltunnel \"%V\" "
                      "without \"cluster redis://HOST:PORT/DB\", in %s:%ui",
                      &registry->name, cluster->file, cluster->line);
        return NGX_ERROR;
    }

    n = (cluster->certificate.len != 0) + (cluster->certificate_key.len != 0)
        + (cluster->trusted_certificate.len != 0);

    if (n != 3 && (n || cluster->node.len)) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "no \"%s\" in zltunnel \"%V\": nodes know each other by "
                      "\"cluster_certificate\", \"cluster_certificate_key\" "
                      "and \"cluster_trusted_certificate\", in %s:%ui",
                      cluster->certificate.len == 0 ? "cluster_certificate"
                      : cluster->certificate_key.len == 0
                      ? "cluster_certificate_key"
                      : "cluster_trusted_certificate",
                      &registry->name, cluster->file, cluster->line);
        return NGX_ERROR;
    }

    if (cluster->token_key.len && registry->token_file.len) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "both \"token_file\" and \"token_key=%V\" in zltunnel "
                      "\"%V\": the tokens are in one place, leave out one of "
                      "them, in %s:%ui", &cluster->token_key, &registry->name,
                      cluster->file, cluster->line);
        return NGX_ERROR;
    }

    for (i = 0; cycle->modules[i]; i++) {

        if (ngx_strcmp(cycle->modules[i]->name, NGX_ZLTUNNEL_CLUSTER_MODULE)
            == 0)
        {
            return NGX_OK;
        }
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "\"cluster\" needs the module " NGX_ZLTUNNEL_CLUSTER_MODULE
                  ", which is not loaded: write \"load_module modules/"
                  NGX_ZLTUNNEL_CLUSTER_MODULE ".so;\" behind that of "
                  "ngx_zltunnel_module.so; it is in Debian's package "
                  "libnginx-mod-zltunnel-cluster, or \"make CLUSTER=1\" "
                  "builds it, and \"make install CLUSTER=1\" installs it, "
                  "in %s:%ui",
                  cluster->file, cluster->line);

    return NGX_ERROR;
}
