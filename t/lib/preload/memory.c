
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Has allocations of a program fail, by LD_PRELOAD; those of its libraries do
 * not.  There are two ways:
 *
 * With $MEMORY_CALLER=N the first allocation of the Nth place in the program
 * that makes any fails, which is said on stderr, where "+ADDRESS" is for
 * addr2line.
 *
 * With $MEMORY_ODDS=FILE one in M of a process's allocations fails for as long
 * as there is a FILE.PID, in which M is; or, if "+N" is, one alone, after N that
 * do not.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define CALLERS  4096


/* glibc's own, or those of the address sanitizer, where it is */

#define WEAK  __attribute__((weak))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

WEAK void *__interceptor_malloc(size_t size);
WEAK void *__interceptor_calloc(size_t n, size_t size);
WEAK void *__interceptor_realloc(void *p, size_t size);
WEAK int __interceptor_posix_memalign(void **p, size_t alignment, size_t size);


static int        started;
static uintptr_t  base, text, text_end;

static long       caller;
static uintptr_t  callers[CALLERS];
static int        ncallers;

static char       odds[256];
static char       said[16];
static long       left;
static uint32_t   seed;


/* The first object of the list is the program. */

static int
program(struct dl_phdr_info *info, size_t size, void *data)
{
    int                i;
    const ElfW(Phdr)  *h;

    (void) size;
    (void) data;

    base = info->dlpi_addr;

    for (i = 0; i < info->dlpi_phnum; i++) {
        h = &info->dlpi_phdr[i];

        if (h->p_type == PT_LOAD && (h->p_flags & PF_X)) {
            text = base + h->p_vaddr;
            text_end = text + h->p_memsz;
        }
    }

    return 1;
}


/* The environment is read once: nginx makes itself another one. */

static void
start(void)
{
    const char  *value;

    started = 1;

    (void) dl_iterate_phdr(program, NULL);

    value = getenv("MEMORY_CALLER");
    caller = value ? atol(value) : 0;

    value = getenv("MEMORY_ODDS");
    (void) snprintf(odds, sizeof(odds), "%s", value ? value : "");
}


/* Whether this place is the one. */

static int
is_caller(uintptr_t address)
{
    int   i, n;
    char  line[80];

    for (i = 0; i < ncallers; i++) {
        if (callers[i] == address) {
            return 0;
        }
    }

    if (ncallers == CALLERS) {
        return 0;
    }

    callers[ncallers++] = address;

    if (ncallers != caller) {
        return 0;
    }

    n = snprintf(line, sizeof(line), "memory: caller %ld fails, +0x%lx\n",
                 caller, (unsigned long) (address - base));

    return write(2, line, (size_t) n) == n;
}


static int
is_unlucky(void)
{
    int      fd, n;
    long     m;
    char     name[sizeof(odds) + 16], value[sizeof(said)];
    ssize_t  len;

    n = snprintf(name, sizeof(name), "%s.%d", odds, (int) getpid());

    if (n < 0 || (size_t) n >= sizeof(name)) {
        return 0;
    }

    fd = open(name, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return 0;
    }

    len = read(fd, value, sizeof(value) - 1);
    (void) close(fd);

    value[len > 0 ? len : 0] = '\0';

    if (value[0] == '+') {

        if (strcmp(value, said) != 0) {
            (void) strcpy(said, value);
            left = atol(value);
        }

        return left-- == 0;
    }

    m = atol(value);

    seed = seed * 1103515245 + 12345;

    return m > 0 && (seed >> 16) % (uint32_t) m == 0;
}


static int
fails(void *address)
{
    int        rc, saved;
    uintptr_t  from;

    if (!started) {
        if (environ == NULL) {
            /* the first ones of a sanitizer */
            return 0;
        }

        start();
    }

    from = (uintptr_t) address;

    if (from < text || from >= text_end || (caller == 0 && odds[0] == '\0')) {
        return 0;
    }

    saved = errno;
    rc = caller ? is_caller(from) : is_unlucky();
    errno = rc ? ENOMEM : saved;

    return rc;
}


void *
malloc(size_t size)
{
    if (fails(__builtin_return_address(0))) {
        return NULL;
    }

    return __interceptor_malloc ? __interceptor_malloc(size)
                                : __libc_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    if (fails(__builtin_return_address(0))) {
        return NULL;
    }

    return __interceptor_calloc ? __interceptor_calloc(n, size)
                                : __libc_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    if (fails(__builtin_return_address(0))) {
        return NULL;
    }

    return __interceptor_realloc ? __interceptor_realloc(p, size)
                                 : __libc_realloc(p, size);
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    if (fails(__builtin_return_address(0))) {
        return ENOMEM;
    }

    if (__interceptor_posix_memalign) {
        return __interceptor_posix_memalign(p, alignment, size);
    }

    *p = __libc_memalign(alignment, size);

    return *p ? 0 : ENOMEM;
}


/* In glibc these call malloc() themselves, which then has another caller. */

char *
strndup(const char *s, size_t n)
{
    char    *copy;
    size_t   len;

    if (fails(__builtin_return_address(0))) {
        return NULL;
    }

    len = strnlen(s, n);
    copy = malloc(len + 1);

    if (copy) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }

    return copy;
}


char *
strdup(const char *s)
{
    if (fails(__builtin_return_address(0))) {
        return NULL;
    }

    return strndup(s, strlen(s));
}
