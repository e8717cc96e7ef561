
/*
 * Copyright (C) zltunnel authors
 */

/*
 * An end of a relay under TLS.
 *
 * It is read and written with OpenSSL's own calls, not by c->recv() and
 * c->send(): nginx logs a FIN without close_notify at crit, asks the kernel
 * how much is left after each read, and marks the connection so that it would
 * never send close_notify after it has received one.
 *
 * What is longer than a record is staged (proto/zlt_stage.h).  For that the SSL
 * object is given another BIO to write to, and gets its own back before anything
 * else happens, unless the socket has no room: then what is left of the records
 * is kept in end->records, and until it has gone the BIO stays, which takes
 * nothing, so that whatever else OpenSSL wants to say waits behind it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_tls.h"
#include "ngx_zltunnel_buffer.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_socket.h"

#include "zlt_stage.h"


#if (NGX_SSL)


static void ngx_zltunnel_tls_init(ngx_zltunnel_end_t *end);
static ssize_t ngx_zltunnel_tls_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_tls_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static int ngx_zltunnel_tls_write(void *c, const void *buf, size_t size);
static ssize_t ngx_zltunnel_tls_send_error(ngx_connection_t *c, int n);
static ngx_uint_t ngx_zltunnel_tls_bulk(ngx_connection_t *c, size_t size);
static ssize_t ngx_zltunnel_tls_send_many(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static ngx_int_t ngx_zltunnel_tls_send_stage(ngx_zltunnel_end_t *end);
static ssize_t ngx_zltunnel_tls_send_socket(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_int_t ngx_zltunnel_tls_flush(ngx_zltunnel_end_t *end);
static ngx_uint_t ngx_zltunnel_tls_kept(ngx_zltunnel_end_t *end);
static ngx_uint_t ngx_zltunnel_tls_amid(ngx_zltunnel_end_t *end);
static void ngx_zltunnel_tls_abort(ngx_zltunnel_end_t *end);
static void ngx_zltunnel_tls_drop(ngx_zltunnel_end_t *end);
static BIO *ngx_zltunnel_tls_bio(void);
static void ngx_zltunnel_tls_write_to(ngx_connection_t *c, BIO *bio);
static int ngx_zltunnel_tls_bio_write(BIO *bio, const char *buf, int size);
static long ngx_zltunnel_tls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr);
static ngx_int_t ngx_zltunnel_tls_shutdown(ngx_zltunnel_end_t *end);
static ngx_int_t ngx_zltunnel_tls_error(ngx_connection_t *c, int sslerr,
    ngx_err_t err, char *text);


const ngx_zltunnel_end_ops_t  ngx_zltunnel_tls_ops = {
    .recv = ngx_zltunnel_tls_recv,
    .send = ngx_zltunnel_tls_send,
    .shutdown = ngx_zltunnel_tls_shutdown,
    .init = ngx_zltunnel_tls_init,
    .flush = ngx_zltunnel_tls_flush,
    .kept = ngx_zltunnel_tls_kept,
    .amid = ngx_zltunnel_tls_amid,
    .abort = ngx_zltunnel_tls_abort,
    .close = ngx_zltunnel_tls_drop,
    .most = ZLT_STAGE_RECORD,
    .network = 1
};


static BIO          *ngx_zltunnel_tls_stage_bio;
static zlt_stage_t   ngx_zltunnel_tls_stage;


/*
 * A FIN without close_notify is an error, and writes may be retried from
 * elsewhere.  What nginx has read or wanted to write raises no event again.
 */

static void
ngx_zltunnel_tls_init(ngx_zltunnel_end_t *end)
{
    SSL               *ssl;
    ngx_connection_t  *c;

    c = end->connection;
    ssl = c->ssl->connection;

#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    SSL_clear_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif

    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE
                      |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    c->ssl->saved_read_handler = NULL;
    c->ssl->saved_write_handler = NULL;

    if (SSL_has_pending(ssl)) {
        c->read->ready = 1;
    }
}


static ssize_t
ngx_zltunnel_tls_recv(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    int                n, sslerr;
    size_t             bytes;
    ngx_err_t          err;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = end->connection;
    rev = c->read;

    if (end->records && c->write->ready) {

        /* an answer that TLS gives while it reads would find no room, for
           which no event comes; an error is found by whoever writes */

        (void) ngx_zltunnel_tls_flush(end);
    }

#ifdef SSL_READ_EARLY_DATA_SUCCESS
    if (c->ssl->in_early) {
        return c->recv(c, buf, size);
    }
#endif

    if (c->ssl->last == NGX_ERROR) {
        rev->error = 1;
        return NGX_ERROR;
    }

    bytes = 0;

    ERR_clear_error();

    for ( ;; ) {
        n = SSL_read(c->ssl->connection, buf + bytes, size - bytes);

        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0, "SSL_read: %d", n);

        if (n > 0) {
            bytes += n;

            if (bytes == size) {
                return bytes;
            }

            continue;
        }

        err = ngx_socket_errno;
        sslerr = SSL_get_error(c->ssl->connection, n);

        if (sslerr == SSL_ERROR_WANT_READ) {
            rev->ready = 0;
            return bytes ? (ssize_t) bytes : NGX_AGAIN;
        }

        if (sslerr == SSL_ERROR_WANT_WRITE) {

            /* an answer to a key update: read again when it has gone */

            c->write->ready = 0;

            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                return NGX_ERROR;
            }

            return bytes ? (ssize_t) bytes : NGX_AGAIN;
        }

        if (sslerr == SSL_ERROR_ZERO_RETURN) {

            /* told again at the next call, if bytes go first */

            if (bytes == 0) {
                rev->ready = 0;
                rev->eof = 1;
            }

            return bytes;
        }

        c->ssl->last = NGX_ERROR;
        rev->error = 1;

        (void) ngx_zltunnel_tls_error(c, sslerr, err, "SSL_read() failed");

        return bytes ? (ssize_t) bytes : NGX_ERROR;
    }
}


static ssize_t
ngx_zltunnel_tls_send(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    int                n;
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = end->connection;

#ifdef SSL_READ_EARLY_DATA_SUCCESS
    if (c->ssl->in_early) {
        return c->send(c, buf, size);
    }
#endif

    rc = ngx_zltunnel_tls_flush(end);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_zltunnel_tls_bulk(c, size)) {
        return ngx_zltunnel_tls_send_many(end, buf, size);
    }

    ERR_clear_error();

    n = ngx_zltunnel_tls_write(c, buf, size);

    if (n <= 0) {
        rc = ngx_zltunnel_tls_send_error(c, n);

        if (rc == NGX_AGAIN && SSL_want_write(c->ssl->connection)) {
            c->write->ready = 0;
        }

        return rc;
    }

    c->sent += n;

    return n;
}


static int
ngx_zltunnel_tls_write(void *connection, const void *buf, size_t size)
{
    int                n;
    ngx_connection_t  *c;

    c = connection;

    n = SSL_write(c->ssl->connection, buf, size);

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "SSL_write: %d of %uz", n, size);

    return n;
}


static ssize_t
ngx_zltunnel_tls_send_error(ngx_connection_t *c, int n)
{
    int        sslerr;
    ngx_err_t  err;

    err = ngx_socket_errno;
    sslerr = SSL_get_error(c->ssl->connection, n);

    if (sslerr == SSL_ERROR_WANT_WRITE || sslerr == SSL_ERROR_WANT_READ) {
        return NGX_AGAIN;
    }

    c->write->error = 1;

    return ngx_zltunnel_tls_error(c, sslerr, err, "SSL_write() failed");
}


/* Not where the kernel makes the records, or OpenSSL has a BIO of its own. */

static ngx_uint_t
ngx_zltunnel_tls_bulk(ngx_connection_t *c, size_t size)
{
    BIO  *bio;
    SSL  *ssl;

    if (size <= ZLT_STAGE_RECORD) {
        return 0;
    }

    ssl = c->ssl->connection;
    bio = SSL_get_wbio(ssl);

#ifdef BIO_get_ktls_send
    if (BIO_get_ktls_send(bio)) {
        return 0;
    }
#endif

    return bio == SSL_get_rbio(ssl) && ngx_zltunnel_tls_bio() != NULL;
}


static ssize_t
ngx_zltunnel_tls_send_many(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    int                n;
    size_t             done;
    ssize_t            rc;
    ngx_connection_t  *c;

    c = end->connection;
    rc = NGX_OK;

    ngx_zltunnel_tls_write_to(c, ngx_zltunnel_tls_stage_bio);

    ERR_clear_error();

    done = zlt_stage_fill(&ngx_zltunnel_tls_stage, c, ngx_zltunnel_tls_write,
                          buf, size, &n);
    if (n <= 0) {
        rc = ngx_zltunnel_tls_send_error(c, n);
    }

    if (rc == NGX_ERROR || ngx_zltunnel_tls_send_stage(end) != NGX_OK) {
        return NGX_ERROR;
    }

    c->sent += done;

    return done ? (ssize_t) done : rc;
}


/* Sends what is staged, and keeps what there is no room for. */

static ngx_int_t
ngx_zltunnel_tls_send_stage(ngx_zltunnel_end_t *end)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = end->connection;

    n = ngx_zltunnel_tls_send_socket(c, ngx_zltunnel_tls_stage.data,
                                     ngx_zltunnel_tls_stage.len);
    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (zlt_stage_keep(&ngx_zltunnel_tls_stage, n, &end->records,
                       &ngx_zltunnel_buffer_memory)
        == -1)
    {
        c->write->error = 1;
        return NGX_ERROR;
    }

    if (end->records == NULL) {
        ngx_zltunnel_tls_write_to(c, SSL_get_rbio(c->ssl->connection));
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_tls_flush(ngx_zltunnel_end_t *end)
{
    ssize_t            n;
    ngx_connection_t  *c;

    if (end->records == NULL) {
        return NGX_OK;
    }

    c = end->connection;

    n = ngx_zltunnel_tls_send_socket(c, zlt_unsent_next(end->records),
                                     zlt_unsent_left(end->records));
    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    zlt_unsent_sent(&end->records, &ngx_zltunnel_buffer_memory, n);

    if (end->records) {
        return NGX_AGAIN;
    }

    ngx_zltunnel_tls_write_to(c, SSL_get_rbio(c->ssl->connection));

    return NGX_OK;
}


static ngx_uint_t
ngx_zltunnel_tls_kept(ngx_zltunnel_end_t *end)
{
    return end->records != NULL;
}


static ngx_uint_t
ngx_zltunnel_tls_amid(ngx_zltunnel_end_t *end)
{
    return SSL_has_pending(end->connection->ssl->connection);
}


/* nothing is sent any more; ngx_ssl_shutdown() is silent, whoever calls it */

static void
ngx_zltunnel_tls_abort(ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    c = end->connection;

    ngx_zltunnel_tls_drop(end);

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;
    }

    ngx_zltunnel_socket_linger(c, 1);
}


static void
ngx_zltunnel_tls_drop(ngx_zltunnel_end_t *end)
{
    zlt_unsent_drop(&end->records, &ngx_zltunnel_buffer_memory);
}


/* What has gone, or NGX_ERROR; if it is not all, the socket has no room. */

static ssize_t
ngx_zltunnel_tls_send_socket(ngx_connection_t *c, u_char *buf, size_t size)
{
    off_t    sent;
    ssize_t  n;

    if (size == 0 || !c->write->ready) {
        return 0;
    }

    sent = c->sent;
    n = ngx_send(c, buf, size);
    c->sent = sent;                      /* what is within is counted there */

    return (n == NGX_AGAIN) ? 0 : n;
}


static BIO *
ngx_zltunnel_tls_bio(void)
{
    BIO_METHOD  *method;

    if (ngx_zltunnel_tls_stage_bio) {
        return ngx_zltunnel_tls_stage_bio;
    }

    method = BIO_meth_new(BIO_get_new_index()|BIO_TYPE_SOURCE_SINK,
                          "zltunnel");
    if (method == NULL) {
        return NULL;
    }

    BIO_meth_set_write(method, ngx_zltunnel_tls_bio_write);
    BIO_meth_set_ctrl(method, ngx_zltunnel_tls_bio_ctrl);

    ngx_zltunnel_tls_stage_bio = BIO_new(method);

    if (ngx_zltunnel_tls_stage_bio == NULL) {
        BIO_meth_free(method);
        return NULL;
    }

    BIO_set_init(ngx_zltunnel_tls_stage_bio, 1);

    return ngx_zltunnel_tls_stage_bio;
}


static void
ngx_zltunnel_tls_write_to(ngx_connection_t *c, BIO *bio)
{
    (void) BIO_up_ref(bio);

    SSL_set0_wbio(c->ssl->connection, bio);
}


static int
ngx_zltunnel_tls_bio_write(BIO *bio, const char *buf, int size)
{
    BIO_clear_retry_flags(bio);

    /* of all connections, the one whose records are made writes now */

    if (!zlt_stage_put(&ngx_zltunnel_tls_stage, ngx_zltunnel_tls_stage.owner,
                       buf, size))
    {
        BIO_set_retry_write(bio);
        return -1;
    }

    return size;
}


static long
ngx_zltunnel_tls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    return cmd == BIO_CTRL_FLUSH;
}


static ngx_int_t
ngx_zltunnel_tls_shutdown(ngx_zltunnel_end_t *end)
{
    int                n, sslerr;
    ngx_err_t          err;
    ngx_int_t          rc;
    ngx_connection_t  *c;

    rc = ngx_zltunnel_tls_flush(end);

    if (rc != NGX_OK) {
        return rc;
    }

    c = end->connection;

    /* a close_notify received through c->recv() has set it */

    c->ssl->no_send_shutdown = 0;

    ERR_clear_error();

    n = SSL_shutdown(c->ssl->connection);

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0, "SSL_shutdown: %d", n);

    if (n >= 0) {
        return NGX_OK;
    }

    err = ngx_socket_errno;
    sslerr = SSL_get_error(c->ssl->connection, n);

    if (sslerr == SSL_ERROR_WANT_WRITE) {
        c->write->ready = 0;
        return NGX_AGAIN;
    }

    return ngx_zltunnel_tls_error(c, sslerr, err,
                                      "SSL_shutdown() failed");
}


/* as ngx_ssl_connection_error(), but a peer's fault is never crit */

static ngx_int_t
ngx_zltunnel_tls_error(ngx_connection_t *c, int sslerr, ngx_err_t err,
    char *text)
{
    ngx_uint_t  level;

    c->ssl->no_wait_shutdown = 1;
    c->ssl->no_send_shutdown = 1;

    if (sslerr == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        return ngx_connection_error(c, err, text);
    }

    level = (c->log_error == NGX_ERROR_INFO) ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_ssl_error(level, c->log, 0, text);

    return NGX_ERROR;
}


#endif
