
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What data channels, datagrams and access sessions know of the link that they
 * belong to.  A zlt_link_t begins with it.
 */


#ifndef ZLT_OWNER_H_INCLUDED
#define ZLT_OWNER_H_INCLUDED


#include <uv.h>

#include "figure.h"
#include "pool.h"
#include "service.h"
#include "transport.h"
#include "types.h"
#include "zlt_list.h"
#include "zlt_msg.h"


/* what channels and their like tell the link, and ask of it */

typedef struct {

    /* A channel has ended. */
    void  (*gone)(zlt_owner_t *o);

    /* zlt_pool_refill() is to be called after so many ms. */
    void  (*refill)(zlt_owner_t *o, uint32_t delay);

    /* 1 if the id of a service may be one that is not known yet */
    int   (*registers)(const zlt_owner_t *o);

    /* ConnectFail on the control channel of that serial number, or on the one
       that has followed it */
    void  (*connect_fail)(zlt_owner_t *o, uint32_t serial, const uint8_t *id,
                          unsigned code, const char *reason);

    /* what the data channels of that control channel are opened with; NULL if
       it has gone, or has none */
    const zlt_pool_param_t  *(*param)(const zlt_owner_t *o, uint32_t serial);

    /* Makes a datagram channel of one; data is what has come already.  0, or
       -1 without memory.  The channel owns ch->udp from then on. */
    int   (*datagrams)(zlt_channel_t *ch, const uint8_t *data, size_t len);
    void  (*datagrams_free)(zlt_udp_t *u);
} zlt_owner_ops_t;


/* channels that met another node than that of the tunnel */

typedef struct {
    unsigned                 n;            /* of all in a row, the same one: */
    uint8_t                  node[ZLT_ID_SIZE];
    uint64_t                 since;        /* ms */
    uint64_t                 seen;         /* ms, of one: in a row; 0: not */
    uint8_t                  other[ZLT_ID_SIZE];   /* .. which node */
    uint64_t                 told;         /* ms, of that; 0: never */
} zlt_astray_t;


#define ZLT_OWNER_LABEL  (ZLT_MAX_NAME + 8)


struct zlt_owner_s {
    const zlt_owner_ops_t   *ops;
    const zlt_access_ops_t  *access_ops;

    char                     label[ZLT_OWNER_LABEL];   /* zlt_log_link() */
    uv_loop_t               *loop;         /* the process's */
    zlt_conf_t              *conf;
    zlt_tls_t               *tls;          /* of the server; NULL: ws:// */
    zlt_transport_t          transport;    /* of data channels */

    zlt_list_t               services;
    zlt_list_t               ranges;       /* .. as they are registered */
    zlt_list_t               accesses;
    zlt_list_t               channels;     /* all of them */
    zlt_list_t               early;        /* whose Connect came before
                                              RegisterOk, by their waiter */
    zlt_pool_t              *pool;         /* NULL: none yet */
    unsigned                 nchannels;

    zlt_pool_param_t         param;        /* the latest, if there is one */
    unsigned                 has_param:1;
    unsigned                 stopping:1;   /* finishes what runs */

    uint64_t                 connections;  /* TCP, all that were made */
    uint64_t                 bytes[2];     /* of those that have ended; as in
                                              zlt_relay_t */
    uint64_t                 udp_unknown;  /* datagrams of no session */
    zlt_udp_count_t          visits;       /* of access; "in" is to clients */
    zlt_astray_t             astray;
    zlt_figure_t             connects;     /* until a service was reached */
};


#endif /* ZLT_OWNER_H_INCLUDED */
