
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The end of a channel that will carry another connection after this one: its
 * bytes are messages, zlt_frames.h.  An end is a message, and without one the
 * end of the channel is a reset, whatever is beneath.  A direction that turns
 * raw is left to ngx_zltunnel_end.c.
 *
 * The header of a message is put in front of the bytes that are sent, into
 * the room that their buffer has for it, so that both go in one call.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_framed.h"
#include "ngx_zltunnel_budget.h"
#include "ngx_zltunnel_end.h"

#include "zlt_frames.h"
#include "zlt_msg.h"


static size_t ngx_zltunnel_framed_exact(zlt_frames_in_t *in, size_t size);
static ngx_int_t ngx_zltunnel_framed_rest(ngx_zltunnel_end_t *end,
    u_char *data, size_t len);


void
ngx_zltunnel_framed_start(ngx_zltunnel_end_t *end, zlt_frames_t *frames)
{
    ngx_memzero(frames, sizeof(zlt_frames_t));

    end->frames = frames;
}


ssize_t
ngx_zltunnel_framed_recv(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    ssize_t                 n;
    ngx_event_t            *rev;
    zlt_frames_in_t        *in;
    ngx_connection_t       *c;
    ngx_zltunnel_budget_t   budget;

    in = &end->frames->in;
    c = end->connection;
    rev = c->read;

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    for ( ;; ) {

        if (in->end == ZLT_FRAMES_EOF) {
            return 0;
        }

        if (in->end == ZLT_FRAMES_RESET) {
            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "connection was reset beyond the data channel");
            return NGX_ERROR;
        }

        if (in->end == ZLT_FRAMES_MOVED) {

            if (end->lane == NULL || !end->lent) {
                rev->error = 1;
                return ngx_connection_error(c, NGX_ECONNRESET,
                                            "unexpected Moved");
            }

            /* whoever has asked for it knows what to do */

            rev->ready = 0;
            return NGX_AGAIN;
        }

        n = ngx_zltunnel_end_pull(end, buf,
                                  end->exact
                                  ? ngx_zltunnel_framed_exact(in, size) : size);

        if (in->end == ZLT_FRAMES_RAW) {
            /* turned so with the last message, behind which was nothing */
            return n;
        }

        if (n == 0) {
            rev->error = 1;
            return ngx_connection_error(c, NGX_ECONNRESET,
                                        "data channel ended");
        }

        if (n < 0) {
            return n;
        }

        budget.bytes += n;

        n = ngx_zltunnel_framed_take(end, buf, n);

        if (n != 0) {
            return n;
        }

        if (in->end != ZLT_FRAMES_OPEN) {
            continue;
        }

        if (!rev->ready) {
            return NGX_AGAIN;
        }

        if (ngx_zltunnel_budget_spent(&budget)) {
            /* messages without a byte in them */
            ngx_zltunnel_budget_post(rev);
            return NGX_AGAIN;
        }
    }
}


/*
 * Who asks for connections sends the next Connect right behind its end, and what
 * the client has sent: any number of bytes, which are left to be read later.  So
 * what is read goes to the end of a header.
 */

static size_t
ngx_zltunnel_framed_exact(zlt_frames_in_t *in, size_t size)
{
    size_t  n;

    n = (size_t) in->left + ZLT_HEADER_SIZE - in->have;

    return ngx_min(n, size);
}


ssize_t
ngx_zltunnel_framed_take(ngx_zltunnel_end_t *end, u_char *buf, size_t len)
{
    size_t            rest;
    ssize_t           n;
    zlt_frames_in_t  *in;

    in = &end->frames->in;

    n = zlt_frames_decode(in, buf, len, &rest);

    if (in->end == ZLT_FRAMES_RAW && end->ops->under) {
        /* no splice() could follow */
        n = ZLT_ERR_TYPE;
    }

    if (n < 0) {
        ngx_log_error(NGX_LOG_INFO, end->connection->log, 0,
                      "bad message on a data channel: %s",
                      zlt_msg_strerror((int) n));
        end->connection->read->error = 1;
        return NGX_ERROR;
    }

    if (rest
        && ngx_zltunnel_framed_rest(end, buf + len - rest, rest) != NGX_OK)
    {
        end->connection->read->error = 1;
        return NGX_ERROR;
    }

    return n;
}


/*
 * What is behind the agent's end is of an idle channel already: few messages,
 * since we have not ended this connection yet, or the agent does not know.
 */

static ngx_int_t
ngx_zltunnel_framed_rest(ngx_zltunnel_end_t *end, u_char *data, size_t len)
{
    if (len > sizeof(end->rest)) {
        ngx_log_error(NGX_LOG_INFO, end->connection->log, 0,
                      "%uz bytes behind the end of a connection", len);
        return NGX_ERROR;
    }

    ngx_memcpy(end->rest, data, len);
    end->nrest = len;

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_framed_behind(ngx_zltunnel_end_t *end)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = end->connection;

    if (end->frames->in.end != ZLT_FRAMES_EOF || !end->ops->network) {
        return NGX_OK;
    }

    while (c->read->ready && end->nrest < sizeof(end->rest)) {

        n = ngx_zltunnel_end_pull(end, end->rest + end->nrest,
                                  sizeof(end->rest) - end->nrest);

        if (n == NGX_AGAIN) {
            return NGX_OK;
        }

        if (n <= 0) {
            return ngx_connection_error(c, NGX_ECONNRESET,
                                        "data channel ended");
        }

        end->nrest += n;
    }

    return NGX_OK;
}


ssize_t
ngx_zltunnel_framed_send(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    size_t             len;
    u_char            *p;
    ssize_t            n;
    zlt_frames_out_t  *out;

    out = &end->frames->out;

    len = zlt_frames_data(out, size);
    p = zlt_frames_prefix(out, buf);

    n = ngx_zltunnel_end_push(end, p, (buf - p) + len);

    if (n <= 0) {
        return n;
    }

    len = zlt_frames_sent(out, n);

    return len ? (ssize_t) len : NGX_AGAIN;
}


ngx_int_t
ngx_zltunnel_framed_flush(ngx_zltunnel_end_t *end)
{
    ssize_t            n;
    zlt_frames_out_t  *out;

    out = &end->frames->out;

    /*
     * The header of Data goes with its bytes: under TLS both may be in a record
     * that is on its way already, of which OpenSSL wants no less again.
     */

    while (zlt_frames_pending(out) && zlt_frames_whole(out)) {

        if (!end->connection->write->ready) {
            return NGX_AGAIN;
        }

        n = ngx_zltunnel_end_push(end, out->head + out->pos,
                                  zlt_frames_pending(out));
        if (n < 0) {
            return n;
        }

        (void) zlt_frames_sent(out, n);
    }

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_framed_end(ngx_zltunnel_end_t *end, zlt_frames_end_e how)
{
    zlt_frames_out_t  *out;

    out = &end->frames->out;

    if (out->end == ZLT_FRAMES_OPEN) {
        zlt_frames_end(out, how);
    }

    return ngx_zltunnel_framed_flush(end);
}
