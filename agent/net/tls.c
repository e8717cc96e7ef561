
/*
 * Copyright (C) zltunnel authors
 */

/*
 * TLS by OpenSSL: the client, and its handshakes.
 *
 * Data channels resume the sessions of earlier connections.  A ticket of TLS
 * 1.3 is used once, but for the last one: in a burst of new channels each would
 * cost both sides a certificate else, and the server knows anyway that they are
 * ours.  They are kept in a small stack, the newest on top.  No early data is
 * ever sent: Connect and Register could be replayed.
 */


#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "conn.h"
#include "log.h"
#include "tls.h"
#include "tls_io.h"
#include "zlt_stage.h"
#include "tls_why.h"
#include "trust.h"


#define ZLT_TLS_SESSIONS     32


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
    SSL_CTX_set_default_read_buffer_len(ctx, ZLT_STAGE_SIZE);

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

    bio = zlt_tls_io_bio(c);
    if (bio == NULL) {
        goto failed;
    }

    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);

    c->ssl = ssl;
    c->ops = &zlt_tls_io;
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


void
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
