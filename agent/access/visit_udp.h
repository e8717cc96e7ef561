
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_VISIT_UDP_H_INCLUDED
#define ZLT_VISIT_UDP_H_INCLUDED


#include "types.h"


/* Serves a socket, which it takes over; NULL without memory. */
zlt_visits_t *zlt_visits_create(zlt_access_t *x, int fd);

/* Takes no more clients. */
void zlt_visits_deaf(zlt_visits_t *v);
unsigned zlt_visits_count(const zlt_visits_t *v);
void zlt_visits_destroy(zlt_visits_t *v);

/* To be called each second. */
void zlt_visits_tick(zlt_visits_t *v);


#endif /* ZLT_VISIT_UDP_H_INCLUDED */
