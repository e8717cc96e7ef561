
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The token file: read with the configuration, then followed by each worker.
 *
 * A set of tokens is replaced whole or not at all.  An editor may write a
 * file in pieces, so a change counts only when it has stayed for a second;
 * and a file that says nothing sensible leaves the tokens as they were.  Of
 * one with bad lines, which cost their own tokens, the others count.
 *
 * All workers read the same, so one of them tells of it: a fault when it is
 * new, and each minute while it stays, and that it is mended, at the same
 * level.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_token_file.h"
#include "ngx_zltunnel_cluster_conf.h"
#include "ngx_zltunnel_readable.h"
#include "ngx_zltunnel_token.h"


#define NGX_ZLTUNNEL_TOKEN_FILE_MAX  (4 * 1024 * 1024)

#define NGX_ZLTUNNEL_SETTLE_TIME     1000     /* ms without a change */
#define NGX_ZLTUNNEL_COMPLAIN_TIME   60       /* s */


static ngx_int_t ngx_zltunnel_tokens_none(ngx_zltunnel_registry_t *registry,
    ngx_conf_t *cf, ngx_log_t *log);
static ngx_int_t ngx_zltunnel_tokens_keep(ngx_zltunnel_registry_t *registry,
    ngx_conf_t *cf, ngx_zltunnel_tokens_t *set);
static ngx_zltunnel_tokens_t *ngx_zltunnel_tokens_create(
    ngx_zltunnel_token_error_t *e, ngx_log_t *log);
static ngx_str_t *ngx_zltunnel_tokens_name(ngx_zltunnel_registry_t *registry);
static ngx_zltunnel_tokens_t *ngx_zltunnel_tokens_load(ngx_str_t *name,
    ngx_uint_t live, ngx_zltunnel_token_error_t *e, ngx_log_t *log);
static u_char *ngx_zltunnel_tokens_contents(ngx_str_t *name,
    ngx_uint_t live, ngx_zltunnel_tokens_t *set, size_t *len,
    ngx_zltunnel_token_error_t *e, ngx_log_t *log);
static void ngx_zltunnel_tokens_stamp(ngx_zltunnel_tokens_t *set,
    ngx_file_info_t *fi);
static ngx_uint_t ngx_zltunnel_tokens_changed(ngx_zltunnel_tokens_t *set,
    ngx_file_info_t *fi);
static void ngx_zltunnel_token_error(ngx_zltunnel_token_error_t *e,
    ngx_err_t err, const char *text);
static void ngx_zltunnel_tokens_complain(ngx_zltunnel_registry_t *registry,
    ngx_uint_t level, ngx_zltunnel_token_error_t *e, ngx_log_t *log);
static void ngx_zltunnel_tokens_left_out(ngx_zltunnel_registry_t *registry,
    ngx_log_t *log);
static ngx_uint_t ngx_zltunnel_tokens_tells(void);
static ngx_uint_t ngx_zltunnel_tokens_silent(ngx_zltunnel_tokens_t *set,
    ngx_zltunnel_token_error_t *e);
static void ngx_zltunnel_tokens_followed(ngx_zltunnel_registry_t *registry,
    time_t complained, ngx_log_t *log);
static void ngx_zltunnel_tokens_closed(ngx_zltunnel_token_error_t *e,
    ngx_err_t err, ngx_uint_t live);
static void ngx_zltunnel_tokens_cleanup(void *data);


ngx_int_t
ngx_zltunnel_token_file_read(ngx_zltunnel_registry_t *registry, ngx_conf_t *cf,
    ngx_log_t *log)
{
    ngx_zltunnel_tokens_t       *set;
    ngx_zltunnel_token_error_t   e;

    if (registry->token_file.len == 0) {
        return ngx_zltunnel_tokens_none(registry, cf, log);
    }

    if (cf
        && ngx_zltunnel_readable_check(cf, &registry->token_file) != NGX_OK)
    {
        return NGX_ERROR;
    }

    set = ngx_zltunnel_tokens_load(&registry->token_file, cf == NULL, &e, log);

    if (set == NULL) {
        ngx_zltunnel_tokens_complain(registry, cf ? NGX_LOG_EMERG
                                                  : NGX_LOG_ERR, &e, log);
        return NGX_ERROR;
    }

    if (cf) {
        if (ngx_zltunnel_tokens_keep(registry, cf, set) != NGX_OK) {
            return NGX_ERROR;
        }

        if (set->tokens.nelts == 0 && !registry->asks) {
            ngx_log_error(NGX_LOG_WARN, log, 0,
                          "no token in %V, no agent can connect to zltunnel "
                          "\"%V\"", &registry->token_file, &registry->name);
        }
    }

    if (registry->tokens) {
        ngx_destroy_pool(registry->tokens->pool);
    }

    /* zltunnel_auth may let in others */

    set->many |= registry->asks;

    registry->tokens = set;

    return NGX_OK;
}


/* there is no file, zltunnel_auth alone decides */

static ngx_int_t
ngx_zltunnel_tokens_none(ngx_zltunnel_registry_t *registry, ngx_conf_t *cf,
    ngx_log_t *log)
{
    ngx_zltunnel_tokens_t       *set;
    ngx_zltunnel_token_error_t   e;

    set = ngx_zltunnel_tokens_create(&e, log);

    if (set == NULL || ngx_zltunnel_tokens_keep(registry, cf, set) != NGX_OK) {
        return NGX_ERROR;
    }

    set->many = 1;

    registry->tokens = set;

    return NGX_OK;
}


/* the set, and those that come in its place, go with the configuration */

static ngx_int_t
ngx_zltunnel_tokens_keep(ngx_zltunnel_registry_t *registry, ngx_conf_t *cf,
    ngx_zltunnel_tokens_t *set)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (cln == NULL) {
        ngx_destroy_pool(set->pool);
        return NGX_ERROR;
    }

    cln->handler = ngx_zltunnel_tokens_cleanup;
    cln->data = registry;

    /* the log of the configuration's reading does not last */

    set->pool->log = &cf->cycle->new_log;

    return NGX_OK;
}


static void
ngx_zltunnel_tokens_cleanup(void *data)
{
    ngx_zltunnel_registry_t *registry = data;

    if (registry->tokens) {
        ngx_destroy_pool(registry->tokens->pool);
        registry->tokens = NULL;
    }
}


ngx_int_t
ngx_zltunnel_token_file_text(ngx_zltunnel_registry_t *registry, u_char *data,
    size_t len, ngx_log_t *log)
{
    time_t                       complained;
    ngx_zltunnel_tokens_t       *set, *former;
    ngx_zltunnel_token_error_t   e;

    /* nobody writes in it any more */

    if (len && data[len - 1] != '\n') {
        data[len++] = '\n';
    }

    former = registry->tokens;

    set = ngx_zltunnel_tokens_create(&e, log);

    if (set == NULL
        || ngx_zltunnel_token_parse(set, data, len, 1, &e) != NGX_OK)
    {
        if (set) {
            ngx_destroy_pool(set->pool);
        }

        if (!ngx_zltunnel_tokens_silent(former, &e)) {
            ngx_zltunnel_tokens_complain(registry, NGX_LOG_ERR, &e, log);
        }

        return NGX_ERROR;
    }

    complained = former->complained;

    set->many = 1;
    set->written = ngx_time();

    registry->tokens = set;
    ngx_destroy_pool(former->pool);

    ngx_zltunnel_tokens_followed(registry, complained, log);

    return NGX_OK;
}


ngx_uint_t
ngx_zltunnel_token_file_follow(ngx_zltunnel_registry_t *registry,
    ngx_log_t *log)
{
    time_t                       complained;
    ngx_file_info_t              fi;
    ngx_zltunnel_tokens_t       *set, *former;
    ngx_zltunnel_token_error_t   e;

    if (registry->token_file.len == 0) {
        return 0;
    }

    set = registry->tokens;

    if (set == NULL) {
        return ngx_zltunnel_token_file_read(registry, NULL, log) == NGX_OK;
    }

    if (ngx_file_info(registry->token_file.data, &fi) == NGX_FILE_ERROR) {
        ngx_zltunnel_token_error(&e, ngx_errno, ngx_file_info_n " failed");

        /* whatever comes in its place is another file */

        set->size = -1;
        set->changed = 0;

        goto failed;
    }

    if (ngx_zltunnel_tokens_changed(set, &fi)) {
        ngx_zltunnel_tokens_stamp(set, &fi);
        set->changed = ngx_current_msec | 1;
        return 0;
    }

    if (set->changed == 0) {
        ngx_zltunnel_tokens_left_out(registry, log);
        return 0;
    }

    if ((ngx_msec_int_t) (ngx_current_msec - set->changed)
        < NGX_ZLTUNNEL_SETTLE_TIME)
    {
        return 0;
    }

    former = set;
    set = ngx_zltunnel_tokens_load(&registry->token_file, 1, &e, log);

    if (set == NULL) {

        /* still to be read: permissions may change without a trace here */

        set = former;
        goto failed;
    }

    complained = former->complained;

    set->many |= registry->asks;

    registry->tokens = set;
    ngx_destroy_pool(former->pool);

    ngx_zltunnel_tokens_followed(registry, complained, log);

    return 1;

failed:

    set->stuck = 1;

    if (!ngx_zltunnel_tokens_silent(set, &e)) {
        ngx_zltunnel_tokens_complain(registry, NGX_LOG_ERR, &e, log);
    }

    return 0;
}


/* where they are from, for messages */

static ngx_str_t *
ngx_zltunnel_tokens_name(ngx_zltunnel_registry_t *registry)
{
    return registry->token_file.len ? &registry->token_file
                                    : &registry->cluster->token_key;
}


/* complained: of what was there before; who was told of that is told now */

static void
ngx_zltunnel_tokens_followed(ngx_zltunnel_registry_t *registry,
    time_t complained, ngx_log_t *log)
{
    ngx_uint_t  n, mended, level;

    n = registry->tokens->tokens.nelts;
    mended = complained && registry->tokens->nbad == 0;

    level = !ngx_zltunnel_tokens_tells() ? NGX_LOG_INFO
            : mended ? NGX_LOG_ERR : NGX_LOG_NOTICE;

    ngx_log_error(level, log, 0,
                  "zltunnel \"%V\": %V %s, it holds %ui token%s now",
                  &registry->name, ngx_zltunnel_tokens_name(registry),
                  mended ? "is in order again" : "has changed",
                  n, n == 1 ? "" : "s");

    ngx_zltunnel_tokens_left_out(registry, log);
}


/* who looks for the reason finds it among the last lines of the log */

static void
ngx_zltunnel_tokens_left_out(ngx_zltunnel_registry_t *registry, ngx_log_t *log)
{
    ngx_zltunnel_tokens_t  *set;

    set = registry->tokens;

    if (set->nbad == 0 || ngx_zltunnel_tokens_silent(set, &set->bad)) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "zltunnel \"%V\": %s in %V:%ui; the token of that line is "
                  "not in force, %ui line%s left out", &registry->name,
                  set->bad.text, ngx_zltunnel_tokens_name(registry),
                  set->bad.line,
                  set->nbad, set->nbad == 1 ? " is" : "s are");
}


/* the first worker tells for all; one that exits has another beside it */

static ngx_uint_t
ngx_zltunnel_tokens_tells(void)
{
    return ngx_worker == 0 && !ngx_exiting;
}


/* the same complaint was made within the last minute; if not, it is made now */

static ngx_uint_t
ngx_zltunnel_tokens_silent(ngx_zltunnel_tokens_t *set,
    ngx_zltunnel_token_error_t *e)
{
    if (!ngx_zltunnel_tokens_tells()) {
        return 1;
    }

    if (set->complained
        && e->err == set->complaint.err
        && e->line == set->complaint.line
        && ngx_strcmp(e->text, set->complaint.text) == 0
        && ngx_time() - set->complained < NGX_ZLTUNNEL_COMPLAIN_TIME
        && ngx_time() >= set->complained)
    {
        return 1;
    }

    set->complained = ngx_time();
    set->complaint = *e;

    return 0;
}


static void
ngx_zltunnel_token_error(ngx_zltunnel_token_error_t *e, ngx_err_t err,
    const char *text)
{
    e->err = err;
    e->line = 0;
    ngx_cpystrn(e->text, (u_char *) text, NGX_ZLTUNNEL_TOKEN_ERROR);
}


static void
ngx_zltunnel_tokens_complain(ngx_zltunnel_registry_t *registry,
    ngx_uint_t level, ngx_zltunnel_token_error_t *e, ngx_log_t *log)
{
    const char  *kept;

    kept = registry->tokens ? "; the former tokens stay in force, what it "
                              "revokes is not revoked"
                            : "";

    if (e->line) {
        ngx_log_error(level, log, e->err,
                      "zltunnel \"%V\": %s in %V:%ui%s",
                      &registry->name, e->text,
                      ngx_zltunnel_tokens_name(registry),
                      e->line, kept);
        return;
    }

    ngx_log_error(level, log, e->err,
                  "zltunnel \"%V\": token file \"%V\": %s%s",
                  &registry->name, ngx_zltunnel_tokens_name(registry), e->text,
                  kept);
}


static ngx_zltunnel_tokens_t *
ngx_zltunnel_tokens_create(ngx_zltunnel_token_error_t *e, ngx_log_t *log)
{
    ngx_pool_t             *pool;
    ngx_zltunnel_tokens_t  *set;

    ngx_zltunnel_token_error(e, 0, "not enough memory");

    pool = ngx_create_pool(4096, log);
    if (pool == NULL) {
        return NULL;
    }

    set = ngx_pcalloc(pool, sizeof(ngx_zltunnel_tokens_t));

    if (set == NULL
        || ngx_array_init(&set->tokens, pool, 16, sizeof(ngx_zltunnel_token_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    set->pool = pool;

    return set;
}


static ngx_zltunnel_tokens_t *
ngx_zltunnel_tokens_load(ngx_str_t *name, ngx_uint_t live,
    ngx_zltunnel_token_error_t *e, ngx_log_t *log)
{
    u_char                 *data;
    size_t                  len;
    ngx_int_t               rc;
    ngx_zltunnel_tokens_t  *set;

    set = ngx_zltunnel_tokens_create(e, log);
    if (set == NULL) {
        return NULL;
    }

    data = ngx_zltunnel_tokens_contents(name, live, set, &len, e, log);
    if (data == NULL) {
        goto failed;
    }

    rc = ngx_zltunnel_token_parse(set, data, len, live, e);

    ngx_explicit_memzero(data, len);
    ngx_free(data);

    if (rc == NGX_OK) {
        set->written = set->mtime;
        return set;
    }

failed:

    ngx_destroy_pool(set->pool);

    return NULL;
}


static u_char *
ngx_zltunnel_tokens_contents(ngx_str_t *name, ngx_uint_t live,
    ngx_zltunnel_tokens_t *set, size_t *len, ngx_zltunnel_token_error_t *e,
    ngx_log_t *log)
{
    u_char           *data;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_file_info_t   fi;

    data = NULL;

    /* nonblocking: it may be a FIFO */

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_zltunnel_tokens_closed(e, ngx_errno, live);
        return NULL;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_zltunnel_token_error(e, ngx_errno, ngx_fd_info_n " failed");
        goto failed;
    }

    if (!ngx_is_file(&fi)) {
        ngx_zltunnel_token_error(e, 0, "it is not a regular file");
        goto failed;
    }

    if (ngx_file_size(&fi) > NGX_ZLTUNNEL_TOKEN_FILE_MAX) {
        ngx_zltunnel_token_error(e, 0, "it is larger than 4m");
        goto failed;
    }

    ngx_zltunnel_tokens_stamp(set, &fi);

    *len = (size_t) ngx_file_size(&fi);

    data = ngx_alloc(*len + 1, log);
    if (data == NULL) {
        goto failed;
    }

    n = read(fd, data, *len + 1);

    if (n == -1) {
        ngx_zltunnel_token_error(e, ngx_errno, "read() failed");

    } else if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR
               || (size_t) n != *len
               || ngx_zltunnel_tokens_changed(set, &fi))
    {
        ngx_zltunnel_token_error(e, 0, "it changed while it was read");

    } else {
        (void) ngx_close_file(fd);
        return data;
    }

failed:

    if (data) {
        ngx_free(data);
    }

    (void) ngx_close_file(fd);

    return NULL;
}


/* a file that root has replaced is often one that the workers cannot read */

static void
ngx_zltunnel_tokens_closed(ngx_zltunnel_token_error_t *e, ngx_err_t err,
    ngx_uint_t live)
{
    u_char           *p;
    struct group     *group;
    ngx_core_conf_t  *ccf;

    ngx_zltunnel_token_error(e, err, ngx_open_file_n " failed");

    if (!live || err != NGX_EACCES) {
        return;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    if (ccf->username == NULL) {
        return;
    }

    group = getgrgid(ccf->group);

    p = ngx_snprintf(e->text, NGX_ZLTUNNEL_TOKEN_ERROR - 1,
                     ngx_open_file_n " failed, the workers' user \"%s\" "
                     "cannot read it: chown root:%s and chmod 640 it",
                     ccf->username, group ? group->gr_name : ccf->username);
    *p = '\0';
}


static void
ngx_zltunnel_tokens_stamp(ngx_zltunnel_tokens_t *set, ngx_file_info_t *fi)
{
    set->mtime = ngx_file_mtime(fi);
    set->mtime_nsec = fi->st_mtim.tv_nsec;
    set->size = ngx_file_size(fi);
    set->dev = fi->st_dev;
    set->uniq = ngx_file_uniq(fi);
}


static ngx_uint_t
ngx_zltunnel_tokens_changed(ngx_zltunnel_tokens_t *set, ngx_file_info_t *fi)
{
    return set->mtime != ngx_file_mtime(fi)
           || set->mtime_nsec != fi->st_mtim.tv_nsec
           || set->size != ngx_file_size(fi)
           || set->dev != fi->st_dev
           || set->uniq != ngx_file_uniq(fi);
}
