
/*
 * Copyright (C) zltunnel authors
 */


#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parse.h"


static int zlt_parse_span(const char *text, uint64_t *ms);


int
zlt_parse_digits(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}


int
zlt_parse_number(const char *text, uint32_t max, uint32_t *value)
{
    unsigned long long  n;

    if (!zlt_parse_digits(text) || strlen(text) > 10) {
        return -1;
    }

    n = strtoull(text, NULL, 10);

    if (n > max) {
        return -1;
    }

    *value = (uint32_t) n;

    return 0;
}


int
zlt_parse_port(const char *text, uint16_t *port)
{
    uint32_t  n;

    if (zlt_parse_number(text, 65535, &n) == -1 || n == 0) {
        return -1;
    }

    *port = (uint16_t) n;

    return 0;
}


/* In milliseconds; fits, whatever the digits are. */

static int
zlt_parse_span(const char *text, uint64_t *ms)
{
    size_t  i, digits;
    char    number[12];

    static const struct {
        const char  *unit;
        uint32_t     ms;
    } units[] = {
        { "",   1000 },
        { "ms", 1 },
        { "s",  1000 },
        { "m",  60 * 1000 },
        { "h",  60 * 60 * 1000 },
        { "d",  24 * 60 * 60 * 1000 }
    };

    digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 10) {
        return -1;
    }

    memcpy(number, text, digits);
    number[digits] = '\0';

    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text + digits, units[i].unit) == 0) {
            *ms = strtoull(number, NULL, 10) * units[i].ms;
            return 0;
        }
    }

    return -1;
}


int
zlt_parse_time(const char *text, uint32_t *ms)
{
    uint64_t  n;

    if (zlt_parse_span(text, &n) == -1 || n > 0x7fffffff) {
        return -1;
    }

    *ms = (uint32_t) n;

    return 0;
}


int
zlt_parse_seconds(const char *text, uint32_t *seconds)
{
    uint64_t  n;

    if (zlt_parse_span(text, &n) == -1 || n % 1000
        || n / 1000 > 0xffffffff)
    {
        return -1;
    }

    *seconds = (uint32_t) (n / 1000);

    return 0;
}


int
zlt_parse_bool(const char *text, int *value)
{
    if (strcasecmp(text, "yes") == 0 || strcasecmp(text, "on") == 0
        || strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0)
    {
        *value = 1;
        return 0;
    }

    if (strcasecmp(text, "no") == 0 || strcasecmp(text, "off") == 0
        || strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0)
    {
        *value = 0;
        return 0;
    }

    return -1;
}
