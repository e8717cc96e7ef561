
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Names of hosts.
 *
 * A label has 1 to 63 letters, digits and hyphens, none of the latter at its
 * ends.  So there are no underscores, as in certificates, and names in other
 * scripts come as "xn--".  A last label of digits alone would be an address
 * (RFC 3986 reads it first as such).
 */


#include <string.h>

#include "zlt_host.h"


#define ZLT_HOST_LABEL  63


static size_t zlt_host_labels(uint8_t *dst, const uint8_t *p, size_t len);


size_t
zlt_host_name(uint8_t *dst, const uint8_t *p, size_t len)
{
    size_t  n;

    if (len < 2 || p[0] != '*' || p[1] != '.') {
        return zlt_host_labels(dst, p, len);
    }

    /* what is below it must fit, too */

    if (len > ZLT_MAX_HOST) {
        return 0;
    }

    n = zlt_host_labels(dst + 2, p + 2, len - 2);

    if (n == 0) {
        return 0;
    }

    dst[0] = '*';
    dst[1] = '.';

    return n + 2;
}


size_t
zlt_host_full(uint8_t *dst, const uint8_t *p, size_t len,
    const uint8_t *domain, size_t domain_len)
{
    size_t   n;
    uint8_t  text[ZLT_MAX_HOST];

    n = (len && p[len - 1] == '.') ? len - 1 : len;

    if (n == 0 || domain_len == 0 || p[0] == '*' || memchr(p, '.', n)) {
        return zlt_host_name(dst, p, len);
    }

    if (n + 1 + domain_len > ZLT_MAX_HOST) {
        return 0;
    }

    /* as a whole, since digits alone are an address only at the end */

    memcpy(text, p, n);
    text[n] = '.';
    memcpy(text + n + 1, domain, domain_len);

    return zlt_host_name(dst, text, n + 1 + domain_len);
}


size_t
zlt_host_short(uint8_t *dst, const uint8_t *p, size_t len)
{
    size_t  n;

    n = zlt_host_name(dst, p, len);

    if (n) {
        return n;
    }

    n = zlt_host_full(dst, p, len, (const uint8_t *) "x", 1);

    return n ? n - 2 : 0;
}


size_t
zlt_host_authority(uint8_t *dst, const uint8_t *p, size_t len)
{
    size_t  n;

    for (n = len; n && p[n - 1] >= '0' && p[n - 1] <= '9'; n--) {
        /* the digits of a port */
    }

    if (n && p[n - 1] == ':') {
        len = n - 1;
    }

    return zlt_host_labels(dst, p, len);
}


static size_t
zlt_host_labels(uint8_t *dst, const uint8_t *p, size_t len)
{
    int      digits;
    size_t   i, start;
    uint8_t  c;

    if (len && p[len - 1] == '.') {
        len--;
    }

    if (len == 0 || len > ZLT_MAX_HOST) {
        return 0;
    }

    start = 0;
    digits = 1;

    for (i = 0; i <= len; i++) {

        c = (i < len) ? p[i] : '.';

        if (c == '.') {

            if (i == start || i - start > ZLT_HOST_LABEL
                || p[start] == '-' || p[i - 1] == '-')
            {
                return 0;
            }

            if (i < len) {
                dst[i] = c;
                start = i + 1;
                digits = 1;
            }

            continue;
        }

        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }

        if (c >= '0' && c <= '9') {
            dst[i] = c;
            continue;
        }

        if ((c < 'a' || c > 'z') && c != '-') {
            return 0;
        }

        digits = 0;
        dst[i] = c;
    }

    return digits ? 0 : len;
}


int
zlt_host_covers(const uint8_t *pattern, size_t pattern_len,
    const uint8_t *name, size_t len)
{
    if (pattern_len < 2 || pattern[0] != '*') {
        return pattern_len == len && memcmp(pattern, name, len) == 0;
    }

    /* with the dot, so that "*.x" has "a.x" and not "ax" or "x" */

    pattern++;
    pattern_len--;

    return len > pattern_len
           && memcmp(name + len - pattern_len, pattern, pattern_len) == 0;
}
