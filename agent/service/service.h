
/*
 * Copyright (C) zltunnel authors
 */

/* The services of this agent: what is published and where it is. */


#ifndef ZLT_SERVICE_H_INCLUDED
#define ZLT_SERVICE_H_INCLUDED


#include <time.h>
#include <uv.h>

#include "addr.h"
#include "allow.h"
#include "check.h"
#include "option_service.h"
#include "range.h"
#include "types.h"
#include "urls.h"
#include "waiter.h"
#include "zlt_list.h"


#define ZLT_SERVICE_IDS      4
#define ZLT_SERVICE_NO_PORT  "(no port)"
#define ZLT_SERVICE_NO_URL   "(no URL)"
#define ZLT_SERVICE_FAILURE  200
#define ZLT_HEALTH_TEXT      400


/* what came of a connection to it */

typedef enum {
    ZLT_SERVICE_OK = 0,
    ZLT_SERVICE_NO_ANSWER,
    ZLT_SERVICE_REFUSES,
    ZLT_SERVICE_UNREACHABLE,
    ZLT_SERVICE_LIMIT,         /* of descriptors, memory, its backlog */
    ZLT_SERVICE_FORBIDDEN,     /* a target that is not allowed */
    ZLT_SERVICE_RESULTS
} zlt_service_result_e;


/* of a UDP service; "in" is to the service, "out" to the server */

typedef struct {
    uint64_t             sessions;
    uint64_t             refused;      /* sessions */
    uint64_t             in;           /* datagrams, those dropped too */
    uint64_t             bytes_in;
    uint64_t             out;
    uint64_t             bytes_out;
    uint64_t             full_in;      /* dropped: the queue was full */
    uint64_t             full_out;
    uint64_t             late_in;      /* dropped: too old */
    uint64_t             late_out;
    uint64_t             failed;       /* dropped: the socket, memory */
    uint64_t             kernel;       /* dropped: no room in the socket */
    uint64_t             reported;     /* drops, in the log */
} zlt_udp_count_t;


/* what checks have found */

typedef struct {
    unsigned             down:1;
    unsigned             known:1;      /* one has ended */
    time_t               since;        /* of "down", or of up again */
    uint64_t             since_ms;
    uint64_t             was;          /* ms, what it was before */
    uint8_t              told;         /* to the server: ZLT_H_* */
    uint64_t             turn;         /* .. who has the least is told of
                                          next; 0: does not wait */
    char                 why[ZLT_HEALTH_TEXT];     /* the last has failed: the
                                                      address and the error */
} zlt_health_t;


struct zlt_service_s {
    zlt_list_t           link;
    unsigned             refs;
    zlt_service_conf_t   conf;

    zlt_range_t         *range;        /* NULL: a target */
    zlt_list_t           peer;         /* range->services */
    zlt_list_t           down;         /* range->down */
    zlt_service_state_e  state;        /* set by zlt_range_set() */
    uint16_t             port;         /* assigned last, 0: none */

    /* why it was not reached the last time; "": it was */
    char                 failure[ZLT_SERVICE_FAILURE];
    uint64_t             failed_at;    /* ms */
    uint64_t             connects[ZLT_SERVICE_RESULTS];

    zlt_check_t         *check;        /* NULL: is not checked */
    zlt_health_t         health;

    /* of this registration and of earlier ones: a channel that was opened
       before a reconnect may still bring a Connect with an older id */
    uint8_t              ids[ZLT_SERVICE_IDS][ZLT_ID_SIZE];
    unsigned             nids;

    zlt_addrs_t          addrs;
    uint64_t             expires;      /* ms; of the addresses */
    unsigned             fixed:1;      /* they need no resolving */
    unsigned             loopback:1;   /* localhost: the second is for where
                                          the first refuses */
    struct zlt_resolve_s  *resolve;
    zlt_list_t           waiters;

    /* an open one leads to many places, each a service that lives as long as
       something goes there */
    zlt_allow_t          allow;
    zlt_list_t           targets;
    zlt_service_t       *open;         /* that this is a target of, or NULL */

    /* UDP */
    zlt_list_t           sessions;     /* the longest idle first */
    unsigned             nsessions;
    zlt_udp_count_t      udp;
    uint8_t              udp_address;  /* where sessions begin */
};


/* All of them; NULL without memory.  The list holds one reference. */
zlt_service_t *zlt_service_create(zlt_list_t *services,
    const zlt_service_conf_t *conf);

/* Changes where it leads to, for connections to come. */
void zlt_service_move(zlt_service_t *s, const zlt_service_conf_t *conf);

/* Takes it off the list. */
void zlt_service_remove(zlt_service_t *s);
void zlt_service_hold(zlt_service_t *s);
void zlt_service_release(zlt_service_t *s);

/* A target of an open service, "host:port", to be released.  NULL: it is not
   one, or there is no memory. */
zlt_service_t *zlt_service_target(zlt_service_t *open, zlt_str_t target);

/* 1 if it may be dialled at that address */
int zlt_service_permits(const zlt_service_t *s, const zlt_addr_t *addr);

zlt_service_t *zlt_service_by_id(zlt_list_t *services, const uint8_t *id);
void zlt_service_add_id(zlt_service_t *s, const uint8_t *id);

/* 0 if s->addrs may be used now; else the waiter is called when it may, or
   with an error; it may be removed from its list before that. */
int zlt_service_resolve(zlt_service_t *s, zlt_waiter_t *waiter);

/* A connection to it, or to a target of it, could not be made; or was. */
void zlt_service_failed(zlt_service_t *s, const char *why);
void zlt_service_served(zlt_service_t *s);

/* .. one that was asked for by a client, for the metrics */
void zlt_service_count(zlt_service_t *s, zlt_service_result_e result);

/* That one of its addresses is right: the first to be tried, for a while. */
void zlt_service_worked(zlt_service_t *s, const zlt_addr_t *addr);


#endif /* ZLT_SERVICE_H_INCLUDED */
