
/*
 * Copyright (C) zltunnel authors
 */

/* Moves bytes between two connections, both ways, until both have ended. */


#ifndef ZLT_RELAY_H_INCLUDED
#define ZLT_RELAY_H_INCLUDED


#include "conn.h"
#include "pipe.h"
#include "task.h"
#include "timer.h"
#include "zlt_list.h"


#define ZLT_RELAY_CHANNEL    0     /* side[0] */
#define ZLT_RELAY_SERVICE    1     /* side[1] */


typedef struct zlt_relay_s  zlt_relay_t;

typedef enum {
    ZLT_RELAY_DONE = 0,        /* both directions have ended */
    ZLT_RELAY_RESET_CHANNEL,   /* that side was reset or failed */
    ZLT_RELAY_RESET_SERVICE,
    ZLT_RELAY_TIMEOUT,         /* half-closed and silent, or dead */
    ZLT_RELAY_NO_MEMORY
} zlt_relay_end_e;

typedef void (*zlt_relay_pt)(zlt_relay_t *r, zlt_relay_end_e how);


/* how its bytes go */

typedef enum {
    ZLT_FLOW_COPIED = 0,
    ZLT_FLOW_HELD,             /* buf waits for what comes behind it */
    ZLT_FLOW_BULK              /* worth a pipe */
} zlt_flow_way_e;


/* how far its end has come */

typedef enum {
    ZLT_FLOW_OPEN = 0,
    ZLT_FLOW_EOF,              /* it has been read */
    ZLT_FLOW_SHUT,             /* .. and passed on */
    ZLT_FLOW_CUT               /* a reset has been read instead */
} zlt_flow_end_e;


/* one direction: flow[i] goes from side[i] to side[!i] */

typedef struct {
    zlt_buf_t       *buf;
    zlt_pipe_t      *pipe;     /* only while there are bytes in it */

    uint8_t          full;     /* full reads in a row */
    uint8_t          small;    /* small splices in a row */
    uint8_t          way;      /* zlt_flow_way_e */
    uint8_t          end;      /* zlt_flow_end_e */
    unsigned         dead:1;   /* the far side takes no more */
    unsigned         broken:1; /* the near side was reset: an end is none */
} zlt_flow_t;


struct zlt_relay_s {
    zlt_conn_t       side[2];
    zlt_flow_t       flow[2];

    zlt_task_t       task;     /* the next turn */
    unsigned         begins:1; /* .. is the first */
    zlt_timer_t      timer;
    zlt_list_t       link;     /* of all that are open */
    uint64_t         active;   /* ms, when bytes moved last */
    uint64_t         bytes[2]; /* that side[i] has sent */
    unsigned         kept:1;   /* keepalive is on */
    unsigned         lost:1;   /* side[gone] was reset: what it had sent before
                                  is on its way */
    unsigned         gone:1;
    zlt_list_t       leaves;   /* of all that have lost a side */
    uint64_t         stalled;  /* ms, when the other side took something last */
    size_t           outq;     /* .. of which it has not acknowledged this */
    uint8_t          silent[2];    /* looks in a row that found side[i] so */

    zlt_relay_pt     handler;  /* called once; both sides are closed by then,
                                  but for a channel that stays */
};


/* To be called once, before all others. */
void zlt_relay_setup(uv_loop_t *loop);

void zlt_relay_init(zlt_relay_t *r);

/* Keeps what was put from that side, or what a framed far side has to send
   first, until there is more to go with it, but not for longer than a
   millisecond.  To be called before the start. */
void zlt_relay_hold(zlt_relay_t *r, unsigned from);

/* Starts, with the next turn: whoever calls may be looking at what it has
   read. */
void zlt_relay_start(zlt_relay_t *r, zlt_relay_pt handler);

/* Resets both sides, without calling the handler. */
void zlt_relay_abort(zlt_relay_t *r);

/* Frees what the flows hold. */
void zlt_relay_cleanup(zlt_relay_t *r);

/* Makes a relay that has ended ready for the next connection. */
void zlt_relay_reuse(zlt_relay_t *r);

/* To be called each second. */
void zlt_relay_tick(void);


#endif /* ZLT_RELAY_H_INCLUDED */
