
/*
 * Copyright (C) zltunnel authors
 */

/* Access whose only client is at stdin and stdout: "access --stdio". */


#ifndef ZLT_ACCESS_STDIO_H_INCLUDED
#define ZLT_ACCESS_STDIO_H_INCLUDED


#include "access.h"


/* The connection begins: 0, or -1 with errno set. */
int zlt_access_stdio_start(zlt_access_t *x);

/* It is over, and was a whole one (1) or was cut. */
void zlt_access_stdio_over(zlt_access_t *x, int whole);


#endif /* ZLT_ACCESS_STDIO_H_INCLUDED */
