
/*
 * Copyright (C) zltunnel authors
 */

/* Which of several a link of a server is: the address that it goes to. */


#ifndef ZLT_LINK_PLACE_H_INCLUDED
#define ZLT_LINK_PLACE_H_INCLUDED


#include "addr.h"
#include "types.h"
#include "zlt_types.h"


#define ZLT_LINK_PLACE_TEXT  (ZLT_ADDR_TEXT + 32)
#define ZLT_LINK_PLACE_NODE  (2 * ZLT_ID_SIZE + 1)


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

/* The id of its node, in hex, "": it has told none; buf has
   ZLT_LINK_PLACE_NODE bytes; returns it */
const char *zlt_link_place_node(const zlt_link_t *l, char *buf);

/* "192.0.2.7", with the beginning of the node's id where there are several
   nodes, "192.0.2.7 3f2a91c0", "" if nothing tells it from another link; text
   has ZLT_LINK_PLACE_TEXT bytes; returns it */
const char *zlt_link_place_text(const zlt_link_t *l, char *text);


#endif /* ZLT_LINK_PLACE_H_INCLUDED */
