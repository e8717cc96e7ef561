
/*
 * Copyright (C) zltunnel authors
 */


#include <stdio.h>
#include <string.h>
#include <time.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "conn.h"
#include "log.h"
#include "tls.h"
#include "tls_told.h"
#include "tls_why.h"


#define ZLT_TLS_TOLD_NAME  64


static void zlt_tls_told_issuer(const X509 *x509, char *text);


void
zlt_tls_told(const zlt_conn_t *c, char *text)
{
    int         days, seconds;
    char        names[ZLT_TLS_WHY_NAMES],
                issuer[4 * ZLT_TLS_TOLD_NAME + 4], until[32];
    X509       *x509;
    struct tm   tm;

    x509 = SSL_get0_peer_certificate(c->ssl);

    if (x509 == NULL || !ASN1_TIME_to_tm(X509_get0_notAfter(x509), &tm)
        || !ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x509)))
    {
        (void) snprintf(text, ZLT_TLS_ERROR_SIZE, "%s",
                        SSL_get_version(c->ssl));
        ERR_clear_error();
        return;
    }

    zlt_tls_why_names(x509, names);
    zlt_tls_told_issuer(x509, issuer);
    (void) strftime(until, sizeof(until), "%Y-%m-%d", &tm);

    (void) snprintf(text, ZLT_TLS_ERROR_SIZE, "%.16s, for %s, signed by "
                    "%.150s, until %s (%d day%s)", SSL_get_version(c->ssl),
                    names, issuer, until, days, days == 1 ? "" : "s");
}


static void
zlt_tls_told_issuer(const X509 *x509, char *text)
{
    int         len;
    char        name[ZLT_TLS_TOLD_NAME], shown[ZLT_LOG_TEXT_SIZE];
    zlt_str_t   str;
    X509_NAME  *issuer;

    issuer = X509_get_issuer_name(x509);
    len = X509_NAME_get_text_by_NID(issuer, NID_commonName, name,
                                    sizeof(name));
    if (len <= 0) {
        len = X509_NAME_get_text_by_NID(issuer, NID_organizationName, name,
                                        sizeof(name));
    }

    if (len <= 0) {
        (void) strcpy(text, "nobody");
        return;
    }

    str.data = (const uint8_t *) name;
    str.len = strlen(name);

    (void) snprintf(text, 4 * ZLT_TLS_TOLD_NAME + 4, "\"%.250s\"",
                    zlt_log_text(shown, str));
}
