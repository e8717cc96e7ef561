
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UTF-8, service names, targets, hexadecimal digits.
 */


#include <string.h>

#include "zlt_util.h"
#include "zlt_proto.h"


typedef struct {
    uint32_t        first;
    uint32_t        last;
} zlt_range_t;


static size_t zlt_utf8_next(const uint8_t *p, size_t len, uint32_t *cp);
static int zlt_name_char(uint32_t c);
static int zlt_host_valid(const uint8_t *p, size_t len, int bracketed);


/*
 * What above U+007F is surely neither a letter nor a digit.  Short of the
 * whole table of Unicode there is no exact answer; these are the characters
 * that would be invisible, reorder text or forge a separator in a log or on
 * a page, and the symbols of Latin-1.
 */

static const zlt_range_t  zlt_name_excluded[] = {
    {   0x0080,   0x00a9 },    /* C1 controls, Latin-1 symbols but for ... */
    {   0x00ab,   0x00b1 },    /* ... U+00AA, a letter, ...                */
    {   0x00b4,   0x00b4 },    /* ... U+00B2, U+00B3, digits, ...          */
    {   0x00b6,   0x00b8 },    /* ... U+00B5, a letter, ...                */
    {   0x00bb,   0x00bb },    /* ... U+00B9, U+00BA, ...                  */
    {   0x00bf,   0x00bf },    /* ... and the fractions                    */
    {   0x00d7,   0x00d7 },    /* multiplication sign */
    {   0x00f7,   0x00f7 },    /* division sign */
    {   0x034f,   0x034f },    /* combining grapheme joiner */
    {   0x061c,   0x061c },    /* Arabic letter mark */
    {   0x115f,   0x1160 },    /* Hangul fillers, which are blank */
    {   0x1680,   0x1680 },    /* Ogham space */
    {   0x180b,   0x180f },    /* Mongolian separators */
    {   0x2000,   0x206f },    /* General Punctuation */
    {   0x2800,   0x2800 },    /* braille blank */
    {   0x3000,   0x3004 },    /* ideographic space and punctuation */
    {   0x3164,   0x3164 },    /* Hangul filler */
    {   0xe000,   0xf8ff },    /* private use */
    {   0xfdd0,   0xfdef },    /* noncharacters */
    {   0xfe00,   0xfe0f },    /* variation selectors */
    {   0xfeff,   0xfeff },    /* byte order mark */
    {   0xffa0,   0xffa0 },    /* Hangul filler */
    {   0xfff0,   0xffff },    /* specials */
    {  0xe0000,  0xe0fff },    /* tags, variation selectors */
    {  0xf0000, 0x10ffff }     /* private use */
};


int
zlt_utf8_valid(const uint8_t *p, size_t len)
{
    size_t    n;
    uint32_t  cp;

    while (len) {
        n = zlt_utf8_next(p, len, &cp);

        if (n == 0) {
            return 0;
        }

        p += n;
        len -= n;
    }

    return 1;
}


size_t
zlt_utf8_cut(const uint8_t *p, size_t len, size_t max)
{
    if (len <= max) {
        return len;
    }

    /* p[max] is there; a character begins at any byte but 10xxxxxx */

    while (max && (p[max] & 0xc0) == 0x80) {
        max--;
    }

    return max;
}


/*
 * One character: returns the number of its bytes, or 0 if what stands at p
 * is not well-formed.
 */

static size_t
zlt_utf8_next(const uint8_t *p, size_t len, uint32_t *cp)
{
    size_t    i, n;
    uint32_t  c, least;

    c = *p;

    if (c < 0x80) {
        *cp = c;
        return 1;
    }

    if ((c & 0xe0) == 0xc0) {
        n = 2;
        c &= 0x1f;
        least = 0x80;

    } else if ((c & 0xf0) == 0xe0) {
        n = 3;
        c &= 0x0f;
        least = 0x800;

    } else if ((c & 0xf8) == 0xf0) {
        n = 4;
        c &= 0x07;
        least = 0x10000;

    } else {
        return 0;
    }

    if (len < n) {
        return 0;
    }

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }

    *cp = c;

    return n;
}


int
zlt_name_valid(const uint8_t *p, size_t len)
{
    size_t    n;
    uint32_t  cp;

    if (len == 0 || len > ZLT_MAX_NAME) {
        return 0;
    }

    while (len) {
        n = zlt_utf8_next(p, len, &cp);

        if (n == 0 || !zlt_name_char(cp)) {
            return 0;
        }

        p += n;
        len -= n;
    }

    return 1;
}


static int
zlt_name_char(uint32_t c)
{
    size_t  i;

    if (c < 0x80) {
        return (c >= 'a' && c <= 'z')
               || (c >= 'A' && c <= 'Z')
               || (c >= '0' && c <= '9')
               || c == '-' || c == '_' || c == '.';
    }

    /* the last two of each plane are noncharacters */

    if ((c & 0xfffe) == 0xfffe) {
        return 0;
    }

    for (i = 0; i < sizeof(zlt_name_excluded) / sizeof(zlt_range_t); i++) {
        if (c >= zlt_name_excluded[i].first
            && c <= zlt_name_excluded[i].last)
        {
            return 0;
        }
    }

    return 1;
}


int
zlt_target_parse(const uint8_t *p, size_t len, zlt_str_t *host, uint16_t *port)
{
    int       bracketed;
    size_t    colon;
    uint32_t  n;

    if (len > ZLT_MAX_TARGET) {
        return -1;
    }

    n = 0;

    for (colon = len; colon && p[colon - 1] != ':'; colon--) {
        if (p[colon - 1] < '0' || p[colon - 1] > '9' || len - colon >= 5) {
            return -1;
        }
    }

    if (colon == 0 || colon == len) {
        return -1;
    }

    for (host->len = colon; host->len < len; host->len++) {
        n = n * 10 + (p[host->len] - '0');
    }

    if (n == 0 || n > UINT16_MAX) {
        return -1;
    }

    host->data = p;
    host->len = colon - 1;

    bracketed = host->len > 2 && p[0] == '[' && p[host->len - 1] == ']';

    if (bracketed) {
        host->data++;
        host->len -= 2;
    }

    if (!zlt_host_valid(host->data, host->len, bracketed)) {
        return -1;
    }

    *port = (uint16_t) n;

    return 0;
}


static int
zlt_host_valid(const uint8_t *p, size_t len, int bracketed)
{
    size_t   i;
    uint8_t  c, lower;

    for (i = 0; i < len; i++) {
        c = p[i];
        lower = (uint8_t) (c | 0x20);

        if (c == '.' || (c >= '0' && c <= '9')) {
            continue;
        }

        if (lower >= 'a' && lower <= (bracketed ? 'f' : 'z')) {
            continue;
        }

        if (bracketed ? c == ':' : (c == '-' || c == '_')) {
            continue;
        }

        return 0;
    }

    return len > 0;
}


/*
 * Digits of keys pass here.  Neither direction branches on them or looks
 * them up in a table, so that time and cache tell nothing about a key.
 */

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
