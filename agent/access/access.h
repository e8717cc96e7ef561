
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Access sessions: services of other agents, at an address of this machine,
 * for a time.
 *
 *   access.c         the sessions, from their request to their end
 *   access_msg.c     what is said about them on the control channel
 *   access_listen.c  where local clients connect
 *   visit.c          one connection of a client
 *   visit_udp.c      the clients of a UDP service
 */


#ifndef ZLT_ACCESS_H_INCLUDED
#define ZLT_ACCESS_H_INCLUDED


#include "link.h"
#include "text.h"


#define ZLT_ACCESS_LOCAL   128
#define ZLT_ACCESS_LATELY  2000        /* ms; resets that belong to an end */

typedef struct zlt_ask_s  zlt_ask_t;

/* The answer to a renewal: error is NULL if it was granted. */
typedef void (*zlt_ask_pt)(void *data, const char *error);


typedef enum {
    ZLT_ACCESS_WAITS = 0,      /* for a control channel, or to ask again */
    ZLT_ACCESS_ASKED,          /* AccessOpen was sent */
    ZLT_ACCESS_RUNS,
    ZLT_ACCESS_EXPIRES,        /* no new connections, for the grace */
    ZLT_ACCESS_ENDED
} zlt_access_state_e;


struct zlt_access_s {
    zlt_list_t           link;         /* agent->accesses */
    zlt_watcher_t        watcher;      /* of the control channel */
    zlt_agent_t         *agent;
    zlt_access_conf_t    conf;
    zlt_access_state_e   state;

    uint8_t              id[ZLT_ID_SIZE];
    uint64_t             created;      /* Unix time, s; 0: never granted */
    uint64_t             deadline;     /* zlt_clock_boot(); 0: none */
    uint64_t             again_at;     /* ms; when to ask again, 0: at once */

    int                  fd;           /* bound, nobody can connect yet */
    zlt_io_t             listener;     /* TCP; fd -1: none */
    zlt_task_t           task;         /* more to accept */
    zlt_visits_t        *udp;          /* UDP, or NULL */
    char                 local[ZLT_ACCESS_LOCAL];  /* as it is shown */

    zlt_list_t           visits;       /* those that run */
    unsigned             nvisits;
    uint64_t             total;        /* connections, UDP sessions */
    uint64_t             bytes[2];     /* from and to clients, of those that
                                          have ended */
    uint64_t             reset_at;     /* ms, by the server, lately */
    unsigned             nreset;
    uint64_t             said;         /* ms, the last complaint; 0: none */

    unsigned             has_id:1;
    unsigned             bound:1;
    unsigned             listening:1;
    unsigned             paused:1;     /* accepts none: no descriptors */
    unsigned             announced:1;
    unsigned             failed:1;     /* ended otherwise than by its time */
};


/* a question to the server, answered in the order of asking */

struct zlt_ask_s {
    zlt_list_t           link;         /* session->asks */
    zlt_access_t        *access;       /* NULL: it has ended since */
    zlt_ask_pt           handler;      /* of a renewal, or NULL */
    void                *data;
    unsigned             renew:1;
    unsigned             resume:1;
};


/* access.c */

/* What was granted: seconds that are left, 0 for no end. */
void zlt_access_granted(zlt_access_t *x, const uint8_t *id, uint32_t ttl);
void zlt_access_renewed(zlt_access_t *x, uint32_t ttl);

/* Another time may do, or none ever will. */
void zlt_access_refused(zlt_access_t *x, unsigned code, const char *reason);

/* The server says that it has ended. */
void zlt_access_closed(zlt_access_t *x, unsigned code, const char *reason);

/* 1 if connections may be opened to the server */
int zlt_access_runs(const zlt_access_t *x);

zlt_access_t *zlt_access_by_id(zlt_agent_t *a, const uint8_t *id);

/* connections, or clients of UDP */
unsigned zlt_access_open_now(const zlt_access_t *x);

/* From the clients, and to them; those that run too. */
void zlt_access_bytes(const zlt_access_t *x, uint64_t bytes[2]);

/* "Access NAME at ADDRESS until ..." */
void zlt_access_told(zlt_text_t *t, const zlt_access_t *x);

/* Seconds that are left, rounded up; 0: none, or no end. */
uint32_t zlt_access_left(const zlt_access_t *x);


/* access_msg.c */

void zlt_access_ask(zlt_session_t *s, zlt_access_t *x);
void zlt_access_tell_close(zlt_session_t *s, zlt_access_t *x,
    const char *reason);

/* 0, or -1 if it cannot be asked; the handler is called later, unless
   zlt_access_unask() was. */
int zlt_access_renew(zlt_access_t *x, uint32_t ttl, zlt_ask_pt handler,
    void *data);
void zlt_access_unask(zlt_agent_t *a, void *data);

/* Answers that come for it are for nobody. */
void zlt_access_forget(zlt_session_t *s, zlt_access_t *x);


/* access_listen.c */

/* Takes the address: 0, or -1 with a text in error (ZLT_CONF_ERROR_SIZE). */
int zlt_access_bind(zlt_access_t *x, char *error);

/* Clients may come from now on: 0 or -1, likewise. */
int zlt_access_listen(zlt_access_t *x, char *error);
void zlt_access_unlisten(zlt_access_t *x);

/* Accepts again, if it had to pause. */
void zlt_access_resume(zlt_access_t *x);


/* visit.c */

/* A client; takes the descriptor over. */
void zlt_visit_start(zlt_access_t *x, int fd, const char *client);

/* Those that wait for the session go on. */
void zlt_visit_go(zlt_access_t *x);

/* Resets all of them; their number. */
unsigned zlt_visit_cut(zlt_access_t *x);


/* visit_udp.c */

/* Serves a socket, which it takes over; NULL without memory. */
zlt_visits_t *zlt_visits_create(zlt_access_t *x, int fd);

/* Takes no more clients. */
void zlt_visits_deaf(zlt_visits_t *v);
unsigned zlt_visits_count(const zlt_visits_t *v);
void zlt_visits_destroy(zlt_visits_t *v);
void zlt_visits_tick(zlt_visits_t *v);


#endif /* ZLT_ACCESS_H_INCLUDED */
