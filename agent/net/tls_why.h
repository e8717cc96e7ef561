
/*
 * Copyright (C) zltunnel authors
 */

/* Why a handshake has failed, in words. */


#ifndef ZLT_TLS_WHY_H_INCLUDED
#define ZLT_TLS_WHY_H_INCLUDED


#include <openssl/ssl.h>


#define ZLT_TLS_WHY_NAMES  240         /* bytes */


/*
 * From the state of the session, and the errors that OpenSSL has left, into
 * error (ZLT_TLS_ERROR_SIZE bytes).  ca_file: NULL for the system's
 * authorities; names: of a certificate that was for another name.
 */
void zlt_tls_why(const SSL *ssl, const char *host, const char *ca_file,
    const char *names, char *error);

/* The names that a certificate is for, into names of ZLT_TLS_WHY_NAMES
   bytes. */
void zlt_tls_why_names(const X509 *x509, char *names);


#endif /* ZLT_TLS_WHY_H_INCLUDED */
