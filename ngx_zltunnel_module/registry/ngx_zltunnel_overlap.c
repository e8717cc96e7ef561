
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Whether the masters of two binaries live, beside one another.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_overlap.h"


ngx_uint_t  ngx_zltunnel_overlap;


ngx_uint_t
ngx_zltunnel_overlap_look(void)
{
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_int_t         pid;
    ngx_core_conf_t  *ccf;
    u_char            buf[NGX_INT64_LEN + 2];

    ngx_zltunnel_overlap = 0;

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    if (ccf->oldpid.len == 0) {
        return 0;
    }

    fd = ngx_open_file(ccf->oldpid.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      ngx_close_file_n " \"%s\" failed", ccf->oldpid.data);
    }

    while (n > 0 && (buf[n - 1] == LF || buf[n - 1] == CR)) {
        n--;
    }

    pid = (n > 0) ? ngx_atoi(buf, n) : NGX_ERROR;

    if (pid > 0 && (kill((ngx_pid_t) pid, 0) == 0 || ngx_errno == NGX_EPERM)) {
        ngx_zltunnel_overlap = 1;
    }

    return ngx_zltunnel_overlap;
}
