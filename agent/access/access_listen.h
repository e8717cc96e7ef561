
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_ACCESS_LISTEN_H_INCLUDED
#define ZLT_ACCESS_LISTEN_H_INCLUDED


#include "types.h"


/* Takes the address: 0, or -1 with a text in error (ZLT_CONF_ERROR_SIZE). */
int zlt_access_listen_bind(zlt_access_t *x, char *error);

/* Clients may come from now on: 0 or -1, likewise. */
int zlt_access_listen(zlt_access_t *x, char *error);
void zlt_access_listen_stop(zlt_access_t *x);

/* Accepts again, if it had to pause. */
void zlt_access_listen_resume(zlt_access_t *x);


#endif /* ZLT_ACCESS_LISTEN_H_INCLUDED */
