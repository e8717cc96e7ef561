
/*
 * Copyright (C) zltunnel authors
 */

/* The bytes of a connection through OpenSSL. */


#ifndef ZLT_TLS_IO_H_INCLUDED
#define ZLT_TLS_IO_H_INCLUDED


#include <openssl/bio.h>

#include "conn.h"


/* The layer: c->ssl is set, with what zlt_tls_io_bio() has given. */
extern const zlt_conn_ops_t  zlt_tls_io;

/* Through which OpenSSL reaches the connection; NULL without memory. */
BIO *zlt_tls_io_bio(zlt_conn_t *c);


#endif /* ZLT_TLS_IO_H_INCLUDED */
