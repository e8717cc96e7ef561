
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The log, in the shape of relayd's.  Under systemd a line begins with its
 * syslog priority and the journal adds the time; elsewhere we do.
 */


#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "log_syslog.h"
#include "out.h"
#include "zlt_utf8.h"


typedef struct {
    const char       *shown;
    int               priority;      /* syslog's */
} zlt_log_name_t;


static void zlt_log_write(const char *label, zlt_log_level_e level,
    const char *fmt, va_list ap);
static size_t zlt_log_begin(char *line, const char *label,
    zlt_log_level_e level);
static size_t zlt_log_json(char *line, const char *label,
    zlt_log_level_e level, const char *text);
static size_t zlt_log_json_string(char *line, size_t len, const char *name,
    const char *text, size_t n);
static void zlt_log_owed(zlt_out_e out, const char *what);
static int zlt_log_ends(const char *text, const char *reason);


/* in the order of zlt_log_level_e */

static const zlt_log_name_t  zlt_log_names[] = {
    { "ERROR", 3 },
    { "WARN",  4 },
    { "INFO",  6 },
    { "DEBUG", 7 }
};


static zlt_log_level_e  zlt_log_level = ZLT_LOG_INFO;
static int              zlt_log_journal;
static int              zlt_log_is_json;
static int              zlt_log_no_memory;     /* .. was complained of */
static uint64_t         zlt_log_dropped[2];    /* lines, by zlt_out_e */


void
zlt_log_init(void)
{
    char                *end;
    const char          *stream;
    struct stat          st;
    unsigned long long   dev, ino;

    zlt_out_init();

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
zlt_log_is_where(const char *where)
{
    return strcmp(where, "stderr") == 0 || strcmp(where, "syslog") == 0
           || (strncmp(where, "syslog:", 7) == 0
               && zlt_log_syslog_path(where + 7));
}


void
zlt_log_set_where(const char *where)
{
    if (where == NULL || strncmp(where, "syslog", 6) != 0) {
        zlt_log_syslog_set(NULL);

    } else {
        zlt_log_syslog_set(where[6] == ':' ? where + 7 : ZLT_LOG_SYSLOG_PATH);
    }
}


void
zlt_log_set_json(int json)
{
    zlt_log_is_json = json;
}


int
zlt_log_enabled(zlt_log_level_e level)
{
    return level <= zlt_log_level;
}


static void
zlt_log_write(const char *label, zlt_log_level_e level, const char *fmt,
    va_list ap)
{
    int     n, err;
    char    line[ZLT_OUT_LINE], text[ZLT_OUT_LINE];
    size_t  len, head;

    if (level > zlt_log_level) {
        return;
    }

    err = errno;

    zlt_log_tick();

    if (zlt_log_is_json) {
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        len = zlt_log_json(line, label, level, text);
        head = strcspn(line, "{");

    } else {
        len = zlt_log_begin(line, label, level);
        head = len - strlen(label);
        n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);

        if (n > 0) {
            len += (size_t) n;
        }

        if (len > sizeof(line) - 2) {
            len = sizeof(line) - 2;
        }
    }

    /* which has a priority and a time of its own */

    if (zlt_log_syslog_is()
        && zlt_log_syslog_write(zlt_log_names[level].priority, line + head,
                                len - head)
           == 0)
    {
        errno = err;
        return;
    }

    line[len++] = '\n';

    /* one write a line, so that lines of several processes do not mix; a log
       that cannot be written is no reason to stop */

    zlt_log_dropped[ZLT_OUT_STDERR]
        += (zlt_out_write(ZLT_OUT_STDERR, line, len) == -1);

    errno = err;
}


/* All of the line but its end; its length. */

static size_t
zlt_log_json(char *line, const char *label, zlt_log_level_e level,
    const char *text)
{
    char    when[ZLT_CLOCK_UTC], name[16], *p;
    size_t  len;

    (void) snprintf(name, sizeof(name), "%s", zlt_log_names[level].shown);

    for (p = name; *p; p++) {
        *p = (char) tolower((unsigned char) *p);
    }

    len = 0;

    if (zlt_log_journal) {
        len = (size_t) snprintf(line, ZLT_OUT_LINE, "<%d>",
                                zlt_log_names[level].priority);
    }

    len += (size_t) snprintf(line + len, ZLT_OUT_LINE - len,
                             "{\"time\":\"%s\",\"level\":\"%s\"",
                             zlt_clock_utc(when, time(NULL)), name);

    if (*label) {
        /* without ": " */
        len = zlt_log_json_string(line, len, "link", label,
                                  strlen(label) - 2);
    }

    len = zlt_log_json_string(line, len, "message", text, strlen(text));

    line[len++] = '}';

    return len;
}


/* What has no room is cut, the object is whole. */

static size_t
zlt_log_json_string(char *line, size_t len, const char *name,
    const char *text, size_t n)
{
    size_t  i;

    len += (size_t) sprintf(line + len, ",\"%s\":\"", name);

    for (i = 0; i < n && len < ZLT_OUT_LINE - 16; i++) {

        if ((unsigned char) text[i] < 0x20) {
            len += (size_t) sprintf(line + len, "\\u%04x",
                                    (unsigned) (unsigned char) text[i]);
            continue;
        }

        if (text[i] == '"' || text[i] == '\\') {
            line[len++] = '\\';
        }

        line[len++] = text[i];
    }

    if (i < n || n == ZLT_OUT_LINE - 1) {

        /* a character may have lost its end */

        while ((line[len - 1] & 0xc0) == 0x80) {
            len--;
        }

        len -= ((line[len - 1] & 0xc0) == 0xc0);
    }

    line[len++] = '"';

    return len;
}


/* What stands before the text; its length. */

static size_t
zlt_log_begin(char *line, const char *label, zlt_log_level_e level)
{
    size_t     len;
    time_t     now;
    struct tm  tm;

    if (zlt_log_journal) {
        return (size_t) snprintf(line, ZLT_OUT_LINE, "<%d>%s %s",
                                 zlt_log_names[level].priority,
                                 zlt_log_names[level].shown, label);
    }

    now = time(NULL);
    gmtime_r(&now, &tm);

    len = strftime(line, ZLT_OUT_LINE, "%Y-%m-%dT%H:%M:%SZ ", &tm);

    return len + (size_t) snprintf(line + len, ZLT_OUT_LINE - len, "%s %s",
                                   zlt_log_names[level].shown, label);
}


void
zlt_log_tick(void)
{
    zlt_log_owed(ZLT_OUT_STDERR, "of the log");
    zlt_log_owed(ZLT_OUT_STDOUT, "on stdout");
}


/* Tells of lines that were dropped, once there is room for that. */

static void
zlt_log_owed(zlt_out_e out, const char *what)
{
    char    line[ZLT_OUT_LINE], text[128];
    size_t  len;

    if (zlt_log_dropped[out] == 0) {
        return;
    }

    (void) snprintf(text, sizeof(text), "%llu line%s %s dropped, since nobody "
                    "took them", (unsigned long long) zlt_log_dropped[out],
                    zlt_log_dropped[out] == 1 ? "" : "s", what);

    if (zlt_log_is_json) {
        len = zlt_log_json(line, "", ZLT_LOG_WARN, text);

    } else {
        len = zlt_log_begin(line, "", ZLT_LOG_WARN);
        len += (size_t) snprintf(line + len, sizeof(line) - len, "%s", text);
    }

    line[len++] = '\n';

    if (zlt_out_write(ZLT_OUT_STDERR, line, len) == 0) {
        zlt_log_dropped[out] = 0;
    }
}


void
zlt_log_print(const char *fmt, ...)
{
    int      n;
    char     line[ZLT_OUT_LINE];
    size_t   len;
    va_list  ap;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);

    len = n > 0 ? (size_t) n : 0;

    if (len > sizeof(line) - 1) {
        len = sizeof(line) - 1;
    }

    zlt_log_dropped[ZLT_OUT_STDOUT]
        += (zlt_out_write(ZLT_OUT_STDOUT, line, len) == -1);
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
    int      n;
    char     text[1024];
    va_list  ap;

    fputs("zltunnel-agent: ", stderr);

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);

    fputc('\n', stderr);

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    if (n > 0 && (size_t) n < sizeof(text)
        && (zlt_log_ends(text, "out of memory")
            || zlt_log_ends(text, strerror(ENOMEM))))
    {
        zlt_log_no_memory = 1;
    }
}


/* The reason stands at the end of a complaint. */

static int
zlt_log_ends(const char *text, const char *reason)
{
    size_t  len, n;

    len = strlen(text);
    n = strlen(reason);

    return len >= n && strcmp(text + len - n, reason) == 0;
}


int
zlt_log_starved(void)
{
    return zlt_log_no_memory;
}


const char *
zlt_log_text(char *buf, zlt_str_t text)
{
    char           *p;
    size_t          n, len;
    uint32_t        cp;
    const uint8_t  *t, *end;

    static const char  hex[] = "0123456789abcdef";

    p = buf;
    len = zlt_utf8_cut(text.data, text.len, ZLT_LOG_TEXT_MAX);
    end = text.data + len;

    for (t = text.data; t < end; /* void */ ) {
        n = zlt_utf8_next(t, (size_t) (end - t), &cp);

        if (n && zlt_utf8_shown(cp)) {
            memcpy(p, t, n);
            p += n;
            t += n;
            continue;
        }

        /* one byte that is no part of a character, or all of one */

        for (n = n ? n : 1; n; n--, t++) {
            *p++ = '\\';
            *p++ = 'x';
            *p++ = hex[*t >> 4];
            *p++ = hex[*t & 0x0f];
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
