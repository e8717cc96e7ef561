
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the load generator and the service of the benchmark agree on.  A
 * connection starts with one byte that says what is to be done:
 *
 *     'e'             echo everything
 *     'u' n:u64       upload: n bytes come, their count (u64) is answered
 *     'd' n:u64       download: n bytes are sent
 *
 * Numbers are in the byte order of the machine, which is the same one.
 */


#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H


#include <stdint.h>
#include <stddef.h>


#define BENCH_BUFFER    (256 * 1024)
#define BENCH_MESSAGE   64                /* bytes of a request */
#define BENCH_HEADER    (1 + sizeof(uint64_t))


/* the service; does not return */
void bench_service(int port, int processes);

/* the UDP service; does not return */
void bench_udp_service(int port);
/* clients with so many datagrams under way each; prints the figures */
void bench_udp(int port, int clients, int window, size_t size,
    double seconds);
/* one datagram at a time */
void bench_udp_rr(int port, size_t size, double seconds);

/* prints what and errno to stderr, exit 1 */
void bench_fail(const char *what);


#endif
