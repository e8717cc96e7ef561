
/*
 * Copyright (C) zltunnel authors
 */

/* UTF-8, names, targets, hexadecimal digits. */


#ifndef ZLT_UTIL_H_INCLUDED
#define ZLT_UTIL_H_INCLUDED


#include "zlt_types.h"


/* 1 if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong
   forms, nothing above U+10FFFF). */
int zlt_utf8_valid(const uint8_t *p, size_t len);

/* The longest prefix of at most max bytes that does not end within a
   character, of a string that is UTF-8. */
size_t zlt_utf8_cut(const uint8_t *p, size_t len, size_t max);

/* 1 if the bytes are a service name: 1 to 255 bytes of UTF-8, each character
   an ASCII letter or digit, '-', '_', '.', or a non-ASCII letter or digit
   (characters above U+007F other than controls, spaces and punctuation of
   the General Punctuation, Latin-1 symbols and private use blocks). */
int zlt_name_valid(const uint8_t *p, size_t len);

/*
 * Takes a target apart: "host:port", or "[address]:port" for IPv6, of at most
 * ZLT_MAX_TARGET bytes.  The host is ASCII letters, digits, '-', '_' and '.'
 * (within brackets hexadecimal digits, ':' and '.'), the port 1 to 65535.
 * 0 with *host (without brackets) and *port set, or -1.
 */
int zlt_target_parse(const uint8_t *p, size_t len, zlt_str_t *host,
    uint16_t *port);

/* Writes 2 * len lower-case digits, no terminator. */
void zlt_hex_encode(char *dst, const uint8_t *src, size_t len);

/* Reads exactly 2 * len digits of either case.  0, or -1 on any other
   character; takes the same time wherever the digits differ from others. */
int zlt_hex_decode(uint8_t *dst, const char *src, size_t len);


#endif /* ZLT_UTIL_H_INCLUDED */
