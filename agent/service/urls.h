
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Where the hosts of a service are, as the server tells: URLs, with a blank
 * between each two.  They go to terminals and into other programs' hands, so
 * nothing is kept that is no plain http:// or https:// URL.
 */


#ifndef ZLT_URLS_H_INCLUDED
#define ZLT_URLS_H_INCLUDED


#include "zlt_types.h"


#define ZLT_URLS_MAX   64
#define ZLT_URLS_LEN   512             /* bytes of one */


/* A copy of those that are plain URLs, to be freed by the caller; NULL if there
   are none, or no memory.  *bad: the first that is none, within text; its data
   is NULL if all are. */
char *zlt_urls_take(zlt_str_t text, zlt_str_t *bad);

/* The next of those in *p, which is moved on: its length, 0: there is none.
   It begins at *url, and does not end with a NUL. */
int zlt_urls_next(const char **p, const char **url);


#endif /* ZLT_URLS_H_INCLUDED */
