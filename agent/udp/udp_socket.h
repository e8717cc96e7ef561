
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UDP sockets, connected or not, many datagrams a system call: recvmmsg() and
 * sendmmsg(), and where the kernel has UDP_GRO and UDP_SEGMENT, runs of
 * datagrams of one size as one message each.
 */


#ifndef ZLT_UDP_SOCKET_H_INCLUDED
#define ZLT_UDP_SOCKET_H_INCLUDED


#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "conn.h"


#define ZLT_UDP_SLOTS     16           /* messages of one receive */
#define ZLT_UDP_SEND_MAX  1024         /* datagrams of one send */


typedef struct {
    zlt_io_t         io;               /* first: handlers get its address */
    uint16_t         segment;          /* a datagram up to this size may be
                                          sent as a part of a larger message */
    uint32_t         told;             /* drops, by the kernel, of the socket */
    uint64_t        *dropped;          /* these are added to; set before it is
                                          connected or bound */
    unsigned         waiting:1;        /* for room */
} zlt_udp_socket_t;


/* what came as one message: datagrams of one size, the last may be shorter */

typedef struct {
    const uint8_t   *data;
    size_t           len;
    size_t           segment;          /* 0: it is one, as long as len */
    const struct sockaddr  *from;
    socklen_t        fromlen;
} zlt_udp_message_t;


/*
 * A nonblocking socket, connected and registered with the loop.  0, or -1
 * with errno set, and nothing left open.
 */
int zlt_udp_socket_connect(zlt_udp_socket_t *u, const struct sockaddr *sa,
    socklen_t socklen, zlt_io_pt handler);

/* The same for a socket that is bound, to which anyone may send. */
int zlt_udp_socket_bind(zlt_udp_socket_t *u, int fd, zlt_io_pt handler);

/*
 * Gives what there is to a handler, message by message, a few receives at most:
 * where there is more the task is posted, so that others go first.  An error is
 * given as -1, with errno set; the handler returns -1 if the socket is gone.
 */
typedef int (*zlt_udp_socket_pt)(zlt_udp_socket_t *u,
    const zlt_udp_message_t *messages, int n);

void zlt_udp_socket_read(zlt_udp_socket_t *u, zlt_udp_socket_pt handler,
    zlt_task_t *more);

/* The handler of its events is called when there is room, or no more. */
void zlt_udp_socket_wait(zlt_udp_socket_t *u, int wait);

/*
 * Sends n datagrams in their order, n <= ZLT_UDP_SEND_MAX.  The number that
 * was sent; if it is less than n, errno says what the next one met with.
 */
unsigned zlt_udp_socket_send_to(zlt_udp_socket_t *u, const struct sockaddr *to,
    socklen_t tolen, struct iovec *iov, unsigned n);


#endif /* ZLT_UDP_SOCKET_H_INCLUDED */
