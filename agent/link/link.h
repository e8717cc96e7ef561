
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A link: one server, or several of which one is used at a time, a token, and
 * the services that are published there.
 *
 *   link             its life
 *   link_control     its control channels, one after the other
 *   backoff          when the next one is tried, and where
 *   link_state       what it is, and what it has carried
 *   link_show        where its services are
 *   link_place       at which address of its server it is, and its label
 *   link_health      which of them are down, by their checks
 *   control*         one control channel, from dialling to its end
 *   probe            the way to a server, tried without a tunnel
 *
 * A control channel that the server has told to reconnect lives on beside the
 * new one until the server closes it, and its pool with it.
 */


#ifndef ZLT_LINK_H_INCLUDED
#define ZLT_LINK_H_INCLUDED


#include <time.h>

#include "addr.h"
#include "backoff.h"
#include "control.h"
#include "control_access.h"
#include "link_control.h"
#include "link_health.h"
#include "link_place.h"
#include "link_state.h"
#include "owner.h"
#include "probe.h"
#include "service.h"
#include "stamp.h"
#include "token.h"
#include "zlt_list.h"


#define ZLT_LINK_REASON  300
#define ZLT_LINK_NAME    256
#define ZLT_LINK_HELD    16


/* what a link tells the process */

struct zlt_link_ops_s {

    /* It has become connected, or is so no more. */
    void  (*changed)(zlt_process_t *p);

    /* It was stopped, and has finished what ran. */
    void  (*gone)(zlt_process_t *p, zlt_link_t *l);

    /* There is nothing more to do; ZLT_EXIT_* */
    void  (*finish)(zlt_process_t *p, int code);

    /* All its servers have refused the token, and none had taken it. */
    void  (*refused)(zlt_process_t *p);

    /* With "mode = all" a link may be one of several of its server. */

    /* The addresses of the server's name: but one are taken out, if the link
       has its place there. */
    void  (*found)(zlt_link_t *l, zlt_addrs_t *addrs);

    /* Writes the nodes where the others are, ZLT_ID_SIZE bytes each, no more
       than ZLT_LINK_HELD; how many. */
    unsigned  (*held)(const zlt_link_t *l, uint8_t *ids);

    /* The port that a service like this has at another server; 0: none. */
    uint16_t  (*port)(const zlt_link_t *l, const zlt_service_t *service);

    /* It has a tunnel, of which nothing is known yet: 1 if that is wanted. */
    int   (*settle)(zlt_link_t *l);

    /* It is about to be tried again, after an end of that kind: 1 if it is not
       wanted any more, and has been taken away. */
    int   (*down)(zlt_link_t *l, zlt_down_e how);

    /* It was not reached: puts it at another address, and returns how many
       there are for it; 0, and nothing has changed, if there is no other. */
    unsigned  (*elsewhere)(zlt_link_t *l);
};


struct zlt_link_s {
    zlt_owner_t      owner;            /* first: of its channels */

    zlt_list_t       node;             /* process->links or ->ending */
    zlt_process_t   *process;
    const zlt_link_ops_t  *ops;
    uv_timer_t       reconnect;
    uv_timer_t       refill;           /* of the pool, after a failure */
    unsigned         open_handles;     /* of these two */

    /* one of several at its server */
    zlt_spread_t    *spread;           /* NULL: it is not */
    zlt_list_t       mate;             /* of the others */
    zlt_addr_t       pin;              /* the only one that it goes to; len 0:
                                          any of the server's */
    unsigned         hidden:1;         /* may turn out to be none */
    unsigned         has_node:1;       /* its server says who it is: */
    uint8_t          node_id[ZLT_ID_SIZE];
    uint8_t          met[ZLT_ID_SIZE]; /* the node that was met with last, if
                                          that was a double */
    unsigned         nodes;            /* .. how many there are; 0: not told */
    unsigned         doubles;          /* it has met with, in a row */

    zlt_token_t      token;
    char             token_name[ZLT_LINK_NAME];    /* at the server, "": it
                                                      does not tell */
    zlt_stamp_t      token_stamp;      /* of its file */

    zlt_control_t   *control;          /* NULL: waiting for the next */
    zlt_list_t       kept;             /* earlier ones, until they are
                                          closed */

    uint8_t          resume_key[ZLT_KEY_SIZE];
    unsigned         resumable:1;

    /* reconnecting */
    unsigned         attempts;
    unsigned         attempted:1;      /* since the start, or another server */
    unsigned         tried;            /* servers that failed, in this round */
    uint64_t         carried;          /* ms that control channels were up
                                          which the server has asked to move
                                          on */
    unsigned         refused:1;        /* the token, the last time */
    unsigned         good:1;           /* the token was, once */
    unsigned         refusals;         /* of the token in a row, before that */
    unsigned         moves;            /* that the server has asked for */
    uint64_t         moved_at;         /* ms, up to which they are counted */
    unsigned         bare;             /* servers in a row that carry nothing,
                                          while there are others */
    unsigned         none_up:1;        /* "no service is registered" */
    unsigned         health_due:1;     /* .. is to be told of services */
    unsigned         health_queued:1;  /* some of them wait for their turn */
    unsigned         health_told;      /* of late */
    uint64_t         health_turn;      /* of the last that waits */

    unsigned         stopped:1;        /* has done what owner.stopping is for */
    unsigned         removed:1;        /* .. to be freed then */
    uint64_t         stop_at;          /* ms */

    /* what it is, for those who ask */
    zlt_link_state_e  state;
    time_t           since;
    uint64_t         since_ms;
    uint64_t         next_at;          /* ms, of the next attempt; 0: none */
    char             reason[ZLT_LINK_REASON];      /* of the last failure */
    zlt_udp_count_t  udp_gone;         /* of services that are gone */
    uint64_t         ups;              /* control channels that were up */
    zlt_figure_t     heartbeats;
    uint64_t         moved;            /* bytes, the last second */
    uint64_t         active;           /* ms, when bytes moved; 0: never */
    uint32_t         rtt;              /* us, the last heartbeat's; 0: none */
    uint32_t         srtt;             /* us, smoothed as in RFC 6298 */
};

#define zlt_link_of(o)  zlt_list_data(o, zlt_link_t, owner)


/*
 * Takes conf over, and tls, and copies the token.  NULL without memory; conf
 * and tls are then still the caller's.
 */
zlt_link_t *zlt_link_create(const zlt_link_ops_t *ops,
    zlt_process_t *process, uv_loop_t *loop, zlt_conf_t *conf,
    const zlt_token_t *token, zlt_tls_t *tls);

/* How the current server is reached, and trusted: 0, or -1 with a text in
   error (ZLT_CONF_ERROR_SIZE bytes). */
int zlt_link_way(zlt_conf_t *conf, zlt_tls_t **tls, char *error);

/* Says what has to be said at each start; "typed": the configuration comes
   from the command line. */
void zlt_link_warn(const zlt_link_t *l, int typed);

/* The token has been read from the configuration's file. */
void zlt_link_token(zlt_link_t *l, const zlt_token_t *token);

void zlt_link_start(zlt_link_t *l);

/*
 * Connects no more, and finishes what runs, for so many ms.
 * "unregister": the server closes the ports at once; else it waits for the
 * agent to return.
 */
void zlt_link_stop(zlt_link_t *l, int unregister, uint32_t timeout,
    const char *reason);

/* Cuts all that runs. */
void zlt_link_abort(zlt_link_t *l);

/* Frees what was stopped; its memory goes with the loop's next turns. */
void zlt_link_destroy(zlt_link_t *l);

/* To be called each second. */
void zlt_link_tick(zlt_link_t *l, uint64_t now);

/* A channel or a control channel has ended. */
void zlt_link_check_ended(zlt_link_t *l);


#endif /* ZLT_LINK_H_INCLUDED */
