
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the talk with a proxy, HTTP and SOCKS 5, against whatever a proxy
 * may answer: it comes to an end with the answers, has a text for a failure,
 * and asks for nothing that was not asked for.
 *
 * The first byte of an input is the kind of proxy, whether there is a user,
 * and the server's address; the second how many bytes come at a time.
 */


#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "conn.h"
#include "io.h"
#include "proxy.h"
#include "talk.h"


static const char *const  talk_hosts[] = {
    "tunnel.example.com", "192.0.2.1", "2001:db8::1", "x"
};


static void
talk_drain(int fd)
{
    uint8_t  buf[4096];

    while (read(fd, buf, sizeof(buf)) > 0) { /* void */ }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int          rc, fds[2], told;
    char         error[ZLT_PROXY_ERROR_SIZE];
    size_t       most, n;
    zlt_proxy_t  via;
    zlt_conn_t   c;
    zlt_talk_t  *t;

    if (size < 2) {
        return 0;
    }

    memset(&via, 0, sizeof(via));
    memset(&c, 0, sizeof(c));

    via.kind = (data[0] & 1) ? ZLT_PROXY_HTTP : ZLT_PROXY_SOCKS5H;
    via.has_user = (unsigned) (data[0] >> 1) & 1u;
    via.port = 1080;
    (void) strcpy(via.host, "proxy");
    (void) strcpy(via.name, "proxy:1080");
    (void) strcpy(via.source, "a test");

    if (via.has_user) {
        (void) strcpy(via.user, "user");
        memset(via.password, 'p', (data[0] & 4) ? ZLT_PROXY_USER_MAX : 5);
    }

    t = zlt_talk_create(&via, talk_hosts[(data[0] >> 4) & 3], 443);
    must(t != NULL);

    must(socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, fds)
         == 0);

    zlt_conn_init(&c);
    c.io.fd = fds[0];

    most = 1 + data[1];
    data += 2;
    size -= 2;

    told = memmem(data, size, "ppppp", 5) != NULL;

    for ( ;; ) {
        c.io.ready = ZLT_IO_READ|ZLT_IO_WRITE;
        error[0] = '\0';

        rc = zlt_talk_step(t, &c, error);

        talk_drain(fds[1]);

        if (rc != ZLT_CONN_AGAIN) {
            break;
        }

        if (size == 0) {
            (void) shutdown(fds[1], SHUT_WR);
            c.io.ready = ZLT_IO_READ|ZLT_IO_WRITE|ZLT_IO_HUP;
            rc = zlt_talk_step(t, &c, error);
            must(rc == ZLT_CONN_ERROR);
            break;
        }

        n = size < most ? size : most;
        must(write(fds[1], data, n) == (ssize_t) n);
        data += n;
        size -= n;
    }

    must(rc == 0 || rc == ZLT_CONN_ERROR);
    must(rc == 0 || (error[0] && strlen(error) < sizeof(error)));

    /* the proxy's words are told, the password only if it is in them */

    must(strstr(error, "ppppp") == NULL || told);

    (void) zlt_talk_unreachable(t);
    zlt_talk_free(t);

    (void) close(fds[0]);
    (void) close(fds[1]);

    return 0;
}
