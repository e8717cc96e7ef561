
/*
 * Copyright (C) zltunnel authors
 */

/* What becomes of all access sessions of a link. */


#ifndef ZLT_ACCESS_ALL_H_INCLUDED
#define ZLT_ACCESS_ALL_H_INCLUDED


#include "types.h"


/* Those of its configuration: 0, or -1 with a text in error
   (ZLT_CONF_ERROR_SIZE). */
int zlt_access_all_create(zlt_owner_t *o, char *error);
void zlt_access_all_reload(zlt_owner_t *o, const zlt_conf_t *conf);
void zlt_access_all_done(zlt_owner_t *o);

/* They are another link's from now on, and asked for at its server. */
void zlt_access_all_move(zlt_owner_t *from, zlt_owner_t *to);

/* To be called each second. */
void zlt_access_all_tick(zlt_owner_t *o);

/* The agent ends; one that only visits cuts what runs. */
void zlt_access_all_stop(zlt_owner_t *o);

/* The control channel is there, or there no more. */
void zlt_access_all_up(zlt_owner_t *o);
void zlt_access_all_down(zlt_owner_t *o);


#endif /* ZLT_ACCESS_ALL_H_INCLUDED */
