
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Pipes.
 *
 * An unprivileged user may have 64 MiB in pipes; beyond that new ones are
 * tiny and cannot grow.  So there are at most 128 of 256 KiB, the size is
 * read back, and one that stayed small is not used.  A pipe counts slots,
 * not bytes, and a slot takes up to a whole fragment of a socket's buffer:
 * 64 slots often hold more than 256 KiB.
 */


#define _GNU_SOURCE

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "io.h"
#include "pipe.h"


#define ZLT_PIPE_SIZE  (256 * 1024)
#define ZLT_PIPE_MAX   128


static zlt_pipe_t  *zlt_pipe_free;
static unsigned     zlt_pipe_nfree;
static unsigned     zlt_pipe_unused;    /* least nfree since the last trim */
static unsigned     zlt_pipe_count;
static int          zlt_pipe_denied;    /* until the next trim */


zlt_pipe_t *
zlt_pipe_get(void)
{
    zlt_pipe_t  *p;

    p = zlt_pipe_free;

    if (p) {
        zlt_pipe_free = p->next;
        zlt_pipe_nfree--;

        if (zlt_pipe_nfree < zlt_pipe_unused) {
            zlt_pipe_unused = zlt_pipe_nfree;
        }

        return p;
    }

    if (zlt_pipe_denied || zlt_pipe_count == ZLT_PIPE_MAX || !zlt_io_room(2)) {
        return NULL;
    }

    p = malloc(sizeof(zlt_pipe_t));
    if (p == NULL) {
        return NULL;
    }

    if (pipe2(p->fd, O_NONBLOCK|O_CLOEXEC) == -1) {
        zlt_pipe_denied = 1;
        free(p);
        return NULL;
    }

    /* returns the size, which may be more than was asked for */

    if (fcntl(p->fd[1], F_SETPIPE_SZ, ZLT_PIPE_SIZE) < ZLT_PIPE_SIZE
        && fcntl(p->fd[1], F_GETPIPE_SZ) < 65536)
    {
        zlt_pipe_denied = 1;

        (void) close(p->fd[0]);
        (void) close(p->fd[1]);
        free(p);

        return NULL;
    }

    p->len = 0;
    p->next = NULL;

    zlt_pipe_count++;

    return p;
}


void
zlt_pipe_put(zlt_pipe_t *p)
{
    if (p->len == 0) {
        p->next = zlt_pipe_free;
        zlt_pipe_free = p;
        zlt_pipe_nfree++;
        return;
    }

    (void) close(p->fd[0]);
    (void) close(p->fd[1]);
    free(p);

    zlt_pipe_count--;
}


void
zlt_pipe_trim(void)
{
    zlt_pipe_t  *p;

    while (zlt_pipe_unused && zlt_pipe_free) {
        p = zlt_pipe_free;
        zlt_pipe_free = p->next;

        (void) close(p->fd[0]);
        (void) close(p->fd[1]);
        free(p);

        zlt_pipe_unused--;
        zlt_pipe_nfree--;
        zlt_pipe_count--;
    }

    zlt_pipe_unused = zlt_pipe_nfree;
    zlt_pipe_denied = 0;
}
