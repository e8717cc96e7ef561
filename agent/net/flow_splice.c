
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A bulky flow, through a pipe.  It belongs to the flow only while there are
 * bytes in it.  What has to be kept in mind:
 *
 *   - A pipe fills by slots, so EAGAIN from the splice into it means "input
 *     drained" only if the pipe is empty; else it means "wait for output".
 *   - All of the pipe has to go out, not just what the last call put in.
 *   - It is the other side's write event that matters then.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>

#include "flow.h"
#include "flow_splice.h"


#define ZLT_FLOW_SPLICE_SMALL      4096            /* not worth a splice */
#define ZLT_FLOW_SPLICE_SMALL_RUN  3
#define ZLT_FLOW_SPLICE_MOST       (1024 * 1024)   /* asked for in one call */


int
zlt_flow_splice_in(zlt_relay_t *r, unsigned i, size_t *moved)
{
    ssize_t      n;
    zlt_conn_t  *src;
    zlt_flow_t  *f;

    f = &r->flow[i];
    src = &r->side[i];

    f->pipe = zlt_pipe_get();

    if (f->pipe == NULL) {
        f->way = ZLT_FLOW_COPIED;
        return ZLT_FLOW_MORE;
    }

    do {
        n = splice(src->io.fd, NULL, f->pipe->fd[1], NULL, ZLT_FLOW_SPLICE_MOST,
                   SPLICE_F_MOVE|SPLICE_F_NONBLOCK);
    } while (n == -1 && errno == EINTR);

    if (n > 0) {
        f->pipe->len = (size_t) n;
        *moved = (size_t) n;

        if (n >= ZLT_FLOW_SPLICE_SMALL) {
            f->small = 0;

        } else if (++f->small == ZLT_FLOW_SPLICE_SMALL_RUN) {
            f->way = ZLT_FLOW_COPIED;
        }

        return ZLT_FLOW_MORE;
    }

    /* the pipe is empty, so EAGAIN is about the input */

    zlt_pipe_put(f->pipe);
    f->pipe = NULL;

    if (n == 0) {
        f->end = ZLT_FLOW_EOF;
        return ZLT_FLOW_MORE;
    }

    if (errno == EAGAIN) {
        zlt_io_clear(&src->io, ZLT_IO_READ);
        return ZLT_FLOW_WAIT;
    }

    if (errno == EINVAL || errno == ENOSYS) {
        /* not with this kind of socket: copy */
        f->way = ZLT_FLOW_COPIED;
        return ZLT_FLOW_MORE;
    }

    return ZLT_FLOW_IN;
}



int
zlt_flow_splice_out(zlt_relay_t *r, unsigned i)
{
    ssize_t      n;
    zlt_conn_t  *dst;
    zlt_pipe_t  *p;

    p = r->flow[i].pipe;
    dst = &r->side[!i];

    while (p->len) {

        if (!zlt_conn_writable(dst)) {
            return ZLT_FLOW_WAIT;
        }

        do {
            n = splice(p->fd[0], NULL, dst->io.fd, NULL, p->len,
                       SPLICE_F_MOVE|SPLICE_F_NONBLOCK);
        } while (n == -1 && errno == EINTR);

        if (n > 0) {
            r->active = zlt_io_now();
            p->len -= (size_t) n;
            continue;
        }

        if (n == -1 && errno == EAGAIN) {
            zlt_io_clear(&dst->io, ZLT_IO_WRITE);
            return ZLT_FLOW_WAIT;
        }

        return ZLT_FLOW_OUT;
    }

    zlt_pipe_put(p);
    r->flow[i].pipe = NULL;

    return ZLT_FLOW_MORE;
}
