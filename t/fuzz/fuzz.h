
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


#endif /* FUZZ_H_INCLUDED */
