
/*
 * Copyright (C) zltunnel authors
 */

/* The other end of the control socket: asks a running process. */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl_client.h"
#include "ctl_socket.h"
#include "exit.h"
#include "log.h"


#define ZLT_CLIENT_TIMEOUT  30         /* s, without a byte */
#define ZLT_CLIENT_ANSWER   (64 * 1024 * 1024)


static int zlt_ctl_client_connect(const char *path, char *name, char *error);
static int zlt_ctl_client_send(int fd, const char *const *words, unsigned n);
static int zlt_ctl_client_receive(int fd, zlt_text_t *text);


int
zlt_ctl_client_call(const char *path, const char *const *words, unsigned n,
    zlt_text_t *text)
{
    int   rc;
    char  error[ZLT_CTL_ERROR];

    rc = zlt_ctl_client_try(path, words, n, text, error);

    if (rc != ZLT_EXIT_OK) {
        zlt_log_complain("%s", error);
    }

    return rc;
}


int
zlt_ctl_client_try(const char *path, const char *const *words, unsigned n,
    zlt_text_t *text, char *error)
{
    int      fd, ok;
    char     name[ZLT_CTL_PATH_SIZE];
    char    *end;
    size_t   len, head;

    fd = zlt_ctl_client_connect(path, name, error);

    if (fd == -1) {
        return ZLT_EXIT_FAILED;
    }

    if (zlt_ctl_client_send(fd, words, n) == -1
        || zlt_ctl_client_receive(fd, text) == -1)
    {
        (void) snprintf(error, ZLT_CTL_ERROR, "%s: %s", name, errno == EAGAIN
                        ? "the agent does not answer" : strerror(errno));
        (void) close(fd);
        return ZLT_EXIT_FAILED;
    }

    (void) close(fd);

    /* "OK LENGTH" or "FAIL LENGTH", and what follows */

    end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    ok = text->len > 3 && memcmp(text->data, "OK ", 3) == 0;

    if (end == NULL
        || (!ok && (text->len < 5 || memcmp(text->data, "FAIL ", 5) != 0)))
    {
        (void) snprintf(error, ZLT_CTL_ERROR, "%s: the answer is not an agent's", name);
        return ZLT_EXIT_FAILED;
    }

    len = (size_t) strtoull(text->data + (ok ? 3 : 5), NULL, 10);
    head = (size_t) (end + 1 - text->data);

    if (text->len - head != len) {
        (void) snprintf(error, ZLT_CTL_ERROR, "%s: the answer is not complete", name);
        return ZLT_EXIT_FAILED;
    }

    if (!ok) {
        (void) snprintf(error, ZLT_CTL_ERROR, "%.*s", (int) len, text->data + head);
        return ZLT_EXIT_FAILED;
    }

    memmove(text->data, text->data + head, len);
    text->len = len;

    return ZLT_EXIT_OK;
}


/* name has ZLT_CTL_PATH_SIZE bytes, for what is said. */

static int
zlt_ctl_client_connect(const char *path, char *name, char *error)
{
    int                 fd;
    struct timeval      tv;
    struct sockaddr_un  un;

    if (path == NULL) {
        if (zlt_ctl_socket_path(name, 0) == -1) {
            (void) snprintf(error, ZLT_CTL_ERROR, "where is the agent's "
                            "control socket?  XDG_RUNTIME_DIR is not set; see "
                            "--control");
            return -1;
        }

    } else if (strlen(path) >= ZLT_CTL_PATH_SIZE) {
        (void) snprintf(error, ZLT_CTL_ERROR, "the path of a socket has at "
                        "most %d bytes", ZLT_CTL_PATH_SIZE - 1);
        return -1;

    } else {
        (void) strcpy(name, path);
    }

    memset(&un, 0, sizeof(struct sockaddr_un));
    un.sun_family = AF_UNIX;
    (void) snprintf(un.sun_path, sizeof(un.sun_path), "%s", name);

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        (void) snprintf(error, ZLT_CTL_ERROR, "%s", strerror(errno));
        return -1;
    }

    tv.tv_sec = ZLT_CLIENT_TIMEOUT;
    tv.tv_usec = 0;

    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));

    if (connect(fd, (struct sockaddr *) &un, sizeof(struct sockaddr_un))
        == -1)
    {
        (void) snprintf(error, ZLT_CTL_ERROR, "no agent answers at %s: %s",
                        name, strerror(errno));
        (void) close(fd);
        return -1;
    }

    return fd;
}


static int
zlt_ctl_client_send(int fd, const char *const *words, unsigned n)
{
    char      line[ZLT_CTL_REQUEST];
    size_t    len, sent;
    ssize_t   rc;
    unsigned  i;

    len = 0;

    for (i = 0; i < n; i++) {
        len += (size_t) snprintf(line + len, sizeof(line) - len, "%s%s",
                                 i ? " " : "", words[i]);

        if (len >= sizeof(line) - 1) {
            errno = EMSGSIZE;
            return -1;
        }
    }

    line[len++] = '\n';

    for (sent = 0; sent < len; sent += (size_t) rc) {
        rc = send(fd, line + sent, len - sent, MSG_NOSIGNAL);

        if (rc == -1) {
            if (errno == EPIPE) {
                /* it has answered already */
                return 0;
            }

            return -1;
        }
    }

    return 0;
}


/* To the end. */

static int
zlt_ctl_client_receive(int fd, zlt_text_t *text)
{
    char     buf[4096];
    ssize_t  n;

    for ( ;; ) {
        n = recv(fd, buf, sizeof(buf), 0);

        if (n == 0) {
            return 0;
        }

        if (n == -1) {
            if (errno == EINTR) {
                continue;
            }

            return -1;
        }

        zlt_text_append(text, buf, (size_t) n);

        if (text->failed || text->len > ZLT_CLIENT_ANSWER) {
            errno = ENOMEM;
            return -1;
        }
    }
}
