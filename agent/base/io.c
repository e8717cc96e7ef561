
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Readiness, by epoll.
 *
 * libuv's own uv_poll is level triggered and changes its interest with a
 * system call each time, two a message in a relay.  So the loop is turned
 * inside out: an epoll descriptor of ours, edge triggered, carries all the
 * connections, and libuv's backend descriptor is one of those in it.  libuv
 * runs, without waiting, when that one fires or a timer of its is due.
 */


#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io.h"
#include "io_limit.h"
#include "task.h"
#include "zlt_list.h"


#define ZLT_IO_EVENTS  256


static int          zlt_io_ep = -1;
static int          zlt_io_stopped;
static uv_loop_t   *zlt_io_loop;
static zlt_list_t   zlt_io_posted;
static zlt_list_t   zlt_io_trash;
static unsigned     zlt_io_count;
static uint32_t     zlt_io_turns;


static int zlt_io_register(zlt_io_t *io, int fd, zlt_io_pt handler,
    uint32_t events);
static int zlt_io_wait(void);
static void zlt_io_tasks(zlt_list_t *list);
static void zlt_io_share(zlt_io_t *io);
static void zlt_io_yield(zlt_io_t *io);
static void zlt_io_again(zlt_task_t *task);


int
zlt_io_init(uv_loop_t *loop)
{
    struct epoll_event  ee;

    zlt_list_init(&zlt_io_posted);
    zlt_list_init(&zlt_io_trash);

    zlt_io_loop = loop;
    zlt_io_stopped = 0;
    zlt_io_ep = epoll_create1(EPOLL_CLOEXEC);

    if (zlt_io_ep == -1) {
        return -1;
    }

    ee.events = EPOLLIN;
    ee.data.ptr = NULL;

    return epoll_ctl(zlt_io_ep, EPOLL_CTL_ADD, uv_backend_fd(loop), &ee);
}


void
zlt_io_run(void)
{
    int  run_uv;

    while (!zlt_io_stopped) {
        zlt_io_turns++;

        run_uv = zlt_io_wait();

        zlt_io_tasks(&zlt_io_posted);

        /* 0: a timer is due, or handles were opened that libuv has not
           registered yet */

        if (run_uv || uv_backend_timeout(zlt_io_loop) == 0) {
            uv_run(zlt_io_loop, UV_RUN_NOWAIT);
        }

        zlt_io_tasks(&zlt_io_trash);
    }

    zlt_io_stopped = 0;
}


/* Returns 1 if libuv has something to do. */

static int
zlt_io_wait(void)
{
    int                  i, n, timeout, run_uv;
    unsigned             ready;
    zlt_io_t            *io;
    struct epoll_event   events[ZLT_IO_EVENTS];

    timeout = zlt_list_empty(&zlt_io_posted) ? uv_backend_timeout(zlt_io_loop)
                                             : 0;

    n = epoll_wait(zlt_io_ep, events, ZLT_IO_EVENTS, timeout);

    uv_update_time(zlt_io_loop);

    run_uv = 0;

    for (i = 0; i < n; i++) {
        io = events[i].data.ptr;

        if (io == NULL) {
            run_uv = 1;
            continue;
        }

        if (io->fd == -1) {
            /* closed by the handler of an earlier event */
            continue;
        }

        ready = 0;

        if (events[i].events & (EPOLLIN|EPOLLRDHUP|EPOLLHUP|EPOLLERR)) {
            ready |= ZLT_IO_READ;
        }

        if (events[i].events & (EPOLLOUT|EPOLLHUP|EPOLLERR)) {
            ready |= ZLT_IO_WRITE;
        }

        if (events[i].events & (EPOLLRDHUP|EPOLLHUP|EPOLLERR)) {
            ready |= ZLT_IO_HUP;
        }

        io->ready |= ready;
        io->handler(io);
    }

    return run_uv;
}


/* Those that are added meanwhile wait for the next time. */

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


void
zlt_io_stop(void)
{
    zlt_io_stopped = 1;
}


void
zlt_io_done(void)
{
    zlt_io_tasks(&zlt_io_trash);

    if (zlt_io_ep != -1) {
        (void) close(zlt_io_ep);
        zlt_io_ep = -1;
    }
}


uint64_t
zlt_io_now(void)
{
    return uv_now(zlt_io_loop);
}


int
zlt_io_add(zlt_io_t *io, int fd, zlt_io_pt handler)
{
    return zlt_io_register(io, fd, handler,
                           EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET);
}


int
zlt_io_add_datagram(zlt_io_t *io, int fd, zlt_io_pt handler)
{
    if (zlt_io_register(io, fd, handler, EPOLLIN|EPOLLET) == -1) {
        return -1;
    }

    io->ready = ZLT_IO_WRITE;

    return 0;
}


void
zlt_io_await_write(zlt_io_t *io, int on)
{
    struct epoll_event  ee;

    if (on) {
        zlt_io_clear(io, ZLT_IO_WRITE);
    }

    ee.events = on ? EPOLLIN|EPOLLOUT|EPOLLET : EPOLLIN|EPOLLET;
    ee.data.ptr = io;

    (void) epoll_ctl(zlt_io_ep, EPOLL_CTL_MOD, io->fd, &ee);
}


static int
zlt_io_register(zlt_io_t *io, int fd, zlt_io_pt handler, uint32_t events)
{
    struct epoll_event  ee;

    ee.events = events;
    ee.data.ptr = io;

    if (epoll_ctl(zlt_io_ep, EPOLL_CTL_ADD, fd, &ee) == -1) {
        return -1;
    }

    io->fd = fd;
    io->ready = 0;
    io->handler = handler;
    io->turn = zlt_io_turns;
    io->messages = 0;
    io->bytes = 0;

    zlt_list_init(&io->again.link);

    zlt_io_count++;

    return 0;
}


int
zlt_io_move(zlt_io_t *to, zlt_io_t *from, zlt_io_pt handler)
{
    struct epoll_event  ee;

    ee.events = EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET;
    ee.data.ptr = to;

    if (epoll_ctl(zlt_io_ep, EPOLL_CTL_MOD, from->fd, &ee) == -1) {
        return -1;
    }

    to->fd = from->fd;
    to->ready = from->ready;
    to->handler = handler;
    to->turn = from->turn;
    to->messages = from->messages;
    to->bytes = from->bytes;

    zlt_list_init(&to->again.link);

    if (!zlt_list_empty(&from->again.link)) {
        zlt_list_remove(&from->again.link);
        zlt_io_yield(to);
    }

    from->fd = -1;

    return 0;
}


void
zlt_io_close(zlt_io_t *io)
{
    if (io->fd == -1) {
        return;
    }

    zlt_list_remove(&io->again.link);

    /* nobody holds a duplicate, so epoll forgets it by itself */

    (void) close(io->fd);

    io->fd = -1;
    io->ready = 0;

    zlt_io_count--;
}


int
zlt_io_may_read(zlt_io_t *io)
{
    zlt_io_share(io);

    if (io->bytes < ZLT_IO_BYTES && io->messages < ZLT_IO_MESSAGES) {
        return 1;
    }

    zlt_io_yield(io);

    return 0;
}


void
zlt_io_have_read(zlt_io_t *io, size_t bytes)
{
    io->bytes += bytes;
}


int
zlt_io_message(zlt_io_t *io)
{
    zlt_io_share(io);

    if (++io->messages < ZLT_IO_MESSAGES) {
        return 1;
    }

    zlt_io_yield(io);

    return 0;
}


static void
zlt_io_share(zlt_io_t *io)
{
    if (io->turn != zlt_io_turns) {
        io->turn = zlt_io_turns;
        io->messages = 0;
        io->bytes = 0;
    }
}


static void
zlt_io_yield(zlt_io_t *io)
{
    if (io->fd != -1 && zlt_list_empty(&io->again.link)) {
        io->again.handler = zlt_io_again;
        zlt_io_post(&io->again);
    }
}


static void
zlt_io_again(zlt_task_t *task)
{
    zlt_io_t  *io;

    io = zlt_list_data(task, zlt_io_t, again);

    io->handler(io);
}


void
zlt_io_post(zlt_task_t *task)
{
    zlt_list_remove(&task->link);
    zlt_list_append(&zlt_io_posted, &task->link);
}


void
zlt_io_later(zlt_task_t *task)
{
    zlt_list_remove(&task->link);
    zlt_list_append(&zlt_io_trash, &task->link);
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
