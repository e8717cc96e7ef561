
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Why a handshake has failed: which check, of what, and what to do about it.
 */


#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "log.h"
#include "tls.h"
#include "tls_why.h"


static void zlt_tls_why_certificate(long verify, const char *host,
    const char *ca_file, const char *names, char *error);
static void zlt_tls_why_unknown(long verify, const char *ca_file,
    char *error);
static size_t zlt_tls_why_name(const GENERAL_NAME *name, char *text);


void
zlt_tls_why(const SSL *ssl, const char *host, const char *ca_file,
    const char *names, char *error)
{
    int             err;
    long            verify;
    const char     *reason;
    unsigned long   code;

    err = errno;
    code = ERR_peek_last_error();
    verify = SSL_get_verify_result(ssl);

    if (verify != X509_V_OK
        && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
    {
        zlt_tls_why_certificate(verify, host, ca_file, names, error);
        return;
    }

    if (ERR_GET_LIB(code) == ERR_LIB_SSL
        && (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER
            || ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST))
    {
        (void) strcpy(error, "the server does not speak TLS on this port");
        return;
    }

    if (code == 0) {
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "%s",
                        err ? strerror(err) : "the connection was closed");
        return;
    }

    reason = ERR_reason_error_string(code);

    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        reason = "the connection was closed";
    }

    (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "%s",
                    reason ? reason : "unknown error");
}


static void
zlt_tls_why_certificate(long verify, const char *host, const char *ca_file,
    const char *names, char *error)
{
    switch (verify) {

    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE,
                        "the certificate is for another name than "
                        "\"%.200s\": it is for %s", host,
                        *names ? names : "none");
        return;

    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        zlt_tls_why_unknown(verify, ca_file, error);
        return;

    case X509_V_ERR_CERT_NOT_YET_VALID:
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE,
                        "the certificate is not yet valid: is this "
                        "machine's clock right?");
        return;

    case X509_V_ERR_CERT_HAS_EXPIRED:
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE,
                        "the certificate has expired (or this machine's "
                        "clock is wrong)");
        return;
    }

    (void) snprintf(error, ZLT_TLS_ERROR_SIZE,
                    "the certificate was refused: %s",
                    X509_verify_cert_error_string(verify));
}


static void
zlt_tls_why_unknown(long verify, const char *ca_file, char *error)
{
    const char  *why;

    why = X509_verify_cert_error_string(verify);

    if (ca_file) {
        (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "the certificate is not "
                        "signed by what is in \"%.200s\" (%s)", ca_file, why);
        return;
    }

    (void) snprintf(error, ZLT_TLS_ERROR_SIZE, "the certificate is from an "
                    "unknown authority (%s); ca_file (--ca-file) names "
                    "one to trust",
                    why);
}


/* Only the alternative ones count: tls.c.  They are a stranger's text. */

void
zlt_tls_why_names(const X509 *x509, char *names)
{
    int             i, n;
    char            text[ZLT_LOG_TEXT_SIZE];
    size_t          len, name;
    GENERAL_NAMES  *all;

    *names = '\0';
    len = 0;

    all = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    n = all ? sk_GENERAL_NAME_num(all) : 0;

    for (i = 0; i < n; i++) {
        name = zlt_tls_why_name(sk_GENERAL_NAME_value(all, i), text);

        if (name == 0) {
            continue;
        }

        if (len + name + 8 > ZLT_TLS_WHY_NAMES) {
            (void) strcpy(names + len, len ? ", ..." : "...");
            break;
        }

        len += (size_t) sprintf(names + len, "%s%s", len ? ", " : "", text);
    }

    GENERAL_NAMES_free(all);
}


/* Its length; 0: it is none that a server has. */

static size_t
zlt_tls_why_name(const GENERAL_NAME *name, char *text)
{
    int                   len;
    zlt_str_t             dns;
    const unsigned char  *data;

    if (name->type == GEN_DNS) {
        dns.data = ASN1_STRING_get0_data(name->d.dNSName);
        dns.len = (size_t) ASN1_STRING_length(name->d.dNSName);

        return strlen(zlt_log_text(text, dns));
    }

    if (name->type != GEN_IPADD) {
        return 0;
    }

    data = ASN1_STRING_get0_data(name->d.iPAddress);
    len = ASN1_STRING_length(name->d.iPAddress);

    if ((len != 4 && len != 16)
        || inet_ntop(len == 4 ? AF_INET : AF_INET6, data, text,
                     INET6_ADDRSTRLEN) == NULL)
    {
        return 0;
    }

    return strlen(text);
}
