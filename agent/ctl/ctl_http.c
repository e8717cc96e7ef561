
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The metrics' place: HTTP for those who scrape it, and for nobody else.
 *
 * There are few clients, and each has little time for its request and for
 * taking the answer; others wait until one of them has left.  A connection has
 * one request.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "addr.h"
#include "conf.h"
#include "config.h"
#include "conn.h"
#include "ctl_http.h"
#include "ctl_metrics.h"
#include "ctl_socket.h"
#include "log.h"
#include "process.h"
#include "task.h"
#include "timer.h"


#define ZLT_CTL_HTTP_CLIENTS  16       /* at once; others wait */
#define ZLT_CTL_HTTP_BACKLOG  64
#define ZLT_CTL_HTTP_REQUEST  8192     /* bytes */
#define ZLT_CTL_HTTP_TIME     10       /* s, for all of it */
#define ZLT_CTL_HTTP_DRAIN    2        /* s, until the client closes */
#define ZLT_CTL_HTTP_PATH     "/metrics"


typedef enum {
    ZLT_CTL_HTTP_READING = 0,
    ZLT_CTL_HTTP_WRITING,
    ZLT_CTL_HTTP_DRAINING,
    ZLT_CTL_HTTP_CLOSED
} zlt_ctl_http_state_e;


struct zlt_ctl_http_s {
    zlt_process_t   *process;
    zlt_io_t         io;               /* the listening socket */
    zlt_addr_t       addr;
    int              lock;             /* of a UNIX socket, or -1 */
    zlt_task_t       task;
    zlt_list_t       clients;
    unsigned         nclients;
    unsigned         again:1;          /* accept() failed for want of
                                          something */
};


typedef struct {
    zlt_conn_t       conn;
    zlt_ctl_http_t  *http;
    zlt_list_t       link;             /* http->clients */
    zlt_timer_t      timer;
    zlt_task_t       task;
    uint8_t          state;
    char             in[ZLT_CTL_HTTP_REQUEST];
    size_t           len;
    zlt_text_t       out;
    size_t           sent;
} zlt_ctl_http_client_t;


static int zlt_ctl_http_address(const char *text, zlt_addr_t *addr,
    const char **why);
static zlt_ctl_http_t *zlt_ctl_http_listen(zlt_process_t *p,
    const zlt_addr_t *addr, char *error);
static int zlt_ctl_http_socket(const zlt_addr_t *addr, int *lock,
    char *error);
static int zlt_ctl_http_socket_inet(const zlt_addr_t *addr, char *error);
static const char *zlt_ctl_http_unix(const zlt_addr_t *addr);
static void zlt_ctl_http_close(zlt_ctl_http_t *h);
static void zlt_ctl_http_closed(zlt_task_t *task);
static void zlt_ctl_http_accept(zlt_io_t *io);
static void zlt_ctl_http_accept_turn(zlt_task_t *task);
static int zlt_ctl_http_client(zlt_ctl_http_t *h, int fd);
static void zlt_ctl_http_event(zlt_io_t *io);
static void zlt_ctl_http_read(zlt_ctl_http_client_t *c);
static int zlt_ctl_http_head(const zlt_ctl_http_client_t *c);
static void zlt_ctl_http_request(zlt_ctl_http_client_t *c);
static void zlt_ctl_http_answer(zlt_ctl_http_client_t *c, const char *status,
    const char *fields, const char *body, size_t len);
static void zlt_ctl_http_refuse(zlt_ctl_http_client_t *c, const char *status,
    const char *fields);
static void zlt_ctl_http_write(zlt_ctl_http_client_t *c);
static void zlt_ctl_http_discard(zlt_ctl_http_client_t *c);
static void zlt_ctl_http_expired(zlt_timer_t *timer);
static void zlt_ctl_http_leave(zlt_ctl_http_client_t *c);
static void zlt_ctl_http_freed(zlt_task_t *task);


int
zlt_ctl_http_open(zlt_process_t *p, const zlt_conf_t *conf, char *error)
{
    const char      *local;
    char             text[ZLT_ADDR_TEXT];
    zlt_addr_t       addr;
    const char      *why;
    zlt_ctl_http_t  *h;

    h = NULL;

    if (conf->metrics) {

        if (zlt_ctl_http_address(conf->metrics, &addr, &why) == -1) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "the metrics at "
                            "\"%.150s\": %s", conf->metrics, why);
            return -1;
        }

        if (p->metrics && p->metrics->addr.len == addr.len
            && memcmp(&p->metrics->addr.addr, &addr.addr, addr.len) == 0)
        {
            return 0;
        }

        h = zlt_ctl_http_listen(p, &addr, error);

        if (h == NULL) {
            return -1;
        }
    }

    zlt_ctl_http_stop(p);

    p->metrics = h;

    if (h) {
        (void) zlt_addr_text(text, &h->addr);

        local = zlt_ctl_http_unix(&h->addr);

        zlt_log_info("the metrics are at %s%s%s", local ? "" : "http://",
                     text, local ? "" : ZLT_CTL_HTTP_PATH);
    }

    return 0;
}


/* The key has been checked before. */

static int
zlt_ctl_http_address(const char *text, zlt_addr_t *addr, const char **why)
{
    zlt_addrs_t        addrs;
    zlt_access_conf_t  a;

    zlt_option_access_init(&a);

    if (zlt_option_access_local(text, &a, why) == -1) {
        return -1;
    }

    memset(&addrs, 0, sizeof(zlt_addrs_t));

    if (a.is_unix) {
        zlt_addr_unix(&addrs, a.host);

    } else if (zlt_addr_numeric(&addrs, a.host, a.port) == -1) {
        *why = "it is not an address";
        return -1;
    }

    *addr = addrs.addrs[0];

    return 0;
}


static zlt_ctl_http_t *
zlt_ctl_http_listen(zlt_process_t *p, const zlt_addr_t *addr, char *error)
{
    int              fd, lock;
    char             why[ZLT_CONF_ERROR_SIZE], text[ZLT_ADDR_TEXT];
    zlt_ctl_http_t  *h;

    fd = zlt_ctl_http_socket(addr, &lock, why);

    if (fd == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "the metrics cannot be at "
                        "%.127s: %.300s", zlt_addr_text(text, addr), why);
        return NULL;
    }

    h = calloc(1, sizeof(zlt_ctl_http_t));

    if (h == NULL || zlt_io_add(&h->io, fd, zlt_ctl_http_accept) == -1) {
        (void) strcpy(error, "out of memory");
        (void) close(fd);

        if (lock != -1) {
            (void) unlink(zlt_ctl_http_unix(addr));
            (void) close(lock);
        }

        free(h);
        return NULL;
    }

    h->process = p;
    h->io.data = h;
    h->addr = *addr;
    h->lock = lock;
    zlt_list_init(&h->clients);
    zlt_list_init(&h->task.link);

    return h;
}


static int
zlt_ctl_http_socket(const zlt_addr_t *addr, int *lock, char *error)
{
    const char  *path;

    path = zlt_ctl_http_unix(addr);

    /* who may reach the directory may connect, as to a port of this machine */

    if (path) {
        return zlt_ctl_socket_listen(path, 0666, lock, error);
    }

    *lock = -1;

    return zlt_ctl_http_socket_inet(addr, error);
}


static int
zlt_ctl_http_socket_inet(const zlt_addr_t *addr, char *error)
{
    int  fd, on, err;

    fd = socket(addr->addr.sa.sa_family,
                SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (fd != -1) {
        on = 1;
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(int));

        if (addr->addr.sa.sa_family == AF_INET6) {
            (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(int));
        }

        if (bind(fd, &addr->addr.sa, addr->len) == 0
            && listen(fd, ZLT_CTL_HTTP_BACKLOG) == 0)
        {
            return fd;
        }
    }

    err = errno;

    if (fd != -1) {
        (void) close(fd);
    }

    (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%s%s", strerror(err),
                    err == EADDRINUSE
                    ? "; end the program that has it, or choose another port"
                    : err == EADDRNOTAVAIL
                    ? "; it is not an address of this machine"
                    : err == EACCES
                    ? "; ports below 1024 may need privilege" : "");

    return -1;
}


/* The path of a UNIX socket; NULL: it is none. */

static const char *
zlt_ctl_http_unix(const zlt_addr_t *addr)
{
    if (addr->addr.sa.sa_family != AF_UNIX) {
        return NULL;
    }

    return ((const struct sockaddr_un *) (const void *) &addr->addr)->sun_path;
}


void
zlt_ctl_http_stop(zlt_process_t *p)
{
    zlt_ctl_http_t  *h;

    h = p->metrics;
    p->metrics = NULL;

    if (h) {
        zlt_ctl_http_close(h);
    }
}


/* With its clients, whatever they wait for. */

static void
zlt_ctl_http_close(zlt_ctl_http_t *h)
{
    zlt_list_t             *link, *next;
    zlt_ctl_http_client_t  *c;

    if (h->lock != -1) {
        (void) unlink(zlt_ctl_http_unix(&h->addr));
        (void) close(h->lock);
    }

    zlt_io_close(&h->io);

    zlt_list_each_safe(link, next, &h->clients) {
        c = zlt_list_data(link, zlt_ctl_http_client_t, link);

        zlt_ctl_http_leave(c);
    }

    zlt_list_remove(&h->task.link);
    h->task.handler = zlt_ctl_http_closed;
    zlt_io_later(&h->task);
}


static void
zlt_ctl_http_closed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_ctl_http_t, task));
}


void
zlt_ctl_http_tick(zlt_process_t *p)
{
    if (p->metrics && p->metrics->again) {
        zlt_ctl_http_accept(&p->metrics->io);
    }
}


static void
zlt_ctl_http_accept_turn(zlt_task_t *task)
{
    zlt_ctl_http_accept(&zlt_list_data(task, zlt_ctl_http_t, task)->io);
}


static void
zlt_ctl_http_accept(zlt_io_t *io)
{
    int              fd;
    zlt_ctl_http_t  *h;

    h = io->data;
    h->again = 0;

    while (h->nclients < ZLT_CTL_HTTP_CLIENTS) {

        fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (fd == -1) {

            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }

            h->again = (errno != EAGAIN);
            zlt_io_clear(io, ZLT_IO_READ);
            return;
        }

        if (zlt_ctl_http_client(h, fd) == -1) {
            (void) close(fd);
        }
    }

    /* goes on when one of them has left */
}


static int
zlt_ctl_http_client(zlt_ctl_http_t *h, int fd)
{
    zlt_ctl_http_client_t  *c;

    c = calloc(1, sizeof(zlt_ctl_http_client_t));
    if (c == NULL) {
        return -1;
    }

    zlt_conn_init(&c->conn);
    zlt_timer_init(&c->timer);
    zlt_list_init(&c->task.link);

    if (zlt_io_add(&c->conn.io, fd, zlt_ctl_http_event) == -1) {
        free(c);
        return -1;
    }

    c->conn.io.data = c;
    c->http = h;

    zlt_list_append(&h->clients, &c->link);
    h->nclients++;

    zlt_timer_start(&c->timer, ZLT_CTL_HTTP_TIME, zlt_ctl_http_expired);

    return 0;
}


static void
zlt_ctl_http_event(zlt_io_t *io)
{
    zlt_ctl_http_client_t  *c;

    c = io->data;

    switch (c->state) {

    case ZLT_CTL_HTTP_READING:
        zlt_ctl_http_read(c);
        return;

    case ZLT_CTL_HTTP_WRITING:
        zlt_ctl_http_write(c);
        return;

    case ZLT_CTL_HTTP_DRAINING:
        zlt_ctl_http_discard(c);
    }
}


static void
zlt_ctl_http_read(zlt_ctl_http_client_t *c)
{
    int      rc;
    ssize_t  n;

    for ( ;; ) {
        n = zlt_conn_read(&c->conn, c->in + c->len,
                          ZLT_CTL_HTTP_REQUEST - c->len);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            zlt_ctl_http_leave(c);
            return;
        }

        c->len += (size_t) n;

        rc = zlt_ctl_http_head(c);

        if (rc == 1) {
            zlt_ctl_http_request(c);
            return;
        }

        if (rc == -1) {
            zlt_ctl_http_refuse(c, "400 Bad Request", "");
            return;
        }

        if (c->len == ZLT_CTL_HTTP_REQUEST) {
            zlt_ctl_http_refuse(c, "431 Request Header Fields Too Large", "");
            return;
        }
    }
}


/* 1 if all of it is there, 0 if it is not yet, -1 if it is none. */

static int
zlt_ctl_http_head(const zlt_ctl_http_client_t *c)
{
    size_t         i;
    unsigned       line;
    unsigned char  ch;

    line = 0;

    for (i = 0; i < c->len; i++) {
        ch = (unsigned char) c->in[i];

        if (ch == '\n') {

            if (i == 0) {
                return -1;
            }

            if (line == 0) {
                return 1;
            }

            line = 0;

        } else if (ch != '\r') {

            if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
                return -1;
            }

            line++;
        }
    }

    return 0;
}


static void
zlt_ctl_http_request(zlt_ctl_http_client_t *c)
{
    int          get;
    char        *path, *version, *end;
    zlt_text_t   body;

    end = memchr(c->in, '\n', c->len);
    end -= (end > c->in && end[-1] == '\r');
    *end = '\0';

    path = strchr(c->in, ' ');
    version = path ? strchr(path + 1, ' ') : NULL;

    if (version == NULL || path[1] != '/'
        || strncmp(version + 1, "HTTP/1.", 7) != 0)
    {
        zlt_ctl_http_refuse(c, "400 Bad Request", "");
        return;
    }

    *path++ = '\0';
    *version = '\0';
    path[strcspn(path, "?")] = '\0';

    if (strcmp(path, ZLT_CTL_HTTP_PATH) != 0 && strcmp(path, "/") != 0) {
        zlt_ctl_http_refuse(c, "404 Not Found", "");
        return;
    }

    get = (strcmp(c->in, "GET") == 0);

    if (!get && strcmp(c->in, "HEAD") != 0) {
        zlt_ctl_http_refuse(c, "405 Method Not Allowed",
                            "Allow: GET, HEAD\r\n");
        return;
    }

    memset(&body, 0, sizeof(zlt_text_t));

    if (path[1]) {
        zlt_ctl_metrics(c->http->process, &body);

    } else {
        zlt_text_printf(&body, "zltunnel-agent: the metrics are at "
                        ZLT_CTL_HTTP_PATH "\n");
    }

    if (body.failed) {
        zlt_ctl_http_refuse(c, "503 Service Unavailable", "");

    } else {
        zlt_ctl_http_answer(c, "200 OK",
                            path[1] ? "Content-Type: text/plain; "
                                      "version=0.0.4; charset=utf-8\r\n"
                                    : "Content-Type: text/plain\r\n",
                            get ? body.data : NULL, body.len);
    }

    zlt_text_free(&body);
}


static void
zlt_ctl_http_refuse(zlt_ctl_http_client_t *c, const char *status,
    const char *fields)
{
    char  body[64], head[128];

    (void) snprintf(body, sizeof(body), "%s\n", status);
    (void) snprintf(head, sizeof(head), "Content-Type: text/plain\r\n%s",
                    fields);

    zlt_ctl_http_answer(c, status, head, body, strlen(body));
}


/* fields: a line each, with its end; body NULL: none, though of that length */

static void
zlt_ctl_http_answer(zlt_ctl_http_client_t *c, const char *status,
    const char *fields, const char *body, size_t len)
{
    zlt_text_printf(&c->out, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n"
                    "Connection: close\r\n\r\n", status, fields, len);

    if (body) {
        zlt_text_append(&c->out, body, len);
    }

    if (c->out.failed) {
        zlt_ctl_http_leave(c);
        return;
    }

    c->state = ZLT_CTL_HTTP_WRITING;

    zlt_ctl_http_write(c);
}


static void
zlt_ctl_http_write(zlt_ctl_http_client_t *c)
{
    ssize_t  n;

    while (c->sent < c->out.len) {
        n = zlt_conn_write(&c->conn, c->out.data + c->sent,
                           c->out.len - c->sent);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n < 0) {
            zlt_ctl_http_leave(c);
            return;
        }

        c->sent += (size_t) n;
    }

    (void) zlt_conn_shutdown(&c->conn);

    c->state = ZLT_CTL_HTTP_DRAINING;
    zlt_timer_start(&c->timer, ZLT_CTL_HTTP_DRAIN, zlt_ctl_http_expired);

    zlt_ctl_http_discard(c);
}


/* What came behind the request would have the close reset the connection, and
   the answer be lost with it. */

static void
zlt_ctl_http_discard(zlt_ctl_http_client_t *c)
{
    char     buf[4096];
    ssize_t  n;

    while (zlt_io_may_read(&c->conn.io)) {
        n = zlt_conn_read(&c->conn, buf, sizeof(buf));

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            zlt_ctl_http_leave(c);
            return;
        }

        zlt_io_have_read(&c->conn.io, (size_t) n);
    }
}


static void
zlt_ctl_http_expired(zlt_timer_t *timer)
{
    zlt_ctl_http_client_t  *c;

    c = zlt_list_data(timer, zlt_ctl_http_client_t, timer);

    if (c->state == ZLT_CTL_HTTP_READING) {
        zlt_ctl_http_refuse(c, "408 Request Timeout", "");
        return;
    }

    zlt_ctl_http_leave(c);
}


static void
zlt_ctl_http_leave(zlt_ctl_http_client_t *c)
{
    zlt_ctl_http_t  *h;

    if (c->state == ZLT_CTL_HTTP_CLOSED) {
        return;
    }

    c->state = ZLT_CTL_HTTP_CLOSED;

    zlt_timer_stop(&c->timer);
    zlt_conn_close(&c->conn);
    zlt_list_remove(&c->link);
    zlt_text_free(&c->out);

    c->task.handler = zlt_ctl_http_freed;
    zlt_io_later(&c->task);

    h = c->http;

    /* others may have waited for its place */

    if (h->nclients-- == ZLT_CTL_HTTP_CLIENTS && h->io.fd != -1) {
        h->task.handler = zlt_ctl_http_accept_turn;
        zlt_io_post(&h->task);
    }
}


static void
zlt_ctl_http_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_ctl_http_client_t, task));
}
