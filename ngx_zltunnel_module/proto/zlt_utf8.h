
/*
 * Copyright (C) zltunnel authors
 */

/* UTF-8. */


#ifndef ZLT_UTF8_H_INCLUDED
#define ZLT_UTF8_H_INCLUDED


#include "zlt_types.h"


/* 1 if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong
   forms, nothing above U+10FFFF). */
int zlt_utf8_valid(const uint8_t *p, size_t len);

/* The longest prefix of at most max bytes that does not end within a
   character, of a string that is UTF-8. */
size_t zlt_utf8_cut(const uint8_t *p, size_t len, size_t max);

/* One character: the number of its bytes, and *cp, or 0 if what stands at p
   is not well-formed. */
size_t zlt_utf8_next(const uint8_t *p, size_t len, uint32_t *cp);

/*
 * 1 if a character may be shown where people look, in a log or a status: it is
 * no control character, C1 among them, ends no line, and is not there to be
 * unseen, or to turn the direction of what stands beside it.
 */
int zlt_utf8_shown(uint32_t cp);


#endif /* ZLT_UTF8_H_INCLUDED */
