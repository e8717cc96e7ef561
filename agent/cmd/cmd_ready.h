
/*
 * Copyright (C) zltunnel authors
 */

/* "status --ready". */


#ifndef ZLT_CMD_READY_H_INCLUDED
#define ZLT_CMD_READY_H_INCLUDED


#include <stdint.h>


/* Asks the agent at path (NULL: the default one) until all is ready that the
   request is about, for so many ms at most; 0: once.  The exit code. */
int zlt_cmd_ready(const char *path, const char *const *words, unsigned n,
    uint32_t wait);


#endif /* ZLT_CMD_READY_H_INCLUDED */
