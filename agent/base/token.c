
/*
 * Copyright (C) zltunnel authors
 */

/* Reading the token. */


#include <ctype.h>
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


#define ZLT_TOKEN_BLANKS  " \t\r\n"


static int zlt_token_file(zlt_token_t *token, const char *file, char *error);
static void zlt_token_trim(zlt_token_t *token);
static int zlt_token_hash(const char *text, size_t len);


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
            (void) strcpy(error, "no token: --token-file FILE, or "
                                 "\"token_file = FILE\", or set "
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


int
zlt_token_check(zlt_token_t *token, const char *from, char *error)
{
    size_t       i;
    const char  *why;

    if (token->len >= 2 && (memcmp(token->text, "\xff\xfe", 2) == 0
                            || memcmp(token->text, "\xfe\xff", 2) == 0))
    {
        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                        "%.200s is in UTF-16: save it as UTF-8", from);
        return -1;
    }

    zlt_token_trim(token);

    if (token->len == 0) {
        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                        "there is no token in %.200s", from);
        return -1;
    }

    for (i = 0; i < token->len; i++) {

        if ((unsigned char) token->text[i] > ' ' && token->text[i] != 0x7f) {
            continue;
        }

        why = "has more in it than a token";

        if (zlt_token_hash(token->text, i)) {
            why = "has the line for the server, with the hash of a token; the "
                  "token of \"zltunnel-agent token\" begins with zlt_";

        } else if (token->text[i] == '\n' || token->text[i] == '\r') {
            why = "must hold the token alone, the first line of "
                  "\"zltunnel-agent token\"; the second one is for the server";
        }

        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE, "%.200s %s", from, why);
        return -1;
    }

    if (!zlt_utf8_valid((const uint8_t *) token->text, token->len)) {
        (void) snprintf(error, ZLT_TOKEN_ERROR_SIZE,
                        "the token in %.200s is not UTF-8", from);
        return -1;
    }

    return 0;
}


/* Takes off what editors put in front, and blanks on both sides. */

static void
zlt_token_trim(zlt_token_t *token)
{
    size_t  n;

    n = (token->len >= 3 && memcmp(token->text, "\xef\xbb\xbf", 3) == 0)
        ? 3 : 0;

    while (n < token->len && strchr(ZLT_TOKEN_BLANKS, token->text[n])
           && token->text[n])
    {
        n++;
    }

    token->len -= n;
    memmove(token->text, token->text + n, token->len);

    while (token->len && token->text[token->len - 1]
           && strchr(ZLT_TOKEN_BLANKS, token->text[token->len - 1]))
    {
        token->len--;
    }
}


int
zlt_token_is_hash(const zlt_token_t *token)
{
    return zlt_token_hash(token->text, token->len);
}


static int
zlt_token_hash(const char *text, size_t len)
{
    size_t  i;

    for (i = 0; i < len && isxdigit((unsigned char) text[i]); i++) {
        /* void */
    }

    return len == 64 && i == len;
}


void
zlt_token_wipe(zlt_token_t *token)
{
    OPENSSL_cleanse(token, sizeof(zlt_token_t));
}
