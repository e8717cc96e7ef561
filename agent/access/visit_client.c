
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The clients of a UDP service, who send to one socket and are told apart by
 * their addresses.  They share a datagram channel (udp.c), on which each is a
 * session with a number.
 *
 * Clients outlive their channel: on the next one they are sessions again, with
 * their next datagram.
 */


#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "log.h"
#include "service.h"
#include "udp.h"
#include "visit.h"
#include "visit_client.h"


struct zlt_visit_client_s {
    zlt_udp_peer_t       peer;         /* peer.udp NULL: not on a channel */
    zlt_visit_udp_t     *visits;
    zlt_visit_client_t  *next;         /* of its bucket */
    zlt_task_t           task;         /* frees it */
    zlt_addr_t           addr;
};


#define zlt_visit_client_of(p)  zlt_list_data(p, zlt_visit_client_t, peer)
#define zlt_visit_client_of_link(link)                                        \
    zlt_list_data(link, zlt_visit_client_t, peer.used)


static zlt_visit_client_t **zlt_visit_client_bucket(zlt_visit_udp_t *v,
    const struct sockaddr *sa, socklen_t len);
static zlt_visit_client_t *zlt_visit_client_find(zlt_visit_udp_t *v,
    const struct sockaddr *sa, socklen_t len);
static zlt_visit_client_t *zlt_visit_client_create(zlt_visit_udp_t *v,
    const struct sockaddr *sa, socklen_t len);
static void zlt_visit_client_join(zlt_visit_client_t *c);
static void zlt_visit_client_freed(zlt_task_t *task);
static void zlt_visit_client_forward(zlt_udp_peer_t *p, const uint8_t *data,
    size_t len);
static zlt_udp_failed_e zlt_visit_client_failed(zlt_udp_peer_t *p, int err);
static void zlt_visit_client_close(zlt_udp_peer_t *p, unsigned cause,
    int tell);
static void zlt_visit_client_drop(zlt_udp_peer_t *p);
static void zlt_visit_client_complain(zlt_udp_peer_t *p, const char *text);


const zlt_udp_role_t  zlt_visit_client_role = {
    NULL,
    zlt_visit_client_forward,
    zlt_visit_client_failed,
    zlt_visit_client_close,
    zlt_visit_client_drop,
    zlt_visit_client_complain
};


void
zlt_visit_client_receive(zlt_visit_udp_t *v, const zlt_udp_message_t *m)
{
    zlt_visit_client_t  *c;

    c = zlt_visit_client_find(v, m->from, m->fromlen);

    if (c == NULL) {
        c = zlt_visit_client_create(v, m->from, m->fromlen);
    }

    if (c) {
        zlt_udp_peer_receive(&c->peer, m);
    }
}


static zlt_visit_client_t **
zlt_visit_client_bucket(zlt_visit_udp_t *v, const struct sockaddr *sa,
    socklen_t len)
{
    uint32_t        hash;
    socklen_t       i;
    const uint8_t  *p;

    hash = 2166136261u;
    p = (const uint8_t *) sa;

    for (i = 0; i < len; i++) {
        hash = (hash ^ p[i]) * 16777619u;
    }

    return &v->buckets[(hash ^ (hash >> 16)) & (ZLT_VISIT_CLIENT_BUCKETS - 1)];
}


static zlt_visit_client_t *
zlt_visit_client_find(zlt_visit_udp_t *v, const struct sockaddr *sa,
    socklen_t len)
{
    zlt_visit_client_t  *c;

    for (c = *zlt_visit_client_bucket(v, sa, len); c; c = c->next) {
        if (c->addr.len == len && memcmp(&c->addr.addr, sa, len) == 0) {
            return c;
        }
    }

    return NULL;
}


static zlt_visit_client_t *
zlt_visit_client_create(zlt_visit_udp_t *v, const struct sockaddr *sa,
    socklen_t len)
{
    zlt_visit_client_t  *c, **bucket;

    if (v->deaf || len > sizeof(zlt_sockaddr_t)) {
        return NULL;
    }

    if (v->nclients >= v->access->owner->conf->max_udp_sessions) {
        v->access->owner->visits.refused++;
        zlt_visit_complain(v->access, "there are too many clients");
        return NULL;
    }

    c = calloc(1, sizeof(zlt_visit_client_t));
    if (c == NULL) {
        return NULL;
    }

    c->visits = v;
    memcpy(&c->addr.addr, sa, len);
    c->addr.len = len;

    c->peer.socket = &v->socket;
    c->peer.to = &c->addr.addr.sa;
    c->peer.tolen = len;
    c->peer.users = &v->clients;
    c->peer.count = &v->access->owner->visits;
    c->peer.bytes_in = &v->access->bytes[1];
    c->peer.bytes_out = &v->access->bytes[0];
    c->peer.ready = 1;

    zlt_udp_peer_init(&c->peer, &zlt_visit_client_role);
    zlt_list_init(&c->task.link);

    bucket = zlt_visit_client_bucket(v, sa, len);
    c->next = *bucket;
    *bucket = c;

    v->nclients++;
    v->access->total++;

    return c;
}


void
zlt_visit_client_begin(zlt_list_t *link)
{
    zlt_visit_udp_t     *v;
    zlt_queue_flow_t    *f;
    zlt_queue_item_t    *item, *items, **last;
    zlt_visit_client_t  *c;

    c = zlt_visit_client_of_link(link);
    v = c->visits;
    f = &c->peer.to_server;
    last = &items;

    /* the flow cannot be in two queues */

    while (!zlt_queue_flow_empty(f)) {
        item = zlt_queue_get(&v->pending, f, f->first->since);
        *last = item;
        last = &item->next;
    }

    *last = NULL;

    if (items) {
        zlt_visit_client_join(c);
    }

    while ((item = items) != NULL) {
        items = item->next;
        zlt_udp_out_forward(&c->peer, item->data, item->len);
        free(item);
    }
}


/* Becomes a session of the channel. */

static void
zlt_visit_client_join(zlt_visit_client_t *c)
{
    char              text[ZLT_ADDR_TEXT];
    uint8_t           buf[ZLT_DGRAM_HEADER + ZLT_ID_SIZE + 2 + ZLT_ADDR_TEXT],
                     *p;
    zlt_visit_udp_t  *v;

    static const uint8_t  nobody[ZLT_ID_SIZE];

    v = c->visits;

    zlt_udp_peer_add(v->udp, &c->peer, ++v->number);

    (void) zlt_addr_text(text, &c->addr);

    zlt_log_link(v->access->owner->label, ZLT_LOG_DEBUG, "a client of access "
                 "to \"%s\" from %s", v->access->conf.name, text);

    p = zlt_dgram_open(buf, buf + sizeof(buf), c->peer.number, nobody, text,
                       strlen(text));

    zlt_udp_out_control(v->udp, buf, (size_t) (p - buf));
}


void
zlt_visit_client_forget(zlt_list_t *link)
{
    zlt_visit_udp_t     *v;
    zlt_visit_client_t  *c, **p;

    c = zlt_visit_client_of_link(link);

    if (c->peer.closed) {
        return;
    }

    v = c->visits;
    c->peer.closed = 1;

    if (c->peer.udp) {
        zlt_visit_client_drop(&c->peer);
    }

    zlt_queue_purge(&v->pending, &c->peer.to_server);

    p = zlt_visit_client_bucket(v, &c->addr.addr.sa, c->addr.len);

    while (*p != c) {
        p = &(*p)->next;
    }

    *p = c->next;
    v->nclients--;

    zlt_list_remove(&c->peer.used);

    c->task.handler = zlt_visit_client_freed;
    zlt_io_later(&c->task);
}


static void
zlt_visit_client_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_visit_client_t, task));
}


static void
zlt_visit_client_forward(zlt_udp_peer_t *p, const uint8_t *data, size_t len)
{
    zlt_visit_udp_t     *v;
    zlt_visit_client_t  *c;

    c = zlt_visit_client_of(p);
    v = c->visits;

    if (v->udp == NULL) {
        zlt_udp_peer_wait(p, &v->pending, data, len, 0);
        return;
    }

    if (p->udp == NULL) {
        zlt_visit_client_join(c);
    }

    zlt_udp_out_forward(p, data, len);
}


static zlt_udp_failed_e
zlt_visit_client_failed(zlt_udp_peer_t *p, int err)
{
    (void) err;

    p->count->failed++;

    return ZLT_UDP_SKIP;
}


static void
zlt_visit_client_close(zlt_udp_peer_t *p, unsigned cause, int tell)
{
    if (!tell && cause != ZLT_DGRAM_ENDED) {
        zlt_visit_client_complain(p, "the other end has closed a session: "
                                     "nobody is there, or it may not go there");
    }

    zlt_visit_client_forget(&p->used);
}


/* The client stays. */

static void
zlt_visit_client_drop(zlt_udp_peer_t *p)
{
    zlt_udp_peer_remove(p);
    p->udp = NULL;
}


static void
zlt_visit_client_complain(zlt_udp_peer_t *p, const char *text)
{
    zlt_visit_complain(zlt_visit_client_of(p)->visits->access, text);
}
