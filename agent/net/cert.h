
/*
 * Copyright (C) zltunnel authors
 */

/* Our certificate, which a server may want. */


#ifndef ZLT_CERT_H_INCLUDED
#define ZLT_CERT_H_INCLUDED


#include <openssl/ssl.h>


/*
 * Reads the certificate, with its chain, and its key, from that file or where
 * key is NULL from the same; both in PEM.  0, or -1 with a text in error
 * (ZLT_TLS_ERROR_SIZE bytes).
 */
int zlt_cert_load(SSL_CTX *ctx, const char *cert, const char *key,
    char *error);


#endif /* ZLT_CERT_H_INCLUDED */
