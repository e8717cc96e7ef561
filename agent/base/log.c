
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The log, in the shape of relayd's.  Under systemd a line begins with its
 * syslog priority and the journal adds the time; elsewhere we do.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "zlt_utf8.h"


#define ZLT_LOG_LINE  2048


typedef struct {
    const char       *name;
    const char       *shown;
    int               priority;      /* syslog's */
} zlt_log_name_t;


static void zlt_log_write(const char *label, zlt_log_level_e level,
    const char *fmt, va_list ap);


/* in the order of zlt_log_level_e */

static const zlt_log_name_t  zlt_log_names[] = {
    { "error", "ERROR", 3 },
    { "warn",  "WARN",  4 },
    { "info",  "INFO",  6 },
    { "debug", "DEBUG", 7 }
};

#define ZLT_LOG_NAMES  (sizeof(zlt_log_names) / sizeof(zlt_log_names[0]))


static zlt_log_level_e  zlt_log_level = ZLT_LOG_INFO;
static int              zlt_log_journal;


void
zlt_log_init(void)
{
    char                *end;
    const char          *stream;
    struct stat          st;
    unsigned long long   dev, ino;

    /* the variable is inherited, the descriptor may not be: compare both */

    stream = getenv("JOURNAL_STREAM");

    if (stream == NULL || fstat(STDERR_FILENO, &st) == -1) {
        return;
    }

    dev = strtoull(stream, &end, 10);

    if (*end != ':') {
        return;
    }

    ino = strtoull(end + 1, &end, 10);

    zlt_log_journal = (*end == '\0' && dev == (unsigned long long) st.st_dev
                       && ino == (unsigned long long) st.st_ino);
}


void
zlt_log_set_level(zlt_log_level_e level)
{
    zlt_log_level = level;
}


int
zlt_log_enabled(zlt_log_level_e level)
{
    return level <= zlt_log_level;
}


int
zlt_log_level_parse(const char *name, zlt_log_level_e *level)
{
    size_t  i;

    for (i = 0; i < ZLT_LOG_NAMES; i++) {
        if (strcmp(name, zlt_log_names[i].name) == 0) {
            *level = (zlt_log_level_e) i;
            return 0;
        }
    }

    return -1;
}


static void
zlt_log_write(const char *label, zlt_log_level_e level, const char *fmt,
    va_list ap)
{
    int        n, err;
    char       line[ZLT_LOG_LINE];
    size_t     len;
    ssize_t    rc;
    time_t     now;
    struct tm  tm;

    if (level > zlt_log_level) {
        return;
    }

    err = errno;

    if (zlt_log_journal) {
        n = snprintf(line, sizeof(line), "<%d>%s %s",
                     zlt_log_names[level].priority, zlt_log_names[level].shown,
                     label);
        len = (size_t) n;

    } else {
        now = time(NULL);
        gmtime_r(&now, &tm);

        len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%SZ ", &tm);
        n = snprintf(line + len, sizeof(line) - len, "%s %s",
                     zlt_log_names[level].shown, label);
        len += (size_t) n;
    }

    n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);

    if (n > 0) {
        len += (size_t) n;
    }

    if (len > sizeof(line) - 2) {
        len = sizeof(line) - 2;
    }

    line[len++] = '\n';

    /* one write a line, so that lines of several processes do not mix; a log
       that cannot be written is no reason to stop */

    do {
        rc = write(STDERR_FILENO, line, len);
    } while (rc == -1 && errno == EINTR);

    errno = err;
}


#define zlt_log_define(func, level)                                           \
                                                                              \
void                                                                          \
func(const char *fmt, ...)                                                    \
{                                                                             \
    va_list  ap;                                                              \
                                                                              \
    va_start(ap, fmt);                                                        \
    zlt_log_write("", level, fmt, ap);                                        \
    va_end(ap);                                                               \
}


zlt_log_define(zlt_log_error, ZLT_LOG_ERROR)


zlt_log_define(zlt_log_warn, ZLT_LOG_WARN)


zlt_log_define(zlt_log_info, ZLT_LOG_INFO)


void
zlt_log_link(const char *label, zlt_log_level_e level, const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    zlt_log_write(label, level, fmt, ap);
    va_end(ap);
}


void
zlt_log_complain(const char *fmt, ...)
{
    va_list  ap;

    fputs("zltunnel-agent: ", stderr);

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);

    fputc('\n', stderr);
}


const char *
zlt_log_text(char *buf, zlt_str_t text)
{
    char    *p;
    size_t   i, len;

    static const char  hex[] = "0123456789abcdef";

    p = buf;
    len = zlt_utf8_cut(text.data, text.len, ZLT_LOG_TEXT_MAX);

    for (i = 0; i < len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f) {
            *p++ = '\\';
            *p++ = 'x';
            *p++ = hex[text.data[i] >> 4];
            *p++ = hex[text.data[i] & 0x0f];

        } else {
            *p++ = (char) text.data[i];
        }
    }

    if (len < text.len) {
        *p++ = '.';
        *p++ = '.';
        *p++ = '.';
    }

    *p = '\0';

    return buf;
}
