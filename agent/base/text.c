
/*
 * Copyright (C) zltunnel authors
 */

/* A text that grows. */


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "zlt_utf8.h"


static int zlt_text_room(zlt_text_t *t, size_t n);


static int
zlt_text_room(zlt_text_t *t, size_t n)
{
    char    *data;
    size_t   size;

    if (t->failed) {
        return -1;
    }

    if (t->size - t->len > n) {
        return 0;
    }

    size = t->size ? t->size * 2 : 1024;

    while (size - t->len <= n) {
        size *= 2;
    }

    data = realloc(t->data, size);

    if (data == NULL) {
        t->failed = 1;
        return -1;
    }

    t->data = data;
    t->size = size;

    return 0;
}


void
zlt_text_printf(zlt_text_t *t, const char *fmt, ...)
{
    int      n;
    va_list  ap;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);

    if (n < 0 || zlt_text_room(t, (size_t) n) == -1) {
        t->failed = 1;
        return;
    }

    va_start(ap, fmt);
    (void) vsnprintf(t->data + t->len, t->size - t->len, fmt, ap);
    va_end(ap);

    t->len += (size_t) n;
}


void
zlt_text_append(zlt_text_t *t, const char *data, size_t len)
{
    if (zlt_text_room(t, len) == 0) {
        memcpy(t->data + t->len, data, len);
        t->len += len;
    }
}


void
zlt_text_json_null(zlt_text_t *t, const char *string)
{
    if (*string) {
        zlt_text_json(t, string);

    } else {
        zlt_text_append(t, "null", 4);
    }
}


/* What is beyond ASCII must be UTF-8 to be passed on. */

void
zlt_text_json(zlt_text_t *t, const char *string)
{
    size_t          n, len;
    uint32_t        cp;
    const uint8_t  *p;

    len = strlen(string);

    zlt_text_printf(t, "\"");

    for (p = (const uint8_t *) string; len; p += n, len -= n) {

        n = zlt_utf8_next(p, len, &cp);

        if (n == 0) {
            n = 1;
            cp = 0xfffd;
        }

        if (cp == '"' || cp == '\\') {
            zlt_text_printf(t, "\\%c", (int) cp);

        } else if (cp == 0xfffd || !zlt_utf8_shown(cp)) {
            zlt_text_printf(t, "\\u%04x", (unsigned) cp);

        } else {
            zlt_text_append(t, (const char *) p, n);
        }
    }

    zlt_text_printf(t, "\"");
}


void
zlt_text_free(zlt_text_t *t)
{
    free(t->data);
    memset(t, 0, sizeof(zlt_text_t));
}


const char *
zlt_text_time(char *buf, uint64_t seconds)
{
    unsigned long long  s;

    s = seconds;

    if (s < 60) {
        (void) snprintf(buf, ZLT_TEXT_UNIT, "%llus", s);

    } else if (s < 3600) {
        (void) snprintf(buf, ZLT_TEXT_UNIT, "%llum %llus", s / 60, s % 60);

    } else if (s < 86400) {
        (void) snprintf(buf, ZLT_TEXT_UNIT, "%lluh %llum", s / 3600,
                        s % 3600 / 60);

    } else {
        (void) snprintf(buf, ZLT_TEXT_UNIT, "%llud %lluh", s / 86400,
                        s % 86400 / 3600);
    }

    return buf;
}


const char *
zlt_text_bytes(char *buf, uint64_t n)
{
    double       value;
    const char  *unit;

    if (n < 1024) {
        (void) snprintf(buf, ZLT_TEXT_UNIT, "%u", (unsigned) n);
        return buf;
    }

    value = (double) n / 1024;

    for (unit = "KMGT"; value >= 1023.95 && unit[1]; unit++) {
        value /= 1024;
    }

    (void) snprintf(buf, ZLT_TEXT_UNIT, "%.1f%c", value, *unit);

    return buf;
}
