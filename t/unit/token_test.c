
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: what of a token's file is the token, and what is none; nothing of
 * it is in a complaint.
 */


#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tap.h"
#include "token.h"


#define HASH  "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"


static void
files(void)
{
    int            fd, rc;
    char           name[] = "/tmp/zlt-token-XXXXXX";
    char           error[ZLT_TOKEN_ERROR_SIZE];
    unsigned       i;
    zlt_token_t    token;

    static const struct {
        const char  *text;
        size_t       len;      /* 0: up to the zero byte */
        const char  *token;    /* NULL: it is refused */
        const char  *why;
    } list[] = {
        { "zlt_secret", 0, "zlt_secret", NULL },
        { "zlt_secret\n", 0, "zlt_secret", NULL },
        { "zlt_secret \t\r\n\n", 0, "zlt_secret", NULL },
        { "  \r\n\tzlt_secret\n", 0, "zlt_secret", NULL },
        { "\xef\xbb\xbfzlt_secret\r\n", 0, "zlt_secret", NULL },
        { "\xef\xbb\xbf \nzlt_secret", 0, "zlt_secret", NULL },
        { "s\xc3\xa9""cret", 0, "s\xc3\xa9""cret", NULL },
        { HASH "\n", 0, HASH, NULL },
        { "", 0, NULL, "there is no token" },
        { " \n", 0, NULL, "there is no token" },
        { "\xef\xbb\xbf", 0, NULL, "there is no token" },
        { "zlt_secret alice\n", 0, NULL, "more in it than" },
        { "zlt_secret\n" HASH " alice\n", 0, NULL, "must hold the token al" },
        { HASH " alice\n", 0, NULL, "the line for the server" },
        { "\xff\xfez\0l\0t\0", 8, NULL, "UTF-16" },
        { "\xfe\xff\0z\0l\0t", 8, NULL, "UTF-16" },
        { "zlt\0secret", 10, NULL, "more in it than" },
        { "zlt_secret\0", 11, NULL, "more in it than" },
        { "zlt_\x7f", 0, NULL, "more in it than" },
        { "zlt_\xff", 0, NULL, "not UTF-8" }
    };

    fd = mkstemp(name);
    check(fd != -1);

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        size_t  len = list[i].len ? list[i].len : strlen(list[i].text);

        tap_note("%u: %s", i, list[i].text);
        check(ftruncate(fd, 0) == 0
              && pwrite(fd, list[i].text, len, 0) == (ssize_t) len);

        error[0] = '\0';
        rc = zlt_token_read(&token, name, error);

        if (list[i].token) {
            check(rc == 0 && token.len == strlen(list[i].token)
                  && memcmp(token.text, list[i].token, token.len) == 0);
            check(zlt_token_is_hash(&token)
                  == (strcmp(list[i].token, HASH) == 0));

        } else {
            check(rc == -1 && strstr(error, list[i].why));
            check(strstr(error, "secret") == NULL
                  && strstr(error, "0123") == NULL);
        }
    }

    (void) close(fd);
    (void) unlink(name);
}


int
main(void)
{
    tap_run(files, "files");

    return tap_done();
}
