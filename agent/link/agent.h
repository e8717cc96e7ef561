
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The agent as a whole.
 *
 *   process    the loop, signals, the configuration, the links
 *   agent      a link: what to be connected to, and when
 *   session    one control channel, from dialling to its end
 *   pool       the idle data channels of one tunnel
 *   channel    one data channel: idle, then a relay to a service
 *   udp        what becomes of a channel that carries datagrams
 *   access     services of other agents, at a local address
 *
 * A session that the server has told to reconnect lives on beside the new
 * one until the server closes it, and its pool with it.
 */


#ifndef ZLT_AGENT_H_INCLUDED
#define ZLT_AGENT_H_INCLUDED


#include <time.h>

#include "conf.h"
#include "http.h"
#include "reach.h"
#include "relay.h"
#include "service.h"
#include "tls.h"
#include "token.h"


#define ZLT_AGENT_REASON  300


typedef struct zlt_process_s  zlt_process_t;
typedef struct zlt_agent_s    zlt_agent_t;
typedef struct zlt_session_s  zlt_session_t;
typedef struct zlt_pool_s     zlt_pool_t;
typedef struct zlt_channel_s  zlt_channel_t;
typedef struct zlt_udp_s      zlt_udp_t;
typedef struct zlt_shared_s   zlt_shared_t;
typedef struct zlt_access_s   zlt_access_t;
typedef struct zlt_visit_s    zlt_visit_t;
typedef struct zlt_visits_s   zlt_visits_t;
typedef struct zlt_watcher_s  zlt_watcher_t;


/* what data channels are opened with */

typedef struct {
    uint8_t          tunnel_id[ZLT_ID_SIZE];
    uint8_t          key[ZLT_KEY_SIZE];
    zlt_way_t        way;
    uint16_t         least;
    uint16_t         most;
} zlt_pool_param_t;


/* how a session has ended, which decides when the next one begins */

typedef enum {
    ZLT_DOWN_LOST = 0,         /* network, server: with jitter */
    ZLT_DOWN_REFUSED,          /* bad token and the like: slowly */
    ZLT_DOWN_IN_USE,           /* every 5 s */
    ZLT_DOWN_RECONNECT,        /* at once, keeping the session */
    ZLT_DOWN_CLOSED            /* by us */
} zlt_down_e;


/* what a link is at the moment */

typedef enum {
    ZLT_STATE_PENDING = 0,     /* nothing was tried yet */
    ZLT_STATE_CONNECTING,      /* until all services are answered */
    ZLT_STATE_CONNECTED,       /* authenticated and registered */
    ZLT_STATE_DISCONNECTED,    /* was connected: lost, or stopped */
    ZLT_STATE_FAILED           /* the last attempt, or all its services */
} zlt_state_e;


/* who wants to know when a link's control channel comes and goes; the link
   calls, and whoever has put it on agent->watchers takes it off */

struct zlt_watcher_s {
    zlt_list_t       link;
    void           (*up)(zlt_watcher_t *w, zlt_agent_t *a, zlt_session_t *s);
    void           (*down)(zlt_watcher_t *w, zlt_agent_t *a);
};


/*
 * A link: one server, or several of which one is used at a time, a token, and
 * the services that are published there.
 */

struct zlt_agent_s {
    zlt_list_t       link;             /* process->links or ->ending */
    zlt_process_t   *process;
    uv_loop_t       *loop;             /* the process's */
    uv_timer_t       reconnect;
    uv_timer_t       refill;           /* of the pool, after a failure */
    unsigned         open_handles;     /* of these two */

    char             label[ZLT_MAX_NAME + 8];      /* zlt_link_log() */
    zlt_conf_t      *conf;
    zlt_token_t      token;
    zlt_tls_t       *tls;              /* of the current server; NULL: ws:// */
    zlt_transport_t  transport;        /* of data channels */
    zlt_list_t       services;
    zlt_list_t       accesses;

    zlt_session_t   *session;          /* NULL: waiting for the next */
    zlt_list_t       kept;             /* sessions, until they are closed */
    zlt_pool_t      *pool;             /* NULL: none yet */
    zlt_list_t       channels;         /* all of them */
    zlt_list_t       early;            /* whose Connect came before RegisterOk,
                                          by their waiter */
    zlt_list_t       watchers;
    unsigned         nchannels;

    uint8_t          resume_key[ZLT_KEY_SIZE];
    unsigned         resumable:1;
    unsigned         has_param:1;
    zlt_pool_param_t param;            /* of the latest session with one */

    /* reconnecting */
    unsigned         attempts;
    unsigned         tried;            /* servers that failed, in this round */
    uint64_t         carried;          /* ms that sessions were up which the
                                          server has asked to move on */
    unsigned         refused:1;        /* the token, the last time */
    unsigned         warned_v1:1;
    unsigned         none_up:1;        /* "no service is registered" */

    unsigned         stopping:1;       /* finishes what runs */
    unsigned         stopped:1;        /* .. and has done so */
    unsigned         removed:1;        /* .. to be freed then */
    uint64_t         stop_at;          /* ms */

    /* what it is, for those who ask */
    zlt_state_e      state;
    time_t           since;
    uint64_t         since_ms;
    uint64_t         next_at;          /* ms, of the next attempt; 0: none */
    char             reason[ZLT_AGENT_REASON];     /* of the last failure */
    uint64_t         connections;      /* TCP, all that were made */
    uint64_t         bytes[2];         /* of those that have ended; as in
                                          zlt_relay_t */
    uint64_t         udp_sessions;     /* of services that are gone */
    uint64_t         moved;            /* bytes, the last second */
    uint64_t         active;           /* ms, when bytes moved; 0: never */
    uint32_t         rtt;              /* us, the last heartbeat's; 0: none */
    uint32_t         srtt;             /* us, smoothed as in RFC 6298 */

    uint64_t         udp_unknown;      /* datagrams of no session */
};


/* agent.c: one session after the other */

/* To be called when the link may connect, and when it may have to wait no
   longer for the next attempt. */
void zlt_agent_retry(zlt_agent_t *a);
void zlt_agent_schedule(zlt_agent_t *a, uint32_t delay);

void zlt_agent_up(zlt_agent_t *a, zlt_session_t *s);

/* All services have been answered. */
void zlt_agent_registered(zlt_agent_t *a);

/* retry_after in ms, 0: not told; healthy: ms that it was up */
void zlt_agent_down(zlt_agent_t *a, zlt_session_t *s, zlt_down_e how,
    uint32_t retry_after, uint64_t healthy);
void zlt_agent_announce(zlt_agent_t *a, zlt_service_t *s,
    const char *public_addr);

/* Another server, or other trust: ends the session and begins anew. */
void zlt_agent_restart(zlt_agent_t *a);

/* Another token, or other features: a new control channel takes the tunnel
   over. */
void zlt_agent_move(zlt_agent_t *a);

/* Fills the pool again after so many ms. */
void zlt_agent_refill(zlt_agent_t *a, uint32_t delay);

/* random number below n, n > 0 */
uint32_t zlt_agent_random(uint32_t n);


/* link.c: its life */

/*
 * Takes conf over, and tls, and copies the token.  NULL without memory; conf
 * and tls are then still the caller's.
 */
zlt_agent_t *zlt_agent_create(zlt_process_t *process, zlt_conf_t *conf,
    const zlt_token_t *token, zlt_tls_t *tls);

/* How the current server is reached, and trusted: 0, or -1 with a text in
   error (ZLT_CONF_ERROR_SIZE bytes). */
int zlt_agent_way(zlt_conf_t *conf, zlt_tls_t **tls, char *error);

/* Says what has to be said at each start. */
void zlt_agent_warn(const zlt_agent_t *a);

void zlt_agent_start(zlt_agent_t *a);

/*
 * Connects no more, and finishes what runs, for shutdown_timeout.
 * "unregister": the server closes the ports at once; else it waits for the
 * agent to return.
 */
void zlt_agent_stop(zlt_agent_t *a, int unregister, const char *reason);

/* Cuts all that runs. */
void zlt_agent_abort(zlt_agent_t *a);

/* Frees what was stopped; its memory goes with the loop's next turns. */
void zlt_agent_destroy(zlt_agent_t *a);

/* To be called each second. */
void zlt_agent_tick(zlt_agent_t *a, uint64_t now);

/* A channel or a session has ended. */
void zlt_agent_channel_gone(zlt_agent_t *a);

/* Relays that are held go on within a millisecond. */
void zlt_agent_hold(zlt_agent_t *a);


/* state.c: what it is */

typedef struct {
    unsigned         open;             /* connections, and UDP sessions */
    uint64_t         total;
    uint64_t         bytes_in;         /* to the services */
    uint64_t         bytes_out;
} zlt_totals_t;


void zlt_agent_state(zlt_agent_t *a, zlt_state_e state);
const char *zlt_state_name(zlt_state_e state);

/* What the next state will be explained by; "" once it is connected. */
void zlt_agent_reason(zlt_agent_t *a, const char *reason);

/* A heartbeat was answered after so many microseconds. */
void zlt_agent_latency(zlt_agent_t *a, uint64_t us);
void zlt_agent_totals(const zlt_agent_t *a, zlt_totals_t *t);

/* A service goes; its counts stay. */
void zlt_agent_fold(zlt_agent_t *a, const zlt_service_t *s);


/* control.c */

/* NULL: no memory */
zlt_session_t *zlt_session_start(zlt_agent_t *a);

/* Says goodbye and waits a little for the server to close. */
void zlt_session_close(zlt_session_t *s, const char *reason);

/* Ends at once, without a callback. */
void zlt_session_abort(zlt_session_t *s);
void zlt_session_tick(zlt_session_t *s);
void zlt_session_probe(zlt_session_t *s, unsigned timeout);
int zlt_session_is_up(const zlt_session_t *s);

/* 1 if an answer to a Register is waited for */
int zlt_session_registers(const zlt_session_t *s);
uint32_t zlt_session_serial(const zlt_session_t *s);

/* It lives on, in that list, until the server closes it. */
void zlt_session_keep_aside(zlt_session_t *s, zlt_list_t *kept);
zlt_session_t *zlt_session_of_link(zlt_list_t *link);

void zlt_session_register(zlt_session_t *s, zlt_service_t *service);
void zlt_session_unregister(zlt_session_t *s, zlt_service_t *service);
int zlt_session_has_access(const zlt_session_t *s);

void zlt_session_connect_fail(zlt_session_t *s, const uint8_t *id,
    unsigned code, const char *reason);

/* what its data channels are opened with; NULL if it has none */
const zlt_pool_param_t *zlt_session_param(const zlt_session_t *s);

/* the session of that serial number, if it is still there */
zlt_session_t *zlt_session_find(zlt_agent_t *a, uint32_t serial);


/* pool.c */

zlt_pool_t *zlt_pool_create(zlt_agent_t *a, const zlt_pool_param_t *param);

/* A new session of the same tunnel, or of another: what is idle is of use in
   the first case only. */
int zlt_pool_is(const zlt_pool_t *p, const uint8_t *tunnel_id);
void zlt_pool_update(zlt_pool_t *p, const zlt_pool_param_t *param);
const zlt_pool_param_t *zlt_pool_get_param(const zlt_pool_t *p);

/* The bounds of the configuration have changed. */
void zlt_pool_reload(zlt_pool_t *p);

/* Opens no more while there is no session. */
void zlt_pool_suspend(zlt_pool_t *p);

/* Opens no more, ever; gone with its last channel.  "retire": those that are
   idle end now, otherwise when the server closes them. */
void zlt_pool_abandon(zlt_pool_t *p, int retire);
void zlt_pool_tick(zlt_pool_t *p);
void zlt_pool_refill(zlt_pool_t *p);

/* told by its channels */
void zlt_pool_idle(zlt_pool_t *p, zlt_channel_t *ch);
void zlt_pool_used(zlt_pool_t *p, zlt_channel_t *ch);
/* idle again, or for the first time if it was a fresh one */
void zlt_pool_return(zlt_pool_t *p, zlt_channel_t *ch);
/* 1 if it takes back a channel of that tunnel */
int zlt_pool_wants(const zlt_pool_t *p, const uint8_t *tunnel_id);
void zlt_pool_closed(zlt_pool_t *p, zlt_channel_t *ch);
void zlt_pool_failed(zlt_pool_t *p, const char *why);
void zlt_pool_astray(zlt_pool_t *p);
void zlt_pool_demand(zlt_pool_t *p);


/* channel.c */

#define ZLT_CHANNEL_WORKERS  256


struct zlt_channel_s {
    zlt_relay_t      relay;            /* first: side[0] is the channel */

    zlt_list_t       all;              /* agent->channels */
    zlt_list_t       link;             /* pool: idle, the newest last */
    zlt_agent_t     *agent;
    zlt_pool_t      *pool;             /* until a Connect */
    zlt_service_t   *service;          /* while it is dialled */
    char            *target;           /* of an open service, or NULL */
    char            *client;           /* its address, while its service is
                                          not known yet, or NULL */
    zlt_waiter_t     waiter;
    zlt_udp_t       *udp;              /* a datagram channel */
    zlt_shared_t    *shared;           /* one with lanes */
    zlt_channel_t   *moving;           /* it will go on there, or, of that one,
                                          what is to come */
    zlt_talk_t      *talk;             /* with the proxy, at the start */
    zlt_visit_t     *visit;            /* a visitor's */

    zlt_framed_t     framed;           /* .. one that will be idle again */

    uint8_t          tunnel_id[ZLT_ID_SIZE];
    uint8_t          id[ZLT_ID_SIZE];  /* of the connection */
    uint8_t          service_id[ZLT_ID_SIZE];      /* if it is early */
    uint32_t         serial;           /* of the session that asked */
    uint16_t         worker;
    uint16_t         workers;
    uint8_t          state;
    uint8_t          address;          /* of the service, the next to try */
    uint8_t          tries;            /* to reach the server, failed */
    uint8_t          astray;           /* .. the binary with the tunnel */
    unsigned         fresh:1;
    unsigned         upgraded:1;       /* 101 has come */
    unsigned         connected:1;      /* to the service */
    unsigned         datagrams:1;      /* fresh: for a UDP service */
    unsigned         early:1;          /* bytes went to the service at once */
    unsigned         draining:1;       /* our direction is shut */
    unsigned         reusable:1;       /* this Connect says so */
    uint32_t         discarded;        /* bytes, after our end */
    unsigned         websocket:1;      /* opened within one */
    char             accept[ZLT_HTTP_ACCEPT_SIZE]; /* its answer to that */
};


/* An idle channel for the pool, on its way: 0 or -1. */
int zlt_channel_open(zlt_pool_t *p, zlt_agent_t *a);

/* A fresh channel to answer a Connect of the control channel. */
void zlt_channel_fresh(zlt_agent_t *a, zlt_session_t *s,
    const zlt_pool_param_t *param, const zlt_msg_t *m);

/* Ends an idle channel, or one with lanes, in the way that loses no
   connection. */
void zlt_channel_retire(zlt_channel_t *ch);

/* An answer to a Register has come. */
void zlt_channel_registered(zlt_agent_t *a);

/* Resets it, whatever it is doing. */
void zlt_channel_abort(zlt_channel_t *ch);
int zlt_channel_is_idle(const zlt_channel_t *ch);
int zlt_channel_is_shared(const zlt_channel_t *ch);

/* 1 if it is at the service, and carries bytes */
int zlt_channel_is_joined(const zlt_channel_t *ch);

/* Sends what waits in the relay's flow, ends our direction, and waits for the
   server's end. */
void zlt_channel_end(zlt_channel_t *ch);


/* access.c */

/* Those of its configuration: 0, or -1 with a text in error
   (ZLT_CONF_ERROR_SIZE). */
int zlt_access_create_all(zlt_agent_t *a, char *error);
void zlt_access_reload(zlt_agent_t *a, const zlt_conf_t *conf);
void zlt_access_done(zlt_agent_t *a);

/* To be called each second. */
void zlt_access_tick(zlt_agent_t *a);

/* The agent ends; one that only visits cuts what runs. */
void zlt_access_stop_all(zlt_agent_t *a);

/* Stops one: 0, or -1 if it has ended already. */
int zlt_access_stop(zlt_access_t *x, const char *why);


/* udp.c, udp_session.c */

/*
 * Makes a datagram channel of it; data is what has come already.  0, or -1
 * without memory.  The channel owns it from then on.
 */
int zlt_udp_start(zlt_channel_t *ch, const uint8_t *data, size_t len);
void zlt_udp_free(zlt_udp_t *u);

/* To be called each second; the second one for each link: sessions that have
   been idle for too long. */
void zlt_udp_tick(void);
void zlt_udp_session_tick(zlt_agent_t *a);

/* Ends the sessions of a service that is removed, or leads elsewhere now. */
void zlt_udp_service_end(zlt_service_t *service);

/* Its counters, to the log. */
void zlt_udp_service_log(const zlt_agent_t *a, const zlt_service_t *service);


#endif /* ZLT_AGENT_H_INCLUDED */
