
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Headers that the user adds to the handshakes, for what stands before the
 * server.  There may be secrets in them: their values are never told.
 */


#ifndef ZLT_HEADERS_H_INCLUDED
#define ZLT_HEADERS_H_INCLUDED


#include <stddef.h>

#include "text.h"


#define ZLT_HEADERS_MAX    4096        /* bytes, of a file and of all options */
#define ZLT_HEADERS_ERROR  512


/*
 * Adds a line, as it is sent, to t: 0, or -1 with a text in error
 * (ZLT_HEADERS_ERROR bytes), which has its name, but not its value.
 */
int zlt_headers_add(zlt_text_t *t, const char *line, size_t len, char *error);

/* The same for the lines of a file.  "checks": it is refused if others can
   read it. */
int zlt_headers_file(zlt_text_t *t, const char *file, int checks,
    char *error);


#endif /* ZLT_HEADERS_H_INCLUDED */
