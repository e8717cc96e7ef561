
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One line an event, to stderr.  Texts that came from a peer go through
 * zlt_log_text() first; no secret ever goes anywhere near.
 */


#ifndef ZLT_LOG_H_INCLUDED
#define ZLT_LOG_H_INCLUDED


#include "types.h"
#include "zlt_types.h"


typedef enum {
    ZLT_LOG_ERROR = 0,
    ZLT_LOG_WARN,
    ZLT_LOG_INFO,
    ZLT_LOG_DEBUG
} zlt_log_level_e;


#define ZLT_LOG_TEXT_MAX   256     /* bytes of a peer's text that are kept */
#define ZLT_LOG_TEXT_SIZE  (ZLT_LOG_TEXT_MAX * 4 + 4)


void zlt_log_init(void);
void zlt_log_set_level(zlt_log_level_e level);

/* where: NULL or "stderr"; "syslog"; "syslog:/PATH" of a socket.  What syslog
   does not take goes to stderr. */
void zlt_log_set_where(const char *where);
/* whether that is one of them */
int zlt_log_is_where(const char *where);

/* 1: a JSON object a line */
void zlt_log_set_json(int json);
int zlt_log_enabled(zlt_log_level_e level);

/* errno is the same afterwards */
void zlt_log_error(const char *fmt, ...) zlt_printf_like(1, 2);
void zlt_log_warn(const char *fmt, ...) zlt_printf_like(1, 2);
void zlt_log_info(const char *fmt, ...) zlt_printf_like(1, 2);

/* The same for one of several links, whose label ("" where there is but one)
   goes before it. */
void zlt_log_link(const char *label, zlt_log_level_e level, const char *fmt,
    ...) zlt_printf_like(3, 4);

/* A line for stdout, '\n' and all. */
void zlt_log_print(const char *fmt, ...) zlt_printf_like(1, 2);

/* To be called each second: says what was dropped, since no line waits for
   whoever reads it. */
void zlt_log_tick(void);

/* for the terminal: "zltunnel-agent: message", before there is a log */
void zlt_log_complain(const char *fmt, ...) zlt_printf_like(1, 2);

/* 1 if something that was complained of has failed for want of memory: nobody's
   configuration is wrong then */
int zlt_log_starved(void);

/*
 * A peer's text made fit to be printed: cut at ZLT_LOG_TEXT_MAX bytes, what
 * may not be shown (zlt_utf8_shown()) escaped.  buf, which is returned, has
 * ZLT_LOG_TEXT_SIZE bytes.
 */
const char *zlt_log_text(char *buf, zlt_str_t text);


#endif /* ZLT_LOG_H_INCLUDED */
