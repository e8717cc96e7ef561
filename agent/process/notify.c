
/*
 * Copyright (C) zltunnel authors
 */

/* sd_notify(3) in so many lines; the protocol is the interface. */


#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify.h"


void
zlt_notify(const char *state)
{
    int                  fd;
    size_t               len;
    const char          *path;
    struct sockaddr_un   un;

    path = getenv("NOTIFY_SOCKET");

    if (path == NULL || (*path != '/' && *path != '@')) {
        return;
    }

    len = strlen(path);

    if (len >= sizeof(un.sun_path)) {
        return;
    }

    memset(&un, 0, sizeof(struct sockaddr_un));
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, path, len);

    if (*path == '@') {
        un.sun_path[0] = '\0';
    }

    fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    if (fd == -1) {
        return;
    }

    (void) sendto(fd, state, strlen(state), 0, (struct sockaddr *) &un,
                  (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len));
    (void) close(fd);
}
