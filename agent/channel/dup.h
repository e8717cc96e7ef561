
/*
 * Copyright (C) zltunnel authors
 */

/* Remembers connection ids for at least a minute. */


#ifndef ZLT_DUP_H_INCLUDED
#define ZLT_DUP_H_INCLUDED


#include "zlt_msg.h"


/* 1 if the id was seen before; remembers it if not. */
int zlt_dup_seen(const uint8_t id[ZLT_ID_SIZE]);

/* The connection was never tried: it may come again. */
void zlt_dup_forget(const uint8_t id[ZLT_ID_SIZE]);

/* To be called each second. */
void zlt_dup_tick(void);


#endif /* ZLT_DUP_H_INCLUDED */
