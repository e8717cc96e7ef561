
/*
 * Copyright (C) zltunnel authors
 */

/* Numbers and times that users write. */


#ifndef ZLT_PARSE_H_INCLUDED
#define ZLT_PARSE_H_INCLUDED


#include <stdint.h>


/* All return 0, or -1. */

int zlt_parse_port(const char *text, uint16_t *port);

/* 500ms, 5s, 2m, 1h, 1d, 5: milliseconds, seconds where there is no unit */
int zlt_parse_time(const char *text, uint32_t *ms);

/* The same in whole seconds, up to 49710 days. */
int zlt_parse_seconds(const char *text, uint32_t *seconds);

/* 1 if there are digits, and nothing else */
int zlt_parse_digits(const char *text);

int zlt_parse_bool(const char *text, int *value);
int zlt_parse_number(const char *text, uint32_t max, uint32_t *value);


#endif /* ZLT_PARSE_H_INCLUDED */
