
/*
 * Copyright (C) zltunnel authors
 */

/* A control channel, from dialling to its end. */


#ifndef ZLT_CONTROL_H_INCLUDED
#define ZLT_CONTROL_H_INCLUDED


#include <stdint.h>

#include "log.h"
#include "types.h"
#include "zlt_list.h"


/* how a control channel has ended, which decides when the next one begins */

typedef enum {
    ZLT_DOWN_LOST = 0,         /* network, server: with jitter */
    ZLT_DOWN_REFUSED,          /* bad token and the like: slowly */
    ZLT_DOWN_IN_USE,           /* every 5 s */
    ZLT_DOWN_RECONNECT,        /* at once, keeping the session */
    ZLT_DOWN_CLOSED            /* by us */
} zlt_down_e;


/* NULL: no memory */
zlt_session_t *zlt_session_start(zlt_link_t *l);

/* Says goodbye and waits a little for the server to close. */
void zlt_session_close(zlt_session_t *s, const char *reason);

/* Ends at once, without a callback. */
void zlt_session_abort(zlt_session_t *s);

/* The same with one, and a text for the log; retry_after in ms, 0: not
   told. */
void zlt_session_fail(zlt_session_t *s, zlt_down_e how, uint32_t retry_after,
    const char *fmt, ...) zlt_printf_like(4, 5);

/* To be called each second. */
void zlt_session_tick(zlt_session_t *s);

int zlt_session_is_up(const zlt_session_t *s);

/* 1 if an answer to a Register is waited for */
int zlt_session_registers(const zlt_session_t *s);

/* what its data channels are opened with; NULL if it has none */
const zlt_pool_param_t *zlt_session_param(const zlt_session_t *s);

/* It lives on, in that list, until the server closes it. */
void zlt_session_keep_aside(zlt_session_t *s, zlt_list_t *kept);
zlt_session_t *zlt_session_of_link(zlt_list_t *node);

/* the one of that serial number, if it is still there */
zlt_session_t *zlt_session_find(zlt_link_t *l, uint32_t serial);


/* control_heartbeat.c */

/* Asks for a sign of life within so many ms; 0: as long as it may take. */
void zlt_session_probe(zlt_session_t *s, unsigned timeout);


/* control_register.c */

void zlt_session_register(zlt_session_t *s, zlt_service_t *service);
void zlt_session_unregister(zlt_session_t *s, zlt_service_t *service);


#endif /* ZLT_CONTROL_H_INCLUDED */
