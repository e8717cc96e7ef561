
/*
 * Copyright (C) zltunnel authors
 */

/* The sessions of a service. */


#ifndef ZLT_UDP_SERVICE_H_INCLUDED
#define ZLT_UDP_SERVICE_H_INCLUDED


#include "types.h"


/* To be called each second, for each link: sessions that have been idle for
   too long. */
void zlt_udp_service_tick(zlt_owner_t *o);

/* Ends the sessions of a service that is removed, or leads elsewhere now. */
void zlt_udp_service_end(zlt_service_t *service);

/* Its counters, to the log. */
void zlt_udp_service_log(const zlt_owner_t *o, const zlt_service_t *service);

/* A warning about it, not too often. */
void zlt_udp_service_complain(const zlt_udp_t *u, const zlt_service_t *service,
    const char *fmt, ...) zlt_printf_like(3, 4);


#endif /* ZLT_UDP_SERVICE_H_INCLUDED */
