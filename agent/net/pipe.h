
/*
 * Copyright (C) zltunnel authors
 */

/* Pipes for splice(2), a bounded number of them, pooled while empty. */


#ifndef ZLT_PIPE_H_INCLUDED
#define ZLT_PIPE_H_INCLUDED


#include <stddef.h>


typedef struct zlt_pipe_s  zlt_pipe_t;

struct zlt_pipe_s {
    int          fd[2];        /* read from [0] */
    size_t       len;          /* bytes in it */
    zlt_pipe_t  *next;
};


/* NULL if there may be no more: then the caller copies. */
zlt_pipe_t *zlt_pipe_get(void);

/* An empty one is kept for the next, one with bytes in it is closed. */
void zlt_pipe_put(zlt_pipe_t *p);

/* To be called now and then: closes what has not been needed. */
void zlt_pipe_trim(void);


#endif /* ZLT_PIPE_H_INCLUDED */
