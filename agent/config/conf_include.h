
/*
 * Copyright (C) zltunnel authors
 */

/*
 * "include": what else is read.  Files that a file includes are read after it,
 * in the order in which they were found, each once.
 */


#ifndef ZLT_CONF_INCLUDE_H_INCLUDED
#define ZLT_CONF_INCLUDE_H_INCLUDED


#include "conf_file.h"


#define ZLT_CONF_INCLUDE_MAX    1024       /* files */
#define ZLT_CONF_INCLUDE_DEPTH  8


/* The file that was asked for: 0, or -1 without memory. */
int zlt_conf_include_first(zlt_conf_file_t *f, const char *name);

/* Those of a pattern, which is relative to the file that is being read: 0, or
   -1 with a text in error. */
int zlt_conf_include_pattern(zlt_conf_file_t *f, const char *pattern,
    char *error);

void zlt_conf_include_free(zlt_conf_file_t *f);


#endif /* ZLT_CONF_INCLUDE_H_INCLUDED */
