
/*
 * Copyright (C) zltunnel authors
 */

/*
 * sd_notify(3) in so many lines; the protocol is the interface.  What is said
 * while the loop runs does not wait for systemd; READY=1 comes before that,
 * and must arrive.
 */


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
    int                  fd, flags;
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

    flags = strcmp(state, "READY=1") == 0 ? 0 : MSG_DONTWAIT;

    (void) sendto(fd, state, strlen(state), flags, (struct sockaddr *) &un,
                  (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len));
    (void) close(fd);
}
