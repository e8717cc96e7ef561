
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Service names, targets.
 */


#include <string.h>

#include "zlt_name.h"
#include "zlt_msg.h"
#include "zlt_utf8.h"


typedef struct {
    uint32_t        first;
    uint32_t        last;
} zlt_range_t;


static int zlt_name_char(uint32_t c);
static int zlt_name_host(const uint8_t *p, size_t len, int bracketed);


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
zlt_name_target(const uint8_t *p, size_t len, zlt_str_t *host, uint16_t *port)
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

    if (!zlt_name_host(host->data, host->len, bracketed)) {
        return -1;
    }

    *port = (uint16_t) n;

    return 0;
}


static int
zlt_name_host(const uint8_t *p, size_t len, int bracketed)
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
