
/*
 * Copyright (C) zltunnel authors
 */

/* The clients of a UDP service by access. */


#ifndef ZLT_VISIT_CLIENT_H_INCLUDED
#define ZLT_VISIT_CLIENT_H_INCLUDED


#include "udp.h"
#include "visit.h"


#define ZLT_VISIT_CLIENT_BUCKETS  1024 /* a power of two */


typedef struct zlt_visit_client_s  zlt_visit_client_t;


struct zlt_visit_udp_s {
    zlt_access_t        *access;
    zlt_udp_socket_t     socket;
    zlt_visit_t         *visit;        /* the channel's; NULL: there is none */
    zlt_udp_t           *udp;          /* once it is open */
    zlt_task_t           task;         /* the next turn; frees it */

    zlt_visit_client_t  *buckets[ZLT_VISIT_CLIENT_BUCKETS];
    zlt_list_t           clients;      /* by peer.used */
    unsigned             nclients;
    uint32_t             number;       /* of the last session */
    uint32_t             active;       /* s, when a client was there */

    zlt_queue_t          pending;      /* until the channel is open */
    uint64_t             again_at;     /* ms */

    unsigned             deaf:1;
};


extern const zlt_udp_role_t  zlt_visit_client_role;


/* What has come from one, who may be new. */
void zlt_visit_client_receive(zlt_visit_udp_t *v, const zlt_udp_message_t *m);

/* Of the list "clients".  What has waited for the channel goes, however long
   that was. */
void zlt_visit_client_begin(zlt_list_t *link);
void zlt_visit_client_forget(zlt_list_t *link);


#endif /* ZLT_VISIT_CLIENT_H_INCLUDED */
