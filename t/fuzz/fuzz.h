
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the fuzz harnesses share.
 */


#ifndef FUZZ_H_INCLUDED
#define FUZZ_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define must(expr)                                                            \
    do {                                                                      \
        if (!(expr)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr);        \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* Memory of exactly that size, so that a sanitizer sees its end. */

static inline uint8_t *
fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t  *p;

    p = calloc(1, size ? size : 1);

    if (p == NULL) {
        abort();
    }

    if (data && size) {
        memcpy(p, data, size);
    }

    return p;
}


/* Bytes of which each is by one more than the one before, modulo 256. */

static inline const uint8_t *
fuzz_counting(size_t n, uint32_t from)
{
    size_t          i;
    static uint8_t  bytes[256 + 256 * 1024];

    if (bytes[1] == 0) {
        for (i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t) i;
        }
    }

    must(n <= sizeof(bytes) - 256);

    return bytes + (from & 255);
}


/* A copy as a string: up to the first NUL. */

static inline char *
fuzz_text(const uint8_t *data, size_t size)
{
    char           *text;
    size_t          len;
    const uint8_t  *nul;

    nul = size ? memchr(data, '\0', size) : NULL;
    len = nul ? (size_t) (nul - data) : size;

    text = malloc(len + 1);
    must(text != NULL);

    if (len) {
        memcpy(text, data, len);
    }

    text[len] = '\0';

    return text;
}


#endif /* FUZZ_H_INCLUDED */
