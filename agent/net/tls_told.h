
/*
 * Copyright (C) zltunnel authors
 */

/* What a connection's TLS is, in words. */


#ifndef ZLT_TLS_TOLD_H_INCLUDED
#define ZLT_TLS_TOLD_H_INCLUDED


#include "types.h"


/* The version, and whose the certificate is, signed by whom, until when; text
   has ZLT_TLS_ERROR_SIZE bytes. */
void zlt_tls_told(const zlt_conn_t *c, char *text);


#endif /* ZLT_TLS_TOLD_H_INCLUDED */
