
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the parts of the tests' network tool share: nt_serve.c has the local
 * services, nt_load.c and nt_records.c the clients, nt_wan.c the path between.
 */


#ifndef NETTOOL_H_INCLUDED
#define NETTOOL_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


/*
 * A cheap endless stream of bytes: what it gives depends on the seed alone,
 * so that both ends of a transfer can make it and none has to keep it.
 */

typedef struct {
    uint64_t  x;
    uint64_t  word;
    unsigned  left;          /* bytes of word not yet given */
} nt_stream_t;


void nt_stream_init(nt_stream_t *s, uint64_t seed);
void nt_stream_read(nt_stream_t *s, uint8_t *buf, size_t len);

int nt_listen(int port);
void nt_nonblocking(int fd);
void nt_hex(char *dst, const uint8_t *src, size_t len);
double nt_now(void);
void nt_die(const char *what);

int nt_serve(int argc, char **argv);
int nt_held(int argc, char **argv);
int nt_short(int argc, char **argv);
int nt_transfer(int argc, char **argv);
int nt_udp_echo(int argc, char **argv);
int nt_udp(int argc, char **argv);
int nt_records_run(int argc, char **argv);
int nt_wan(int argc, char **argv);


#endif /* NETTOOL_H_INCLUDED */
