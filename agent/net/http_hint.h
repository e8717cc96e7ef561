
/*
 * Copyright (C) zltunnel authors
 */

/* What an answer that is no upgrade may mean. */


#ifndef ZLT_HTTP_HINT_H_INCLUDED
#define ZLT_HTTP_HINT_H_INCLUDED


#include <sys/types.h>

#include <stddef.h>
#include <stdint.h>

#include "types.h"


/*
 * What to look at, for the log: a text that begins with a colon, or "".  body
 * is what has come behind the answer's header; tls is NULL without TLS; path is
 * the one that was asked for.  Good until the next one.
 */
const char *zlt_http_hint(const zlt_http_answer_t *a, const uint8_t *body,
    size_t len, const zlt_tls_t *tls, const char *path);

/* The same of what is not HTTP at all, or of no answer (len 0). */
const char *zlt_http_hint_foreign(const uint8_t *data, size_t len,
    const zlt_tls_t *tls);


#endif /* ZLT_HTTP_HINT_H_INCLUDED */
