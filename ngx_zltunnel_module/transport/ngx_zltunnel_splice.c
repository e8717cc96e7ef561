
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The pipes that a relay borrows when it splices.  They are of
 * one worker, and a few are kept for the next relay; an idle connection holds
 * none.
 *
 * The kernel counts the pages of a user's pipes: 256 pipes of 256 KiB for all
 * the workers together, unless fs.pipe-user-pages-soft says otherwise. Beyond
 * that new pipes hold 8 KiB, with which copying is faster.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_splice.h"


#define NGX_ZLTUNNEL_PIPE_SIZE      (256 * 1024)
#define NGX_ZLTUNNEL_PIPE_MIN       (64 * 1024)
#define NGX_ZLTUNNEL_PIPES          128     /* of one worker, in use or kept */
#define NGX_ZLTUNNEL_PIPES_KEPT     16
#define NGX_ZLTUNNEL_PIPE_RETRY     1000    /* ms, after there was none */


typedef struct {
    int                          fd[2];
    size_t                       size;
} ngx_zltunnel_pipe_t;


static ngx_zltunnel_pipe_t     ngx_zltunnel_pipes[NGX_ZLTUNNEL_PIPES_KEPT];
static ngx_uint_t              ngx_zltunnel_npipes;      /* kept */
static ngx_uint_t              ngx_zltunnel_pipes_open;  /* in all */
static ngx_uint_t              ngx_zltunnel_pipes_none;
static ngx_msec_t              ngx_zltunnel_pipes_none_since;


ngx_int_t
ngx_zltunnel_splice_pipe_get(int fd[2], size_t *size, ngx_log_t *log)
{
    int                   n;
    ngx_zltunnel_pipe_t  *p;

    if (ngx_zltunnel_npipes) {
        p = &ngx_zltunnel_pipes[--ngx_zltunnel_npipes];

        fd[0] = p->fd[0];
        fd[1] = p->fd[1];
        *size = p->size;

        return NGX_OK;
    }

    if (ngx_zltunnel_pipes_open == NGX_ZLTUNNEL_PIPES) {
        return NGX_DECLINED;
    }

    if (ngx_zltunnel_pipes_none
        && ngx_current_msec - ngx_zltunnel_pipes_none_since
           < NGX_ZLTUNNEL_PIPE_RETRY)
    {
        return NGX_DECLINED;
    }

    ngx_zltunnel_pipes_none = 0;

    if (pipe2(fd, O_NONBLOCK|O_CLOEXEC) == -1) {
        ngx_log_error(NGX_LOG_INFO, log, ngx_errno,
                      "pipe2() failed, copying instead");
        goto none;
    }

    n = fcntl(fd[1], F_SETPIPE_SZ, NGX_ZLTUNNEL_PIPE_SIZE);

    if (n == -1) {
        n = fcntl(fd[1], F_GETPIPE_SZ);
    }

    if (n < NGX_ZLTUNNEL_PIPE_MIN) {
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "a pipe of %d bytes is too small, copying instead", n);

        (void) close(fd[0]);
        (void) close(fd[1]);

        goto none;
    }

    *size = n;
    ngx_zltunnel_pipes_open++;

    return NGX_OK;

none:

    fd[0] = -1;
    fd[1] = -1;

    ngx_zltunnel_pipes_none = 1;
    ngx_zltunnel_pipes_none_since = ngx_current_msec;

    return NGX_DECLINED;
}


void
ngx_zltunnel_splice_pipe_put(int fd[2], size_t size, size_t residue)
{
    ngx_zltunnel_pipe_t  *p;

    if (residue || ngx_zltunnel_npipes == NGX_ZLTUNNEL_PIPES_KEPT) {
        (void) close(fd[0]);
        (void) close(fd[1]);
        ngx_zltunnel_pipes_open--;

    } else {
        p = &ngx_zltunnel_pipes[ngx_zltunnel_npipes++];

        p->fd[0] = fd[0];
        p->fd[1] = fd[1];
        p->size = size;
    }

    fd[0] = -1;
    fd[1] = -1;
}


void
ngx_zltunnel_splice_cleanup(void)
{
    ngx_zltunnel_pipe_t  *p;

    while (ngx_zltunnel_npipes) {
        p = &ngx_zltunnel_pipes[--ngx_zltunnel_npipes];

        (void) close(p->fd[0]);
        (void) close(p->fd[1]);
        ngx_zltunnel_pipes_open--;
    }
}
