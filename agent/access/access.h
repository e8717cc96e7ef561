
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Access sessions: services of other agents, at an address of this machine,
 * for a time.
 *
 *   access.c         a session, from its request to its end
 *   access_all.c     all of a link
 *   access_expiry.c  their time
 *   access_listen.c  where local clients connect
 *   access_stdio.c   a connection at stdin and stdout
 *   visit.c          one connection of a client
 *   visit_udp.c      the clients of a UDP service
 *
 * What is said about them to the server is in link/control_access.c.
 */


#ifndef ZLT_ACCESS_H_INCLUDED
#define ZLT_ACCESS_H_INCLUDED


#include "access_all.h"
#include "access_expiry.h"
#include "io.h"
#include "option_access.h"
#include "task.h"
#include "text.h"
#include "types.h"
#include "zlt_list.h"
#include "zlt_msg.h"


#define ZLT_ACCESS_LOCAL   128
#define ZLT_ACCESS_REFUSED UINT64_MAX  /* again_at: for the next channel */
#define ZLT_ACCESS_LATELY  2000        /* ms; resets that belong to an end */


typedef enum {
    ZLT_ACCESS_WAITS = 0,      /* for a control channel, or to ask again */
    ZLT_ACCESS_ASKED,          /* AccessOpen was sent */
    ZLT_ACCESS_RUNS,
    ZLT_ACCESS_EXPIRES,        /* no new connections, for the grace */
    ZLT_ACCESS_ENDED
} zlt_access_state_e;


/* where local clients come in; access_listen.c alone changes it */

typedef enum {
    ZLT_ACCESS_SHUT = 0,
    ZLT_ACCESS_BOUND,          /* the address is ours, nobody can connect yet */
    ZLT_ACCESS_LISTENS,
    ZLT_ACCESS_PAUSED          /* accepts none: no descriptors */
} zlt_access_door_e;


/* what the server has to say on access */

typedef enum {
    ZLT_ACCESS_NOT_NOW = 0,    /* there is no control channel */
    ZLT_ACCESS_NEVER,          /* it does not offer that */
    ZLT_ACCESS_OFFERED
} zlt_access_offer_e;


struct zlt_access_ops_s {
    zlt_access_offer_e  (*offered)(const zlt_owner_t *o);

    /* AccessOpen, to be followed by zlt_access_granted() or _refused(), and
       AccessClose */
    void  (*ask)(zlt_access_t *x);
    void  (*close)(zlt_access_t *x, const char *reason);

    /* Answers that come for it are for nobody. */
    void  (*forget)(zlt_access_t *x);

    /* There is nothing else to do for a process that only visits. */
    void  (*finish)(zlt_owner_t *o, int failed);
};


struct zlt_access_s {
    zlt_list_t           link;         /* owner->accesses */
    zlt_owner_t         *owner;
    zlt_access_conf_t    conf;
    zlt_access_state_e   state;
    zlt_access_door_e    door;

    uint8_t              id[ZLT_ID_SIZE];
    uint64_t             created;      /* Unix time, s; 0: never granted */
    uint64_t             deadline;     /* zlt_clock_boot(); 0: none */
    uint64_t             again_at;     /* ms; when to ask again, 0: at once */

    int                  fd;           /* bound, nobody can connect yet */
    zlt_io_t             listener;     /* TCP; fd -1: none */
    zlt_task_t           task;         /* more to accept */
    zlt_visit_udp_t     *udp;          /* UDP, or NULL */
    char                 local[ZLT_ACCESS_LOCAL];  /* as it is shown */

    zlt_list_t           visits;       /* those that run */
    unsigned             nvisits;
    uint64_t             total;        /* connections, UDP sessions */
    uint64_t             bytes[2];     /* from and to clients, of those that
                                          have ended */
    uint64_t             reset_at;     /* ms, by the server, lately */
    unsigned             nreset;

    unsigned             served:1;     /* by somebody, when it was granted */
    unsigned             has_id:1;
    unsigned             announced:1;
    unsigned             failed:1;     /* ended otherwise than by its time */
};


/* One that is to be asked for; NULL with a text in error. */
zlt_access_t *zlt_access_create(zlt_owner_t *o,
    const zlt_access_conf_t *conf, char *error);
void zlt_access_free(zlt_access_t *x);

/* Asks, if it is time to, and there is whom to ask. */
void zlt_access_try(zlt_access_t *x, uint64_t now);

/* Stops one: 0, or -1 if it has ended already. */
int zlt_access_stop(zlt_access_t *x, const char *why);

/* What was granted: seconds that are left, 0 for no end; served: somebody has
   the service now. */
void zlt_access_granted(zlt_access_t *x, const uint8_t *id, uint32_t ttl,
    int served);

/* Another time may do, or none ever will. */
void zlt_access_refused(zlt_access_t *x, unsigned code, const char *reason);

/* 1 if connections may be opened to the server */
int zlt_access_runs(const zlt_access_t *x);

zlt_access_t *zlt_access_by_id(zlt_owner_t *o, const uint8_t *id);

/* connections, or clients of UDP */
unsigned zlt_access_open_now(const zlt_access_t *x);

/* From the clients, and to them; those that run too. */
void zlt_access_bytes(const zlt_access_t *x, uint64_t bytes[2]);

/* "Access NAME at ADDRESS until ..." */
void zlt_access_told(zlt_text_t *t, const zlt_access_t *x);

/* The same, to the terminal. */
void zlt_access_announce(const zlt_access_t *x);

/* Ends it at once: no new connections, and those that run are cut. */
void zlt_access_end(zlt_access_t *x, const char *why);


#endif /* ZLT_ACCESS_H_INCLUDED */
