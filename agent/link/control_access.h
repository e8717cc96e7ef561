
/*
 * Copyright (C) zltunnel authors
 */

/* Access sessions, on the control channel. */


#ifndef ZLT_CONTROL_ACCESS_H_INCLUDED
#define ZLT_CONTROL_ACCESS_H_INCLUDED


#include "types.h"
#include "zlt_msg.h"


/* The answer to a renewal: error is NULL if it was granted. */
typedef void (*zlt_ask_pt)(void *data, const char *error);


/* for access sessions, to reach the server by */
extern const zlt_access_ops_t  zlt_control_access_ops;

/* 0, or -1 if it cannot be asked; the handler is called later, unless
   zlt_control_access_unask() was. */
int zlt_control_access_renew(zlt_access_t *x, uint32_t ttl, zlt_ask_pt handler,
    void *data);
void zlt_control_access_unask(zlt_link_t *l, void *data);


/* for control*.c */

void zlt_control_access_ok(zlt_control_t *c, const zlt_msg_t *m);
void zlt_control_access_fail(zlt_control_t *c, const zlt_msg_t *m);
void zlt_control_access_close(zlt_control_t *c, const zlt_msg_t *m);

/* No answers come any more. */
void zlt_control_access_lost(zlt_control_t *c);


#endif /* ZLT_CONTROL_ACCESS_H_INCLUDED */
