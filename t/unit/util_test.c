
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects what is let through as UTF-8, as a service name and as an id or
 * key in hexadecimal: each goes on into logs, JSON, headers and comparisons
 * that trust it.
 */


#include "tap.h"
#include "vector.h"
#include "zlt_hex.h"
#include "zlt_name.h"
#include "zlt_utf8.h"


static uint8_t  buf[1024];


/* From a copy that ends where the string does. */

static int
utf8(const uint8_t *p, size_t len)
{
    int       rc;
    uint8_t  *copy;

    copy = tap_copy(p, len);
    rc = zlt_utf8_valid(copy, len);
    tap_free(copy, len);

    return rc;
}


static int
name(const uint8_t *p, size_t len)
{
    int       rc;
    uint8_t  *copy;

    copy = tap_copy(p, len);
    rc = zlt_name_valid(copy, len);
    tap_free(copy, len);

    return rc;
}


/* Encodes as if there were no limits: surrogates and 0x1fffff too. */

static size_t
put_char(uint8_t *p, uint32_t c)
{
    if (c < 0x80) {
        p[0] = (uint8_t) c;
        return 1;
    }

    if (c < 0x800) {
        p[0] = (uint8_t) (0xc0 + c / 64);
        p[1] = (uint8_t) (0x80 + c % 64);
        return 2;
    }

    if (c < 0x10000) {
        p[0] = (uint8_t) (0xe0 + c / 4096);
        p[1] = (uint8_t) (0x80 + c / 64 % 64);
        p[2] = (uint8_t) (0x80 + c % 64);
        return 3;
    }

    p[0] = (uint8_t) (0xf0 + c / 262144);
    p[1] = (uint8_t) (0x80 + c / 4096 % 64);
    p[2] = (uint8_t) (0x80 + c / 64 % 64);
    p[3] = (uint8_t) (0x80 + c % 64);

    return 4;
}


static void
test_every_character(void)
{
    size_t    n, cut;
    uint32_t  c;

    for (c = 0; c < 0x200000; c++) {
        n = put_char(buf, c);

        if (!check(zlt_utf8_valid(buf, n)
                   == (c <= 0x10ffff && (c < 0xd800 || c > 0xdfff))))
        {
            tap_note("U+%04X", (unsigned) c);
        }

        if (c % 97 == 0) {
            tap_note("U+%04X, cut", (unsigned) c);

            for (cut = 1; cut < n; cut++) {
                check(!utf8(buf, cut));
            }
        }
    }
}


/*
 * All sequences of two bytes, and of three and four from the bytes where
 * something changes, against the table 3-7 of the Unicode standard.
 */

static int
table_valid(const uint8_t *p, size_t len)
{
    size_t                i, j;
    static const uint8_t  table[][8] = {
        { 0xc2, 0xdf, 0x80, 0xbf },
        { 0xe0, 0xe0, 0xa0, 0xbf, 0x80, 0xbf },
        { 0xe1, 0xec, 0x80, 0xbf, 0x80, 0xbf },
        { 0xed, 0xed, 0x80, 0x9f, 0x80, 0xbf },
        { 0xee, 0xef, 0x80, 0xbf, 0x80, 0xbf },
        { 0xf0, 0xf0, 0x90, 0xbf, 0x80, 0xbf, 0x80, 0xbf },
        { 0xf1, 0xf3, 0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf },
        { 0xf4, 0xf4, 0x80, 0x8f, 0x80, 0xbf, 0x80, 0xbf }
    };

    while (len) {

        if (p[0] < 0x80) {
            p++;
            len--;
            continue;
        }

        for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {

            for (j = 0; j < 4 && table[i][2 * j]; j++) {
                if (j >= len || p[j] < table[i][2 * j]
                    || p[j] > table[i][2 * j + 1])
                {
                    break;
                }
            }

            if (j == 4 || table[i][2 * j] == 0) {
                break;
            }
        }

        if (i == sizeof(table) / sizeof(table[0])) {
            return 0;
        }

        p += j;
        len -= j;
    }

    return 1;
}


static void
test_sequences(void)
{
    size_t                i, n, len;
    unsigned              a, b;
    static const uint8_t  edge[] = {
        0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
        0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3,
        0xf4, 0xf5, 0xf7, 0xf8, 0xfc, 0xfe, 0xff
    };

    for (a = 0; a < 256; a++) {
        for (b = 0; b < 256; b++) {
            tap_note("%02x %02x", a, b);

            buf[0] = (uint8_t) a;
            buf[1] = (uint8_t) b;

            check(zlt_utf8_valid(buf, 1) == table_valid(buf, 1));
            check(zlt_utf8_valid(buf, 2) == table_valid(buf, 2));
        }
    }

    for (i = 0; i < 29 * 29 * 29 * 29; i++) {
        buf[0] = edge[i % 29];
        buf[1] = edge[i / 29 % 29];
        buf[2] = edge[i / 29 / 29 % 29];
        buf[3] = edge[i / 29 / 29 / 29];
        len = 3 + (i & 1);

        if (zlt_utf8_valid(buf, len) != table_valid(buf, len)) {
            tap_note("%02x %02x %02x %02x, %zu bytes", buf[0], buf[1],
                     buf[2], buf[3], len);
            check(!"as in the table");
        }
    }

    check(utf8(buf, 0) == 1);

    /* the fault may stand anywhere in a long string */

    for (n = 0; n < 100; n++) {
        tap_note("at %zu", n);

        memset(buf, 'a', 100);
        check(utf8(buf, 100) == 1);

        buf[n] = 0x80;
        check(utf8(buf, 100) == 0);

        buf[n] = 0xc3;
        check(utf8(buf, 100) == 0);
        check(utf8(buf, n + 1) == 0);
    }
}


static void
test_cut(void)
{
    size_t               i, len, max, cut;
    const uint8_t       *p;
    static const size_t  want[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11 };

    p = (const uint8_t *) "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    len = 11;

    for (max = 0; max <= 11; max++) {
        tap_note("at most %zu", max);

        cut = zlt_utf8_cut(p, len, max);
        check(cut == want[max]);
        check(utf8(p, cut));
    }

    check(zlt_utf8_cut(p, len, 12) == 11);
    check(zlt_utf8_cut(p, len, SIZE_MAX) == 11);
    check(zlt_utf8_cut(p, 0, 0) == 0);

    /* what is not UTF-8 is cut too, and never grows */

    memset(buf, 0x80, 100);

    for (i = 0; i < 100; i++) {
        check(zlt_utf8_cut(buf, 100, i) == 0);
    }
}


static void
test_names(void)
{
    size_t                    i, len;
    static const char *const  good[] = {
        "'web'", "'a'", "'0'", "'-'", "'_'", "'.'", "'Postgres-15.main_2'",
        "c3a9 't' c3a9",          /* Latin */
        "d0b2 d0b5 d0b1",         /* Cyrillic */
        "e7bd91 e7ab99",          /* Han */
        "e0a4b5 e0a587 e0a4ac",   /* Devanagari, with a vowel sign */
        "d9a1 d9a2",              /* Arabic-Indic digits */
        "c2aa", "c2b5", "c2ba",   /* letters among the symbols of Latin-1 */
        "f0 90 90 80"             /* Deseret, beyond the BMP */
    };
    static const char *const  bad[] = {
        "", "' '", "'a b'", "'a/b'", "'a:b'", "'a,b'", "'a=b'", "'a@b'",
        "'a' 00", "'a' 0a", "'a' 0d", "'a' 09", "'a' 1b", "'a' 7f",
        "'a' 22 'b'", "'a' 27 'b'", "'a' 5c 'b'", "'<b>'", "'*'", "'~'",
        "'a' ff", "'a' c3", "c0af", "ed a0 80",
        "c2 80", "c2 85", "c2 9f",   /* C1 controls */
        "c2 a0",                     /* no-break space */
        "c2 ad",                     /* soft hyphen */
        "c2 ab", "c2 bf", "c3 97", "c3 b7",
        "e1 9a 80",                  /* Ogham space */
        "e2 80 8b",                  /* zero width space */
        "e2 80 a8",                  /* line separator */
        "e2 80 ae",                  /* right-to-left override */
        "e2 81 a6",                  /* an isolate */
        "e2 81 af",
        "e3 80 80",                  /* ideographic space */
        "e1 85 9f", "e3 85 a4",      /* Hangul fillers */
        "ee 80 80", "ef a3 bf",      /* private use */
        "ef bb bf",                  /* byte order mark */
        "ef bf bd",                  /* replacement character */
        "ef bf bf", "f0 9f bf bf",   /* noncharacters */
        "f3 a0 80 81",               /* a tag */
        "f3 b0 80 80", "f4 8f bf bd" /* private use */
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        tap_note("%s", good[i]);
        len = vector_read(buf, 0, good[i]);
        check(name(buf, len) == 1);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tap_note("%s", bad[i]);
        len = vector_read(buf, 0, bad[i]);
        check(name(buf, len) == 0);
    }
}


static void
test_name_characters(void)
{
    int       good;
    uint32_t  c;

    for (c = 0; c < 0x80; c++) {
        tap_note("U+%04X", (unsigned) c);

        buf[0] = (uint8_t) c;

        good = c && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                           "WXYZ0123456789-_.", (int) c) != NULL;

        check(name(buf, 1) == good);
    }
}


static void
test_name_lengths(void)
{
    size_t  n;

    for (n = 0; n < 600; n++) {
        tap_note("%zu bytes", n);
        memset(buf, 'n', n);

        check(name(buf, n) == (n >= 1 && n <= 255));
    }

    /* the limit is in bytes, not in characters */

    for (n = 0; n < 128; n++) {
        buf[2 * n] = 0xc3;
        buf[2 * n + 1] = 0xa9;
    }

    check(name(buf, 254) == 1);
    check(name(buf, 256) == 0);
}


static void
test_hex_encode(void)
{
    char      text[67];
    size_t    i;
    uint8_t   id[16], b;
    unsigned  c;

    for (c = 0; c < 256; c++) {
        b = (uint8_t) c;
        snprintf(text, sizeof(text), "%02x", c);
        text[2] = text[3] = 'Z';
        zlt_hex_encode(text + 2, &b, 1);

        check(text[2] == text[0] && text[3] == text[1]);
    }

    for (i = 0; i < 16; i++) {
        id[i] = (uint8_t) (i * 17);
    }

    memset(text, 'Z', sizeof(text));
    zlt_hex_encode(text, id, 16);
    check(memcmp(text, "00112233445566778899aabbccddeeff", 32) == 0);
    check(text[32] == 'Z');

    zlt_hex_encode(text + 40, id, 0);
    check(text[40] == 'Z');
}


static void
test_hex_decode(void)
{
    int                hi, lo, want;
    char               pair[2], text[64];
    size_t             i;
    uint8_t            b, key[33];
    unsigned           c;
    static const char  digits[] = "0123456789abcdef";
    static const char  upper[] = "0123456789ABCDEF";

    /* every pair of bytes */

    for (c = 0; c < 65536; c++) {
        pair[0] = (char) (c >> 8);
        pair[1] = (char) c;

        for (hi = 15; hi >= 0; hi--) {
            if (pair[0] == digits[hi] || pair[0] == upper[hi]) {
                break;
            }
        }

        for (lo = 15; lo >= 0; lo--) {
            if (pair[1] == digits[lo] || pair[1] == upper[lo]) {
                break;
            }
        }

        want = (hi < 0 || lo < 0) ? -1 : 0;
        tap_note("%04x", c);

        check(zlt_hex_decode(&b, pair, 1) == want);

        if (want == 0) {
            check(b == hi * 16 + lo);
        }
    }

    /* a fault at each place of a key */

    for (i = 0; i < 64; i++) {
        text[i] = (i & 1) ? digits[i % 16] : upper[i % 16];
    }

    key[32] = 0xee;
    check(zlt_hex_decode(key, text, 32) == 0);
    check(memcmp(key, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8) == 0);
    check(key[32] == 0xee);

    for (i = 0; i < 64; i++) {
        tap_note("a fault at %zu", i);

        text[i] = (char) (text[i] ^ 0x80);
        check(zlt_hex_decode(key, text, 32) == -1);
        text[i] = (char) (text[i] ^ 0x80);
    }

    check(zlt_hex_decode(key, text, 32) == 0);
    check(zlt_hex_decode(key, text, 0) == 0);
}


/* What a target may be: its answer tells who is dialled, so no guessing. */

static void
test_targets(void)
{
    static const struct {
        const char  *text;
        const char  *host;      /* NULL: it is none */
        unsigned     port;
    } list[] = {
        { "db.lan:5432", "db.lan", 5432 },
        { "a:1", "a", 1 },
        { "10.0.0.5:8080", "10.0.0.5", 8080 },
        { "my_host-2.x:65535", "my_host-2.x", 65535 },
        { "[2001:db8::1]:443", "2001:db8::1", 443 },
        { "[::ffff:1.2.3.4]:080", "::ffff:1.2.3.4", 80 },
        { "h:00080", "h", 80 },
        { "", NULL, 0 },
        { ":", NULL, 0 },
        { ":80", NULL, 0 },
        { "h", NULL, 0 },
        { "h:", NULL, 0 },
        { "80", NULL, 0 },
        { "h:0", NULL, 0 },
        { "h:65536", NULL, 0 },
        { "h:000080", NULL, 0 },
        { "h:99999", NULL, 0 },
        { "h:-1", NULL, 0 },
        { "h:+1", NULL, 0 },
        { "h: 1", NULL, 0 },
        { "h:1 ", NULL, 0 },
        { "h h:1", NULL, 0 },
        { "h\n:1", NULL, 0 },
        { "h/x:1", NULL, 0 },
        { "h%eth0:1", NULL, 0 },
        { "u@h:1", NULL, 0 },
        { "2001:db8::1:443", NULL, 0 },
        { "[]:1", NULL, 0 },
        { "[h]:1", NULL, 0 },
        { "[::1:1", NULL, 0 },
        { "::1]:1", NULL, 0 },
        { "[fe80::1%2]:1", NULL, 0 },
        { "\xc3\xa9:1", NULL, 0 }
    };

    char       text[ZLT_MAX_TARGET + 2];
    size_t     i;
    uint8_t   *copy;
    uint16_t   port;
    zlt_str_t  host, s;

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("\"%s\"", list[i].text);

        s = vector_str(list[i].text);
        copy = tap_copy(s.data, s.len);
        port = 0;

        if (list[i].host == NULL) {
            check(zlt_name_target(copy, s.len, &host, &port) == -1);

        } else {
            check(zlt_name_target(copy, s.len, &host, &port) == 0);
            check(port == list[i].port);
            s = vector_str(list[i].host);
            check(str_equal(&host, &s));
        }

        tap_free(copy, strlen(list[i].text));
    }

    memset(text, 'h', sizeof(text));
    memcpy(text + ZLT_MAX_TARGET - 2, ":1", 2);

    check(zlt_name_target((uint8_t *) text, ZLT_MAX_TARGET, &host, &port)
          == 0);
    check(host.len == ZLT_MAX_TARGET - 2);

    text[ZLT_MAX_TARGET] = '1';
    check(zlt_name_target((uint8_t *) text, ZLT_MAX_TARGET + 1, &host, &port)
          == -1);
}


int
main(void)
{
    tap_run(test_every_character, "UTF-8, every character");
    tap_run(test_sequences, "UTF-8, sequences against the table");
    tap_run(test_cut, "UTF-8, cut between characters");
    tap_run(test_names, "names, good and bad");
    tap_run(test_name_characters, "names, every ASCII character");
    tap_run(test_name_lengths, "names of every length");
    tap_run(test_targets, "targets, good and bad");
    tap_run(test_hex_encode, "hexadecimal, written");
    tap_run(test_hex_decode, "hexadecimal, read");

    return tap_done();
}
