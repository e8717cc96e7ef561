
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The bytes of a connection through OpenSSL.
 *
 * OpenSSL does its I/O through a BIO of ours, which honours the readiness
 * bits of the connection: it makes no system call that would say EAGAIN, and
 * it reads ahead, so that a record costs one recv() and not two.
 *
 * What is written is staged (proto/zlt_stage.h); what is left of the records, if
 * there is no room, waits in c->out.  OpenSSL itself never has to wait for room
 * then.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>

#include "tls.h"
#include "tls_io.h"
#include "zlt_stage.h"


static ssize_t zlt_tls_io_read(zlt_conn_t *c, void *buf, size_t size);
static ssize_t zlt_tls_io_write(zlt_conn_t *c, const void *buf, size_t size);
static int zlt_tls_io_flush(zlt_conn_t *c);
static int zlt_tls_io_pending(zlt_conn_t *c);
static int zlt_tls_io_end(zlt_conn_t *c, int closes);
static void zlt_tls_io_close(zlt_conn_t *c);
static int zlt_tls_io_bare(const zlt_conn_t *c, unsigned direction);
static void zlt_tls_io_moved(zlt_conn_t *c);
static int zlt_tls_io_seal(void *c, const void *buf, size_t size);
static int zlt_tls_io_send(zlt_conn_t *c);
static int zlt_tls_io_result(zlt_conn_t *c, int rc, uint8_t *wants);
static int zlt_tls_io_bio_read(BIO *bio, char *buf, int size);
static int zlt_tls_io_bio_write(BIO *bio, const char *buf, int size);
static long zlt_tls_io_bio_ctrl(BIO *bio, int cmd, long num, void *ptr);


const zlt_conn_ops_t  zlt_tls_io = {
    .read = zlt_tls_io_read,
    .write = zlt_tls_io_write,
    .flush = zlt_tls_io_flush,
    .pending = zlt_tls_io_pending,
    .end = zlt_tls_io_end,
    .failed = zlt_conn_socket_failed,
    .close = zlt_tls_io_close,
    .bare = zlt_tls_io_bare,
    .moved = zlt_tls_io_moved
};


static BIO_METHOD  *zlt_tls_io_method;

static zlt_stage_t  zlt_tls_io_stage;


/* Called for a result that is not a success. */

static int
zlt_tls_io_result(zlt_conn_t *c, int rc, uint8_t *wants)
{
    int  err;

    err = SSL_get_error(c->ssl, rc);

    switch (err) {

    case SSL_ERROR_WANT_READ:
        *wants = ZLT_IO_READ;
        return ZLT_CONN_AGAIN;

    case SSL_ERROR_WANT_WRITE:
        *wants = ZLT_IO_WRITE;
        return ZLT_CONN_AGAIN;

    case SSL_ERROR_ZERO_RETURN:
        return 0;
    }

    zlt_tls_alert(c);

    /* among others, a FIN without close_notify: truncation */

    if (err != SSL_ERROR_SYSCALL || errno == 0) {
        errno = ECONNRESET;
    }

    ERR_clear_error();

    return ZLT_CONN_ERROR;
}


static ssize_t
zlt_tls_io_read(zlt_conn_t *c, void *buf, size_t size)
{
    int     n;
    size_t  got;

    ERR_clear_error();
    errno = 0;

    for (got = 0; got < size; got += (size_t) n) {

        n = SSL_read(c->ssl, (char *) buf + got, (int) (size - got));

        if (n <= 0) {
            n = zlt_tls_io_result(c, n, &c->read_wants);

            /* an end or an error, if there were bytes before it, is told
               in the next call */

            c->more = (n != ZLT_CONN_AGAIN);

            return got ? (ssize_t) got : n;
        }
    }

    /* OpenSSL may hold more, and no event would tell */

    c->more = 1;

    return (ssize_t) got;
}


static ssize_t
zlt_tls_io_write(zlt_conn_t *c, const void *buf, size_t size)
{
    int     n;
    size_t  done;

    n = zlt_tls_io_flush(c);

    if (n != 0) {
        return n;
    }

    ERR_clear_error();
    errno = 0;

    done = zlt_stage_fill(&zlt_tls_io_stage, c, zlt_tls_io_seal, buf, size, &n);

    if (done == 0) {
        n = zlt_tls_io_result(c, n, &c->write_wants);
        return n == 0 ? ZLT_CONN_ERROR : n;
    }

    c->write_wants = ZLT_IO_WRITE;

    return zlt_tls_io_send(c) == 0 ? (ssize_t) done : ZLT_CONN_ERROR;
}


static int
zlt_tls_io_seal(void *c, const void *buf, size_t size)
{
    return SSL_write(((zlt_conn_t *) c)->ssl, buf, (int) size);
}


/* Sends what is staged, and keeps what there is no room for. */

static int
zlt_tls_io_send(zlt_conn_t *c)
{
    ssize_t  n;

    n = zlt_conn_send(c, zlt_tls_io_stage.data, zlt_tls_io_stage.len);

    if (n == ZLT_CONN_ERROR) {
        return -1;
    }

    if (zlt_stage_keep(&zlt_tls_io_stage, n == ZLT_CONN_AGAIN ? 0 : (size_t) n,
                       &c->out, &zlt_conn_memory)
        == -1)
    {
        errno = ENOMEM;
        return -1;
    }

    return 0;
}


static int
zlt_tls_io_flush(zlt_conn_t *c)
{
    ssize_t  n;

    while (c->out) {
        n = zlt_conn_send(c, zlt_unsent_next(c->out), zlt_unsent_left(c->out));

        if (n < 0) {
            return (int) n;
        }

        zlt_unsent_sent(&c->out, &zlt_conn_memory, (size_t) n);
    }

    return 0;
}


static int
zlt_tls_io_pending(zlt_conn_t *c)
{
    return c->out != NULL;
}


static int
zlt_tls_io_end(zlt_conn_t *c, int closes)
{
    int  rc;

    (void) closes;

    if (c->shut) {
        return 0;
    }

    rc = zlt_tls_io_flush(c);

    if (rc != 0) {
        return rc;
    }

    ERR_clear_error();
    errno = 0;

    /* 0: sent, the peer's has not come yet, nor need it */

    rc = SSL_shutdown(c->ssl);

    if (rc >= 0) {
        c->shut = 1;
        return 0;
    }

    rc = zlt_tls_io_result(c, rc, &c->write_wants);

    return rc == 0 ? ZLT_CONN_ERROR : rc;
}


static void
zlt_tls_io_close(zlt_conn_t *c)
{
    /* a connection that ends without close_notify need not spoil its
       session, which others may resume */

    SSL_set_quiet_shutdown(c->ssl, 1);
    (void) SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    ERR_clear_error();

    zlt_unsent_drop(&c->out, &zlt_conn_memory);

    c->ssl = NULL;
    c->read_wants = ZLT_IO_READ;
    c->write_wants = ZLT_IO_WRITE;
}


/* Though a server behind something that ends TLS may send Raw. */

static int
zlt_tls_io_bare(const zlt_conn_t *c, unsigned direction)
{
    (void) c;
    (void) direction;

    return 0;
}


BIO *
zlt_tls_io_bio(zlt_conn_t *c)
{
    BIO  *bio;

    if (zlt_tls_io_method == NULL) {
        zlt_tls_io_method = BIO_meth_new(BIO_get_new_index()
                                         |BIO_TYPE_SOURCE_SINK, "zltunnel");
        if (zlt_tls_io_method == NULL) {
            return NULL;
        }

        BIO_meth_set_read(zlt_tls_io_method, zlt_tls_io_bio_read);
        BIO_meth_set_write(zlt_tls_io_method, zlt_tls_io_bio_write);
        BIO_meth_set_ctrl(zlt_tls_io_method, zlt_tls_io_bio_ctrl);
    }

    bio = BIO_new(zlt_tls_io_method);

    if (bio) {
        BIO_set_data(bio, c);
        BIO_set_init(bio, 1);
    }

    return bio;
}


static void
zlt_tls_io_moved(zlt_conn_t *c)
{
    BIO_set_data(SSL_get_rbio(c->ssl), c);
    BIO_set_data(SSL_get_wbio(c->ssl), c);
}


static int
zlt_tls_io_bio_read(BIO *bio, char *buf, int size)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);

    n = zlt_conn_recv(c, buf, (size_t) size);

    if (n == ZLT_CONN_AGAIN) {
        BIO_set_retry_read(bio);
        return -1;
    }

    return n < 0 ? -1 : (int) n;
}


static int
zlt_tls_io_bio_write(BIO *bio, const char *buf, int size)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);

    if (zlt_tls_io_stage.owner == c) {

        if (!zlt_stage_put(&zlt_tls_io_stage, c, buf, (size_t) size)) {
            BIO_set_retry_write(bio);
            return -1;
        }

        return size;
    }

    /* an answer that TLS gives by itself must not overtake what waits */

    if (zlt_tls_io_flush(c) != 0) {
        BIO_set_retry_write(bio);
        return -1;
    }

    n = zlt_conn_send(c, buf, (size_t) size);

    if (n == ZLT_CONN_AGAIN) {
        BIO_set_retry_write(bio);
        return -1;
    }

    return n < 0 ? -1 : (int) n;
}


static long
zlt_tls_io_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void) bio;
    (void) num;
    (void) ptr;

    return cmd == BIO_CTRL_FLUSH;
}
