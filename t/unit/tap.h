
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The little of TAP that the unit tests need.  Each test is a function and
 * one line of output; within it, check() may run a million times and says
 * only what failed, where, and under which note.
 */


#ifndef TAP_H_INCLUDED
#define TAP_H_INCLUDED


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define TAP_MAX_COMPLAINTS  10     /* a test */


static unsigned  tap_tests;
static unsigned  tap_failed_tests;
static unsigned  tap_failed_checks;
static char      tap_note_text[256];


#define check(expr)                                                           \
    tap_check((expr) ? 1 : 0, #expr, __FILE__, __LINE__)


static inline int
tap_check(int ok, const char *expr, const char *file, int line)
{
    if (ok) {
        return 1;
    }

    if (tap_failed_checks++ < TAP_MAX_COMPLAINTS) {
        fprintf(stderr, "# %s:%d: %s%s%s\n", file, line, expr,
                tap_note_text[0] ? ", at: " : "", tap_note_text);
    }

    return 0;
}


/* What is being looked at, for the complaint of a check() that fails. */

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static inline void
tap_note(const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    vsnprintf(tap_note_text, sizeof(tap_note_text), fmt, args);
    va_end(args);
}


static inline void
tap_run(void (*fn)(void), const char *name)
{
    tap_failed_checks = 0;
    tap_note_text[0] = '\0';

    fn();

    if (tap_failed_checks) {
        tap_failed_tests++;
        fprintf(stderr, "# %u checks failed\n", tap_failed_checks);
    }

    printf("%sok %u - %s\n", tap_failed_checks ? "not " : "", ++tap_tests,
           name);
    fflush(stdout);
}


static inline int
tap_done(void)
{
    printf("1..%u\n", tap_tests);

    return tap_failed_tests ? 1 : 0;
}


/*
 * A copy on the heap of exactly that size, so that AddressSanitizer sees the
 * first byte read or written past it.
 */

static inline void *
tap_copy(const void *data, size_t len)
{
    void  *p;

    p = calloc(1, len ? len : 1);

    if (p == NULL) {
        fprintf(stderr, "# no memory\n");
        exit(1);
    }

    if (len == 0) {
        /* no byte of it may be read; one beyond the end is outside */
        return (char *) p + 1;
    }

    if (data) {
        memcpy(p, data, len);

    } else {
        memset(p, 0xa5, len);
    }

    return p;
}


static inline void
tap_free(void *p, size_t len)
{
    free(len ? p : (char *) p - 1);
}


#endif /* TAP_H_INCLUDED */
