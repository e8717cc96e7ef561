
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_BACKOFF_H_INCLUDED
#define ZLT_BACKOFF_H_INCLUDED


#include "control.h"


/* How long to wait for the next attempt, in ms, and at which server. */
uint32_t zlt_backoff_delay(zlt_link_t *l, zlt_down_e how, uint32_t retry_after,
    uint64_t healthy);

/* .. until a dial for a node that others may hide, after so many that came to
   nothing */
uint32_t zlt_backoff_seek(unsigned tries);


#endif /* ZLT_BACKOFF_H_INCLUDED */
