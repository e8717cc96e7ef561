
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the parser of HTTP answers, of the server's and of proxies': it ends
 * where the header ends, says "not complete" to every part of it, reads nothing
 * outside, and what it keeps can be printed.
 */


#include <sys/types.h>

#include "fuzz.h"
#include "http.h"


static ssize_t
http_parse(zlt_http_answer_t *a, const uint8_t *data, size_t size)
{
    ssize_t   n;
    uint8_t  *copy;

    copy = fuzz_copy(data, size);
    n = zlt_http_parse(a, (char *) copy, size);
    free(copy);

    must(n >= -1 && n <= (ssize_t) size);

    return n;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i;
    ssize_t            n;
    const char        *p;
    zlt_http_answer_t  a, b;

    if (size == 0) {
        return 0;
    }

    n = http_parse(&a, data, size);

    if (n <= 0) {
        return 0;
    }

    must(n >= 4 && memcmp(data + n - 4, "\r\n\r\n", 4) == 0);

    /* what is behind the header does not matter */

    must(http_parse(&b, data, (size_t) n) == n);
    must(a.status == b.status && strcmp(a.reason, b.reason) == 0);
    must(a.upgrade == b.upgrade && strcmp(a.accept, b.accept) == 0);
    must(a.worker == b.worker && a.workers == b.workers);

    for (i = 1; i < (size_t) n; i += (n < 300) ? 1 : 97) {
        must(http_parse(&b, data, i) == 0);
    }

    must(a.status <= 999);
    must(a.workers == 0 || a.worker < a.workers);
    must(strlen(a.accept) < sizeof(a.accept));

    for (p = a.reason; *p; p++) {
        must(*p >= 0x20 && *p <= 0x7e);
    }

    return 0;
}
