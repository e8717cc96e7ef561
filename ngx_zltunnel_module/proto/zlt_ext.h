
/*
 * Copyright (C) zltunnel authors
 */

/* Private to proto/: the extension block of a message. */


#ifndef ZLT_EXT_H_INCLUDED
#define ZLT_EXT_H_INCLUDED


#include "zlt_msg.h"


/*
 * Reads the extension block, from p to end, of a message whose type and
 * fixed fields are set.  A block that is void leaves *m as it was: for the
 * receiver it is a message without one, never an error.
 */
void zlt_ext_read(zlt_msg_t *m, const uint8_t *p, const uint8_t *end);

/* Writes the extension block; returns the position behind it, or NULL if it
   does not fit before end. */
uint8_t *zlt_ext_write(const zlt_msg_t *m, uint8_t *p, uint8_t *end);


#endif /* ZLT_EXT_H_INCLUDED */
