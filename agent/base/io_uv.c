
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Readiness where there is no epoll, by uv_poll, which is level triggered:
 * we watch for exactly those events that are not known to be ready.
 */


#if !defined(__linux__) || defined(ZLT_IO_UV)


#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "io.h"
#include "io_limit.h"


/* libuv wants the handle to outlive the descriptor by a turn */

typedef struct {
    uv_poll_t    handle;
    zlt_io_t    *io;           /* NULL: closed */
    int          watched;      /* UV_READABLE|UV_WRITABLE|... */
} zlt_io_poll_t;


static int zlt_io_register(zlt_io_t *io, int fd, zlt_io_pt handler,
    unsigned ready);
static void zlt_io_event(uv_poll_t *handle, int status, int events);
static void zlt_io_watch(zlt_io_poll_t *poll);
static void zlt_io_closed(uv_handle_t *handle);
static void zlt_io_wake(void);
static void zlt_io_prepare(uv_prepare_t *handle);
static void zlt_io_idle(uv_idle_t *handle);
static void zlt_io_tasks(zlt_list_t *list);


static uv_loop_t    *zlt_io_loop;
static uv_idle_t     zlt_io_idler;
static uv_prepare_t  zlt_io_preparer;
static zlt_list_t    zlt_io_posted;
static zlt_list_t    zlt_io_trash;
static unsigned      zlt_io_count;


int
zlt_io_init(uv_loop_t *loop)
{
    zlt_list_init(&zlt_io_posted);
    zlt_list_init(&zlt_io_trash);

    zlt_io_loop = loop;

    /* an idle handle that is started keeps the loop from waiting */

    (void) uv_idle_init(loop, &zlt_io_idler);
    (void) uv_prepare_init(loop, &zlt_io_preparer);
    (void) uv_prepare_start(&zlt_io_preparer, zlt_io_prepare);

    return 0;
}


void
zlt_io_run(void)
{
    (void) uv_run(zlt_io_loop, UV_RUN_DEFAULT);
}


void
zlt_io_stop(void)
{
    uv_stop(zlt_io_loop);
}


void
zlt_io_done(void)
{
    /* the second time, after the loop's last turns, is for what they left */

    if (!uv_is_closing((uv_handle_t *) &zlt_io_idler)) {
        uv_close((uv_handle_t *) &zlt_io_idler, NULL);
        uv_close((uv_handle_t *) &zlt_io_preparer, NULL);
    }

    zlt_io_tasks(&zlt_io_trash);
}


uint64_t
zlt_io_now(void)
{
    return uv_now(zlt_io_loop);
}


static void
zlt_io_prepare(uv_prepare_t *handle)
{
    (void) handle;

    zlt_io_tasks(&zlt_io_posted);
    zlt_io_tasks(&zlt_io_trash);

    if (zlt_list_empty(&zlt_io_posted)) {
        (void) uv_idle_stop(&zlt_io_idler);
    }
}


static void
zlt_io_idle(uv_idle_t *handle)
{
    (void) handle;
}


static void
zlt_io_tasks(zlt_list_t *list)
{
    zlt_list_t   now, *link;
    zlt_task_t  *task;

    if (zlt_list_empty(list)) {
        return;
    }

    now = *list;
    now.next->prev = &now;
    now.prev->next = &now;
    zlt_list_init(list);

    while (!zlt_list_empty(&now)) {
        link = now.next;
        zlt_list_remove(link);

        task = zlt_list_data(link, zlt_task_t, link);
        task->handler(task);
    }
}


int
zlt_io_add(zlt_io_t *io, int fd, zlt_io_pt handler)
{
    return zlt_io_register(io, fd, handler, 0);
}


int
zlt_io_add_datagram(zlt_io_t *io, int fd, zlt_io_pt handler)
{
    return zlt_io_register(io, fd, handler, ZLT_IO_WRITE);
}


void
zlt_io_await_write(zlt_io_t *io, int on)
{
    if (on) {
        zlt_io_clear(io, ZLT_IO_WRITE);
    }
}


static int
zlt_io_register(zlt_io_t *io, int fd, zlt_io_pt handler, unsigned ready)
{
    int             rc;
    zlt_io_poll_t  *poll;

    poll = calloc(1, sizeof(zlt_io_poll_t));
    if (poll == NULL) {
        return -1;
    }

    rc = uv_poll_init(zlt_io_loop, &poll->handle, fd);

    if (rc != 0) {
        free(poll);
        errno = -rc;
        return -1;
    }

    poll->handle.data = poll;
    poll->io = io;

    io->fd = fd;
    io->ready = ready;
    io->handler = handler;
    io->poll = poll;

    zlt_io_count++;

    zlt_io_watch(poll);

    return 0;
}


int
zlt_io_move(zlt_io_t *to, zlt_io_t *from, zlt_io_pt handler)
{
    zlt_io_poll_t  *poll;

    poll = from->poll;
    poll->io = to;

    to->fd = from->fd;
    to->ready = from->ready;
    to->poll = poll;
    to->handler = handler;

    from->fd = -1;
    from->poll = NULL;

    return 0;
}


void
zlt_io_close(zlt_io_t *io)
{
    zlt_io_poll_t  *poll;

    if (io->fd == -1) {
        return;
    }

    poll = io->poll;
    poll->io = NULL;

    (void) uv_poll_stop(&poll->handle);
    uv_close((uv_handle_t *) &poll->handle, zlt_io_closed);

    (void) close(io->fd);

    io->fd = -1;
    io->ready = 0;
    io->poll = NULL;

    zlt_io_count--;
}


static void
zlt_io_closed(uv_handle_t *handle)
{
    free(handle->data);
}


void
zlt_io_clear(zlt_io_t *io, unsigned bits)
{
    io->ready &= ~bits;

    if (io->poll) {
        zlt_io_watch(io->poll);
    }
}


static void
zlt_io_watch(zlt_io_poll_t *poll)
{
    int  wanted;

    wanted = 0;

    if (!(poll->io->ready & ZLT_IO_READ)) {
        wanted |= UV_READABLE;
    }

    if (!(poll->io->ready & ZLT_IO_WRITE)) {
        wanted |= UV_WRITABLE;
    }

    if (wanted == poll->watched) {
        return;
    }

    poll->watched = wanted;

    if (wanted) {
        (void) uv_poll_start(&poll->handle, wanted, zlt_io_event);

    } else {
        (void) uv_poll_stop(&poll->handle);
    }
}


static void
zlt_io_event(uv_poll_t *handle, int status, int events)
{
    zlt_io_t       *io;
    zlt_io_poll_t  *poll;

    poll = handle->data;
    io = poll->io;

    if (io == NULL) {
        return;
    }

    if (status < 0) {
        /* libuv has stopped watching by itself */
        poll->watched = 0;
        io->ready |= ZLT_IO_READ|ZLT_IO_WRITE|ZLT_IO_HUP;
    }

    if (events & UV_READABLE) {
        io->ready |= ZLT_IO_READ;
    }

    if (events & UV_WRITABLE) {
        io->ready |= ZLT_IO_WRITE;
    }

    zlt_io_watch(poll);

    io->handler(io);
}


void
zlt_io_post(zlt_task_t *task)
{
    zlt_list_remove(&task->link);
    zlt_list_append(&zlt_io_posted, &task->link);

    zlt_io_wake();
}


void
zlt_io_later(zlt_task_t *task)
{
    zlt_list_remove(&task->link);
    zlt_list_append(&zlt_io_trash, &task->link);

    zlt_io_wake();
}


static void
zlt_io_wake(void)
{
    if (!uv_is_closing((uv_handle_t *) &zlt_io_idler)) {
        (void) uv_idle_start(&zlt_io_idler, zlt_io_idle);
    }
}


int
zlt_io_room(unsigned n)
{
    return zlt_io_limit_room(zlt_io_count, n);
}


int
zlt_io_ample(void)
{
    return zlt_io_limit_ample(zlt_io_count);
}


#else

typedef int  zlt_io_uv_unused_t;

#endif
