
/*
 * Copyright (C) zltunnel authors
 */

/* Service names, targets. */


#ifndef ZLT_NAME_H_INCLUDED
#define ZLT_NAME_H_INCLUDED


#include "zlt_types.h"


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
int zlt_name_target(const uint8_t *p, size_t len, zlt_str_t *host,
    uint16_t *port);


#endif /* ZLT_NAME_H_INCLUDED */
