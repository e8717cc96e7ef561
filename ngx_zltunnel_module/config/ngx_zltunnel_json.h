
/*
 * Copyright (C) zltunnel authors
 */

/*
 * JSON into a chain of buffers.  Commas are set by themselves; an error of
 * memory is told at the end, callers need not look in between.
 */


#ifndef _NGX_ZLTUNNEL_JSON_H_INCLUDED_
#define _NGX_ZLTUNNEL_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_zltunnel_text.h"


/* what may be open at a time */
#define NGX_ZLTUNNEL_JSON_DEPTH  16

/* names of which it is remembered whether they are in fields */
#define NGX_ZLTUNNEL_JSON_NAMES  32


struct ngx_zltunnel_json_s {
    ngx_zltunnel_text_t          text;
    ngx_uint_t                   depth;       /* of what is open */
    ngx_uint_t                   arrays;      /* a bit for each that is one */
    ngx_str_t                    fields;      /* all else is left out .. */
    ngx_uint_t                   level;       /* .. at this depth; 0: nothing */
    const char                  *names[NGX_ZLTUNNEL_JSON_NAMES];
    ngx_uint_t                   nnames;
    uint32_t                     left_out;    /* a bit for each of them */
    ngx_uint_t                   skip;        /* open, of what is left out */
    unsigned                     comma:1;     /* before the next value */
    unsigned                     compact:1;   /* set by the caller */
};


void ngx_zltunnel_json_init(ngx_zltunnel_json_t *j, ngx_pool_t *pool);
/* Of what has a name at that depth only those are written that are in fields,
   names separated by commas, which must last as long.  A name that is given
   below is a constant then: where it is it says the same each time. */
void ngx_zltunnel_json_only(ngx_zltunnel_json_t *j, ngx_str_t *fields,
    ngx_uint_t depth);

/* '{' or '['; name is NULL within an array and at the top */
void ngx_zltunnel_json_open(ngx_zltunnel_json_t *j, const char *name,
    u_char bracket);
/* '}' or ']' */
void ngx_zltunnel_json_close(ngx_zltunnel_json_t *j, u_char bracket);

void ngx_zltunnel_json_number(ngx_zltunnel_json_t *j, const char *name,
    uint64_t n);
void ngx_zltunnel_json_bool(ngx_zltunnel_json_t *j, const char *name,
    ngx_uint_t yes);
void ngx_zltunnel_json_null(ngx_zltunnel_json_t *j, const char *name);
/* escaped; whatever is not UTF-8 becomes U+FFFD */
void ngx_zltunnel_json_string(ngx_zltunnel_json_t *j, const char *name,
    u_char *data, size_t len);
void ngx_zltunnel_json_hex(ngx_zltunnel_json_t *j, const char *name,
    u_char *data, size_t len);
/* Unix time, in UTC by ISO 8601; 0: null */
void ngx_zltunnel_json_time(ngx_zltunnel_json_t *j, const char *name,
    time_t when);

/* the whole of it, ended by a line feed */
ngx_int_t ngx_zltunnel_json_end(ngx_zltunnel_json_t *j, ngx_chain_t **out,
    off_t *size);


#endif /* _NGX_ZLTUNNEL_JSON_H_INCLUDED_ */
