
/*
 * Copyright (C) zltunnel authors
 */

/* TLS, client side.  The only file that knows OpenSSL is tls.c. */


#ifndef ZLT_TLS_H_INCLUDED
#define ZLT_TLS_H_INCLUDED


#include <sys/types.h>

#include "types.h"


#define ZLT_TLS_ERROR_SIZE  512


typedef struct {
    const char      *label;            /* of the link, for the log */
    const char      *host;             /* a name or an address */
    const char      *ca_file;          /* NULL: the system's trust store */
    const char      *cert;             /* NULL: none */
    const char      *key;              /* NULL: in cert */
    int              insecure;
} zlt_tls_param_t;


/*
 * A client that verifies the server as the host, against ca_file, or not at
 * all; and that shows the certificate, if there is one.  NULL with a text in
 * error (ZLT_TLS_ERROR_SIZE bytes).
 */
zlt_tls_t *zlt_tls_create(const zlt_tls_param_t *param, char *error);
void zlt_tls_destroy(zlt_tls_t *tls);

/* Puts TLS onto a connected connection.  A resumed session, where there is
   one, makes the handshake cheap.  0 or -1. */
int zlt_tls_start(zlt_tls_t *tls, zlt_conn_t *c);

/* 0 once done, ZLT_CONN_AGAIN, or ZLT_CONN_ERROR with a text in error, that
   says which check has failed. */
int zlt_tls_handshake(zlt_conn_t *c, char *error);

/* What a failure after the handshake may have been about: a text that begins
   with a colon and speaks of our certificate, or "". */
const char *zlt_tls_hint(const zlt_tls_t *tls);

/* Looks at the error that OpenSSL has left: in TLS 1.3 a certificate is refused
   when the handshake is over for us. */
void zlt_tls_alert(zlt_conn_t *c);


#endif /* ZLT_TLS_H_INCLUDED */
