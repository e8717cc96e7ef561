
/*
 * Copyright (C) zltunnel authors
 */

/* Hexadecimal digits. */


#ifndef ZLT_HEX_H_INCLUDED
#define ZLT_HEX_H_INCLUDED


#include "zlt_types.h"


/* Writes 2 * len lower-case digits, no terminator. */
void zlt_hex_encode(char *dst, const uint8_t *src, size_t len);

/* Reads exactly 2 * len digits of either case.  0, or -1 on any other
   character; takes the same time wherever the digits differ from others. */
int zlt_hex_decode(uint8_t *dst, const char *src, size_t len);


#endif /* ZLT_HEX_H_INCLUDED */
