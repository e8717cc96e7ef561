
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A dial: the one primitive by which everyone gets a data channel to a
 * service.
 */


#ifndef _NGX_ZLTUNNEL_DIAL_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_state.h"
#include "ngx_zltunnel_worker.h"


#define NGX_ZLTUNNEL_REPEAT_AFTER     1000     /* ms without ConnectAck */
#define NGX_ZLTUNNEL_EARLY_SIZE       16384    /* bytes kept until it */


/* of a dial, in the registry: for a fresh channel, and who counts them */

typedef enum {
    NGX_ZLTUNNEL_DIAL_UNKNOWN = 0,
    NGX_ZLTUNNEL_DIAL_PENDING,
    NGX_ZLTUNNEL_DIAL_ANNOUNCED     /* Connect went on a control channel */
} ngx_zltunnel_dial_entry_e;


typedef void (*ngx_zltunnel_dial_pt)(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);


struct ngx_zltunnel_dial_s {
    ngx_rbtree_node_t            node;
    u_char                       id[ZLT_ID_SIZE];     /* connection_id */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       service_id[ZLT_ID_SIZE];

    /* set by the caller */
    ngx_zltunnel_registry_t     *registry;
    ngx_pool_t                  *pool;
    ngx_log_t                   *log;
    ngx_str_t                    client_addr;
    ngx_listening_t             *listening;  /* which has accepted the client,
                                                if that may wait; or NULL */
    ngx_msec_t                   timeout;    /* 0: connect_timeout */
    ngx_str_t                    target;     /* of an open service, or empty */
    unsigned                     local:1;    /* the client is on this host */
    unsigned                     datagrams:1;/* only the channel is wanted */
    unsigned                     lanes:1;    /* it may be a lane */
    unsigned                     requests:1; /* each with an answer that somebody
                                                waits for */
    unsigned                     corked:1;   /* Connect waits for bytes to go
                                                with, in this turn only */
    ngx_zltunnel_dial_pt         handler;
    void                        *data;

    /* results */
    ngx_zltunnel_channel_t      *channel;    /* the one that answered */
    ngx_str_t                    service;
    ngx_str_t                    tunnel;     /* the token's name */
    ngx_zltunnel_sh_counter_t   *counter;
    ngx_msec_t                   connect_time;
    ngx_uint_t                   code;       /* ZLT_E_* of ConnectFail */

    /* client bytes that may have to be sent again: buf, to last */
    u_char                      *buf;
    size_t                       last;

    /* state */
    ngx_zltunnel_link_t          link;
    ngx_zltunnel_share_t        *share;      /* in which it is counted */
    ngx_queue_t                  turn;       /* peer->waiting, if QUEUED */
    ngx_zltunnel_channel_t      *found;      /* idle here, when admitted */
    ngx_zltunnel_channel_t      *asked[2];   /* the first, and the repeat */
    size_t                       sent[2];    /* of buf, on each */
    ngx_connection_t            *held;       /* in place of its channel's */
    ngx_event_t                  timer;
    ngx_event_t                  uncork;     /* posted while Connect waits */
    ngx_msec_t                   started;
    ngx_msec_t                   since;      /* when its timeout began */
    ngx_uint_t                   repeats;
    ngx_uint_t                   unread;     /* .. that no agent had read */
    ngx_uint_t                   taken;      /* tries at other workers */
    ngx_uint_t                   unanswered; /* Connects on control channels */

    ngx_zltunnel_dial_state_e    state;
    ngx_zltunnel_dial_entry_e    entry;
    unsigned                     due:2;      /* Connect, on each */
    unsigned                     silent:1;   /* the first did not answer */
    unsigned                     asking:2;   /* 1: counts among those that ask
                                                the agent, 2: .. and would do
                                                with the worker's first lane */
    unsigned                     lost:1;     /* a channel ended on which the
                                                agent may have acted */
    unsigned                     remote:1;   /* the agent is at another node */
    unsigned                     reaching:1; /* .. to which a channel is on its
                                                way */
    unsigned                     nodes:3;    /* .. not the first one */
    unsigned                     channels:1; /* not an agent of version 1 */
};


#define ngx_zltunnel_dial_of(l)                                               \
    ((ngx_zltunnel_dial_t *) ((u_char *) (l)                                  \
                              - offsetof(ngx_zltunnel_dial_t, link)))


#define ngx_zltunnel_dial_runs(d)                                             \
    ((d)->state != NGX_ZLTUNNEL_DIAL_NEW                                      \
     && (d)->state != NGX_ZLTUNNEL_DIAL_OVER)


/* no channel is on its way to the agent yet, or not the one that counts */

#define ngx_zltunnel_dial_searches(d)                                         \
    ((d)->state >= NGX_ZLTUNNEL_DIAL_LOOKING                                  \
     && (d)->state <= NGX_ZLTUNNEL_DIAL_WAITING)


#define ngx_zltunnel_dial_worker(dial)                                        \
    ngx_zltunnel_slot((dial)->registry->sh, (dial)->registry->slot)


/* gives it an id, by which ngx_zltunnel_dial_find() knows it until its end */
void ngx_zltunnel_dial_add(ngx_zltunnel_dial_t *dial);
/* cancels it if it runs, frees what it has, counts the connection out */
void ngx_zltunnel_dial_done(ngx_zltunnel_dial_t *dial);
const char *ngx_zltunnel_dial_error(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
/* the tunnel is cut; it marks the link of a dial */
void ngx_zltunnel_dial_cut(ngx_zltunnel_link_t *link);
/* it is not counted among those without a channel any more */
void ngx_zltunnel_dial_unpend(ngx_zltunnel_dial_t *dial);
/* calls the handler */
void ngx_zltunnel_dial_finish(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
ngx_zltunnel_dial_t *ngx_zltunnel_dial_find(u_char *id);
/* whether there is any, of all registries */
ngx_uint_t ngx_zltunnel_dial_running(void);
/* ms, until its timeout */
ngx_msec_t ngx_zltunnel_dial_left(ngx_zltunnel_dial_t *dial);


#endif /* _NGX_ZLTUNNEL_DIAL_H_INCLUDED_ */
