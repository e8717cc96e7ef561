
/*
 * Copyright (C) zltunnel authors
 */


#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>

#include "headers.h"
#include "secret.h"


static const char *zlt_headers_wrong(const char *line, size_t name,
    size_t len);
static int zlt_headers_ours(const char *name, size_t len);
static int zlt_headers_read(const char *file, int checks, char *buf,
    size_t *len, char *error);


int
zlt_headers_add(zlt_text_t *t, const char *line, size_t len, char *error)
{
    size_t       name, begin;
    const char  *colon, *why;

    colon = memchr(line, ':', len);
    name = colon ? (size_t) (colon - line) : 0;

    if (name == 0) {
        (void) strcpy(error, "a header is \"Name: value\"");
        return -1;
    }

    while (len > name + 1 && (line[len - 1] == ' ' || line[len - 1] == '\t')) {
        len--;
    }

    for (begin = name + 1;
         begin < len && (line[begin] == ' ' || line[begin] == '\t');
         begin++)
    {
        /* void */
    }

    why = zlt_headers_wrong(line, name, len);

    if (why == NULL && t->len + len + 3 > ZLT_HEADERS_MAX) {
        why = "is too long, with the others: there is room for 4096 bytes";
    }

    if (why) {

        /* what stands there may be the secret itself, without its name */

        (void) snprintf(error, ZLT_HEADERS_ERROR, "the header \"%.*s\" %s",
                        (int) strspn(line, "abcdefghijklmnopqrstuvwxyz"
                                           "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789-_") < (int) name
                        ? 0 : name > 64 ? 64 : (int) name, line, why);
        return -1;
    }

    zlt_text_append(t, line, name);
    zlt_text_append(t, ": ", 2);
    zlt_text_append(t, line + begin, len - begin);
    zlt_text_append(t, "\r\n", 2);

    if (t->failed) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    return 0;
}


static const char *
zlt_headers_wrong(const char *line, size_t name, size_t len)
{
    size_t         i;
    unsigned char  ch;

    for (i = 0; i < name; i++) {
        ch = (unsigned char) line[i];

        if (ch <= 0x20 || ch >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", ch)) {
            return "has a character in its name that no name has";
        }
    }

    for (i = name; i < len; i++) {
        ch = (unsigned char) line[i];

        if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
            return "has a control character in its value";
        }
    }

    return zlt_headers_ours(line, name)
           ? "is one of the handshake itself: choose another name" : NULL;
}


static int
zlt_headers_ours(const char *name, size_t len)
{
    unsigned  i;
    size_t    n;

    /* one with "-" at its end stands for all that begin so */

    static const char *const  ours[] = {
        "Host", "User-Agent", "Connection", "Upgrade", "Content-Length",
        "Transfer-Encoding", "Sec-WebSocket-", "Zltunnel-"
    };

    for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        n = strlen(ours[i]);

        if (len >= n && strncasecmp(name, ours[i], n) == 0
            && (len == n || ours[i][n - 1] == '-'))
        {
            return 1;
        }
    }

    return 0;
}


int
zlt_headers_file(zlt_text_t *t, const char *file, int checks, char *error)
{
    int         rc;
    char        buf[ZLT_HEADERS_MAX + 1], why[ZLT_HEADERS_ERROR];
    char       *line, *end;
    size_t      len;
    unsigned    number;
    zlt_text_t  lines;

    rc = zlt_headers_read(file, checks, buf, &len, error);

    memset(&lines, 0, sizeof(zlt_text_t));
    number = 1;

    for (line = buf; rc == 0 && line < buf + len; line = end + 1, number++) {
        end = memchr(line, '\n', (size_t) (buf + len - line));
        end = end ? end : buf + len;

        if (end == line || (end == line + 1 && *line == '\r')) {
            continue;
        }

        rc = zlt_headers_add(&lines, line,
                             (size_t) (end - line) - (end[-1] == '\r'), why);

        if (rc == -1) {
            (void) snprintf(error, ZLT_HEADERS_ERROR, "%.200s:%u: %.200s",
                            file, number, why);
        }
    }

    if (rc == 0 && lines.len) {
        zlt_text_append(t, lines.data, lines.len);
    }

    OPENSSL_cleanse(buf, sizeof(buf));

    if (lines.data) {
        OPENSSL_cleanse(lines.data, lines.len);
    }

    zlt_text_free(&lines);

    return rc;
}


static int
zlt_headers_read(const char *file, int checks, char *buf, size_t *len,
    char *error)
{
    int          fd;
    ssize_t      n;
    const char  *why;
    struct stat  st;

    *len = 0;
    fd = open(file, O_RDONLY|O_CLOEXEC|O_NOCTTY|O_NONBLOCK);

    if (fd == -1 || fstat(fd, &st) == -1) {
        why = strerror(errno);

    } else if (!S_ISREG(st.st_mode)) {
        why = "it is no file";

    } else {
        why = checks ? zlt_secret_exposed(file, &st) : NULL;
    }

    while (why == NULL && *len <= ZLT_HEADERS_MAX) {
        n = read(fd, buf + *len, ZLT_HEADERS_MAX + 1 - *len);

        if (n == 0) {
            break;
        }

        if (n > 0) {
            *len += (size_t) n;

        } else if (errno != EINTR) {
            why = strerror(errno);
        }
    }

    if (why == NULL && *len > ZLT_HEADERS_MAX) {
        why = "it is longer than 4096 bytes";
    }

    if (fd != -1) {
        (void) close(fd);
    }

    if (why) {
        (void) snprintf(error, ZLT_HEADERS_ERROR, "the header file \"%.200s\": "
                        "%s", file, why);
        return -1;
    }

    return 0;
}
