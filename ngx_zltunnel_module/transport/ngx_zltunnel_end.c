
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One end of a relay: the messages of a framed one, and beneath them the table
 * of what carries their bytes.  How an end of them is told from a reset:
 *
 *            an end                           a reset
 *   plain    FIN                              RST, any error
 *   TLS      close_notify                     RST, or FIN without it
 *   pair     FIN, or closed                   closed with bytes unread
 *   framed   Eof                              Reset, or any end without one
 *   bridge   (framed)                         (framed)
 *   lane     (framed)                         LaneEnd, or one of the channel
 *
 * Plain, pair and bridge are in ngx_zltunnel_socket.c, TLS is in
 * ngx_zltunnel_tls.c, a lane in ngx_zltunnel_lane.c.  Plain or under TLS, there may be a WebSocket
 * within (ngx_zltunnel_ws.c), for the bytes of framed ends alone.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_connection.h"
#include "ngx_zltunnel_framed.h"
#include "ngx_zltunnel_socket.h"
#include "ngx_zltunnel_tls.h"
#include "ngx_zltunnel_ws.h"

#include "zlt_frames.h"

#include <poll.h>                /* after ngx_config.h: it needs _GNU_SOURCE */


void
ngx_zltunnel_end_init(ngx_zltunnel_end_t *end, ngx_connection_t *c,
    const ngx_zltunnel_end_ops_t *ops)
{
    if (ops == NULL) {
        ops = &ngx_zltunnel_socket_ops;

#if (NGX_SSL)
        if (c->ssl) {
            ops = &ngx_zltunnel_tls_ops;
        }
#endif
    }

    end->connection = c;
    end->ops = ops;

    if (ops->network) {
        ngx_zltunnel_socket_nodelay(c);
    }

    if (ops->init) {
        ops->init(end);
    }
}


ssize_t
ngx_zltunnel_end_recv(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    if (!ngx_zltunnel_end_raw_in(end)) {
        return ngx_zltunnel_framed_recv(end, buf, size);
    }

    return ngx_zltunnel_end_pull(end, buf, size);
}


ssize_t
ngx_zltunnel_end_send(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    if (!ngx_zltunnel_end_raw_out(end)) {
        return ngx_zltunnel_framed_send(end, buf, size);
    }

    return ngx_zltunnel_end_push(end, buf, size);
}


ngx_int_t
ngx_zltunnel_end_flush(ngx_zltunnel_end_t *end)
{
    ngx_int_t  rc;

    if (end->ops->flush) {
        rc = end->ops->flush(end);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return end->frames ? ngx_zltunnel_framed_flush(end) : NGX_OK;
}


size_t
ngx_zltunnel_end_state(ngx_zltunnel_end_t *end, u_char *buf)
{
    return end->ops->state ? end->ops->state(end, buf) : 0;
}


ngx_int_t
ngx_zltunnel_end_restore(ngx_zltunnel_end_t *end, u_char *state, size_t len)
{
    return len ? ngx_zltunnel_ws_restore(end, state) : NGX_OK;
}


ngx_uint_t
ngx_zltunnel_end_amid(ngx_zltunnel_end_t *end)
{
    zlt_frames_in_t  *in;

    if (end->frames && end->frames->in.end == ZLT_FRAMES_OPEN) {
        in = &end->frames->in;

        if (in->left || in->have) {
            return 1;
        }
    }

    return end->ops->amid ? end->ops->amid(end) : 0;
}


ngx_int_t
ngx_zltunnel_end_shutdown(ngx_zltunnel_end_t *end)
{
    if (!ngx_zltunnel_end_raw_out(end)) {
        return ngx_zltunnel_framed_end(end, ZLT_FRAMES_EOF);
    }

    return end->ops->shutdown(end);
}


/*
 * A reset raises an event even while nothing is read, or after EOF; only
 * poll() then tells it from what else raises one.  A hang-up is both
 * directions being shut: a reset too, unless it was us who shut the other.
 */

ngx_int_t
ngx_zltunnel_end_test(ngx_zltunnel_end_t *end)
{
    int                err;
    socklen_t          len;
    struct pollfd      p;
    ngx_connection_t  *c;

    c = end->connection;

    if (end->ops->shared || end->ops->bridged) {

        /* a lane tells by an event; the other worker may have closed, and what
           it has sent before be whole */

        return NGX_OK;
    }

    p.fd = c->fd;
    p.events = 0;
    p.revents = 0;

    if (poll(&p, 1, 0) != 1) {
        return NGX_OK;
    }

    if (!(p.revents & POLLERR)
        && (!(p.revents & POLLHUP) || end->shut || !end->ops->network))
    {
        return NGX_OK;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if ((err == NGX_EPIPE || err == 0) && !end->eof) {

        /* tcp_reset(), told once: it has ended before, and what it sent is here;
           that it takes nothing more is found by writing */

        return NGX_OK;
    }

    end->broken = 1;

    return ngx_connection_error(c, err ? err : NGX_ECONNRESET,
                                "connection was reset");
}


ngx_int_t
ngx_zltunnel_end_alive(ngx_zltunnel_end_t *end, ngx_msec_t dead)
{
    return end->ops->network ? ngx_zltunnel_socket_acked(end->connection, dead)
                             : NGX_OK;
}


size_t
ngx_zltunnel_end_outq(ngx_zltunnel_end_t *end)
{
    return end->ops->network ? ngx_zltunnel_socket_outq(end->connection) : 0;
}


void
ngx_zltunnel_end_abort(ngx_zltunnel_end_t *end)
{
    if (end->ops->abort) {
        end->ops->abort(end);
    }
}


void
ngx_zltunnel_end_close(ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    if (end->ops->close) {
        end->ops->close(end);
    }

    c = end->connection;

    if (c) {
        end->connection = NULL;
        ngx_zltunnel_connection_close(c);
    }
}
