
/*
 * Copyright (C) zltunnel authors
 */

/*
 * JSON that people can read, too: what is in the outermost object, and each
 * element of an array, begins a line; smaller objects stand in one.  Compact,
 * for programs, it has no space at all.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_json.h"

#include "zlt_utf8.h"


#define NGX_ZLTUNNEL_JSON_PLAIN  256      /* bytes that are copied at once */


static ngx_int_t ngx_zltunnel_json_name(ngx_zltunnel_json_t *j,
    const char *name);
static ngx_int_t ngx_zltunnel_json_begin(ngx_zltunnel_json_t *j,
    const char *name, ngx_uint_t array);
static ngx_uint_t ngx_zltunnel_json_left_out(ngx_zltunnel_json_t *j,
    const char *name);
static ngx_uint_t ngx_zltunnel_json_foreign(ngx_zltunnel_json_t *j,
    const char *name);
static u_char *ngx_zltunnel_json_line(u_char *p, ngx_uint_t depth);
static size_t ngx_zltunnel_json_plain(u_char *data, size_t len);
static u_char *ngx_zltunnel_json_escape(u_char *p, uint32_t cp);


void
ngx_zltunnel_json_init(ngx_zltunnel_json_t *j, ngx_pool_t *pool)
{
    ngx_memzero(j, sizeof(ngx_zltunnel_json_t));

    ngx_zltunnel_text_init(&j->text, pool);
}


void
ngx_zltunnel_json_only(ngx_zltunnel_json_t *j, ngx_str_t *fields,
    ngx_uint_t depth)
{
    j->fields = *fields;
    j->level = depth;
}


static ngx_int_t
ngx_zltunnel_json_name(ngx_zltunnel_json_t *j, const char *name)
{
    return ngx_zltunnel_json_begin(j, name, 0);
}


/* NGX_DECLINED: what begins here is left out, or there is no memory */

static ngx_int_t
ngx_zltunnel_json_begin(ngx_zltunnel_json_t *j, const char *name,
    ngx_uint_t array)
{
    u_char  *p;

    if (ngx_zltunnel_json_left_out(j, name)) {
        return NGX_DECLINED;
    }

    p = ngx_zltunnel_text_need(&j->text, sizeof(",\n\"\": ") + 64
                                   + 2 * NGX_ZLTUNNEL_JSON_DEPTH);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    if (j->comma) {
        *p++ = ',';
    }

    if (j->compact) {
        /* void */

    } else if (j->depth == 1 || array || (j->arrays >> j->depth & 1)) {
        p = ngx_zltunnel_json_line(p, j->depth);

    } else if (j->depth) {
        *p++ = ' ';
    }

    if (name) {
        *p++ = '"';
        p = ngx_cpymem(p, name, ngx_strlen(name));
        *p++ = '"';
        *p++ = ':';

        if (!j->compact) {
            *p++ = ' ';
        }
    }

    j->text.buf->last = p;
    j->comma = 1;

    return NGX_OK;
}


static ngx_uint_t
ngx_zltunnel_json_left_out(ngx_zltunnel_json_t *j, const char *name)
{
    ngx_uint_t  i, out;

    if (j->skip) {
        return 1;
    }

    if (name == NULL || j->level == 0 || j->depth != j->level) {
        return 0;
    }

    for (i = 0; i < j->nnames; i++) {

        if (j->names[i] == name) {
            return j->left_out >> i & 1;
        }
    }

    /* fields may be long, and there may be many elements */

    out = ngx_zltunnel_json_foreign(j, name);

    if (i < NGX_ZLTUNNEL_JSON_NAMES) {
        j->names[i] = name;
        j->left_out |= (uint32_t) out << i;
        j->nnames++;
    }

    return out;
}


/* 1: it is not in fields */

static ngx_uint_t
ngx_zltunnel_json_foreign(ngx_zltunnel_json_t *j, const char *name)
{
    u_char  *p, *last, *end;
    size_t   len;

    len = ngx_strlen(name);
    end = j->fields.data + j->fields.len;

    for (p = j->fields.data; p < end; p = last + 1) {

        last = ngx_strlchr(p, end, ',');
        if (last == NULL) {
            last = end;
        }

        if ((size_t) (last - p) == len && ngx_memcmp(p, name, len) == 0) {
            return 0;
        }
    }

    return 1;
}


static u_char *
ngx_zltunnel_json_line(u_char *p, ngx_uint_t depth)
{
    *p++ = LF;

    ngx_memset(p, ' ', 2 * depth);

    return p + 2 * depth;
}


void
ngx_zltunnel_json_open(ngx_zltunnel_json_t *j, const char *name,
    u_char bracket)
{
    u_char  *p;

    if (ngx_zltunnel_json_begin(j, name, (bracket == '[' && name) ? 1 : 0)
        != NGX_OK)
    {
        j->skip++;
        return;
    }

    p = ngx_zltunnel_text_need(&j->text, 1);

    if (p) {
        *p = bracket;
        j->text.buf->last = p + 1;
    }

    j->depth++;
    j->comma = 0;

    if (bracket == '[') {
        j->arrays |= 1 << j->depth;

    } else {
        j->arrays &= ~(1 << j->depth);
    }
}


void
ngx_zltunnel_json_close(ngx_zltunnel_json_t *j, u_char bracket)
{
    u_char  *p;

    if (j->skip) {
        j->skip--;
        return;
    }

    p = ngx_zltunnel_text_need(&j->text, 2 + 2 * NGX_ZLTUNNEL_JSON_DEPTH);
    if (p == NULL) {
        return;
    }

    j->depth--;

    /* nothing is in it: [] and {} */

    if (j->comma && !j->compact) {

        if (bracket == ']' || j->depth == 0) {
            p = ngx_zltunnel_json_line(p, j->depth);

        } else {
            *p++ = ' ';
        }
    }

    *p++ = bracket;

    j->text.buf->last = p;
    j->comma = 1;
}


void
ngx_zltunnel_json_number(ngx_zltunnel_json_t *j, const char *name, uint64_t n)
{
    u_char  *p;

    if (ngx_zltunnel_json_name(j, name) != NGX_OK) {
        return;
    }

    p = ngx_zltunnel_text_need(&j->text, NGX_INT64_LEN);

    if (p) {
        j->text.buf->last = ngx_sprintf(p, "%uL", n);
    }
}


void
ngx_zltunnel_json_bool(ngx_zltunnel_json_t *j, const char *name,
    ngx_uint_t yes)
{
    u_char  *p;

    if (ngx_zltunnel_json_name(j, name) != NGX_OK) {
        return;
    }

    p = ngx_zltunnel_text_need(&j->text, sizeof("false"));

    if (p) {
        j->text.buf->last = ngx_sprintf(p, yes ? "true" : "false");
    }
}


void
ngx_zltunnel_json_null(ngx_zltunnel_json_t *j, const char *name)
{
    u_char  *p;

    if (ngx_zltunnel_json_name(j, name) != NGX_OK) {
        return;
    }

    p = ngx_zltunnel_text_need(&j->text, sizeof("null"));

    if (p) {
        j->text.buf->last = ngx_cpymem(p, "null", 4);
    }
}


void
ngx_zltunnel_json_string(ngx_zltunnel_json_t *j, const char *name,
    u_char *data, size_t len)
{
    u_char    *p;
    size_t     n;
    uint32_t   cp;

    if (ngx_zltunnel_json_name(j, name) != NGX_OK) {
        return;
    }

    p = ngx_zltunnel_text_need(&j->text, 1);
    if (p == NULL) {
        return;
    }

    *p = '"';
    j->text.buf->last = p + 1;

    while (len) {

        n = ngx_zltunnel_json_plain(data, len);
        p = ngx_zltunnel_text_need(&j->text,
                                   n + sizeof("\\u0000\\u0000"));
        if (p == NULL) {
            return;
        }

        p = ngx_cpymem(p, data, n);
        j->text.buf->last = p;

        data += n;
        len -= n;

        if (len == 0) {
            break;
        }

        n = zlt_utf8_next(data, len, &cp);

        if (n == 0) {
            n = 1;
            p = ngx_cpymem(p, "\\ufffd", 6);

        } else if (!zlt_utf8_shown(cp)) {
            p = ngx_zltunnel_json_escape(p, cp);

        } else {

            if (cp == '"' || cp == '\\') {
                *p++ = '\\';
            }

            p = ngx_cpymem(p, data, n);
        }

        j->text.buf->last = p;

        data += n;
        len -= n;
    }

    p = ngx_zltunnel_text_need(&j->text, 1);

    if (p) {
        *p = '"';
        j->text.buf->last = p + 1;
    }
}


/* how many bytes stand for themselves; not more than a buffer has room for */

static size_t
ngx_zltunnel_json_plain(u_char *data, size_t len)
{
    size_t  n;

    len = ngx_min(len, NGX_ZLTUNNEL_JSON_PLAIN);

    for (n = 0; n < len; n++) {

        if (data[n] < ' ' || data[n] > '~' || data[n] == '"'
            || data[n] == '\\')
        {
            break;
        }
    }

    return n;
}


static u_char *
ngx_zltunnel_json_escape(u_char *p, uint32_t cp)
{
    if (cp > 0xffff) {
        cp -= 0x10000;
        p = ngx_sprintf(p, "\\u%04xd", 0xd800 | cp >> 10);
        cp = 0xdc00 | (cp & 0x3ff);
    }

    return ngx_sprintf(p, "\\u%04xd", cp);
}


void
ngx_zltunnel_json_hex(ngx_zltunnel_json_t *j, const char *name, u_char *data,
    size_t len)
{
    u_char  *p;

    if (ngx_zltunnel_json_name(j, name) != NGX_OK) {
        return;
    }

    p = ngx_zltunnel_text_need(&j->text, 2 * len + 2);
    if (p == NULL) {
        return;
    }

    *p++ = '"';
    p = ngx_hex_dump(p, data, len);
    *p++ = '"';

    j->text.buf->last = p;
}


void
ngx_zltunnel_json_time(ngx_zltunnel_json_t *j, const char *name, time_t when)
{
    u_char    *p;
    ngx_tm_t   tm;

    if (when == 0) {
        ngx_zltunnel_json_null(j, name);
        return;
    }

    if (ngx_zltunnel_json_name(j, name) != NGX_OK) {
        return;
    }

    p = ngx_zltunnel_text_need(&j->text, NGX_INT64_LEN
                                         + sizeof("-12-31T23:59:59Z"));

    if (p) {
        ngx_gmtime(when, &tm);
        j->text.buf->last = ngx_sprintf(p, "\"%4d-%02d-%02dT%02d:%02d:%02dZ\"",
                                        tm.ngx_tm_year, tm.ngx_tm_mon,
                                        tm.ngx_tm_mday, tm.ngx_tm_hour,
                                        tm.ngx_tm_min, tm.ngx_tm_sec);
    }
}


ngx_int_t
ngx_zltunnel_json_end(ngx_zltunnel_json_t *j, ngx_chain_t **out, off_t *size)
{
    u_char  *p;

    p = ngx_zltunnel_text_need(&j->text, 1);

    if (p) {
        *p = LF;
        j->text.buf->last = p + 1;
    }

    return ngx_zltunnel_text_end(&j->text, out, size);
}
