
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The core of the module: knows neither http nor stream.
 *
 * A registry is one zltunnel{} block.  What all workers must know of it is in
 * its shared memory zone (ngx_zltunnel_shm.h); what one worker holds of it,
 * descriptors above all, is here.
 *
 * An agent has one control channel, owned by the worker that accepted it, and
 * data channels, idle ones in any worker.  A dial gets a data channel to a
 * service for a client of this worker, whichever worker holds one, and a
 * relay moves the bytes.
 */


#ifndef _NGX_ZLTUNNEL_H_INCLUDED_
#define _NGX_ZLTUNNEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "zlt_frames.h"
#include "zlt_proto.h"
#include "zlt_ws.h"
#include "zlt_ws_data.h"

#include "ngx_zltunnel_compat.h"


#define NGX_ZLTUNNEL_VERSION          "0.1.0"

#define NGX_ZLTUNNEL_AUTH_TIMEOUT     10000    /* ms */
#define NGX_ZLTUNNEL_REPEAT_AFTER     1000     /* ms without ConnectAck */
#define NGX_ZLTUNNEL_ANSWER_SIZE      2048     /* of a 101 that waits */
#define NGX_ZLTUNNEL_EARLY_SIZE       16384    /* bytes kept until it */
#define NGX_ZLTUNNEL_V1_GRACE         70000    /* ms, agents of version 1 */
#define NGX_ZLTUNNEL_TEXT_MAX         256      /* of a peer's strings */
#define NGX_ZLTUNNEL_REST_SIZE        64       /* behind an end marker */



typedef struct ngx_zltunnel_registry_s  ngx_zltunnel_registry_t;
typedef struct ngx_zltunnel_token_s     ngx_zltunnel_token_t;
typedef struct ngx_zltunnel_tokens_s    ngx_zltunnel_tokens_t;
typedef struct ngx_zltunnel_peer_s      ngx_zltunnel_peer_t;
typedef struct ngx_zltunnel_link_s      ngx_zltunnel_link_t;
typedef struct ngx_zltunnel_control_s   ngx_zltunnel_control_t;
typedef struct ngx_zltunnel_channel_s   ngx_zltunnel_channel_t;
typedef struct ngx_zltunnel_dial_s      ngx_zltunnel_dial_t;
typedef struct ngx_zltunnel_relay_s     ngx_zltunnel_relay_t;
typedef struct ngx_zltunnel_ws_s        ngx_zltunnel_ws_t;
typedef struct ngx_zltunnel_lane_s      ngx_zltunnel_lane_t;

typedef struct ngx_zltunnel_sh_s          ngx_zltunnel_sh_t;
typedef struct ngx_zltunnel_sh_tunnel_s   ngx_zltunnel_sh_tunnel_t;
typedef struct ngx_zltunnel_sh_service_s  ngx_zltunnel_sh_service_t;
typedef struct ngx_zltunnel_sh_access_s   ngx_zltunnel_sh_access_t;
typedef struct ngx_zltunnel_sh_counter_s  ngx_zltunnel_sh_counter_t;


/* a listening socket of a server with zltunnel_ports or zltunnel_pass */

typedef struct {
    ngx_zltunnel_registry_t     *registry;
    ngx_uint_t                   index;       /* in cycle->listening */
    in_port_t                    port;        /* host byte order */
    ngx_str_t                    service;     /* pass: empty: a variable */
    ngx_str_t                    token;
    unsigned                     udp:1;
    unsigned                     reserved:1;  /* only when asked for */
    unsigned                     pass:1;
    unsigned                     served:1;    /* an agent has the service */
} ngx_zltunnel_listener_t;


/* a name that the configuration refers to: zltunnel_pass NAME */

typedef struct {
    ngx_str_t                    service;
    ngx_str_t                    token;       /* token=, or empty */
    const char                  *directive;
    u_char                      *file;
    ngx_uint_t                   line;
} ngx_zltunnel_reference_t;


struct ngx_zltunnel_registry_s {
    ngx_str_t                    name;        /* "default" without a name */
    uint32_t                     hash;        /* crc32 of it, for messages */
    unsigned                     defined:1;   /* its block was seen */

    u_char                      *file;        /* first reference, or block */
    ngx_uint_t                   line;

    /* directives of the block */
    ngx_shm_zone_t              *shm_zone;
    size_t                       zone_size;
    ngx_str_t                    token_file;
    ngx_msec_t                   heartbeat_interval;
    ngx_msec_t                   heartbeat_timeout;
    ngx_msec_t                   connect_timeout;
    ngx_msec_t                   reconnect_grace;
    ngx_uint_t                   max_tunnels;
    ngx_uint_t                   max_services;
    ngx_uint_t                   max_unauthenticated;
    ngx_uint_t                   max_idle_channels;
    ngx_uint_t                   max_pending;
    ngx_uint_t                   max_connections;
    ngx_uint_t                   max_udp_sessions;
    ngx_uint_t                   max_channel_share;  /* percent */
#if (NGX_DEBUG)
    ngx_msec_t                   debug_delay;  /* before an answer is read */
    ngx_str_t                    debug_stop;   /* a file, see unlock() */
#endif

    ngx_array_t                  listeners;   /* ngx_zltunnel_listener_t,
                                                 sorted by udp, port */
    ngx_array_t                  passes;      /* the same of zltunnel_pass */
    ngx_array_t                  references;  /* ngx_zltunnel_reference_t */

    /* of this worker */
    ngx_zltunnel_sh_t           *sh;
    ngx_slab_pool_t             *shpool;
    ngx_uint_t                   slot;        /* in sh->workers */
    ngx_zltunnel_tokens_t       *tokens;
    ngx_rbtree_t                 peers;       /* by tunnel id */
    ngx_rbtree_node_t            peers_sentinel;
    ngx_uint_t                   nchannels;   /* idle and busy, here */
    ngx_uint_t                   unauthenticated;
    ngx_uint_t                   gated;       /* see ngx_zltunnel_gate.c */
    ngx_event_t                  tick;        /* 1 s, cancelable */
};


typedef struct {
    ngx_array_t                  registries;  /* ngx_zltunnel_registry_t * */
    ngx_array_t                  datagrams;   /* ngx_uint_t: UDP sockets of
                                                 zltunnel_pass, in
                                                 cycle->listening */

    /* set by the stream part: fills registry->listeners and validates them
       once all of the configuration has been read */
    char                      *(*listen)(ngx_cycle_t *cycle);
} ngx_zltunnel_conf_t;


extern ngx_module_t  ngx_zltunnel_module;


/* the key in an rbtree: the last bytes, random in every kind of id */

static ngx_inline ngx_rbtree_key_t
ngx_zltunnel_id_key(u_char *id)
{
    ngx_rbtree_key_t  key;

    ngx_memcpy(&key, id + 8, sizeof(ngx_rbtree_key_t));

    return key;
}


/* ngx_zltunnel_util.c */

/* A warning with one string, logged at most once a minute for each fmt,
   which must be a literal. */
void ngx_zltunnel_complain(ngx_log_t *log, const char *fmt, const char *arg);
/* what a peer has sent, cut to size bytes, other than printable ASCII and
   UTF-8 escaped as \xXX; returns the length */
size_t ngx_zltunnel_printable(u_char *dst, size_t size, const u_char *src,
    size_t len);
/* ms until the next heartbeat on a data channel, around 25 s, or less where
   control channels have more */
ngx_msec_t ngx_zltunnel_channel_beat(ngx_zltunnel_registry_t *registry);
/* 1 if the client is on this host: for services that are internal */
ngx_uint_t ngx_zltunnel_client_local(ngx_connection_t *c);
/* at most 1024 bytes; aborts the process if there is no randomness */
void ngx_zltunnel_random(u_char *dst, size_t len);

/* the node (first member of its struct) whose id, at offset, is equal */

ngx_rbtree_node_t *ngx_zltunnel_id_lookup(ngx_rbtree_t *tree, u_char *id,
    size_t offset);


/* ngx_zltunnel_conf.c */

/*
 * The registry of that name (empty: "default"), created undefined at the
 * first reference; init_conf complains of those that stay undefined.
 * NULL where there is no memory.
 */
ngx_zltunnel_registry_t *ngx_zltunnel_registry_get(ngx_conf_t *cf,
    ngx_str_t *name);
/* parses "registry=NAME"; NGX_DECLINED if arg is something else */
ngx_int_t ngx_zltunnel_registry_arg(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_zltunnel_registry_t **registry);
ngx_zltunnel_reference_t *ngx_zltunnel_reference_add(ngx_conf_t *cf,
    ngx_zltunnel_registry_t *registry, ngx_str_t *service, ngx_str_t *token,
    const char *directive);

extern ngx_command_t  ngx_zltunnel_commands[];
void *ngx_zltunnel_create_conf(ngx_cycle_t *cycle);
char *ngx_zltunnel_init_conf(ngx_cycle_t *cycle, void *conf);


/* ngx_zltunnel_token.c */

struct ngx_zltunnel_token_s {
    u_char                       hash[32];    /* SHA-256 of the token */
    ngx_str_t                    name;
    ngx_array_t                 *services;    /* ngx_str_t, globs; NULL: any */
    ngx_array_t                 *ports;       /* in_port_t[2]; NULL: any */
    unsigned                     tcp:1;
    unsigned                     udp:1;
    ngx_uint_t                   max_services;   /* 0: the block's */
    ngx_uint_t                   sessions;       /* default 1 */
    time_t                       expires;        /* 0: never */
    ngx_array_t                 *access;         /* ngx_zltunnel_token_
                                                    access_t; NULL: none */
    time_t                       access_ttl;     /* seconds; 0: no limit */
    ngx_uint_t                   max_access;     /* sessions */
    ngx_array_t                 *certs;       /* ngx_zltunnel_cert_t, one of
                                                 which it must be; NULL: any
                                                 or none */
};


/* an entry of access=: "NAME", "PREFIX*" or "*", and "@TOKENNAME" perhaps */

typedef struct {
    ngx_str_t                    name;
    ngx_str_t                    token;          /* empty: of any token */
} ngx_zltunnel_token_access_t;


struct ngx_zltunnel_tokens_s {
    ngx_pool_t                  *pool;
    ngx_array_t                  tokens;      /* ngx_zltunnel_token_t */
    time_t                       mtime;
    long                         mtime_nsec;
    off_t                        size;
    ngx_file_uniq_t              uniq;
    ngx_msec_t                   changed;     /* first seen different */
    time_t                       complained;  /* last error logged */
};


/*
 * Reads the registry's token file into registry->tokens; NGX_ERROR with a
 * message that names file and line.  At configuration time cf is given, and
 * readability by the workers' user is checked too.  The old set stays in
 * force unless the new one is whole.
 */
ngx_int_t ngx_zltunnel_tokens_read(ngx_zltunnel_registry_t *registry,
    ngx_conf_t *cf, ngx_log_t *log);
/* to be called every second: 1 if a changed file has been taken over */
ngx_uint_t ngx_zltunnel_tokens_follow(ngx_zltunnel_registry_t *registry,
    ngx_log_t *log);
/* the line with this hash, compared with every line in constant time; an
   expired one too: the caller asks ngx_zltunnel_token_expired() */
ngx_zltunnel_token_t *ngx_zltunnel_token_find(
    ngx_zltunnel_registry_t *registry, u_char hash[32]);
ngx_uint_t ngx_zltunnel_token_expired(ngx_zltunnel_token_t *token);
/* whether the token may be used on that connection, with its certificate; if
   not, *reason says why, for the log */
ngx_uint_t ngx_zltunnel_cert_allows(ngx_zltunnel_token_t *token,
    ngx_connection_t *c, const char **reason);
ngx_uint_t ngx_zltunnel_token_service(ngx_zltunnel_token_t *token,
    u_char *name, size_t len);
ngx_uint_t ngx_zltunnel_token_port(ngx_zltunnel_token_t *token,
    in_port_t port);
/* whether its holder may reach the service of that name, as registered by
   the token called by; NULL: by some token at least */
ngx_uint_t ngx_zltunnel_token_reaches(ngx_zltunnel_token_t *token,
    ngx_str_t *name, ngx_str_t *by);


/* ngx_zltunnel_end.c: one end of a relay, and its peculiarities */

typedef enum {
    NGX_ZLTUNNEL_PLAIN = 0,
    NGX_ZLTUNNEL_TLS,
    NGX_ZLTUNNEL_BRIDGE,     /* a socketpair to the worker with the channel */
    NGX_ZLTUNNEL_PAIR,       /* a socketpair to an upstream connection here */
    NGX_ZLTUNNEL_LANE        /* of a shared channel */
} ngx_zltunnel_kind_e;


typedef struct {
    ngx_connection_t            *connection;
    ngx_zltunnel_kind_e          kind;
    ngx_zltunnel_ws_t           *ws;          /* within a WebSocket; or NULL */
    ngx_zltunnel_lane_t         *lane;        /* or NULL */

    /*
     * A dead worker looks like a clean EOF over a socketpair, so EOF there
     * counts only after a message between the workers has said so.
     */
    ngx_rbtree_node_t            node;        /* bridges, by id */
    u_char                       bridge_id[ZLT_ID_SIZE];
    ngx_zltunnel_registry_t     *registry;
    ngx_uint_t                   bridge_slot; /* of the worker opposite */
    ngx_pid_t                    bridge_pid;
    unsigned                     bridged:1;   /* node is in the tree */
    unsigned                     ended:1;     /* that message has come */
    unsigned                     broken:1;    /* or one of a reset */
    unsigned                     told:1;      /* either was sent */
    unsigned                     waits:1;     /* EOF came, it has not yet */
    ngx_msec_t                   waits_since;

    unsigned                     eof:1;       /* read */
    unsigned                     shut:1;      /* EOF has been passed on */

    u_char                      *records;     /* of TLS, to be sent; or NULL */
    size_t                       records_pos;
    size_t                       records_len;

    zlt_frames_t                *frames;      /* of a framed channel, or NULL */
    unsigned                     lent:1;      /* connection is not its own */
    size_t                       nrest;       /* read behind its end */
    u_char                       rest[NGX_ZLTUNNEL_REST_SIZE];
} ngx_zltunnel_end_t;


/* whether a direction is bytes, not or no longer messages */

#define ngx_zltunnel_end_raw_in(e)                                            \
    ((e)->frames == NULL || (e)->frames->in.end == ZLT_FRAMES_RAW)
#define ngx_zltunnel_end_raw_out(e)                                           \
    ((e)->frames == NULL || (e)->frames->out.end == ZLT_FRAMES_RAW)

/* whether recv() has something to tell: an end marker raises no event */

#define ngx_zltunnel_end_readable(e)                                          \
    ((e)->connection->read->ready                                             \
     || ((e)->frames && (e)->frames->in.end != ZLT_FRAMES_OPEN                \
         && (e)->frames->in.end != ZLT_FRAMES_RAW))


/* Sets an end's socket up for relaying: TCP_NODELAY; for TLS, a FIN without
   close_notify becomes an error and writes may be retried from elsewhere. */
void ngx_zltunnel_end_init(ngx_zltunnel_end_t *end, ngx_connection_t *c,
    ngx_zltunnel_kind_e kind);
/* 0: a UNIX socket, without the options of TCP */
ngx_uint_t ngx_zltunnel_end_tcp(ngx_connection_t *c);
/* keepalive 60/10/5 s, for channels; not TCP_USER_TIMEOUT, see there */
void ngx_zltunnel_end_keepalive(ngx_connection_t *c);
/* the same for channels of datagrams, of which the kernel is to hold few */
void ngx_zltunnel_end_datagrams(ngx_zltunnel_end_t *end);
/*
 * Read and write as c->recv() and c->send() do; for TLS they fill the buffer
 * and log no louder than the connection is to.  Within a WebSocket, or of many
 * bytes under TLS, what was written may be kept here: ngx_zltunnel_end_flush().
 * What was offered and not taken must be offered again.  On a framed end the
 * header of a message is put into the ZLT_FRAMES_ROOM bytes before what is sent.
 */
ssize_t ngx_zltunnel_end_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_end_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* the same beneath the messages of a framed end */
ssize_t ngx_zltunnel_end_pull(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_end_push(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* .. and beneath the WebSocket */
ssize_t ngx_zltunnel_end_read(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_end_write(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* the bytes on the descriptor are those of the relay: splice() may be used,
   and others may read and write it */
#define ngx_zltunnel_end_raw(end)                                             \
    ((end)->kind != NGX_ZLTUNNEL_TLS && (end)->kind != NGX_ZLTUNNEL_LANE      \
     && (end)->ws == NULL)
/* What an EOF that was just read means: NGX_OK it is one, NGX_ERROR it is a
   reset, NGX_AGAIN not known yet: the read handler is called again. */
ngx_int_t ngx_zltunnel_end_eof(ngx_zltunnel_end_t *end);
/* NGX_ERROR if the connection was reset, found without reading from it. */
ngx_int_t ngx_zltunnel_end_test(ngx_zltunnel_end_t *end);
/* NGX_OK: nothing is unacknowledged; NGX_AGAIN: something is, the peer lives;
   NGX_ERROR: it has not answered for 60 s and three attempts. */
ngx_int_t ngx_zltunnel_end_alive(ngx_zltunnel_end_t *end);
/* Passes EOF on, after every byte: FIN, close_notify, or end message and FIN.
   NGX_OK, NGX_AGAIN (call again when writable), NGX_ERROR. */
ngx_int_t ngx_zltunnel_end_shutdown(ngx_zltunnel_end_t *end);
/* Whether the end of this process is a reset: SO_LINGER 0, which is to be on
   as long as bytes may follow, and off before a clean close. */
void ngx_zltunnel_end_linger(ngx_connection_t *c, ngx_uint_t reset);
/* Makes the close that follows a reset: SO_LINGER 0, no close_notify. */
void ngx_zltunnel_end_abort(ngx_zltunnel_end_t *end);
/* Closes a channel's or bridge's connection and its pool, without blocking
   and without sending more than is sent; forgets the bridge. */
void ngx_zltunnel_end_close(ngx_zltunnel_end_t *end);
/* Makes the end known by its bridge's id; slot and pid are of the worker
   opposite. */
void ngx_zltunnel_end_bridge(ngx_zltunnel_end_t *end,
    ngx_zltunnel_registry_t *registry, u_char id[ZLT_ID_SIZE],
    ngx_uint_t slot, ngx_pid_t pid);
ngx_zltunnel_end_t *ngx_zltunnel_end_bridge_find(u_char id[ZLT_ID_SIZE]);

/* A connection of our own on a descriptor: pool, log, recv and send, its read
   event in epoll.  On error NULL and the descriptor is closed. */
ngx_connection_t *ngx_zltunnel_connection_create(ngx_socket_t fd,
    ngx_log_t *log);
/* Takes the descriptor out of the connection, which is gone then; polled: it
   stays in epoll, for another connection to change that at once. */
ngx_socket_t ngx_zltunnel_connection_detach(ngx_connection_t *c,
    ngx_uint_t polled);
void ngx_zltunnel_connection_close(ngx_connection_t *c);


/* ngx_zltunnel_lane.c: an end that is a lane, for ngx_zltunnel_end.c */

ssize_t ngx_zltunnel_lane_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_lane_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* the agent is told, if it does not know */
void ngx_zltunnel_lane_close(ngx_zltunnel_end_t *end);


#if (NGX_SSL)

/* ngx_zltunnel_tls.c: an end under TLS */

/* as a connection's recv() */
ssize_t ngx_zltunnel_tls_recv(ngx_connection_t *c, u_char *buf, size_t size);
/* for ngx_zltunnel_end.c; flush: NGX_OK, NGX_AGAIN: call again when writable,
   NGX_ERROR */
ssize_t ngx_zltunnel_tls_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ngx_int_t ngx_zltunnel_tls_flush(ngx_zltunnel_end_t *end);
ngx_int_t ngx_zltunnel_tls_shutdown(ngx_zltunnel_end_t *end);
/* forgets what could not be sent: nothing may be sent any more then */
void ngx_zltunnel_tls_drop(ngx_zltunnel_end_t *end);

#endif


/* ngx_zltunnel_framed.c: an end whose bytes are messages */

/* from here on; frames lasts as long as the end has it */
void ngx_zltunnel_framed_start(ngx_zltunnel_end_t *end, zlt_frames_t *frames);
/* Takes bytes that were read from it already: the payload among them is at the
   start of buf then.  Its length, or NGX_ERROR. */
ssize_t ngx_zltunnel_framed_take(ngx_zltunnel_end_t *end, u_char *buf,
    size_t len);
/* for ngx_zltunnel_end.c */
ssize_t ngx_zltunnel_framed_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_framed_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* sends what is unsent: NGX_OK, NGX_AGAIN, NGX_ERROR */
ngx_int_t ngx_zltunnel_framed_flush(ngx_zltunnel_end_t *end);
/* Eof, Reset or Raw, if there was none yet; then as flush */
ngx_int_t ngx_zltunnel_framed_end(ngx_zltunnel_end_t *end,
    zlt_frames_end_e how);
/* ngx_zltunnel_ws.c: an end within a WebSocket */

struct ngx_zltunnel_ws_s {
    zlt_wsd_t                    data;
    u_char                      *out;         /* not sent yet, or NULL */
    size_t                       out_pos;
    size_t                       out_len;
};


/* Puts the end into a WebSocket, from here on; rx, tx: how what is received
   and sent begins.  NGX_ERROR without memory. */
ngx_int_t ngx_zltunnel_ws_init(ngx_zltunnel_end_t *end, zlt_wsd_phase_t rx,
    zlt_wsd_phase_t tx);
/* the same with the state, a zlt_wsd_t, that it had in another worker */
ngx_int_t ngx_zltunnel_ws_restore(ngx_zltunnel_end_t *end, u_char *state);
void ngx_zltunnel_ws_free(ngx_zltunnel_end_t *end);
ssize_t ngx_zltunnel_ws_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_ws_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* bytes that go before all others, as they are: copied */
ngx_int_t ngx_zltunnel_ws_put(ngx_zltunnel_end_t *end, u_char *data,
    size_t len);
ngx_int_t ngx_zltunnel_ws_shutdown(ngx_zltunnel_end_t *end);
/* says Reset, if that can be said */
void ngx_zltunnel_ws_reset(ngx_zltunnel_end_t *end);
/* NGX_OK, NGX_AGAIN: call again when writable; NGX_ERROR */
ngx_int_t ngx_zltunnel_ws_flush(ngx_zltunnel_end_t *end);
/* after Eof was read: answers what asks for it; NGX_ERROR: it is a reset */
ngx_int_t ngx_zltunnel_ws_drain(ngx_zltunnel_end_t *end);

/* there is something that waits to be sent, though it was taken */
#define ngx_zltunnel_end_pending(end)                                         \
    ((end)->records                                                           \
     || ((end)->ws && (end)->ws->out)                                         \
     || ((end)->frames && zlt_frames_pending(&(end)->frames->out)))
ngx_int_t ngx_zltunnel_end_flush(ngx_zltunnel_end_t *end);
/* read() may have to be called though no event tells */
#define ngx_zltunnel_end_told(end)                                            \
    ((end)->ws && (end)->ws->data.how != ZLT_WSD_OPEN)


/* ngx_zltunnel_relay.c */

typedef enum {
    NGX_ZLTUNNEL_RELAY_DONE = 0,   /* both directions ended cleanly */
    NGX_ZLTUNNEL_RELAY_CLIENT,     /* side[0] was reset or failed */
    NGX_ZLTUNNEL_RELAY_CHANNEL,    /* side[1] was reset or failed */
    NGX_ZLTUNNEL_RELAY_TIMEOUT,
    NGX_ZLTUNNEL_RELAY_ABORTED     /* by us: revocation, shutdown, memory */
} ngx_zltunnel_relay_end_e;


typedef void (*ngx_zltunnel_relay_pt)(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);


typedef struct {
    /* bytes read from the near side and not yet written to the far one:
       a buffer that is borrowed only while there are any, or a pipe */
    u_char                      *buffer;
    u_char                      *pos;
    u_char                      *last;
    int                          pipe[2];     /* -1: none */
    size_t                       pipe_size;
    size_t                       piped;
    ngx_uint_t                   full_reads;
    off_t                        bytes;       /* moved in all */
} ngx_zltunnel_flow_t;


struct ngx_zltunnel_relay_s {
    ngx_zltunnel_end_t          *side[2];     /* 0 client, 1 channel */
    ngx_zltunnel_flow_t          flow[2];     /* [i]: from side[i] */

    ngx_msec_t                   timeout;       /* 0: none */
    ngx_msec_t                   half_timeout;  /* half-closed; 0: none */
    unsigned                     channels:1;    /* side[0] is one, too */

    ngx_zltunnel_relay_pt        handler;     /* called once, at the end */
    void                        *data;

    /* optional counters, written as bytes move: [i] from side[i] */
    uint64_t                    *count[2];
    uint64_t                    *also[2];       /* the same once more */
    uint64_t                    *spliced;

    /* of the relay */
    void                        *saved[2];    /* connection->data */
    ngx_event_t                  event;       /* timer, or next turn */
    ngx_msec_t                   active;      /* last time bytes moved */
    ngx_msec_t                   started;
    ngx_log_t                   *log;
    ngx_zltunnel_relay_end_e     how;         /* of what has failed */
    unsigned                     kept:1;      /* keepalive is on */
    unsigned                     finished:1;
    ngx_uint_t                   unacked[2];  /* watch of side[i] */
    ngx_msec_t                   unacked_since[2];
};


/*
 * Relays until both directions have ended.  The caller fills side, timeouts,
 * handler, data and counts, zeroes the rest; bytes that were read from one
 * side already go in with ngx_zltunnel_relay_put() before the start.
 *
 * While it runs, the connections' handlers and data are the relay's; before
 * handler is called they are put back (data) and both sockets are prepared
 * for what must follow (ngx_zltunnel_end_abort() unless DONE).  handler owns
 * both connections again and closes them, or, of a channel, has it released
 * by ngx_zltunnel_channel_release().  May end before start returns.
 */
void ngx_zltunnel_relay_start(ngx_zltunnel_relay_t *relay);
/* bytes of side[from], to be written first; copied.  At most 65536. */
ngx_int_t ngx_zltunnel_relay_put(ngx_zltunnel_relay_t *relay,
    ngx_uint_t from, u_char *data, size_t len);
/* ends it: handler is called with ABORTED before this returns */
void ngx_zltunnel_relay_abort(ngx_zltunnel_relay_t *relay);
/* frees pooled buffers and pipes, at exit of the process */
void ngx_zltunnel_relay_cleanup(void);


/* ngx_zltunnel_pipe.c: buffers and pipes that relays borrow */

#define NGX_ZLTUNNEL_BUFFER_SIZE  (ZLT_FRAMES_ROOM + 65536)

u_char *ngx_zltunnel_buffer_get(ngx_log_t *log);
void ngx_zltunnel_buffer_put(u_char *buffer);
/* NGX_DECLINED: there is none, copy. */
ngx_int_t ngx_zltunnel_pipe_get(int fd[2], size_t *size, ngx_log_t *log);
/* Takes the pipe back; one with residue is closed. */
void ngx_zltunnel_pipe_put(int fd[2], size_t size, size_t residue);
void ngx_zltunnel_pipe_cleanup(void);


/* ngx_zltunnel_ipc.c: messages between workers */

typedef enum {
    NGX_ZLTUNNEL_IPC_HELLO = 1,     /* the way to a younger generation */
    NGX_ZLTUNNEL_IPC_PORT,          /* a port was opened or closed */
    NGX_ZLTUNNEL_IPC_TAKE,          /* give me an idle channel of .. */
    NGX_ZLTUNNEL_IPC_CHANNEL,       /* here it is: moved, with its fd */
    NGX_ZLTUNNEL_IPC_BRIDGE,        /* here it is: a socketpair to it */
    NGX_ZLTUNNEL_IPC_NONE,          /* there is none */
    NGX_ZLTUNNEL_IPC_END,           /* EOF over a bridge; code 1: a reset */
    NGX_ZLTUNNEL_IPC_CONNECT,       /* send Connect on your control channel */
    NGX_ZLTUNNEL_IPC_FAIL,          /* ConnectFail came on it */
    NGX_ZLTUNNEL_IPC_ACK,           /* ConnectAck came on it */
    NGX_ZLTUNNEL_IPC_UP,            /* a tunnel is back: dial again */
    NGX_ZLTUNNEL_IPC_PROBE,         /* heartbeat the control channel now */
    NGX_ZLTUNNEL_IPC_CLOSE,         /* your control channel was taken over */
    NGX_ZLTUNNEL_IPC_DROP,          /* drop idle channels of older epochs */
    NGX_ZLTUNNEL_IPC_LOST,          /* the registry had to be emptied */
    NGX_ZLTUNNEL_IPC_ACCESS         /* access sessions have ended */
} ngx_zltunnel_ipc_e;


typedef struct {
    uint32_t                     type;
    uint32_t                     registry;    /* hash of its name */
    uint32_t                     slot;        /* sender's */
    uint32_t                     generation;  /* sender's */
    uint32_t                     worker;      /* sender's */
    pid_t                        from;
    pid_t                        to;
    uint32_t                     hops;
    uint32_t                     code;        /* ZLT_E_*, udp flag */
    uint64_t                     epoch;
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       service_id[ZLT_ID_SIZE];
    u_char                       connection_id[ZLT_ID_SIZE];
    u_char                       bridge_id[ZLT_ID_SIZE];
    uint16_t                     port;
    uint16_t                     text_len;
    uint16_t                     data_len;    /* unparsed bytes behind it */
    uint16_t                     ws;          /* .. behind a zlt_wsd_t */
    u_char                       text[NGX_ZLTUNNEL_TEXT_MAX];
} ngx_zltunnel_ipc_t;


ngx_int_t ngx_zltunnel_ipc_init_module(ngx_cycle_t *cycle);
ngx_int_t ngx_zltunnel_ipc_init_process(ngx_cycle_t *cycle);
/* tells the workers of older generations how to reach this one */
void ngx_zltunnel_ipc_hello(ngx_zltunnel_registry_t *registry);
/* closes the ways to generations of which no worker is left */
void ngx_zltunnel_ipc_tidy(void);
void ngx_zltunnel_ipc_exit(void);
/* Sends to the worker in that slot; fd (or -1) is passed on, and is closed
   here in any case.  Queued when the socket is full.  NGX_ERROR: there is no
   way to that worker. */
ngx_int_t ngx_zltunnel_ipc_send(ngx_zltunnel_registry_t *registry,
    ngx_uint_t slot, ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t fd);
/* to every live worker of the registry but this one */
void ngx_zltunnel_ipc_broadcast(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* reads what is there now: an EOF over a bridge asks for it */
void ngx_zltunnel_ipc_poll(void);
extern ngx_uint_t  ngx_zltunnel_generation;


/* ngx_zltunnel_port.c */

void ngx_zltunnel_ports_init_module(ngx_cycle_t *cycle);
ngx_int_t ngx_zltunnel_ports_init_process(ngx_cycle_t *cycle);
/* every second: opens again what another binary has closed */
void ngx_zltunnel_ports_tick(ngx_zltunnel_registry_t *registry);
/* arms or disarms a port as the registry says; port 0: all */
void ngx_zltunnel_port_update(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp);
/* listen() and shutdown() on every socket of the port: under the lock.
   Open gives NGX_ERROR with errno, and then none of them listens. */
ngx_int_t ngx_zltunnel_port_open(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp);
void ngx_zltunnel_port_close(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp);
/* shuts the ports that listen without a service, or only those of them that
   had one: under the lock */
void ngx_zltunnel_ports_reconcile(ngx_zltunnel_registry_t *registry,
    ngx_uint_t freed);
/* forgets the datagrams that wait in the sockets of a UDP port */
void ngx_zltunnel_port_drain(ngx_zltunnel_registry_t *registry,
    in_port_t port);
/* tells the other workers of what was opened and closed under the lock */
void ngx_zltunnel_ports_notify(ngx_zltunnel_registry_t *registry);
ngx_zltunnel_listener_t *ngx_zltunnel_port_find(
    ngx_zltunnel_registry_t *registry, in_port_t port, ngx_uint_t udp);


/* puts the accept event into epoll, or takes it out, as it should be */
void ngx_zltunnel_listener_update(ngx_zltunnel_listener_t *listener);


/* ngx_zltunnel_gate.c: who accepts clients while a registry begins anew */

void ngx_zltunnel_gate_init(ngx_cycle_t *cycle);
/* every second, and when a service was registered */
void ngx_zltunnel_gate_update(ngx_zltunnel_registry_t *registry);
/* the registry has begun anew, and agents will come back to it */
ngx_uint_t ngx_zltunnel_gate_expecting(ngx_zltunnel_registry_t *registry);
/* the registry begins anew under this worker */
void ngx_zltunnel_gate_lower(ngx_zltunnel_registry_t *registry);
/* whether the masters of two binaries live, beside one another */
ngx_uint_t ngx_zltunnel_overlap(void);
/* what it said last */
extern ngx_uint_t  ngx_zltunnel_overlapping;


/* ngx_zltunnel_peer.c: what this worker holds of a tunnel */

struct ngx_zltunnel_link_s {
    ngx_queue_t                  queue;       /* peer->links */
    ngx_zltunnel_peer_t         *peer;
    void                       (*cut)(ngx_zltunnel_link_t *link);
};


struct ngx_zltunnel_peer_s {
    ngx_rbtree_node_t            node;
    u_char                       id[ZLT_ID_SIZE];
    u_char                       token[32];   /* SHA-256 */
    ngx_str_t                    name;        /* the token's */
    time_t                       expires;     /* the token; 0: never */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_control_t      *control;     /* NULL: elsewhere */
    ngx_queue_t                  idle;        /* ngx_zltunnel_channel_t */
    ngx_uint_t                   nidle;
    void                        *shared;      /* the channel with lanes, or
                                                 NULL */
    ngx_queue_t                  links;       /* relays, bridges, dials: cut
                                                 when the token goes */
};


ngx_zltunnel_peer_t *ngx_zltunnel_peer_find(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id);
/* the first one, or the one behind that key: whatever is done with a peer may
   release others */
ngx_zltunnel_peer_t *ngx_zltunnel_peer_next(ngx_zltunnel_registry_t *registry,
    ngx_rbtree_key_t *after);
ngx_zltunnel_peer_t *ngx_zltunnel_peer_get(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, u_char *token, ngx_str_t *name);
/* frees it if nothing is left in it */
void ngx_zltunnel_peer_release(ngx_zltunnel_peer_t *peer);
void ngx_zltunnel_link_add(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_link_t *link);
void ngx_zltunnel_link_remove(ngx_zltunnel_link_t *link);
/* the token of a tunnel is gone: cut everything of it here */
void ngx_zltunnel_peer_cut(ngx_zltunnel_peer_t *peer);


/* ngx_zltunnel_control.c */

/*
 * Takes over a connection on which a WebSocket has just been accepted: c is
 * detached from http, its handlers and data are ours from here on, its pool
 * lives as long as it does.  data: bytes that came behind the request.  host:
 * what the agent called us (copied).  May close c before it returns.
 */
void ngx_zltunnel_control_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, ngx_str_t *host, u_char *data, size_t len);
/* 1 if the limit of channels that have not sent Auth is not reached */
ngx_uint_t ngx_zltunnel_control_allowed(ngx_zltunnel_registry_t *registry);


/* ngx_zltunnel_channel.c */

/*
 * What the http side asks before it answers 101: checks key and limits,
 * reserves the place.  connection_id may be NULL: an idle channel.
 * NGX_OK; or an http status: 403, 410, 421 (ask again: another binary has the
 * tunnel, perhaps), 503.
 */
ngx_int_t ngx_zltunnel_channel_check(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, u_char *key, u_char *connection_id, ngx_log_t *log);
/*
 * Takes c over as ngx_zltunnel_control_start() does.  ws: a WebSocket has been
 * accepted on it, and data, which is changed, is within it.  answer is the
 * 101, not sent yet, from ngx_alloc() and no longer the caller's; or its data
 * is NULL, if it has been sent.
 */
void ngx_zltunnel_channel_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, u_char *tunnel_id, u_char *connection_id,
    ngx_uint_t ws, u_char *data, size_t len, ngx_str_t *answer);
/* the connection ended before ngx_zltunnel_channel_start(): gives back what
   the check reserved */
void ngx_zltunnel_channel_cancel(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, u_char *connection_id);


/* ngx_zltunnel_dial.c: the one primitive by which everyone gets a channel */

typedef enum {
    NGX_ZLTUNNEL_DIAL_OK = 0,
    NGX_ZLTUNNEL_DIAL_NO_SERVICE,
    NGX_ZLTUNNEL_DIAL_LIMIT,        /* max_connections, max_pending, .. */
    NGX_ZLTUNNEL_DIAL_REFUSED,      /* ConnectFail */
    NGX_ZLTUNNEL_DIAL_TIMEOUT,
    NGX_ZLTUNNEL_DIAL_ERROR
} ngx_zltunnel_dial_e;

#endif /* _NGX_ZLTUNNEL_H_INCLUDED_ */
