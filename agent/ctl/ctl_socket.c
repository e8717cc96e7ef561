
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The control socket's place in the file system.
 *
 * A lock file beside it tells whether somebody serves it: the kernel gives
 * the lock back when its holder dies, however it dies, and of two that start
 * at once only one gets it.  Whoever holds it may remove the socket that was
 * left behind.
 */


#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf.h"
#include "ctl_socket.h"


#define ZLT_CTL_BACKLOG  64
#define ZLT_CTL_DIR      "/run/zltunnel"
#define ZLT_CTL_NAME     "agent.sock"


static int zlt_ctl_socket_lock(const char *path, char *error);
static int zlt_ctl_socket_stale(const struct sockaddr_un *un, char *error);


int
zlt_ctl_socket_path(char *path, int serve)
{
    int          n;
    const char  *dir;

    dir = serve ? getenv("RUNTIME_DIRECTORY") : NULL;

    if (dir && *dir == '/') {

        /* systemd's; of several the first */

        n = snprintf(path, ZLT_CTL_PATH_SIZE, "%.*s/" ZLT_CTL_NAME,
                     (int) strcspn(dir, ":"), dir);

        return n < ZLT_CTL_PATH_SIZE ? 0 : -1;
    }

    if (geteuid() == 0) {

        if (serve) {
            (void) mkdir(ZLT_CTL_DIR, 0755);
        }

        (void) strcpy(path, ZLT_CTL_DIR "/" ZLT_CTL_NAME);
        return 0;
    }

    dir = getenv("XDG_RUNTIME_DIR");

    if (dir == NULL || *dir != '/') {
        return -1;
    }

    n = snprintf(path, ZLT_CTL_PATH_SIZE, "%s/zltunnel-" ZLT_CTL_NAME, dir);

    return n < ZLT_CTL_PATH_SIZE ? 0 : -1;
}


int
zlt_ctl_socket_listen(const char *path, mode_t mode, int *lock, char *error)
{
    int                 fd, rc;
    mode_t              mask;
    struct sockaddr_un  un;

    *lock = -1;

    if (strlen(path) >= sizeof(un.sun_path)) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "the path of a socket has "
                        "at most %zu bytes", sizeof(un.sun_path) - 1);
        return -1;
    }

    memset(&un, 0, sizeof(struct sockaddr_un));
    un.sun_family = AF_UNIX;
    (void) strcpy(un.sun_path, path);

    *lock = zlt_ctl_socket_lock(path, error);

    if (*lock == -1) {
        return -1;
    }

    fd = -1;

    if (zlt_ctl_socket_stale(&un, error) == -1) {
        goto failed;
    }

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1) {
        goto failed_errno;
    }

    /* who may not connect may not from the first moment on */

    mask = umask(0777 & ~mode);
    rc = bind(fd, (struct sockaddr *) &un, sizeof(struct sockaddr_un));
    (void) umask(mask);

    if (rc == -1 || listen(fd, ZLT_CTL_BACKLOG) == -1) {
        goto failed_errno;
    }

    return fd;

failed_errno:

    (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%s", strerror(errno));

failed:

    if (fd != -1) {
        (void) close(fd);
    }

    (void) close(*lock);
    *lock = -1;

    return -1;
}


static int
zlt_ctl_socket_lock(const char *path, char *error)
{
    int   fd;
    char  name[ZLT_CTL_PATH_SIZE + 8];

    (void) snprintf(name, sizeof(name), "%s.lock", path);

    fd = open(name, O_RDWR|O_CREAT|O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK, 0600);

    if (fd == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%s: %s", name,
                        strerror(errno));
        return -1;
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == -1) {
        (void) strcpy(error, errno == EWOULDBLOCK
                             ? "another agent has it" : strerror(errno));
        (void) close(fd);
        return -1;
    }

    return fd;
}


/* Removes what was left behind, if it was: 0 or -1. */

static int
zlt_ctl_socket_stale(const struct sockaddr_un *un, char *error)
{
    int          fd, rc;
    struct stat  st;

    if (lstat(un->sun_path, &st) == -1) {

        if (errno == ENOENT) {
            return 0;
        }

        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%s", strerror(errno));
        return -1;
    }

    if (!S_ISSOCK(st.st_mode)) {
        (void) strcpy(error, "there is a file of that name, which is no "
                             "socket");
        return -1;
    }

    /* somebody's who knows no lock file? */

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%s", strerror(errno));
        return -1;
    }

    rc = connect(fd, (const struct sockaddr *) un,
                 sizeof(struct sockaddr_un));

    if (rc == 0 || errno != ECONNREFUSED) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%s",
                        rc == 0 || errno == EAGAIN ? "another process has it"
                                                   : strerror(errno));
        (void) close(fd);
        return -1;
    }

    (void) close(fd);

    if (unlink(un->sun_path) == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%s", strerror(errno));
        return -1;
    }

    return 0;
}


int
zlt_ctl_socket_peer(int fd)
{
    socklen_t     len;
    struct ucred  cred;

    len = sizeof(struct ucred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1) {
        return 0;
    }

    return cred.uid == 0 || cred.uid == geteuid();
}
