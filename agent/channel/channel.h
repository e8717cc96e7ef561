
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel: on its way to the server, idle, and then whatever it has
 * become.  Its life is in channel.c, its steps in channel_*.c.
 */


#ifndef ZLT_CHANNEL_H_INCLUDED
#define ZLT_CHANNEL_H_INCLUDED


#include "channel_state.h"
#include "http.h"
#include "owner.h"
#include "pool.h"
#include "relay.h"
#include "scratch.h"
#include "waiter.h"


#define ZLT_CHANNEL_SILENCE  60        /* s; the server heartbeats every 25 */

#define ZLT_CHANNEL_SMALL    64        /* any message that we send but Fail */
#define ZLT_CHANNEL_FAIL     512

#define ZLT_CHANNEL_WORKERS  256


/* what a channel is for: to be idle, to answer a Connect, or a visitor's */

typedef struct {
    /* Writes the request for it: as zlt_http_channel(). */
    size_t  (*request)(zlt_channel_t *ch, const zlt_pool_param_t *param,
                       char *buf, zlt_http_want_t *want);

    /* The 101 has come, and data behind it. */
    void    (*opened)(zlt_channel_t *ch, const uint8_t *data, size_t len);

    /* It could not be opened; answer is NULL if there was none. */
    void    (*failed)(zlt_channel_t *ch, const zlt_http_answer_t *answer,
                      const char *why);

    /* The relay's timer, before there is a relay. */
    void    (*expired)(zlt_channel_t *ch);
    void    (*freed)(zlt_channel_t *ch);
} zlt_channel_use_t;


struct zlt_channel_s {
    zlt_relay_t      relay;            /* first: side[0] is the channel */

    zlt_list_t       all;              /* owner->channels */
    zlt_list_t       link;             /* pool: idle, the newest last */
    zlt_owner_t     *owner;
    zlt_pool_t      *pool;             /* until a Connect */
    zlt_service_t   *service;          /* while it is dialled */
    char            *target;           /* of an open service, or NULL */
    char            *client;           /* its address, while its service is
                                          not known yet, or NULL */
    zlt_waiter_t     waiter;
    zlt_race_t      *race;             /* of the service's addresses, or NULL */
    zlt_udp_t       *udp;              /* a datagram channel */
    zlt_shared_t    *shared;           /* one with lanes */
    zlt_channel_t   *moving;           /* it will go on there, or, of that one,
                                          what is to come */
    zlt_upgrade_t   *upgrade;          /* on the way to the server, or NULL */

    const zlt_channel_use_t  *use;
    void                     *user;    /* a visitor's; NULL: the server's */

    zlt_framed_t     framed;           /* .. one that will be idle again */

    uint8_t          tunnel_id[ZLT_ID_SIZE];
    uint8_t          id[ZLT_ID_SIZE];  /* of the connection */
    uint8_t          service_id[ZLT_ID_SIZE];      /* if it is early */
    uint32_t         serial;           /* of the control channel that asked */
    uint16_t         worker;
    uint16_t         workers;
    zlt_channel_state_e  state;
    uint8_t          tries;            /* to reach the server, failed */
    uint8_t          astray;           /* .. the node with the tunnel */
    uint8_t          strange;          /* .. of them, in a row, other nodes */
    uint64_t         astray_since;     /* ms */
    unsigned         early:1;          /* bytes went to the service at once */
    unsigned         unread:1;         /* what is kept was not looked at */
    uint64_t         dialled;          /* us, when its service was */
    uint32_t         discarded;        /* bytes, after our end */
    unsigned         websocket:1;      /* opened within one */
    unsigned         late:1;           /* the service did not answer */
};


/* To be called each second. */
void zlt_channel_tick(void);

/* A channel without a connection yet; NULL without memory.  user: a visitor's,
   or NULL. */
zlt_channel_t *zlt_channel_create(zlt_owner_t *o,
    const zlt_channel_use_t *use, void *user);

/* Both sides must be closed. */
void zlt_channel_free(zlt_channel_t *ch);

/* Resets it, whatever it is doing. */
void zlt_channel_abort(zlt_channel_t *ch);

/* An idle channel is of no use any more. */
void zlt_channel_lost(zlt_channel_t *ch, const char *why);

int zlt_channel_is_idle(const zlt_channel_t *ch);
int zlt_channel_is_shared(const zlt_channel_t *ch);

/* 1 if it is at the service, and carries bytes */
int zlt_channel_is_joined(const zlt_channel_t *ch);

/* The handler of its relay's timer. */
void zlt_channel_expired(zlt_timer_t *timer);
unsigned zlt_channel_timeout(zlt_channel_t *ch);

/* Closes it, once what was sent has arrived, or cannot. */
void zlt_channel_part(zlt_channel_t *ch);

/*
 * Reads behind what an earlier, incomplete read has left.  The bytes are at
 * the start of zlt_scratch, which the caller has borrowed, *len of them.  As
 * zlt_conn_read().
 */
ssize_t zlt_channel_fill(zlt_channel_t *ch, size_t *len);

/* Bytes to be looked at before any others, with the next zlt_channel_fill();
   the channel owns them. */
void zlt_channel_unread(zlt_channel_t *ch, zlt_buf_t *buf);

/* Has the handler of the connection called in the next turn: what has come
   already raises no event. */
void zlt_channel_post(zlt_channel_t *ch);

/* Send, now or when there is room, of which zlt_channel_flush() is told: 0 or
   -1. */
int zlt_channel_send(zlt_channel_t *ch, const zlt_msg_t *m, size_t size);
int zlt_channel_write(zlt_channel_t *ch, const uint8_t *data, size_t len);
int zlt_channel_flush(zlt_channel_t *ch);

void zlt_channel_log(zlt_channel_t *ch, const char *what);


/* channel_connect.c */

/* A fresh channel to answer a Connect of the control channel with that serial
   number. */
void zlt_channel_connect_fresh(zlt_owner_t *o, uint32_t serial,
    const zlt_pool_param_t *param, const zlt_msg_t *m);

/* Bytes of the connection that came behind Connect, or ConnectAck, for its
   relay; they may be changed.  0 or -1, and errno. */
int zlt_channel_connect_early(zlt_channel_t *ch, const uint8_t *data,
    size_t len);


/* channel_open.c */

/* An idle channel for the pool, on its way: 0 or -1. */
int zlt_channel_open_idle(zlt_pool_t *p, zlt_owner_t *o);

/* Puts a visitor's on its way: 0 or -1. */
int zlt_channel_open_visit(zlt_channel_t *ch);

/* Closes what there is of the way to the server. */
void zlt_channel_open_undo(zlt_channel_t *ch);

/* Closes the way to the server, and tries again at once. */
void zlt_channel_open_anew(zlt_channel_t *ch, const char *why);

/* 1 if it has met another node than that of its tunnel, and is tried again. */
int zlt_channel_open_astray(zlt_channel_t *ch,
    const zlt_http_answer_t *answer, const char *why);


/* channel_astray.c */

/* To be called each second: 1 if all that were opened, for a while, have come to
   one and the same other node. */
int zlt_channel_astray_tick(zlt_owner_t *o);


/* channel_dial.c */

/* An answer to a Register has come. */
void zlt_channel_dial_registered(zlt_owner_t *o);


/* channel_end.c */

/* Ends an idle channel, or one with lanes, in the way that loses no
   connection. */
void zlt_channel_end_retire(zlt_channel_t *ch);

/* Sends what waits in the relay's flow, ends our direction, and waits for the
   server's end. */
void zlt_channel_end(zlt_channel_t *ch);


#endif /* ZLT_CHANNEL_H_INCLUDED */
