
/*
 * Copyright (C) zltunnel authors
 */

/* The files of TLS: authorities that are trusted, our certificate and its
   key. */


#ifndef ZLT_TRUST_H_INCLUDED
#define ZLT_TRUST_H_INCLUDED


#include <openssl/ssl.h>

#include "tls.h"


typedef struct zlt_trust_s  zlt_trust_t;


/* Keeps the names of the files; NULL without memory. */
zlt_trust_t *zlt_trust_create(const zlt_tls_param_t *param);
void zlt_trust_free(zlt_trust_t *t);

/* Reads them into ctx: 0, or -1 with a text in error (ZLT_TLS_ERROR_SIZE
   bytes). */
int zlt_trust_load(zlt_trust_t *t, SSL_CTX *ctx, char *error);

/* 1 if they are not those that were there at the last call, or when they were
   read last, whether that succeeded or not */
int zlt_trust_changed(zlt_trust_t *t);


#endif /* ZLT_TRUST_H_INCLUDED */
