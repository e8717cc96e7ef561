
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_VISIT_H_INCLUDED
#define ZLT_VISIT_H_INCLUDED


#include "access.h"
#include "addr.h"
#include "channel.h"


/* The other side of the channel is a local client, or clients of UDP. */

struct zlt_visit_s {
    zlt_list_t           link;         /* access->visits */
    zlt_access_t        *access;
    zlt_channel_t       *channel;
    zlt_visit_udp_t     *udp;          /* whose channel it is, or NULL */
    uint32_t             early;        /* bytes sent before ConnectAck */
    uint8_t              busy;         /* refusals for a while */
    unsigned             waiting:1;    /* the channel is not on its way */
    unsigned             whole:1;      /* both directions have ended well */
    char                 client[ZLT_ADDR_TEXT];
};


/* A client; takes the descriptor over. */
void zlt_visit_start(zlt_access_t *x, int fd, const char *client);

/* Those that wait for the session go on. */
void zlt_visit_go(zlt_access_t *x);

/* Resets all of them; their number. */
unsigned zlt_visit_cut(zlt_access_t *x);

/* The session is another link's: resets those that have no answer yet. */
void zlt_visit_leave(zlt_access_t *x);

/* With a channel that is not on its way yet; NULL without memory.  udp: that
   it is for, or NULL. */
zlt_visit_t *zlt_visit_create(zlt_access_t *x, const char *client,
    const zlt_channel_use_t *use, zlt_visit_udp_t *udp);

/* Writes the request for its channel: as zlt_http_access(). */
size_t zlt_visit_ask(zlt_visit_t *v, const zlt_pool_param_t *param,
    char *buf, zlt_http_want_t *want);

/* The channel could not be opened, with an answer or without (NULL): 1 if it
   is tried again at once. */
int zlt_visit_again(zlt_channel_t *ch, const zlt_http_answer_t *answer,
    const char *why);

/* Once a minute. */
void zlt_visit_complain(const zlt_access_t *x, const char *why);


#endif /* ZLT_VISIT_H_INCLUDED */
