
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Checks of a service: from time to time a connection to it, or a request.
 *
 * A service counts as up until so many checks in a row have failed, and is up
 * again with the first one that has not.  What is known of it stays while it is
 * checked in another way, or at another place, until that has been found out.
 */


#ifndef ZLT_CHECK_H_INCLUDED
#define ZLT_CHECK_H_INCLUDED


#include <uv.h>

#include "types.h"


/* The service has become down, or up again, which s->health says. */
typedef void (*zlt_check_pt)(zlt_service_t *s, void *data);


/* Checks it, from now on, as s->conf says: 0, or -1 without memory. */
int zlt_check_start(zlt_service_t *s, uv_loop_t *loop, zlt_check_pt changed,
    void *data);

/* It is checked no more; s->health stays as it is. */
void zlt_check_stop(zlt_service_t *s);


#endif /* ZLT_CHECK_H_INCLUDED */
