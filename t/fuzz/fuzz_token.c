
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the reader of a token: what it accepts is one word of UTF-8, and
 * what it refuses is neither kept nor told.
 */


#include <sys/mman.h>
#include <sys/stat.h>
#include <stdio.h>
#include <unistd.h>

#include "fuzz.h"
#include "token.h"
#include "zlt_utf8.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int            fd;
    char           name[64], error[ZLT_TOKEN_ERROR_SIZE];
    size_t         i;
    zlt_token_t    token;

    fd = memfd_create("token", MFD_CLOEXEC);
    must(fd != -1);
    must(fchmod(fd, 0600) == 0);
    must(write(fd, data, size) == (ssize_t) size);

    (void) snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);

    memset(&token, 0xa5, sizeof(token));
    error[0] = '\0';

    if (zlt_token_read(&token, name, error) == -1) {
        must(error[0] && strlen(error) < sizeof(error));
        must(token.len == 0 && token.text[0] == '\0');

    } else {
        must(token.len && token.len < ZLT_TOKEN_MAX && token.len <= size);
        must(memcmp(token.text, data, token.len) == 0);
        must(zlt_utf8_valid((uint8_t *) token.text, token.len));

        for (i = 0; i < token.len; i++) {
            must((unsigned char) token.text[i] > ' ');
        }
    }

    (void) close(fd);

    return 0;
}
