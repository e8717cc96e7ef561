
/*
 * Copyright (C) zltunnel authors
 */

/* A text that grows. */


#ifndef ZLT_TEXT_H_INCLUDED
#define ZLT_TEXT_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "types.h"


typedef struct {
    char        *data;         /* NULL: nothing yet */
    size_t       len;
    size_t       size;
    unsigned     failed:1;     /* no memory: it is not complete */
} zlt_text_t;


void zlt_text_printf(zlt_text_t *t, const char *fmt, ...)
    zlt_printf_like(2, 3);

void zlt_text_append(zlt_text_t *t, const char *data, size_t len);

/* As a JSON string, quotes and all. */
void zlt_text_json(zlt_text_t *t, const char *string);

/* .. an empty one as null */
void zlt_text_json_null(zlt_text_t *t, const char *string);

void zlt_text_free(zlt_text_t *t);


/* For people; buf has ZLT_TEXT_UNIT bytes; both return it. */

#define ZLT_TEXT_UNIT  32

/* "5s", "3m 20s", "2h 5m", "4d 3h" */
const char *zlt_text_time(char *buf, uint64_t seconds);

/* "17", "1.2K", "3.4G", in powers of 1024 */
const char *zlt_text_bytes(char *buf, uint64_t n);


#endif /* ZLT_TEXT_H_INCLUDED */
