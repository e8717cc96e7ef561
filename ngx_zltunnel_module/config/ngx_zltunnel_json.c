
/*
 * Copyright (C) zltunnel authors
 */

/*
 * JSON that people can read, too: what is in the outermost object, and each
 * element of an array, begins a line; smaller objects stand in one.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_json.h"

#include "zlt_utf8.h"


#define NGX_ZLTUNNEL_JSON_BUFFER  16384


static u_char *ngx_zltunnel_json_need(ngx_zltunnel_json_t *j, size_t len);
static void ngx_zltunnel_json_name(ngx_zltunnel_json_t *j, const char *name);
static void ngx_zltunnel_json_begin(ngx_zltunnel_json_t *j, const char *name,
    ngx_uint_t array);
static u_char *ngx_zltunnel_json_line(u_char *p, ngx_uint_t depth);
static u_char *ngx_zltunnel_json_escape(u_char *p, uint32_t cp);


void
ngx_zltunnel_json_init(ngx_zltunnel_json_t *j, ngx_pool_t *pool)
{
    ngx_memzero(j, sizeof(ngx_zltunnel_json_t));

    j->pool = pool;
    j->last = &j->out;
}


/* room for len bytes, at most a buffer, which the caller then advances over;
   NULL: there is no memory */

static u_char *
ngx_zltunnel_json_need(ngx_zltunnel_json_t *j, size_t len)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (j->error) {
        return NULL;
    }

    if (j->buf && (size_t) (j->buf->end - j->buf->last) >= len) {
        return j->buf->last;
    }

    b = ngx_create_temp_buf(j->pool, NGX_ZLTUNNEL_JSON_BUFFER);
    cl = ngx_alloc_chain_link(j->pool);

    if (b == NULL || cl == NULL) {
        j->error = 1;
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;

    *j->last = cl;
    j->last = &cl->next;
    j->buf = b;

    return b->last;
}


static void
ngx_zltunnel_json_name(ngx_zltunnel_json_t *j, const char *name)
{
    ngx_zltunnel_json_begin(j, name, 0);
}


static void
ngx_zltunnel_json_begin(ngx_zltunnel_json_t *j, const char *name,
    ngx_uint_t array)
{
    u_char  *p;

    p = ngx_zltunnel_json_need(j, sizeof(",\n\"\": ") + 64
                                  + 2 * NGX_ZLTUNNEL_JSON_DEPTH);
    if (p == NULL) {
        return;
    }

    if (j->comma) {
        *p++ = ',';
    }

    if (j->depth == 1 || array || (j->arrays >> j->depth & 1)) {
        p = ngx_zltunnel_json_line(p, j->depth);

    } else if (j->depth) {
        *p++ = ' ';
    }

    if (name) {
        p = ngx_sprintf(p, "\"%s\": ", name);
    }

    j->buf->last = p;
    j->comma = 1;
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

    ngx_zltunnel_json_begin(j, name, (bracket == '[' && name) ? 1 : 0);

    p = ngx_zltunnel_json_need(j, 1);

    if (p) {
        *p = bracket;
        j->buf->last = p + 1;
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

    p = ngx_zltunnel_json_need(j, 2 + 2 * NGX_ZLTUNNEL_JSON_DEPTH);
    if (p == NULL) {
        return;
    }

    j->depth--;

    /* nothing is in it: [] and {} */

    if (j->comma) {

        if (bracket == ']' || j->depth == 0) {
            p = ngx_zltunnel_json_line(p, j->depth);

        } else {
            *p++ = ' ';
        }
    }

    *p++ = bracket;

    j->buf->last = p;
    j->comma = 1;
}


void
ngx_zltunnel_json_number(ngx_zltunnel_json_t *j, const char *name, uint64_t n)
{
    u_char  *p;

    ngx_zltunnel_json_name(j, name);

    p = ngx_zltunnel_json_need(j, NGX_INT64_LEN);

    if (p) {
        j->buf->last = ngx_sprintf(p, "%uL", n);
    }
}


void
ngx_zltunnel_json_bool(ngx_zltunnel_json_t *j, const char *name,
    ngx_uint_t yes)
{
    u_char  *p;

    ngx_zltunnel_json_name(j, name);

    p = ngx_zltunnel_json_need(j, sizeof("false"));

    if (p) {
        j->buf->last = ngx_sprintf(p, yes ? "true" : "false");
    }
}


void
ngx_zltunnel_json_null(ngx_zltunnel_json_t *j, const char *name)
{
    u_char  *p;

    ngx_zltunnel_json_name(j, name);

    p = ngx_zltunnel_json_need(j, sizeof("null"));

    if (p) {
        j->buf->last = ngx_cpymem(p, "null", 4);
    }
}


void
ngx_zltunnel_json_string(ngx_zltunnel_json_t *j, const char *name,
    u_char *data, size_t len)
{
    u_char    *p;
    size_t     n;
    uint32_t   cp;

    ngx_zltunnel_json_name(j, name);

    p = ngx_zltunnel_json_need(j, 1);
    if (p == NULL) {
        return;
    }

    *p = '"';
    j->buf->last = p + 1;

    while (len) {

        p = ngx_zltunnel_json_need(j, sizeof("\\u0000\\u0000"));
        if (p == NULL) {
            return;
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

        j->buf->last = p;

        data += n;
        len -= n;
    }

    p = ngx_zltunnel_json_need(j, 1);

    if (p) {
        *p = '"';
        j->buf->last = p + 1;
    }
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

    ngx_zltunnel_json_name(j, name);

    p = ngx_zltunnel_json_need(j, 2 * len + 2);
    if (p == NULL) {
        return;
    }

    *p++ = '"';
    p = ngx_hex_dump(p, data, len);
    *p++ = '"';

    j->buf->last = p;
}


ngx_int_t
ngx_zltunnel_json_end(ngx_zltunnel_json_t *j, ngx_chain_t **out, off_t *size)
{
    u_char       *p;
    ngx_chain_t  *cl;

    p = ngx_zltunnel_json_need(j, 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *p = LF;
    j->buf->last = p + 1;

    *size = 0;

    for (cl = j->out; cl; cl = cl->next) {
        *size += cl->buf->last - cl->buf->pos;
    }

    *out = j->out;

    return NGX_OK;
}
