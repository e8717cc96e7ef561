
/*
 * Copyright (C) zltunnel authors
 */

/* The idle data channels of a tunnel. */


#ifndef ZLT_POOL_H_INCLUDED
#define ZLT_POOL_H_INCLUDED


#include "conn.h"
#include "http.h"
#include "reach.h"
#include "types.h"
#include "zlt_msg.h"


/* what data channels are opened with */

struct zlt_pool_param_s {
    uint8_t          tunnel_id[ZLT_ID_SIZE];
    uint8_t          key[ZLT_KEY_SIZE];
    uint8_t          node[ZLT_ID_SIZE];    /* of the server, if it says so */
    unsigned         has_node:1;
    zlt_way_t        way;
    uint16_t         least;            /* idle channels */
    uint16_t         most;
};


zlt_pool_t *zlt_pool_create(zlt_owner_t *o, const zlt_pool_param_t *param);

/* A new control channel of the same tunnel, or of another: what is idle is of
   use in the first case only. */
int zlt_pool_is(const zlt_pool_t *p, const uint8_t *tunnel_id);
void zlt_pool_update(zlt_pool_t *p, const zlt_pool_param_t *param);
const zlt_pool_param_t *zlt_pool_get_param(const zlt_pool_t *p);

/* What requests say of it. */
void zlt_pool_tunnel(const zlt_pool_param_t *param, zlt_http_tunnel_t *tunnel);

/* The bounds of the configuration have changed. */
void zlt_pool_reload(zlt_pool_t *p);

/* Opens no more while there is no control channel. */
void zlt_pool_suspend(zlt_pool_t *p);

/* Opens no more, ever; gone with its last channel.  "retire": those that are
   idle end now, otherwise when the server closes them. */
void zlt_pool_abandon(zlt_pool_t *p, int retire);

/* To be called each second. */
void zlt_pool_tick(zlt_pool_t *p);
void zlt_pool_refill(zlt_pool_t *p);

/* A connection has asked for one, or has taken one. */
void zlt_pool_demand(zlt_pool_t *p);

/* told by its channels */

/* One that the pool has had opened is idle now. */
void zlt_pool_idle(zlt_pool_t *p, zlt_channel_t *ch);

/* idle again, or for the first time if it was a fresh one */
void zlt_pool_return(zlt_pool_t *p, zlt_channel_t *ch);

/* It is not the pool's any more, whether it was idle or on its way.  Its pool,
   which lives to the end of this turn; NULL if it has left before. */
zlt_pool_t *zlt_pool_leave(zlt_channel_t *ch);

/* 1 if a channel with such a connection is not to be idle after that; a lane is
   not asked */
int zlt_pool_retires(const zlt_framed_t *f);
void zlt_pool_failed(zlt_pool_t *p, const char *why);

/* One that is on its way has met another node: 1 if it may be tried again at
   once. */
int zlt_pool_astray(zlt_pool_t *p);


#endif /* ZLT_POOL_H_INCLUDED */
