
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What syslog(3) sends, without its waiting: the agent stands still for no log.
 * A line finds out whether the daemon was restarted, and is sent again then.
 */


#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "log_syslog.h"
#include "out.h"


#define ZLT_LOG_SYSLOG_DAEMON  (3 << 3)


static int zlt_log_syslog_open(void);


static struct sockaddr_un  zlt_log_syslog_addr;
static int                 zlt_log_syslog_fd = -1;


int
zlt_log_syslog_path(const char *path)
{
    return *path == '/' && strlen(path) < sizeof(zlt_log_syslog_addr.sun_path);
}


void
zlt_log_syslog_set(const char *path)
{
    if (path && strcmp(path, zlt_log_syslog_addr.sun_path) == 0) {
        return;
    }

    if (zlt_log_syslog_fd != -1) {
        (void) close(zlt_log_syslog_fd);
        zlt_log_syslog_fd = -1;
    }

    memset(&zlt_log_syslog_addr, 0, sizeof(zlt_log_syslog_addr));
    zlt_log_syslog_addr.sun_family = AF_UNIX;

    if (path) {
        (void) snprintf(zlt_log_syslog_addr.sun_path,
                        sizeof(zlt_log_syslog_addr.sun_path), "%s", path);
    }
}


int
zlt_log_syslog_is(void)
{
    return zlt_log_syslog_addr.sun_path[0] != '\0';
}


int
zlt_log_syslog_write(int priority, const char *line, size_t len)
{
    int        n, attempt;
    char       buf[ZLT_OUT_LINE + 64];
    size_t     head;
    time_t     now;
    struct tm  tm;

    now = time(NULL);
    localtime_r(&now, &tm);

    head = (size_t) snprintf(buf, sizeof(buf), "<%d>",
                             ZLT_LOG_SYSLOG_DAEMON | priority);
    head += strftime(buf + head, sizeof(buf) - head, "%b %e %H:%M:%S", &tm);
    n = snprintf(buf + head, sizeof(buf) - head, " zltunnel-agent[%ld]: ",
                 (long) getpid());
    head += (size_t) n;

    if (len > sizeof(buf) - head) {
        len = sizeof(buf) - head;
    }

    memcpy(buf + head, line, len);

    for (attempt = 0; attempt < 2; attempt++) {

        if (zlt_log_syslog_fd == -1 && zlt_log_syslog_open() == -1) {
            return -1;
        }

        if (send(zlt_log_syslog_fd, buf, head + len,
                 MSG_DONTWAIT|MSG_NOSIGNAL) != -1)
        {
            return 0;
        }

        if (errno == EAGAIN || errno == ENOBUFS) {
            return -1;
        }

        (void) close(zlt_log_syslog_fd);
        zlt_log_syslog_fd = -1;
    }

    return -1;
}


static int
zlt_log_syslog_open(void)
{
    int  fd;

    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }

    if (connect(fd, (const struct sockaddr *) (const void *)
                &zlt_log_syslog_addr, sizeof(zlt_log_syslog_addr)) == -1)
    {
        (void) close(fd);
        return -1;
    }

    zlt_log_syslog_fd = fd;

    return 0;
}
