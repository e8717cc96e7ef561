
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Linked into what auto/traces builds with -finstrument-functions: writes down
 * each function that is called, in the order of the calls.
 *
 * The file is "$ZLT_TRACE/PID": a count, the address of the anchor, then that
 * many addresses of functions, all of 8 bytes.  It is mapped, so that workers
 * write to that of their master.  Whoever sets the count to 0 begins anew.
 */


#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>


#define TRACE_MOST  (1 << 20)                    /* calls */
#define TRACE_SIZE  ((TRACE_MOST + 2) * sizeof(uint64_t))
#define TRACE_NOT   __attribute__((no_instrument_function))
#define TRACE_OURS  __attribute__((visibility("hidden"), no_instrument_function))


/* hidden: glibc has functions of these names, which a module would meet first */

TRACE_OURS void __cyg_profile_func_enter(void *fn, void *site);
TRACE_OURS void __cyg_profile_func_exit(void *fn, void *site);


static volatile uint64_t  *trace;


__attribute__((constructor)) TRACE_NOT
static void
trace_open(void)
{
    int          fd;
    void        *p;
    char         path[4096];
    const char  *dir;

    dir = getenv("ZLT_TRACE");
    if (dir == NULL) {
        return;
    }

    (void) snprintf(path, sizeof(path), "%s/%ld", dir, (long) getpid());

    fd = open(path, O_RDWR|O_CREAT|O_CLOEXEC, 0600);
    if (fd == -1) {
        return;
    }

    if (ftruncate(fd, TRACE_SIZE) == 0) {
        p = mmap(NULL, TRACE_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);

        if (p != MAP_FAILED) {
            trace = p;
            trace[1] = (uint64_t) (uintptr_t) __cyg_profile_func_enter;
        }
    }

    (void) close(fd);
}


void
__cyg_profile_func_enter(void *fn, void *site)
{
    (void) site;

    if (trace && trace[0] < TRACE_MOST) {
        trace[2 + trace[0]++] = (uint64_t) (uintptr_t) fn;
    }
}


void
__cyg_profile_func_exit(void *fn, void *site)
{
    (void) fn;
    (void) site;
}
