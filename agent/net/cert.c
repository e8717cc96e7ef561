
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Our certificate.  What can be wrong with the files is found when they are
 * read, and told in words.
 */


#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <openssl/err.h>

#include "cert.h"
#include "log.h"
#include "secret.h"
#include "tls.h"


static int zlt_cert_pair(SSL_CTX *ctx, const char *cert, const char *key,
    const int *locked, char *error);
static int zlt_cert_key_file(const char *file, char *error);
static void zlt_cert_validity(SSL_CTX *ctx, const char *file);
static const char *zlt_cert_reason(void);
static int zlt_cert_no_passphrase(char *buf, int size, int rwflag, void *data);


int
zlt_cert_load(SSL_CTX *ctx, const char *cert, const char *key, char *error)
{
    int  rc, locked;

    if (key == NULL) {
        key = cert;
    }

    if (zlt_cert_key_file(key, error) == -1) {
        return -1;
    }

    locked = 0;

    SSL_CTX_set_default_passwd_cb(ctx, zlt_cert_no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &locked);

    ERR_clear_error();
    errno = 0;

    rc = zlt_cert_pair(ctx, cert, key, &locked, error);

    ERR_clear_error();

    SSL_CTX_set_default_passwd_cb(ctx, NULL);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);

    if (rc == 0) {
        zlt_cert_validity(ctx, cert);
    }

    return rc;
}


static int
zlt_cert_pair(SSL_CTX *ctx, const char *cert, const char *key,
    const int *locked, char *error)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) {
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "no certificate can be "
                        "read from \"%.150s\": %s", cert, zlt_cert_reason());
        return -1;
    }

    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1) {
        return 0;
    }

    if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH) {
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "the key in \"%.150s\" is "
                        "not that of the certificate in \"%.150s\"", key,
                        cert);
        return -1;
    }

    (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "no private key can be read "
                    "from \"%.150s\": %s", key,
                    *locked ? "it has a passphrase, for which nobody can be "
                              "asked" : zlt_cert_reason());
    return -1;
}


/* A group may have it, as Debian's ssl-cert does. */

static int
zlt_cert_key_file(const char *file, char *error)
{
    struct stat  st;

    if (stat(file, &st) == -1) {
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "the key \"%.200s\" cannot "
                        "be read: %s", file, strerror(errno));
        return -1;
    }

    if (S_ISREG(st.st_mode) && (st.st_mode & 007)
        && !zlt_secret_credential(file))
    {
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "the key \"%.200s\" can be "
                        "read by others: chmod 600 it", file);
        return -1;
    }

    return 0;
}


static void
zlt_cert_validity(SSL_CTX *ctx, const char *file)
{
    X509  *x509;

    x509 = SSL_CTX_get0_certificate(ctx);

    if (X509_cmp_current_time(X509_get0_notAfter(x509)) < 0) {
        zlt_log_warn("the certificate in \"%.200s\" has expired (or this "
                     "machine's clock is wrong)", file);

    } else if (X509_cmp_current_time(X509_get0_notBefore(x509)) > 0) {
        zlt_log_warn("the certificate in \"%.200s\" is not yet valid: is this "
                     "machine's clock right?", file);
    }
}


/* Of the error that OpenSSL has left. */

static const char *
zlt_cert_reason(void)
{
    const char     *reason;
    unsigned long   code;

    code = ERR_peek_error();

    if (errno && ERR_GET_LIB(code) == ERR_LIB_SYS) {
        return strerror(errno);
    }

    code = ERR_peek_last_error();

    if (ERR_GET_REASON(code) == ERR_R_PEM_LIB) {
        return "there is none in PEM";
    }

    reason = ERR_reason_error_string(code);

    return reason ? reason : "unknown error";
}


static int
zlt_cert_no_passphrase(char *buf, int size, int rwflag, void *data)
{
    (void) buf;
    (void) size;
    (void) rwflag;

    *(int *) data = 1;

    return -1;
}
