
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UTF-8.
 */


#include "zlt_utf8.h"


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


size_t
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
zlt_utf8_shown(uint32_t cp)
{
    size_t  i;

    static const struct {
        uint32_t  first;
        uint32_t  last;
    } hidden[] = {
        {    0x0000,   0x001f },    /* C0 controls */
        {    0x007f,   0x009f },    /* DEL, C1 controls */
        {    0x00ad,   0x00ad },    /* soft hyphen */
        {    0x061c,   0x061c },    /* Arabic letter mark */
        {    0x180e,   0x180e },    /* Mongolian vowel separator */
        {    0x200b,   0x200f },    /* zero width, marks of direction */
        {    0x2028,   0x202e },    /* ends of lines, embeddings, overrides */
        {    0x2060,   0x206f },    /* invisible, isolates */
        {    0xfeff,   0xfeff },    /* byte order mark */
        {    0xfff9,   0xfffb },    /* annotations */
        {   0xe0000,  0xe0fff }     /* tags */
    };

    for (i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (cp >= hidden[i].first && cp <= hidden[i].last) {
            return 0;
        }
    }

    return 1;
}
