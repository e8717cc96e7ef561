
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Lines that come often.
 *
 * A kind is forgotten when a minute has passed without one more of it.  There
 * are as many kinds as services and places in the source, and yet they are
 * bounded: beyond that all others are one kind.
 */


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "log.h"
#include "often.h"
#include "zlt_list.h"


#define ZLT_OFTEN_EVERY  60000         /* ms */
#define ZLT_OFTEN_KINDS  256
#define ZLT_OFTEN_LABEL  300
#define ZLT_OFTEN_TEXT   512


typedef struct {
    zlt_list_t   link;
    uint64_t     key;
    uint64_t     said;                 /* ms */
    unsigned     more;                 /* since then */
    char         label[ZLT_OFTEN_LABEL];
    char         text[ZLT_OFTEN_TEXT];         /* of the last one */
} zlt_often_t;


static uint64_t zlt_often_key(const char *label, const char *subject,
    const char *fmt);
static uint64_t zlt_often_hash(uint64_t hash, const void *data, size_t len);
static zlt_often_t *zlt_often_find(uint64_t key);
static zlt_often_t *zlt_often_add(uint64_t key);
static void zlt_often_tell(zlt_often_t *o);
static void zlt_often_free(zlt_often_t *o);


/* the longest not told first */

static zlt_list_t  zlt_often_kinds = { &zlt_often_kinds, &zlt_often_kinds };
static unsigned    zlt_often_n;


void
zlt_often_warn(const char *label, const char *subject, const char *fmt, ...)
{
    char          text[ZLT_OFTEN_TEXT];
    va_list       ap;
    uint64_t      key;
    zlt_often_t  *o;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    key = zlt_often_key(label, subject, fmt);
    o = zlt_often_find(key);

    if (o == NULL && zlt_often_n >= ZLT_OFTEN_KINDS) {
        key = 0;
        o = zlt_often_find(key);
    }

    if (o) {
        o->more++;
        (void) strcpy(o->text, text);
        zlt_log_link(label, ZLT_LOG_DEBUG, "%s", text);
        return;
    }

    o = zlt_often_add(key);

    if (o) {
        (void) snprintf(o->label, sizeof(o->label), "%s", label);
    }

    zlt_log_link(label, ZLT_LOG_WARN, "%s", text);
}


static uint64_t
zlt_often_key(const char *label, const char *subject, const char *fmt)
{
    uint64_t  hash;

    hash = 14695981039346656037u;

    hash = zlt_often_hash(hash, &fmt, sizeof(fmt));
    hash = zlt_often_hash(hash, label, strlen(label) + 1);

    return zlt_often_hash(hash, subject, strlen(subject));
}


/* FNV-1a */

static uint64_t
zlt_often_hash(uint64_t hash, const void *data, size_t len)
{
    const uint8_t  *p, *end;

    p = data;
    end = p + len;

    while (p < end) {
        hash ^= *p++;
        hash *= 1099511628211u;
    }

    return hash;
}


static zlt_often_t *
zlt_often_find(uint64_t key)
{
    zlt_list_t   *link;
    zlt_often_t  *o;

    zlt_list_each(link, &zlt_often_kinds) {
        o = zlt_list_data(link, zlt_often_t, link);

        if (o->key == key) {
            return o;
        }
    }

    return NULL;
}


static zlt_often_t *
zlt_often_add(uint64_t key)
{
    zlt_often_t  *o;

    o = calloc(1, sizeof(zlt_often_t));

    if (o) {
        o->key = key;
        o->said = zlt_io_now();
        zlt_list_append(&zlt_often_kinds, &o->link);
        zlt_often_n++;
    }

    return o;
}


void
zlt_often_tick(void)
{
    uint64_t      now;
    zlt_often_t  *o;

    now = zlt_io_now();

    while (!zlt_list_empty(&zlt_often_kinds)) {
        o = zlt_list_data(zlt_often_kinds.next, zlt_often_t, link);

        if (now - o->said < ZLT_OFTEN_EVERY) {
            return;
        }

        if (o->more == 0) {
            zlt_often_free(o);
            continue;
        }

        zlt_often_tell(o);

        o->more = 0;
        o->said = now;

        zlt_list_remove(&o->link);
        zlt_list_append(&zlt_often_kinds, &o->link);
    }
}


static void
zlt_often_tell(zlt_often_t *o)
{
    zlt_log_link(o->label, ZLT_LOG_WARN, "%s (%u more of this kind since the "
                 "last was told)", o->text, o->more);
}


static void
zlt_often_free(zlt_often_t *o)
{
    zlt_list_remove(&o->link);
    zlt_often_n--;

    free(o);
}


void
zlt_often_done(void)
{
    zlt_often_t  *o;

    while (!zlt_list_empty(&zlt_often_kinds)) {
        o = zlt_list_data(zlt_often_kinds.next, zlt_often_t, link);

        if (o->more) {
            zlt_often_tell(o);
        }

        zlt_often_free(o);
    }
}
