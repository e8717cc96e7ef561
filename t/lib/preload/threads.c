
/*
 * Copyright (C) zltunnel authors
 */

/* Has the Nth thread of a process fail, by LD_PRELOAD: $THREADS_FAIL is N. */


#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>


typedef int (*create_pt)(pthread_t *thread, const pthread_attr_t *attr,
    void *(*run)(void *data), void *data);


int
pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*run)(void *data), void *data)
{
    const char  *n;
    create_pt    next;

    static int  created;

    n = getenv("THREADS_FAIL");

    if (n && ++created == atoi(n)) {
        return EPERM;
    }

    next = (create_pt) dlsym(RTLD_NEXT, "pthread_create");

    return next(thread, attr, run, data);
}
