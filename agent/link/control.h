
/*
 * Copyright (C) zltunnel authors
 */

/* A control channel, from dialling to its end. */


#ifndef ZLT_CONTROL_H_INCLUDED
#define ZLT_CONTROL_H_INCLUDED


#include <stdint.h>

#include "types.h"
#include "zlt_list.h"


/* how a control channel has ended, which decides when the next one begins */

typedef enum {
    ZLT_DOWN_LOST = 0,         /* network, server: with jitter */
    ZLT_DOWN_REFUSED,          /* bad token and the like: slowly */
    ZLT_DOWN_IN_USE,           /* every 5 s */
    ZLT_DOWN_RECONNECT,        /* at once, keeping this one */
    ZLT_DOWN_CLOSED,           /* by us */
    ZLT_DOWN_DOUBLE            /* another link has that node */
} zlt_down_e;


/* what a control channel tells the link */

typedef struct {
    void  (*up)(zlt_link_t *l, zlt_control_t *c);

    /* All services have been answered. */
    void  (*registered)(zlt_link_t *l);

    /* retry_after in ms, 0: not told; healthy: ms that it was up */
    void  (*down)(zlt_link_t *l, zlt_control_t *c, zlt_down_e how,
        uint32_t retry_after, uint64_t healthy);
} zlt_control_ops_t;


/* NULL: no memory */
zlt_control_t *zlt_control_start(zlt_link_t *l, const zlt_control_ops_t *ops);

/* Says goodbye and waits a little for the server to close. */
void zlt_control_close(zlt_control_t *c, const char *reason);

/* Ends at once, without a callback. */
void zlt_control_abort(zlt_control_t *c);

/* The same with one, and a text for the log; retry_after in ms, 0: not
   told. */
void zlt_control_fail(zlt_control_t *c, zlt_down_e how, uint32_t retry_after,
    const char *fmt, ...) zlt_printf_like(4, 5);

/* To be called each second. */
void zlt_control_tick(zlt_control_t *c);

int zlt_control_is_up(const zlt_control_t *c);

/* 1 if an answer to a Register is waited for */
int zlt_control_registers(const zlt_control_t *c);

/* what its data channels are opened with; NULL if it has none */
const zlt_pool_param_t *zlt_control_param(const zlt_control_t *c);

/* It lives on, in that list, until the server closes it.  "former": the token
   has changed, so that it may be of another tunnel than what follows. */
void zlt_control_keep_aside(zlt_control_t *c, zlt_list_t *kept, int former);

/* What follows one that was kept is there.  A former one of another tunnel
   gives its services up, and ends when its connections have, or after so many
   ms: then zlt_control_parted() says 1. */
void zlt_control_part(zlt_control_t *c, const zlt_control_t *follows,
    uint32_t timeout);
int zlt_control_parted(const zlt_control_t *c, uint64_t now);
zlt_control_t *zlt_control_of_node(zlt_list_t *node);

/* the one of that serial number, if it is still there */
zlt_control_t *zlt_control_find(zlt_link_t *l, uint32_t serial);


/* control_heartbeat.c */

/* Asks for a sign of life within so many ms; 0: as long as it may take. */
void zlt_control_heartbeat_probe(zlt_control_t *c, unsigned timeout);


/* control_register.c */

/* All services of a range, or none; what comes of it is in range->state. */
void zlt_control_register(zlt_control_t *c, zlt_range_t *range);

/* Unregisters one. */
void zlt_control_register_end(zlt_control_t *c, zlt_service_t *service);


#endif /* ZLT_CONTROL_H_INCLUDED */
