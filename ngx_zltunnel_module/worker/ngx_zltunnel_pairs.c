
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The socketpairs of workers to come, by which others will reach them.
 *
 * With many workers they are most of the master's descriptors, and so are the
 * two that nginx itself has for each.  Once nginx has taken a configuration over,
 * a failure ends the master.  So they are made before that, and it is seen to
 * that nginx will have its own.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_pairs.h"


static ngx_int_t ngx_zltunnel_pairs_make(ngx_uint_t n, ngx_log_t *log);
static ngx_int_t ngx_zltunnel_pairs_room(ngx_uint_t n);
static void ngx_zltunnel_pairs_close(void);


static ngx_zltunnel_pair_t  *ngx_zltunnel_pairs;
static ngx_uint_t            ngx_zltunnel_npairs;


ngx_int_t
ngx_zltunnel_pairs_prepare(ngx_uint_t n, ngx_log_t *log)
{
    if (ngx_zltunnel_pairs) {

        if (ngx_zltunnel_npairs == n
            && ngx_zltunnel_pairs_room(2 * n) == NGX_OK)
        {
            return NGX_OK;
        }

        ngx_zltunnel_pairs_close();
    }

    if (ngx_zltunnel_pairs_make(n, log) == NGX_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                  "socketpair() for zltunnel workers failed");

    return NGX_ERROR;
}


static ngx_int_t
ngx_zltunnel_pairs_make(ngx_uint_t n, ngx_log_t *log)
{
    ngx_err_t  err;

    ngx_zltunnel_pairs = ngx_alloc(n * sizeof(ngx_zltunnel_pair_t), log);
    if (ngx_zltunnel_pairs == NULL) {
        return NGX_ERROR;
    }

    for (ngx_zltunnel_npairs = 0;
         ngx_zltunnel_npairs < n;
         ngx_zltunnel_npairs++)
    {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_NONBLOCK|SOCK_CLOEXEC, 0,
                       ngx_zltunnel_pairs[ngx_zltunnel_npairs])
            == -1)
        {
            break;
        }
    }

    if (ngx_zltunnel_npairs == n && ngx_zltunnel_pairs_room(2 * n) == NGX_OK) {
        return NGX_OK;
    }

    err = ngx_errno;
    ngx_zltunnel_pairs_close();
    ngx_set_errno(err);

    return NGX_ERROR;
}


/* tries whether there are n more descriptors */

static ngx_int_t
ngx_zltunnel_pairs_room(ngx_uint_t n)
{
    ngx_int_t      rc;
    ngx_err_t      err;
    ngx_uint_t     i;
    ngx_socket_t  *fds;

    fds = ngx_alloc(n * sizeof(ngx_socket_t), ngx_cycle->log);
    if (fds == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;
    err = 0;

    for (i = 0; i < n; i++) {
        fds[i] = dup(ngx_zltunnel_pairs[0][0]);

        if (fds[i] == -1) {
            err = ngx_errno;
            rc = NGX_ERROR;
            break;
        }
    }

    while (i) {
        (void) ngx_close_socket(fds[--i]);
    }

    ngx_free(fds);
    ngx_set_errno(err);

    return rc;
}


static void
ngx_zltunnel_pairs_close(void)
{
    while (ngx_zltunnel_npairs) {
        ngx_zltunnel_npairs--;
        (void) ngx_close_socket(ngx_zltunnel_pairs[ngx_zltunnel_npairs][0]);
        (void) ngx_close_socket(ngx_zltunnel_pairs[ngx_zltunnel_npairs][1]);
    }

    ngx_free(ngx_zltunnel_pairs);
    ngx_zltunnel_pairs = NULL;
}


ngx_zltunnel_pair_t *
ngx_zltunnel_pairs_take(ngx_uint_t *n)
{
    ngx_zltunnel_pair_t  *pairs;

    pairs = ngx_zltunnel_pairs;
    *n = ngx_zltunnel_npairs;

    ngx_zltunnel_pairs = NULL;
    ngx_zltunnel_npairs = 0;

    return pairs;
}
