
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A message between workers as it is sent and received, with a descriptor.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ipc_io.h"
#include "ngx_zltunnel_ipc.h"


ngx_int_t
ngx_zltunnel_ipc_io_write(ngx_socket_t to, ngx_zltunnel_ipc_t *msg,
    u_char *data, ngx_socket_t fd)
{
    ssize_t         n;
    ngx_err_t       err;
    struct iovec    iov[2];
    struct msghdr   hdr;

    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(int))];
    } cmsg;

    ngx_memzero(&hdr, sizeof(struct msghdr));

    iov[0].iov_base = (char *) msg;
    iov[0].iov_len = sizeof(ngx_zltunnel_ipc_t);
    iov[1].iov_base = (char *) data;
    iov[1].iov_len = msg->data_len;

    hdr.msg_iov = iov;
    hdr.msg_iovlen = msg->data_len ? 2 : 1;

    if (fd != (ngx_socket_t) -1) {
        ngx_memzero(&cmsg, sizeof(cmsg));

        hdr.msg_control = &cmsg;
        hdr.msg_controllen = sizeof(cmsg);

        cmsg.cm.cmsg_len = CMSG_LEN(sizeof(int));
        cmsg.cm.cmsg_level = SOL_SOCKET;
        cmsg.cm.cmsg_type = SCM_RIGHTS;

        ngx_memcpy(CMSG_DATA(&cmsg.cm), &fd, sizeof(int));
    }

    do {
        n = sendmsg(to, &hdr, MSG_NOSIGNAL|MSG_DONTWAIT);
        err = ngx_errno;
    } while (n == -1 && err == NGX_EINTR);

    /* too many descriptors in flight pass, too */

    if (n == -1 && (err == NGX_EAGAIN || err == ETOOMANYREFS
                    || err == ENOBUFS))
    {
        return NGX_AGAIN;
    }

    /* it may be gone, and the sweep not have seen that */

    if (n == -1 && err != NGX_EPIPE && err != NGX_ECONNRESET) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err,
                      "sendmsg() to a zltunnel worker failed");
    }

    if (fd != (ngx_socket_t) -1) {
        (void) ngx_close_socket(fd);
    }

    return (n == -1) ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_zltunnel_ipc_io_read(ngx_socket_t from, ngx_zltunnel_ipc_t *msg,
    u_char *data, ngx_socket_t *fd)
{
    ssize_t         n;
    ngx_err_t       err;
    struct iovec    iov[2];
    struct msghdr   hdr;

    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(int))];
    } cmsg;

    for ( ;; ) {
        ngx_memzero(&hdr, sizeof(struct msghdr));
        ngx_memzero(&cmsg, sizeof(cmsg));

        iov[0].iov_base = (char *) msg;
        iov[0].iov_len = sizeof(ngx_zltunnel_ipc_t);
        iov[1].iov_base = (char *) data;
        iov[1].iov_len = NGX_ZLTUNNEL_IPC_IO_DATA;

        hdr.msg_iov = iov;
        hdr.msg_iovlen = 2;
        hdr.msg_control = &cmsg;
        hdr.msg_controllen = sizeof(cmsg);

        n = recvmsg(from, &hdr, MSG_DONTWAIT|MSG_CMSG_CLOEXEC);

        if (n == -1) {
            err = ngx_errno;

            if (err == NGX_EINTR) {
                continue;
            }

            if (err != NGX_EAGAIN) {
                ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, err,
                              "recvmsg() of a zltunnel worker failed");
            }

            return NGX_AGAIN;
        }

        if (n == 0) {
            return NGX_AGAIN;
        }

        *fd = (ngx_socket_t) -1;

        if (hdr.msg_controllen >= sizeof(struct cmsghdr)
            && cmsg.cm.cmsg_level == SOL_SOCKET
            && cmsg.cm.cmsg_type == SCM_RIGHTS)
        {
            ngx_memcpy(fd, CMSG_DATA(&cmsg.cm), sizeof(int));
        }

        if (zlt_ipc_check(msg, n) != ZLT_OK) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "zltunnel worker message of %z bytes", n);

            if (*fd != (ngx_socket_t) -1) {
                (void) ngx_close_socket(*fd);
            }

            continue;
        }

        if (hdr.msg_flags & MSG_CTRUNC) {

            /* no descriptor was free here: the dial goes another way */

            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                          "no descriptor for a zltunnel channel from "
                          "another worker");

            msg->type = NGX_ZLTUNNEL_IPC_NONE;
        }

        return NGX_OK;
    }
}
