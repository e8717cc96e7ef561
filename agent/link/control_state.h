
/*
 * Copyright (C) zltunnel authors
 */

/* What is private to control*.c. */


#ifndef ZLT_CONTROL_STATE_H_INCLUDED
#define ZLT_CONTROL_STATE_H_INCLUDED


#include "conn.h"
#include "control.h"
#include "pool.h"
#include "task.h"
#include "upgrade.h"
#include "zlt_list.h"
#include "zlt_ws.h"


#define ZLT_CONTROL_IN  ZLT_UPGRADE_IN


typedef enum {
    ZLT_CONTROL_OPENING = 0,   /* up to AuthOk */
    ZLT_CONTROL_UP,
    ZLT_CONTROL_CLOSING,       /* by us: the server's end is waited for */
    ZLT_CONTROL_GONE           /* freed, at the end of this turn */
} zlt_control_state_e;


/* what it is to the link */

typedef enum {
    ZLT_CONTROL_CURRENT = 0,
    ZLT_CONTROL_KEPT,          /* until the server closes it */
    ZLT_CONTROL_FORMER         /* .. for another token has come */
} zlt_control_place_e;


struct zlt_control_s {
    zlt_conn_t         conn;
    zlt_link_t        *link;
    const zlt_control_ops_t  *ops;     /* the link's */
    zlt_list_t         node;           /* link->kept */
    zlt_task_t         task;
    zlt_upgrade_t     *upgrade;        /* until the 101; NULL afterwards */
    uint32_t           serial;

    zlt_ws_parser_t    ws;

    uint8_t           *pos;            /* in "in": not parsed yet */
    uint8_t           *last;

    uint8_t           *message;        /* of several frames, not complete */
    size_t             message_len;
    size_t             message_size;

    uint8_t           *out;            /* not written yet */
    size_t             out_len;
    size_t             out_size;

    zlt_service_t    **pending;        /* Registers without an answer; NULL:
                                          the service is gone */
    unsigned           npending;
    unsigned           pending_size;

    zlt_list_t         asks;           /* about access, without an answer */

    uint32_t           features;
    zlt_pool_param_t   param;
    uint32_t           interval;       /* ms, 0: not told */
    uint32_t           timeout;

    uint64_t           up_since;       /* ms, as all below */
    uint64_t           deadline;       /* 0: none */
    uint64_t           next_beat;
    uint64_t           beat;           /* the last Heartbeat's timestamp */
    uint64_t           beat_at;        /* ns, when it was sent; 0: answered */
    uint64_t           asked;          /* an answer is due; 0: none is */
    uint64_t           part_at;        /* its tunnel ends; 0: it does not */

    zlt_control_state_e  state;
    zlt_control_place_e  place;
    unsigned           first:1;        /* since the link was started */

    uint8_t            in[ZLT_CONTROL_IN];     /* our own: what a message
                                                  leads to may read, too */
};

/* The only place where the state changes: never back.  What cannot be is
   logged, and not done. */
void zlt_control_state(zlt_control_t *c, zlt_control_state_e state);


#endif /* ZLT_CONTROL_STATE_H_INCLUDED */
