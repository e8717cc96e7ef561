
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_RELOAD_H_INCLUDED
#define ZLT_RELOAD_H_INCLUDED


#include "types.h"


/* Reads the configuration again and does what has changed: 0, or -1 with a
   text in error and nothing changed. */
int zlt_reload(zlt_process_t *p, char *error);


#endif /* ZLT_RELOAD_H_INCLUDED */
