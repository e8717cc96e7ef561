
/*
 * Copyright (C) zltunnel authors
 */

/* Which of several a link of a server is: the address that it goes to. */


#ifndef ZLT_LINK_PLACE_H_INCLUDED
#define ZLT_LINK_PLACE_H_INCLUDED


#include "addr.h"
#include "types.h"


#define ZLT_LINK_PLACE_TEXT  (ZLT_ADDR_TEXT + 32)


/* It goes to that address only. */
void zlt_link_place_pin(zlt_link_t *l, const zlt_addr_t *addr);

/* .. to any again */
void zlt_link_place_unpin(zlt_link_t *l);

/* Whose log lines they are, where there may be several: ZLT_OWNER_LABEL bytes.
   "which" is the link's place; NULL: it is not said. */
void zlt_link_place_label(char *label, const zlt_conf_t *conf,
    const char *which);

/* The label of *l; "many": it says which of several it is. */
void zlt_link_place_name(zlt_link_t *l, int many);

/* "192.0.2.7:443", where it is, or was last; "": it was nowhere yet; buf has
   ZLT_ADDR_TEXT bytes; returns it */
const char *zlt_link_place_address(const zlt_link_t *l, char *buf);

/* "192.0.2.7", "" if it is anywhere; text has ZLT_LINK_PLACE_TEXT bytes;
   returns it */
const char *zlt_link_place_text(const zlt_link_t *l, char *text);


#endif /* ZLT_LINK_PLACE_H_INCLUDED */
