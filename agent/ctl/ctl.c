
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Clients of the control socket.
 *
 * There are few of them, and each has little time: to say its line, and to
 * take the answer.  What came behind the line is read and thrown away before
 * the close, or the answer would be lost with it.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "ctl.h"
#include "ctl_command.h"
#include "ctl_http.h"
#include "ctl_socket.h"
#include "log.h"
#include "often.h"
#include "process.h"
#include "relay.h"
#include "task.h"
#include "timer.h"


#define ZLT_CTL_CLIENTS  64            /* at once; others wait */
#define ZLT_CTL_READ     5             /* s, for the line */
#define ZLT_CTL_WRITE    10            /* s, for the answer */
#define ZLT_CTL_DRAIN    2             /* s, until the client closes */


typedef enum {
    ZLT_CTL_READING = 0,
    ZLT_CTL_RUNNING,                   /* the handler will answer */
    ZLT_CTL_WRITING,
    ZLT_CTL_DRAINING,
    ZLT_CTL_CLOSED
} zlt_ctl_state_e;


/* a client, with its request */

typedef struct {
    zlt_ctl_request_t  request;        /* first: handlers get its address */

    zlt_conn_t       conn;
    zlt_list_t       link;             /* ctl->requests */
    zlt_timer_t      timer;
    zlt_task_t       task;
    uint8_t          state;
    char             in[ZLT_CTL_REQUEST];
    size_t           len;
    char             head[32];
    size_t           head_len;
    size_t           sent;             /* of head and text together */
} zlt_ctl_peer_t;


struct zlt_ctl_s {
    zlt_process_t   *process;
    zlt_io_t         io;               /* the listening socket */
    int              lock;
    char             path[ZLT_CTL_PATH_SIZE];
    zlt_task_t       task;
    zlt_list_t       requests;
    unsigned         nrequests;
    unsigned         again:1;          /* accept() failed for want of
                                          something */
};


static int zlt_ctl_start(zlt_process_t *p);
static int zlt_ctl_reload(zlt_process_t *p, const zlt_conf_t *conf,
    char *error);
static void zlt_ctl_stop(zlt_process_t *p);
static void zlt_ctl_tick(zlt_process_t *p);
static int zlt_ctl_open(zlt_process_t *p, const char *path, char *error);
static void zlt_ctl_accept(zlt_io_t *io);
static void zlt_ctl_stopped(zlt_task_t *task);
static void zlt_ctl_accept_turn(zlt_task_t *task);
static int zlt_ctl_client(zlt_ctl_t *c, int fd);
static void zlt_ctl_event(zlt_io_t *io);
static void zlt_ctl_read(zlt_ctl_peer_t *r);
static void zlt_ctl_line(zlt_ctl_peer_t *r, size_t len);
static void zlt_ctl_answer(zlt_ctl_request_t *request, const char *result);
static void zlt_ctl_write_turn(zlt_task_t *task);
static void zlt_ctl_write(zlt_ctl_peer_t *r);
static void zlt_ctl_discard(zlt_ctl_peer_t *r);
static void zlt_ctl_expired(zlt_timer_t *timer);
static void zlt_ctl_close(zlt_ctl_peer_t *r);
static void zlt_ctl_freed(zlt_task_t *task);


const zlt_process_ctl_t  zlt_ctl_process = {
    zlt_ctl_start,
    zlt_ctl_reload,
    zlt_ctl_stop,
    zlt_ctl_tick
};


static int
zlt_ctl_start(zlt_process_t *p)
{
    char         path[ZLT_CTL_PATH_SIZE], error[ZLT_CONF_ERROR_SIZE];
    const char  *asked;

    if (zlt_ctl_http_open(p, &p->config->agent, error) == -1) {
        zlt_log_complain("%s", error);
        return 1;
    }

    asked = p->config->agent.control;

    if (asked) {
        if (strcmp(asked, ZLT_CTL_NONE) == 0
            || zlt_ctl_open(p, asked, error) == 0)
        {
            return 0;
        }

        zlt_log_complain("the control socket \"%s\": %s", asked, error);
        return 1;
    }

    if (zlt_ctl_socket_path(path, 1) == -1) {
        zlt_log_info("\"status\" and the like cannot ask this agent: "
                     "XDG_RUNTIME_DIR is not set, and there is no --control");
        return 0;
    }

    if (zlt_ctl_open(p, path, error) == -1) {
        zlt_log_info("there is no control socket: %s: %s", path, error);
    }

    return 0;
}


/* The control socket stays where it is. */

static int
zlt_ctl_reload(zlt_process_t *p, const zlt_conf_t *conf, char *error)
{
    return zlt_ctl_http_open(p, conf, error);
}


static int
zlt_ctl_open(zlt_process_t *p, const char *path, char *error)
{
    int         fd, lock;
    zlt_ctl_t  *c;

    fd = zlt_ctl_socket_listen(path, 0600, &lock, error);

    if (fd == -1) {
        return -1;
    }

    c = calloc(1, sizeof(zlt_ctl_t));

    if (c == NULL || zlt_io_add(&c->io, fd, zlt_ctl_accept) == -1) {
        (void) strcpy(error, "out of memory");
        (void) unlink(path);
        (void) close(fd);
        (void) close(lock);
        free(c);
        return -1;
    }

    c->process = p;
    c->io.data = c;
    c->lock = lock;
    (void) strcpy(c->path, path);
    zlt_list_init(&c->requests);
    zlt_list_init(&c->task.link);

    p->ctl = c;

    return 0;
}


static void
zlt_ctl_stop(zlt_process_t *p)
{
    zlt_ctl_t       *c;
    zlt_list_t      *link, *next;
    zlt_ctl_peer_t  *r;

    zlt_ctl_http_stop(p);

    c = p->ctl;

    if (c == NULL) {
        return;
    }

    p->ctl = NULL;

    /* the lock file stays: to remove it would be a race with the next one */

    (void) unlink(c->path);
    zlt_io_close(&c->io);
    (void) close(c->lock);

    /* one of them may have asked for what ends us */

    zlt_list_each_safe(link, next, &c->requests) {
        r = zlt_list_data(link, zlt_ctl_peer_t, link);

        if (r->state == ZLT_CTL_WRITING) {
            zlt_ctl_write(r);
        }

        zlt_ctl_close(r);
    }

    c->task.handler = zlt_ctl_stopped;
    zlt_io_later(&c->task);
}


static void
zlt_ctl_stopped(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_ctl_t, task));
}


static void
zlt_ctl_tick(zlt_process_t *p)
{
    if (p->ctl && p->ctl->again) {
        zlt_ctl_accept(&p->ctl->io);
    }

    zlt_ctl_http_tick(p);
}


static void
zlt_ctl_accept_turn(zlt_task_t *task)
{
    zlt_ctl_accept(&zlt_list_data(task, zlt_ctl_t, task)->io);
}


static void
zlt_ctl_accept(zlt_io_t *io)
{
    int         fd;
    zlt_ctl_t  *c;

    c = io->data;
    c->again = 0;

    while (c->nrequests < ZLT_CTL_CLIENTS) {

        fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (fd == -1) {

            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }

            c->again = (errno != EAGAIN);
            zlt_io_clear(io, ZLT_IO_READ);
            return;
        }

        if (zlt_ctl_client(c, fd) == -1) {
            (void) close(fd);
        }
    }

    /* goes on when one of them has left */
}


static int
zlt_ctl_client(zlt_ctl_t *c, int fd)
{
    zlt_ctl_peer_t  *r;

    r = calloc(1, sizeof(zlt_ctl_peer_t));
    if (r == NULL) {
        return -1;
    }

    zlt_conn_init(&r->conn);
    zlt_timer_init(&r->timer);
    zlt_list_init(&r->task.link);

    if (zlt_io_add(&r->conn.io, fd, zlt_ctl_event) == -1) {
        free(r);
        return -1;
    }

    r->conn.io.data = r;
    r->request.process = c->process;

    zlt_list_append(&c->requests, &r->link);
    c->nrequests++;

    if (!zlt_ctl_socket_peer(fd)) {
        zlt_often_warn("", "", "the control socket: another user is refused");
        zlt_ctl_fail(&r->request,
                     "only the agent's user and root may do that");
        return 0;
    }

    zlt_timer_start(&r->timer, ZLT_CTL_READ, zlt_ctl_expired);

    return 0;
}


static void
zlt_ctl_event(zlt_io_t *io)
{
    zlt_ctl_peer_t  *r;

    r = io->data;

    switch (r->state) {

    case ZLT_CTL_READING:
        zlt_ctl_read(r);
        return;

    case ZLT_CTL_RUNNING:
        /* it may have gone, or merely have shut its side */

        if (io->ready & ZLT_IO_HUP) {
            zlt_ctl_discard(r);
        }

        return;

    case ZLT_CTL_WRITING:
        zlt_ctl_write(r);
        return;

    case ZLT_CTL_DRAINING:
        zlt_ctl_discard(r);
    }
}


static void
zlt_ctl_read(zlt_ctl_peer_t *r)
{
    char     *end;
    ssize_t   n;

    for ( ;; ) {
        n = zlt_conn_read(&r->conn, r->in + r->len, ZLT_CTL_REQUEST - r->len);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            zlt_ctl_close(r);
            return;
        }

        end = memchr(r->in + r->len, '\n', (size_t) n);
        r->len += (size_t) n;

        if (end) {
            zlt_ctl_line(r, (size_t) (end - r->in));
            return;
        }

        if (r->len == ZLT_CTL_REQUEST) {
            zlt_ctl_fail(&r->request, "the request is longer than %d bytes",
                         ZLT_CTL_REQUEST);
            return;
        }
    }
}


/* Splits it into words. */

static void
zlt_ctl_line(zlt_ctl_peer_t *r, size_t len)
{
    char    *word, *rest;
    size_t   i;

    zlt_timer_stop(&r->timer);

    for (i = 0; i < len; i++) {
        if ((unsigned char) r->in[i] < 0x20 || r->in[i] == 0x7f) {
            zlt_ctl_fail(&r->request, "the request is not a line of text");
            return;
        }
    }

    r->in[len] = '\0';

    for (word = strtok_r(r->in, " ", &rest); word;
         word = strtok_r(NULL, " ", &rest))
    {
        if (r->request.nwords == ZLT_CTL_WORDS) {
            zlt_ctl_fail(&r->request, "the request has too many words");
            return;
        }

        r->request.words[r->request.nwords++] = word;
    }

    r->state = ZLT_CTL_RUNNING;

    zlt_ctl_command(&r->request);
}


void
zlt_ctl_fail(zlt_ctl_request_t *r, const char *fmt, ...)
{
    char     text[ZLT_CONF_ERROR_SIZE];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    zlt_text_free(&r->text);
    zlt_text_printf(&r->text, "%s", text);

    zlt_ctl_answer(r, "FAIL");
}


void
zlt_ctl_done(zlt_ctl_request_t *r)
{
    if (r->text.failed) {
        zlt_ctl_fail(r, "out of memory");
        return;
    }

    zlt_ctl_answer(r, "OK");
}


/* Later, so that r is there until its handler has returned. */

static void
zlt_ctl_answer(zlt_ctl_request_t *request, const char *result)
{
    zlt_ctl_peer_t  *r;

    r = zlt_list_data(request, zlt_ctl_peer_t, request);

    request->cancel = NULL;
    r->state = ZLT_CTL_WRITING;

    r->head_len = (size_t) snprintf(r->head, sizeof(r->head), "%s %zu\n",
                                    result, request->text.len);

    zlt_timer_start(&r->timer, ZLT_CTL_WRITE, zlt_ctl_expired);

    r->task.handler = zlt_ctl_write_turn;
    zlt_io_post(&r->task);
}


static void
zlt_ctl_write_turn(zlt_task_t *task)
{
    zlt_ctl_write(zlt_list_data(task, zlt_ctl_peer_t, task));
}


static void
zlt_ctl_write(zlt_ctl_peer_t *r)
{
    size_t       len;
    ssize_t      n;
    const char  *data;

    for ( ;; ) {

        if (r->sent < r->head_len) {
            data = r->head + r->sent;
            len = r->head_len - r->sent;

        } else {
            data = r->request.text.data + (r->sent - r->head_len);
            len = r->request.text.len - (r->sent - r->head_len);
        }

        if (len == 0) {
            break;
        }

        n = zlt_conn_write(&r->conn, data, len);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n < 0) {
            zlt_ctl_close(r);
            return;
        }

        r->sent += (size_t) n;
    }

    (void) zlt_conn_shutdown(&r->conn);

    r->state = ZLT_CTL_DRAINING;
    zlt_timer_start(&r->timer, ZLT_CTL_DRAIN, zlt_ctl_expired);

    zlt_ctl_discard(r);
}


static void
zlt_ctl_discard(zlt_ctl_peer_t *r)
{
    char     buf[1024];
    ssize_t  n;

    do {
        n = zlt_conn_read(&r->conn, buf, sizeof(buf));
    } while (n > 0);

    if (n == ZLT_CONN_AGAIN || (n == 0 && r->state == ZLT_CTL_RUNNING)) {
        return;
    }

    zlt_ctl_close(r);
}


static void
zlt_ctl_expired(zlt_timer_t *timer)
{
    zlt_ctl_peer_t  *r;

    r = zlt_list_data(timer, zlt_ctl_peer_t, timer);

    if (r->state == ZLT_CTL_READING) {
        zlt_ctl_fail(&r->request, "no request came within %d s", ZLT_CTL_READ);
        return;
    }

    zlt_ctl_close(r);
}


static void
zlt_ctl_close(zlt_ctl_peer_t *r)
{
    zlt_ctl_t  *c;

    if (r->state == ZLT_CTL_CLOSED) {
        return;
    }

    if (r->request.cancel) {
        r->request.cancel(&r->request);
    }

    r->state = ZLT_CTL_CLOSED;

    zlt_timer_stop(&r->timer);
    zlt_conn_close(&r->conn);
    zlt_list_remove(&r->link);
    zlt_text_free(&r->request.text);

    r->task.handler = zlt_ctl_freed;
    zlt_io_later(&r->task);

    c = r->request.process->ctl;

    if (c == NULL) {
        return;
    }

    /* others may have waited for its place */

    if (c->nrequests-- == ZLT_CTL_CLIENTS) {
        c->task.handler = zlt_ctl_accept_turn;
        zlt_io_post(&c->task);
    }
}


static void
zlt_ctl_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_ctl_peer_t, task));
}
