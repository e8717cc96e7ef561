
/*
 * Copyright (C) zltunnel authors
 */

/* Lines to stdout and stderr, from a loop that must not wait for whoever reads
   them. */


#ifndef ZLT_OUT_H_INCLUDED
#define ZLT_OUT_H_INCLUDED


#include <stddef.h>


#define ZLT_OUT_LINE  2048             /* bytes, the longest */

typedef enum {
    ZLT_OUT_STDOUT = 0,
    ZLT_OUT_STDERR
} zlt_out_e;


/* Puts the null device where descriptors 0 to 2 are closed, so that nothing
   else gets these numbers: 0, or -1 with errno set. */
int zlt_out_open(void);

/* To be called before the first line. */
void zlt_out_init(void);

/* No lines go to stdout, which somebody else writes and closes. */
void zlt_out_leave(void);

/* Writes a line, '\n' and all, that is not longer than ZLT_OUT_LINE: 0, or -1
   if there is no room for it. */
int zlt_out_write(zlt_out_e out, const char *line, size_t len);


#endif /* ZLT_OUT_H_INCLUDED */
