
/*
 * Copyright (C) zltunnel authors
 */

/*
 * TLS by OpenSSL.
 *
 * OpenSSL does its I/O through a BIO of ours, which honours the readiness
 * bits of the connection: it makes no system call that would say EAGAIN, and
 * it reads ahead, so that a record costs one recv() and not two.
 *
 * Writing, several records are made one after the other in a buffer that all
 * share, and sent by one system call; what is left of them, if there is no
 * room, waits in c->out.  OpenSSL itself never has to wait for room then.
 *
 * Data channels resume the sessions of earlier connections.  A ticket of TLS
 * 1.3 is used once, but for the last one: in a burst of new channels each would
 * cost both sides a certificate else, and the server knows anyway that they are
 * ours.  They are kept in a small stack, the newest on top.  No early data is
 * ever sent: Connect and Register could be replayed.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "conn.h"
#include "log.h"
#include "tls.h"
#include "tls_why.h"
#include "trust.h"


#define ZLT_TLS_SESSIONS     32

#define ZLT_TLS_RECORD       16384
#define ZLT_TLS_RECORD_MAX   (ZLT_TLS_RECORD + 256)    /* with its frame */
#define ZLT_TLS_STAGE        (4 * ZLT_TLS_RECORD_MAX)
#define ZLT_TLS_READ_BUFFER  ZLT_TLS_STAGE             /* the server's, too */


struct zlt_tls_s {
    SSL_CTX          *ctx;
    zlt_trust_t      *trust;
    char             *label;
    char             *host;
    SSL_SESSION      *sessions[ZLT_TLS_SESSIONS];
    unsigned          nsessions;
    char             *ca_file;         /* NULL: the system's authorities */
    char              names[ZLT_TLS_WHY_NAMES];    /* of the last certificate
                                                  that was for another name */
    unsigned          insecure:1;
    unsigned          address:1;       /* host is an IP address */
    unsigned          certified:1;     /* we have a certificate */
    unsigned          asked:1;         /* for one */
    unsigned          refused:1;       /* by an alert */
};


static SSL_CTX *zlt_tls_context(zlt_tls_t *tls, char *error);
static int zlt_tls_verify(int ok, X509_STORE_CTX *store);
static void zlt_tls_use(zlt_tls_t *tls, SSL_CTX *ctx);
static void zlt_tls_renew(zlt_tls_t *tls);
static int zlt_tls_asked(SSL *ssl, X509 **x509, EVP_PKEY **pkey);
static int zlt_tls_new_session(SSL *ssl, SSL_SESSION *session);
static SSL_SESSION *zlt_tls_pop_session(zlt_tls_t *tls);
static int zlt_tls_send(zlt_conn_t *c);
static void zlt_tls_alert(zlt_conn_t *c);
static int zlt_tls_result(zlt_conn_t *c, int rc, uint8_t *wants);
static BIO *zlt_tls_bio(zlt_conn_t *c);
static int zlt_tls_bio_read(BIO *bio, char *buf, int size);
static int zlt_tls_bio_write(BIO *bio, const char *buf, int size);
static long zlt_tls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr);


static BIO_METHOD  *zlt_tls_method;

static uint8_t      zlt_tls_stage[ZLT_TLS_STAGE];
static size_t       zlt_tls_staged;
static zlt_conn_t  *zlt_tls_staging;       /* whose records go there */


zlt_tls_t *
zlt_tls_create(const zlt_tls_param_t *param, char *error)
{
    SSL_CTX            *ctx;
    zlt_tls_t          *tls;
    ASN1_OCTET_STRING  *ip;

    tls = calloc(1, sizeof(zlt_tls_t));
    if (tls == NULL) {
        (void) strcpy(error, "out of memory");
        return NULL;
    }

    tls->insecure = param->insecure ? 1 : 0;
    tls->certified = param->cert != NULL;
    tls->label = strdup(param->label);
    tls->host = strdup(param->host);
    tls->ca_file = param->ca_file ? strdup(param->ca_file) : NULL;
    tls->trust = zlt_trust_create(param);

    if (tls->label == NULL || tls->host == NULL || tls->trust == NULL
        || (param->ca_file && tls->ca_file == NULL))
    {
        (void) strcpy(error, "out of memory");
        goto failed;
    }

    ip = a2i_IPADDRESS(tls->host);
    tls->address = (ip != NULL);
    ASN1_OCTET_STRING_free(ip);
    ERR_clear_error();

    ctx = zlt_tls_context(tls, error);

    if (ctx == NULL) {
        goto failed;
    }

    zlt_tls_use(tls, ctx);

    return tls;

failed:

    zlt_tls_destroy(tls);

    return NULL;
}


/* With what the files say now; NULL with a text in error. */

static SSL_CTX *
zlt_tls_context(zlt_tls_t *tls, char *error)
{
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL) {
        (void) strcpy(error, "out of memory");
        ERR_clear_error();
        return NULL;
    }

    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION|SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                          |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                          |SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, ZLT_TLS_READ_BUFFER);

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT
                                        |SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, zlt_tls_new_session);

    if (!tls->certified) {
        SSL_CTX_set_client_cert_cb(ctx, zlt_tls_asked);
    }

    SSL_CTX_set_verify(ctx, tls->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       tls->insecure ? NULL : zlt_tls_verify);

    if (zlt_trust_load(tls->trust, ctx, error) == -1) {
        SSL_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


/* The handshake ends before the certificate could be asked for its names. */

static int
zlt_tls_verify(int ok, X509_STORE_CTX *store)
{
    int         err;
    SSL        *ssl;
    zlt_tls_t  *tls;

    err = X509_STORE_CTX_get_error(store);

    if (ok || (err != X509_V_ERR_HOSTNAME_MISMATCH
               && err != X509_V_ERR_IP_ADDRESS_MISMATCH))
    {
        return ok;
    }

    ssl = X509_STORE_CTX_get_ex_data(store,
                                     SSL_get_ex_data_X509_STORE_CTX_idx());
    tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (tls) {
        zlt_tls_why_names(X509_STORE_CTX_get0_cert(store), tls->names);
    }

    return 0;
}


/* Connections that are open hold a reference to the former context, but must
   not hand sessions to what knows better, or is gone. */

static void
zlt_tls_use(zlt_tls_t *tls, SSL_CTX *ctx)
{
    SSL_SESSION  *session;

    while ((session = zlt_tls_pop_session(tls)) != NULL) {
        SSL_SESSION_free(session);
    }

    if (tls->ctx) {
        SSL_CTX_set_app_data(tls->ctx, NULL);
        SSL_CTX_free(tls->ctx);
    }

    tls->ctx = ctx;

    if (ctx) {
        SSL_CTX_set_app_data(ctx, tls);
    }
}


/*
 * Certificates are renewed on disk, by whoever does that, and nobody tells us.
 * While that is under way a file may be missing, or a key may not be that of
 * its certificate: what was read before serves until all of them fit.
 */

static void
zlt_tls_renew(zlt_tls_t *tls)
{
    char      error[ZLT_TLS_ERROR_SIZE];
    SSL_CTX  *ctx;

    if (!zlt_trust_changed(tls->trust)) {
        return;
    }

    ctx = zlt_tls_context(tls, error);

    if (ctx == NULL) {
        zlt_log_link(tls->label, ZLT_LOG_WARN, "the files of TLS have "
                     "changed, and what was read before is kept: %s", error);
        return;
    }

    zlt_tls_use(tls, ctx);
    tls->refused = 0;

    zlt_log_link(tls->label, ZLT_LOG_INFO, "the files of TLS have changed, "
                 "and were read again");
}


/* The server wants a certificate, and we have none. */

static int
zlt_tls_asked(SSL *ssl, X509 **x509, EVP_PKEY **pkey)
{
    zlt_tls_t  *tls;

    (void) x509;
    (void) pkey;

    tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (tls) {
        tls->asked = 1;
    }

    return 0;
}


const char *
zlt_tls_hint(const zlt_tls_t *tls)
{
    if (tls == NULL) {
        return "";
    }

    if (tls->asked) {
        return ": it asked for a certificate, and there is none (cert, key)";
    }

    if (tls->certified) {
        return tls->refused ? ": it does not accept the certificate"
                            : ": it may not accept the certificate";
    }

    return "";
}


void
zlt_tls_destroy(zlt_tls_t *tls)
{
    if (tls == NULL) {
        return;
    }

    zlt_tls_use(tls, NULL);
    zlt_trust_free(tls->trust);

    free(tls->label);
    free(tls->host);
    free(tls->ca_file);
    free(tls);
}


static int
zlt_tls_new_session(SSL *ssl, SSL_SESSION *session)
{
    zlt_tls_t  *tls;

    tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (tls == NULL || !SSL_SESSION_is_resumable(session)) {
        return 0;
    }

    if (tls->nsessions == ZLT_TLS_SESSIONS) {
        SSL_SESSION_free(tls->sessions[0]);
        memmove(&tls->sessions[0], &tls->sessions[1],
                (ZLT_TLS_SESSIONS - 1) * sizeof(SSL_SESSION *));
        tls->nsessions--;
    }

    tls->sessions[tls->nsessions++] = session;

    /* the reference is ours */

    return 1;
}


static SSL_SESSION *
zlt_tls_pop_session(zlt_tls_t *tls)
{
    if (tls->nsessions == 0) {
        return NULL;
    }

    return tls->sessions[--tls->nsessions];
}


int
zlt_tls_start(zlt_tls_t *tls, zlt_conn_t *c)
{
    BIO          *bio;
    SSL          *ssl;
    SSL_SESSION  *session;

    zlt_tls_renew(tls);

    ERR_clear_error();

    ssl = SSL_new(tls->ctx);
    if (ssl == NULL) {
        return -1;
    }

    if (tls->address) {
        if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), tls->host)
            != 1)
        {
            goto failed;
        }

    } else {
        if (SSL_set_tlsext_host_name(ssl, tls->host) != 1) {
            goto failed;
        }

        /* a name has to be one of its alternative names: a CommonName is not
           bound by what its authority may certify */

        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
                               |X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);

        if (SSL_set1_host(ssl, tls->host) != 1) {
            goto failed;
        }
    }

    if (SSL_set_alpn_protos(ssl, (const uint8_t *) "\x08http/1.1", 9) != 0) {
        goto failed;
    }

    session = zlt_tls_pop_session(tls);

    if (session) {
        (void) SSL_set_session(ssl, session);

        if (tls->nsessions == 0
            || (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION
                && tls->nsessions < ZLT_TLS_SESSIONS))
        {
            /* the last one; or TLS 1.2, which sends no new ticket when an old
               one is used */
            tls->sessions[tls->nsessions++] = session;

        } else {
            SSL_SESSION_free(session);
        }
    }

    bio = zlt_tls_bio(c);
    if (bio == NULL) {
        goto failed;
    }

    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);

    c->ssl = ssl;
    c->more = 1;

    return 0;

failed:

    SSL_free(ssl);
    ERR_clear_error();

    return -1;
}


int
zlt_tls_handshake(zlt_conn_t *c, char *error)
{
    int         rc;
    zlt_tls_t  *tls;

    ERR_clear_error();

    rc = SSL_do_handshake(c->ssl);

    if (rc == 1) {
        return 0;
    }

    switch (SSL_get_error(c->ssl, rc)) {

    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return ZLT_CONN_AGAIN;
    }

    tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(c->ssl));

    zlt_tls_why(c->ssl, tls ? tls->host : "the server",
                tls ? tls->ca_file : NULL, tls ? tls->names : "", error);
    ERR_clear_error();

    return ZLT_CONN_ERROR;
}


/* In TLS 1.3 a certificate is refused when the handshake is over for us. */

static void
zlt_tls_alert(zlt_conn_t *c)
{
    zlt_tls_t      *tls;
    unsigned long   code;

    code = ERR_peek_last_error();

    if (ERR_GET_LIB(code) != ERR_LIB_SSL) {
        return;
    }

    switch (ERR_GET_REASON(code)) {

    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(c->ssl));

        if (tls) {
            tls->refused = 1;
        }
    }
}


/* Called for a result that is not a success. */

static int
zlt_tls_result(zlt_conn_t *c, int rc, uint8_t *wants)
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


ssize_t
zlt_tls_read(zlt_conn_t *c, void *buf, size_t size)
{
    int     n;
    size_t  got;

    ERR_clear_error();
    errno = 0;

    for (got = 0; got < size; got += (size_t) n) {

        n = SSL_read(c->ssl, (char *) buf + got, (int) (size - got));

        if (n <= 0) {
            n = zlt_tls_result(c, n, &c->read_wants);

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


ssize_t
zlt_tls_write(zlt_conn_t *c, const void *buf, size_t size)
{
    int     n;
    size_t  done, len;

    n = zlt_tls_flush(c);

    if (n != 0) {
        return n;
    }

    zlt_tls_staging = c;
    zlt_tls_staged = 0;

    ERR_clear_error();
    errno = 0;

    for (done = 0; done < size; done += (size_t) n) {

        if (zlt_tls_staged + ZLT_TLS_RECORD_MAX > ZLT_TLS_STAGE) {
            break;
        }

        len = size - done;

        if (len > ZLT_TLS_RECORD) {
            len = ZLT_TLS_RECORD;
        }

        n = SSL_write(c->ssl, (const char *) buf + done, (int) len);

        if (n <= 0) {
            break;
        }
    }

    zlt_tls_staging = NULL;

    if (done == 0) {
        n = zlt_tls_result(c, n, &c->write_wants);
        return n == 0 ? ZLT_CONN_ERROR : n;
    }

    c->write_wants = ZLT_IO_WRITE;

    return zlt_tls_send(c) == 0 ? (ssize_t) done : ZLT_CONN_ERROR;
}


/* Sends what is staged, and keeps what there is no room for. */

static int
zlt_tls_send(zlt_conn_t *c)
{
    size_t   left;
    ssize_t  n;

    n = zlt_conn_send(c, zlt_tls_stage, zlt_tls_staged);

    if (n == ZLT_CONN_ERROR) {
        return -1;
    }

    if (n == ZLT_CONN_AGAIN) {
        n = 0;
    }

    left = zlt_tls_staged - (size_t) n;

    if (left == 0) {
        return 0;
    }

    c->out = malloc(sizeof(zlt_buf_t) + left);

    if (c->out == NULL) {
        errno = ENOMEM;
        return -1;
    }

    memcpy(c->out->data, zlt_tls_stage + n, left);
    c->out->pos = 0;
    c->out->last = (uint32_t) left;

    return 0;
}


int
zlt_tls_flush(zlt_conn_t *c)
{
    ssize_t  n;

    while (c->out) {
        n = zlt_conn_send(c, c->out->data + c->out->pos,
                          c->out->last - c->out->pos);

        if (n < 0) {
            return (int) n;
        }

        c->out->pos += (uint32_t) n;

        if (c->out->pos == c->out->last) {
            free(c->out);
            c->out = NULL;
        }
    }

    return 0;
}


int
zlt_tls_shutdown(zlt_conn_t *c)
{
    int  rc;

    rc = zlt_tls_flush(c);

    if (rc != 0) {
        return rc;
    }

    ERR_clear_error();
    errno = 0;

    /* 0: sent, the peer's has not come yet, nor need it */

    rc = SSL_shutdown(c->ssl);

    if (rc >= 0) {
        return 0;
    }

    rc = zlt_tls_result(c, rc, &c->write_wants);

    return rc == 0 ? ZLT_CONN_ERROR : rc;
}


void
zlt_tls_free(zlt_conn_t *c)
{
    /* a connection that ends without close_notify need not spoil its
       session, which others may resume */

    SSL_set_quiet_shutdown(c->ssl, 1);
    (void) SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    ERR_clear_error();

    free(c->out);
    c->out = NULL;

    c->ssl = NULL;
    c->read_wants = ZLT_IO_READ;
    c->write_wants = ZLT_IO_WRITE;
}


static BIO *
zlt_tls_bio(zlt_conn_t *c)
{
    BIO  *bio;

    if (zlt_tls_method == NULL) {
        zlt_tls_method = BIO_meth_new(BIO_get_new_index()
                                      |BIO_TYPE_SOURCE_SINK, "zltunnel");
        if (zlt_tls_method == NULL) {
            return NULL;
        }

        BIO_meth_set_read(zlt_tls_method, zlt_tls_bio_read);
        BIO_meth_set_write(zlt_tls_method, zlt_tls_bio_write);
        BIO_meth_set_ctrl(zlt_tls_method, zlt_tls_bio_ctrl);
    }

    bio = BIO_new(zlt_tls_method);

    if (bio) {
        BIO_set_data(bio, c);
        BIO_set_init(bio, 1);
    }

    return bio;
}


void
zlt_tls_moved(zlt_conn_t *c)
{
    BIO_set_data(SSL_get_rbio(c->ssl), c);
    BIO_set_data(SSL_get_wbio(c->ssl), c);
}


static int
zlt_tls_bio_read(BIO *bio, char *buf, int size)
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
zlt_tls_bio_write(BIO *bio, const char *buf, int size)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);

    if (c == zlt_tls_staging) {

        if ((size_t) size > ZLT_TLS_STAGE - zlt_tls_staged) {
            BIO_set_retry_write(bio);
            return -1;
        }

        memcpy(zlt_tls_stage + zlt_tls_staged, buf, (size_t) size);
        zlt_tls_staged += (size_t) size;

        return size;
    }

    /* an answer that TLS gives by itself must not overtake what waits */

    if (zlt_tls_flush(c) != 0) {
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
zlt_tls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void) bio;
    (void) num;
    (void) ptr;

    return cmd == BIO_CTRL_FLUSH;
}
