
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Readiness of descriptors, edge triggered.
 *
 * Each descriptor is registered once, for reading and writing.  An event
 * raises bits in "ready" and calls the handler; whoever meets EAGAIN clears
 * the bit with zlt_io_clear().  That costs no system call, and a wake-up costs
 * one epoll_wait(): our epoll descriptor is the outer one, and libuv's, for
 * timers and signals, is inside it.
 */


#ifndef ZLT_IO_H_INCLUDED
#define ZLT_IO_H_INCLUDED


#include <stdint.h>
#include <uv.h>

#include "task.h"
#include "types.h"


#define ZLT_IO_READ   0x01
#define ZLT_IO_WRITE  0x02
#define ZLT_IO_HUP    0x04     /* the peer has ended or failed: read on until
                                  0 or an error, a short read is not the last;
                                  stays set */

typedef struct zlt_io_s  zlt_io_t;

typedef void (*zlt_io_pt)(zlt_io_t *io);


/* a share of one turn of the loop, which is everybody's: what may be read from
   a peer, and how many of its messages may be acted on */

#define ZLT_IO_BYTES     65536
#define ZLT_IO_MESSAGES  64


struct zlt_io_s {
    int          fd;           /* -1: closed */
    unsigned     ready;        /* ZLT_IO_* */
    zlt_io_pt    handler;
    void        *data;         /* the handler's */

    uint32_t     turn;         /* of which what follows is */
    uint32_t     messages;
    size_t       bytes;
    zlt_task_t   again;        /* there is more than its share */
};


/* 0, or -1 with errno set */
int zlt_io_init(uv_loop_t *loop);

/* Turns the loop until zlt_io_stop(). */
void zlt_io_run(void);
void zlt_io_stop(void);

/* Frees what init has made; descriptors must have been closed. */
void zlt_io_done(void);

/* Milliseconds, monotonic; of the last wake-up. */
uint64_t zlt_io_now(void);

/*
 * Registers fd; io owns it from then on.  On error, -1 with errno set, the
 * descriptor is still the caller's.
 */
int zlt_io_add(zlt_io_t *io, int fd, zlt_io_pt handler);

/*
 * The same for a datagram socket.  Every datagram that leaves one makes an
 * event for whoever waits for writing.  So nobody does: ZLT_IO_WRITE is up
 * from the start, and zlt_io_await_write() asks for the event when a send was
 * answered with EAGAIN, and no more for it (0) when all is sent.
 */
int zlt_io_add_datagram(zlt_io_t *io, int fd, zlt_io_pt handler);
void zlt_io_await_write(zlt_io_t *io, int on);

/* Hands the descriptor of "from" over to "to", which takes its handler. */
int zlt_io_move(zlt_io_t *to, zlt_io_t *from, zlt_io_pt handler);

/*
 * Closes the descriptor.  The memory of io must stay until the end of this
 * turn, since an event for it may have been fetched already: zlt_io_later().
 */
void zlt_io_close(zlt_io_t *io);

/*
 * Who reads from a peer asks first, and tells how much it was; who acts on
 * messages counts them.  0 when the share of this turn is used up: then the
 * handler is called again in the next one, after the others had theirs.
 */
int zlt_io_may_read(zlt_io_t *io);
void zlt_io_have_read(zlt_io_t *io, size_t bytes);
int zlt_io_message(zlt_io_t *io);

/* ZLT_IO_READ or ZLT_IO_WRITE was answered with EAGAIN. */
#define zlt_io_clear(io, bits)  ((io)->ready &= ~(unsigned) (bits))

/* Calls the task's handler in the next turn, before the loop waits. */
void zlt_io_post(zlt_task_t *task);

/* Calls it at the end of this turn, when no event is left: to free memory. */
void zlt_io_later(zlt_task_t *task);


/*
 * 1 if so many more descriptors may be opened for connections.  A few are
 * kept back for the control channel, names and files.
 */
int zlt_io_room(unsigned n);

/* 1 if more than a quarter of all descriptors is free: for what strangers can
   make many of. */
int zlt_io_ample(void);


#endif /* ZLT_IO_H_INCLUDED */
