
/*
 * Copyright (C) zltunnel authors
 */

/* Reading the token. */


#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>

#include "secret.h"
#include "token.h"
#include "zlt_utf8.h"


static int zlt_token_file(zlt_token_t *token, const char *file, char *error);
static int zlt_token_check(zlt_token_t *token, const char *from, char *error);


int
zlt_token_read(zlt_token_t *token, const char *file, char *error)
{
    int          rc;
    const char  *env;

    if (file) {
        rc = zlt_token_file(token, file, error);

    } else {
        env = getenv(ZLT_TOKEN_ENV);

        if (env == NULL) {
            (void) strcpy(error, "no token: give a token file, or set "
                                 ZLT_TOKEN_ENV);
            return -1;
        }

        token->len = strlen(env);

        if (token->len > ZLT_TOKEN_MAX) {
            (void) strcpy(error, ZLT_TOKEN_ENV " is longer than 4096 bytes");
            return -1;
        }

        memcpy(token->text, env, token->len);

        rc = zlt_token_check(token, ZLT_TOKEN_ENV, error);
    }

    if (rc == -1) {
        zlt_token_wipe(token);
    }

    return rc;
}


static int
zlt_token_file(zlt_token_t *token, const char *file, char *error)
{
    int          fd;
    ssize_t      n;
    const char  *exposed;
    struct stat  st;

    fd = open(file, O_RDONLY|O_CLOEXEC|O_NOCTTY);

    if (fd == -1 || fstat(fd, &st) == -1) {
        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                        "the token file \"%.200s\" cannot be read: %s", file,
                        strerror(errno));
        goto failed;
    }

    if (S_ISDIR(st.st_mode)) {
        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                        "the token file \"%.200s\" is a directory", file);
        goto failed;
    }

    exposed = zlt_secret_exposed(file, &st);

    if (exposed) {
        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE, "the token file "
                        "\"%.200s\" %s", file, exposed);
        goto failed;
    }

    token->len = 0;

    for ( ;; ) {
        n = read(fd, token->text + token->len, ZLT_TOKEN_MAX - token->len);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                            "the token file \"%.200s\" cannot be read: %s",
                            file, strerror(errno));
            goto failed;
        }

        token->len += (size_t) n;

        if (n == 0) {
            break;
        }

        if (token->len == ZLT_TOKEN_MAX) {
            (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                            "the token file \"%.200s\" is longer than %d "
                            "bytes", file, ZLT_TOKEN_MAX - 1);
            goto failed;
        }
    }

    (void) close(fd);

    return zlt_token_check(token, file, error);

failed:

    if (fd != -1) {
        (void) close(fd);
    }

    return -1;
}


static int
zlt_token_check(zlt_token_t *token, const char *from, char *error)
{
    size_t  i;

    while (token->len && strchr(" \t\r\n", token->text[token->len - 1])) {
        token->len--;
    }

    if (token->len == 0) {
        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                        "there is no token in %.200s", from);
        return -1;
    }

    for (i = 0; i < token->len; i++) {
        if ((unsigned char) token->text[i] <= ' ' || token->text[i] == 0x7f) {
            (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                            "%.200s has more in it than a token", from);
            return -1;
        }
    }

    if (!zlt_utf8_valid((const uint8_t *) token->text, token->len)) {
        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                        "the token in %.200s is not UTF-8", from);
        return -1;
    }

    return 0;
}


void
zlt_token_wipe(zlt_token_t *token)
{
    OPENSSL_cleanse(token, sizeof(zlt_token_t));
}
