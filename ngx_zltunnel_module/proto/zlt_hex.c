
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Hexadecimal digits.
 *
 * Digits of keys pass here.  Neither direction branches on them or looks
 * them up in a table, so that time and cache tell nothing about a key.
 */


#include "zlt_hex.h"


void
zlt_hex_encode(char *dst, const uint8_t *src, size_t len)
{
    size_t    i;
    unsigned  hi, lo;

    for (i = 0; i < len; i++) {
        hi = src[i] >> 4;
        lo = src[i] & 0x0f;

        /* 9 - n wraps around for a to f, and its upper bits become ones */

        *dst++ = (char) ('0' + hi + (((9 - hi) >> 8) & ('a' - '0' - 10)));
        *dst++ = (char) ('0' + lo + (((9 - lo) >> 8) & ('a' - '0' - 10)));
    }
}


int
zlt_hex_decode(uint8_t *dst, const char *src, size_t len)
{
    size_t    i;
    unsigned  c, digit, letter, is_digit, is_letter, value, bad;

    bad = 0;
    value = 0;

    for (i = 0; i < 2 * len; i++) {
        c = (uint8_t) src[i];

        digit = c - '0';
        letter = (c | 0x20) - 'a';

        /* ones in the upper bits if the difference has wrapped around: in
           the first term for all below the bound, and in the second for all
           that had not already wrapped when the base was taken off */

        is_digit = ((digit - 10) >> 8) & (~digit >> 8);
        is_letter = ((letter - 6) >> 8) & (~letter >> 8);

        bad |= ~(is_digit | is_letter);

        value = value << 4 | (is_digit & digit) | (is_letter & (letter + 10));

        if (i & 1) {
            dst[i / 2] = (uint8_t) value;
        }
    }

    return (bad & 1) ? -1 : 0;
}
