
/*
 * Copyright (C) zltunnel authors
 */

/* What can be done with any key, by its form. */


#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "key.h"
#include "option_range.h"
#include "parse.h"


static int zlt_key_number(const zlt_key_t *k, const char *value, uint32_t *n);
static int zlt_key_choice(const char *choices, const char *value,
    uint32_t *n);
static void zlt_key_store(const zlt_key_t *k, void *base, uint32_t n);
static int zlt_key_same(const zlt_key_t *k, const void *a, const void *b);
static const char *zlt_key_time(char *buf, size_t size, uint32_t ms);


const zlt_key_t *
zlt_key_find(unsigned sections, const char *name)
{
    const zlt_key_t  *k;

    for (k = zlt_key_table; k->name; k++) {
        if ((k->sections & sections) && strcmp(k->name, name) == 0) {
            return k;
        }
    }

    return NULL;
}


const zlt_key_t *
zlt_key_agent(const char *name)
{
    const zlt_key_t  *k;

    k = zlt_key_find(ZLT_KEY_AGENT, name);

    if (k == NULL) {
        abort();
    }

    return k;
}


int
zlt_key_set(const zlt_key_t *k, void *base, const char *value, char *error)
{
    char      bounds[ZLT_KEY_BOUNDS_SIZE], *copy, **string;
    size_t    len;
    uint32_t  n;

    if (*value == '\0') {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is empty",
                        k->name);
        return -1;
    }

    len = strlen(value);

    if (len > 1 && value[0] == value[len - 1]
        && (*value == '"' || *value == '\''))
    {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is in quotes: "
                        "values are written without them", k->name);
        return -1;
    }

    if (k->set) {
        return k->set(k, base, value, error);
    }

    if (k->form == ZLT_KEY_STRING || k->form == ZLT_KEY_PATH) {
        copy = strdup(value);

        if (copy == NULL) {
            (void) strcpy(error, "out of memory");
            return -1;
        }

        string = (char **) (void *) ((char *) base + k->offset);
        free(*string);
        *string = copy;

        return 0;
    }

    if (zlt_key_number(k, value, &n) == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                        "\"%s\" is \"%.100s\", but must be %s%s", k->name,
                        value, zlt_key_bounds(k, bounds),
                        strcmp(k->name, "remote_port") == 0
                        && zlt_option_range_is(value)
                        ? "; a range is \"remote_ports\"" : "");
        return -1;
    }

    zlt_key_store(k, base, n);

    return 0;
}


static int
zlt_key_number(const zlt_key_t *k, const char *value, uint32_t *n)
{
    int  rc, on;

    switch (k->form) {

    case ZLT_KEY_TIME:
        rc = zlt_parse_time(value, n);
        break;

    case ZLT_KEY_SECONDS:
        return zlt_parse_seconds(value, n);

    case ZLT_KEY_NUMBER:
        rc = zlt_parse_number(value, k->most, n);
        break;

    case ZLT_KEY_PORT:
        rc = zlt_parse_number(value, 65535, n);
        return rc == 0 && *n ? 0 : -1;

    case ZLT_KEY_BOOL:
    case ZLT_KEY_FLAG:
        on = 0;
        rc = zlt_parse_bool(value, &on);
        *n = (uint32_t) on;
        return rc;

    default: /* ZLT_KEY_CHOICE */
        return zlt_key_choice(k->choices, value, n);
    }

    return rc == 0 && *n >= k->least && *n <= k->most ? 0 : -1;
}


static int
zlt_key_choice(const char *choices, const char *value, uint32_t *n)
{
    size_t  len;

    for (*n = 0; *choices; (*n)++) {
        len = strcspn(choices, "|");

        if (strlen(value) == len && memcmp(value, choices, len) == 0) {
            return 0;
        }

        choices += len + (choices[len] == '|');
    }

    return -1;
}


static void
zlt_key_store(const zlt_key_t *k, void *base, uint32_t n)
{
    void      *p;
    uint8_t    n8;
    uint16_t   n16;

    p = (char *) base + k->offset;
    n8 = (uint8_t) n;
    n16 = (uint16_t) n;

    if (k->form == ZLT_KEY_FLAG) {
        memcpy(&n8, p, 1);
        n8 = (uint8_t) (n ? n8 | k->least : n8 & ~k->least);
    }

    memcpy(p, k->size == 1 ? (void *) &n8 : k->size == 2 ? (void *) &n16
                                                         : (void *) &n,
           k->size);
}


void
zlt_key_defaults(zlt_key_of_e of, void *base)
{
    uint32_t          n;
    const zlt_key_t  *k;

    for (k = zlt_key_table; k->name; k++) {
        if (k->of == of && k->fallback && !k->set
            && zlt_key_number(k, k->fallback, &n) == 0)
        {
            zlt_key_store(k, base, n);
        }
    }
}


const zlt_key_t *
zlt_key_change(zlt_key_of_e of, zlt_key_reload_e reload, const void *a,
    const void *b)
{
    const zlt_key_t  *k;

    for (k = zlt_key_table; k->name; k++) {
        if (k->of == of && k->reload == reload && !zlt_key_same(k, a, b)) {
            return k;
        }
    }

    return NULL;
}


static int
zlt_key_same(const zlt_key_t *k, const void *a, const void *b)
{
    const char  *p, *q;

    if (k->same) {
        return k->same(a, b);
    }

    p = (const char *) a + k->offset;
    q = (const char *) b + k->offset;

    switch (k->form) {

    case ZLT_KEY_STRING:
    case ZLT_KEY_PATH:
        p = *(const char *const *) (const void *) p;
        q = *(const char *const *) (const void *) q;

        return (p && q) ? strcmp(p, q) == 0 : p == q;

    case ZLT_KEY_TEXT:
        return strcmp(p, q) == 0;

    case ZLT_KEY_FLAG:
        return ((*p ^ *q) & (char) k->least) == 0;

    default:
        return memcmp(p, q, k->size) == 0;
    }
}


const char *
zlt_key_bounds(const zlt_key_t *k, char *buf)
{
    char         least[32], most[32], *p;
    const char  *last, *word;

    switch (k->form) {

    case ZLT_KEY_TIME:
        (void) zlt_key_time(least, sizeof(least), k->least);
        (void) zlt_key_time(most, sizeof(most), k->most);
        (void) snprintf(buf, ZLT_KEY_BOUNDS_SIZE,
                        k->least ? "a time from %s to %s"
                                 : "a time up to %.0s%s", least, most);
        return buf;

    case ZLT_KEY_SECONDS:
        return strcpy(buf, "a time like 90s, 30m, 8h or 1d, or 0");

    case ZLT_KEY_NUMBER:
        (void) snprintf(buf, ZLT_KEY_BOUNDS_SIZE, "a number from %u to %u",
                        (unsigned) k->least, (unsigned) k->most);
        return buf;

    case ZLT_KEY_PORT:
        return strcpy(buf, "a number from 1 to 65535");

    case ZLT_KEY_BOOL:
    case ZLT_KEY_FLAG:
        return strcpy(buf, "yes or no");

    case ZLT_KEY_CHOICE:
        last = strrchr(k->choices, '|');
        p = buf;

        for (word = k->choices; *word; word++) {
            if (*word == '|') {
                p += sprintf(p, word == last ? " or " : ", ");

            } else {
                *p++ = *word;
            }
        }

        *p = '\0';
        return buf;

    default:
        return NULL;
    }
}


/* In the largest unit that has it whole. */

static const char *
zlt_key_time(char *buf, size_t size, uint32_t ms)
{
    unsigned  i;

    static const struct {
        const char  *unit;
        uint32_t     ms;
    } units[] = {
        { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 },
        { "ms", 1 }
    };

    for (i = 0; ms % units[i].ms; i++) {
        /* void */
    }

    (void) snprintf(buf, size, "%u%s", (unsigned) (ms / units[i].ms),
                    units[i].unit);

    return buf;
}


const char *
zlt_key_env(const zlt_key_t *k, char *buf)
{
    char  *p;

    (void) snprintf(buf, ZLT_KEY_ENV_SIZE, "ZLTUNNEL_%s", k->name);

    for (p = buf; *p; p++) {
        *p = (char) toupper((unsigned char) *p);
    }

    return buf;
}


const char *
zlt_key_effect(const zlt_key_t *k)
{
    static const char *const  effects[] = {
        "counts at once",
        "counts for what comes next",
        "registers the service anew",
        "ends the access session and opens it anew",
        "authenticates anew, if the token is another",
        "ends the session and begins anew, if the way is another",
        "ends the session and begins anew",
        "starts and ends tunnels",
        "counts when the agent is started the next time"
    };

    return effects[k->reload];
}


const char *
zlt_key_section(unsigned section)
{
    switch (section) {

    case ZLT_KEY_AGENT:
        return "[agent]";

    case ZLT_KEY_TUNNEL:
        return "[tunnel NAME]";

    case ZLT_KEY_SERVICE:
        return "[service NAME]";

    case ZLT_KEY_ACCESS:
        return "[access NAME]";

    case ZLT_KEY_OPEN:
        return "[access]";

    case ZLT_KEY_NODE:
        return "[node]";

    default:
        return "[nodes]";
    }
}
