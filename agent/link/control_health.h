
/*
 * Copyright (C) zltunnel authors
 */

/* What the server is told of services that are checked. */


#ifndef ZLT_CONTROL_HEALTH_H_INCLUDED
#define ZLT_CONTROL_HEALTH_H_INCLUDED


#include "types.h"
#include "zlt_msg.h"


/* Puts it into a message, by which the server knows it: 0 if it is up, or if
   the server would not understand. */
int zlt_control_health_put(zlt_control_t *c, zlt_service_t *s, zlt_msg_t *m);

/* 1 if a service that is registered is not as the server knows it */
int zlt_control_health_due(const zlt_control_t *c, const zlt_service_t *s);
void zlt_control_health_send(zlt_control_t *c, zlt_service_t *s);


#endif /* ZLT_CONTROL_HEALTH_H_INCLUDED */
