
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Visits of sessions of UDP: two datagram channels, and the frames between.
 *
 * Theory of operation.  The visitor opens sessions and numbers them; its
 * channel has one of the serving agent for itself, so the numbers pass as they
 * are.  Frames are looked at, and passed on if they make sense: DatagramOpen
 * gets the id of the service, the address of the visitor and the target; what
 * belongs to no open session is dropped here.
 *
 * Nothing is read from a side while more than 256 KiB wait for the other: TCP
 * slows the sender down, and the queues where datagrams are dropped by age are
 * at the two ends.
 *
 * Until the serving agent's channel is there, nothing is read from the visitor.
 * When one of the channels ends, so does the other; the visitor comes again
 * with the next datagram.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_visit_udp.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_visit.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_VISIT_WAITING  (256 * 1024)

/* 0 visitor, 1 service; and the other one */
#define ngx_zltunnel_visit_side(visit, d)   ((d) - (visit)->side)
#define ngx_zltunnel_visit_other(visit, d)                                    \
    (&(visit)->side[1 - ngx_zltunnel_visit_side(visit, d)])


static void ngx_zltunnel_visit_carry_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_visit_served_cut(ngx_zltunnel_link_t *link);
static ngx_uint_t ngx_zltunnel_visit_wants(ngx_zltunnel_datagrams_t *d);
static ngx_uint_t ngx_zltunnel_visit_writable(ngx_zltunnel_datagrams_t *d);
static void ngx_zltunnel_visit_end_of_read(ngx_zltunnel_datagrams_t *d);
static void ngx_zltunnel_visit_lost(ngx_zltunnel_datagrams_t *d,
    ngx_uint_t silent);
static ngx_int_t ngx_zltunnel_visit_datagram(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static void ngx_zltunnel_visit_served_paced(ngx_zltunnel_link_t *link,
    uint64_t old);
static ngx_uint_t ngx_zltunnel_visit_paced(ngx_zltunnel_visit_t *visit,
    ngx_uint_t i, size_t len);
static ngx_int_t ngx_zltunnel_visit_open(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static ngx_uint_t ngx_zltunnel_visit_admit(ngx_zltunnel_visit_t *visit);
static ngx_int_t ngx_zltunnel_visit_closed(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static ngx_int_t ngx_zltunnel_visit_malformed(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static ngx_int_t ngx_zltunnel_visit_end(ngx_zltunnel_visit_t *visit,
    ngx_uint_t to, uint32_t number, ngx_uint_t cause);
static ngx_rbtree_node_t *ngx_zltunnel_visit_session(
    ngx_zltunnel_visit_t *visit, uint32_t number);
static void ngx_zltunnel_visit_forget(ngx_zltunnel_visit_t *visit,
    ngx_rbtree_node_t *node);
static void ngx_zltunnel_visit_drop(ngx_zltunnel_visit_t *visit,
    ngx_uint_t cause);


static const ngx_zltunnel_datagrams_use_t  ngx_zltunnel_visit_visitor = {
    ngx_zltunnel_visit_datagram,
    ngx_zltunnel_visit_closed,
    ngx_zltunnel_visit_open,
    ngx_zltunnel_visit_malformed,
    ngx_zltunnel_visit_end_of_read,
    ngx_zltunnel_visit_wants,
    ngx_zltunnel_visit_writable,
    ngx_zltunnel_visit_lost
};


static const ngx_zltunnel_datagrams_use_t  ngx_zltunnel_visit_service = {
    ngx_zltunnel_visit_datagram,
    ngx_zltunnel_visit_closed,
    NULL,
    ngx_zltunnel_visit_malformed,
    ngx_zltunnel_visit_end_of_read,
    ngx_zltunnel_visit_wants,
    ngx_zltunnel_visit_writable,
    ngx_zltunnel_visit_lost
};


void
ngx_zltunnel_visit_udp_start(ngx_zltunnel_visit_t *visit, u_char *data,
    size_t len)
{
    ngx_connection_t     *c;
    ngx_zltunnel_dial_t  *dial;

    c = visit->end.connection;
    dial = &visit->dial;

    ngx_rbtree_init(&visit->sessions, &visit->sentinel,
                    ngx_rbtree_insert_value);

    dial->registry = visit->registry;
    dial->pool = c->pool;
    dial->log = c->log;
    dial->client_addr = visit->client_addr;
    dial->local = visit->ask.local;
    dial->datagrams = 1;
    dial->handler = ngx_zltunnel_visit_carry_dialled;
    dial->data = visit;

    /* nothing is read until the other channel is there */

    if (ngx_zltunnel_datagrams_keep(&visit->side[0], data, len) != NGX_OK) {
        ngx_zltunnel_visit_close(visit);
        return;
    }

    ngx_zltunnel_visit_dial(visit);
}


static void
ngx_zltunnel_visit_carry_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_visit_t  *visit;

    visit = dial->data;

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        ngx_log_error(NGX_LOG_INFO, visit->end.connection->log, 0,
                      "visitor \"%V\" gets no channel to service \"%V\": %s",
                      &visit->ask.visitor, &visit->ask.name,
                      ngx_zltunnel_dial_error(dial, rc));

        ngx_zltunnel_visit_close(visit);
        return;
    }

    visit->carrying = 1;
    dial->link.cut = ngx_zltunnel_visit_served_cut;
    dial->link.paced = ngx_zltunnel_visit_served_paced;

    ngx_zltunnel_datagrams_start(&visit->side[0], &ngx_zltunnel_visit_visitor,
                                 visit, visit->registry, &visit->end);
    ngx_zltunnel_datagrams_take(&visit->side[1], &ngx_zltunnel_visit_service,
                                visit, dial->channel);
}


static void
ngx_zltunnel_visit_served_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_visit_cut(ngx_zltunnel_dial_of(link)->data);
}


void
ngx_zltunnel_visit_udp_done(ngx_zltunnel_visit_t *visit)
{
    if (visit->sessions.root) {

        while (visit->sessions.root != &visit->sentinel) {
            ngx_zltunnel_visit_forget(visit, visit->sessions.root);
        }
    }

    ngx_zltunnel_datagrams_stop(&visit->side[0]);
    ngx_zltunnel_datagrams_stop(&visit->side[1]);

    if (visit->carrying && visit->dial.channel) {
        ngx_zltunnel_channel_close(visit->dial.channel);
        visit->dial.channel = NULL;
    }
}


static ngx_uint_t
ngx_zltunnel_visit_wants(ngx_zltunnel_datagrams_t *d)
{
    ngx_zltunnel_datagrams_t  *to;

    to = ngx_zltunnel_visit_other((ngx_zltunnel_visit_t *) d->data, d);

    return ngx_zltunnel_datagrams_waiting(to) <= NGX_ZLTUNNEL_VISIT_WAITING;
}


/* what was not read from the other side meanwhile is */

static ngx_uint_t
ngx_zltunnel_visit_writable(ngx_zltunnel_datagrams_t *d)
{
    ngx_event_t               *rev;
    ngx_zltunnel_datagrams_t  *from;

    from = ngx_zltunnel_visit_other((ngx_zltunnel_visit_t *) d->data, d);
    rev = from->end->connection->read;

    if ((rev->ready || from->more) && !rev->posted) {
        ngx_post_event(rev, &ngx_posted_next_events);
    }

    return 0;
}


static void
ngx_zltunnel_visit_end_of_read(ngx_zltunnel_datagrams_t *d)
{
    ngx_zltunnel_datagrams_out_flush();
}


static void
ngx_zltunnel_visit_lost(ngx_zltunnel_datagrams_t *d, ngx_uint_t silent)
{
    ngx_zltunnel_visit_t  *visit;

    visit = d->data;

    if (silent) {
        ngx_log_error(NGX_LOG_INFO, d->end->connection->log, NGX_ETIMEDOUT,
                      "datagram channel of %s does not answer, service "
                      "\"%V\"", ngx_zltunnel_visit_side(visit, d)
                                ? "an agent" : "a visitor",
                      &visit->ask.name);
    }

    ngx_zltunnel_visit_close(visit);
}


static ngx_int_t
ngx_zltunnel_visit_datagram(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    u_char                    *p;
    ngx_uint_t                 i;
    ngx_zltunnel_visit_t      *visit;
    ngx_zltunnel_datagrams_t  *to;

    visit = d->data;

    if (ngx_zltunnel_visit_session(visit, f->session) == NULL) {
        ngx_zltunnel_visit_drop(visit, NGX_ZLTUNNEL_DROP_SESSION);
        return NGX_OK;
    }

    to = ngx_zltunnel_visit_other(visit, d);
    i = ngx_zltunnel_visit_side(visit, d);

    if (!ngx_zltunnel_visit_paced(visit, i, f->data.len)) {
        ngx_zltunnel_visit_drop(visit, NGX_ZLTUNNEL_DROP_RATE);
        return NGX_OK;
    }

    p = ngx_zltunnel_datagrams_out_room(to, ZLT_DGRAM_HEADER + f->data.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = zlt_dgram_header(p, f->session, f->data.len);
    p = ngx_cpymem(p, f->data.data, f->data.len);

    ngx_zltunnel_datagrams_out_commit(to, p);

    visit->served->bytes[i] += f->data.len;
    visit->served->datagrams[i]++;
    visit->counter->bytes[i] += f->data.len;
    visit->counter->datagrams[i]++;

    return NGX_OK;
}


static void
ngx_zltunnel_visit_served_paced(ngx_zltunnel_link_t *link, uint64_t old)
{
    ngx_zltunnel_visit_udp_pace(ngx_zltunnel_dial_of(link)->data, old,
                                link->peer->pace.rate);
}


void
ngx_zltunnel_visit_udp_pace(ngx_zltunnel_visit_t *visit, uint64_t old,
    uint64_t rate)
{
    (void) ngx_zltunnel_pace_rescale(&visit->portion[0], old, rate);
    (void) ngx_zltunnel_pace_rescale(&visit->portion[1], old, rate);
}


/* 0: above the rate of either token */

static ngx_uint_t
ngx_zltunnel_visit_paced(ngx_zltunnel_visit_t *visit, ngx_uint_t i, size_t len)
{
    ngx_zltunnel_peer_t  *peer;
    ngx_zltunnel_pace_t  *by[NGX_ZLTUNNEL_PACES];

    peer = visit->dial.link.peer;

    by[0] = ngx_zltunnel_peer_pace(peer, NULL);
    by[1] = ngx_zltunnel_peer_pace(visit->link.peer, peer);

    return !ngx_zltunnel_paced(by)
           || ngx_zltunnel_pace_datagram(by, &visit->portion[i], len);
}


static ngx_int_t
ngx_zltunnel_visit_open(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    size_t                     size;
    u_char                    *p;
    zlt_str_t                  target;
    ngx_uint_t                 cause;
    ngx_rbtree_node_t         *node;
    ngx_zltunnel_visit_t      *visit;
    ngx_zltunnel_datagrams_t  *to;

    visit = d->data;

    if (f->session <= visit->number) {

        /* numbers rise; a session that is open already ends */

        return ngx_zltunnel_visit_malformed(d, f);
    }

    visit->number = f->session;

    node = ngx_alloc(sizeof(ngx_rbtree_node_t), ngx_cycle->log);
    if (node == NULL) {
        return NGX_ERROR;
    }

    cause = ngx_zltunnel_visit_admit(visit);

    if (cause) {
        ngx_free(node);
        return ngx_zltunnel_datagrams_out_close(d, f->session, cause);
    }

    node->key = f->session;
    ngx_rbtree_insert(&visit->sessions, node);
    visit->nsessions++;

    to = &visit->side[1];
    size = ZLT_DGRAM_HEADER + ZLT_ID_SIZE + 2 + ZLT_DGRAM_MAX_ADDR
           + 3 + ZLT_MAX_TARGET;

    p = ngx_zltunnel_datagrams_out_room(to, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    target.data = visit->ask.target.data;
    target.len = visit->ask.target.len;

    p = zlt_dgram_open_target(p, p + size, f->session, visit->dial.service_id,
                              (char *) visit->client_addr.data,
                              visit->client_addr.len, &target);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_datagrams_out_commit(to, p);

    return NGX_OK;
}


/* one more session of the service: 0, or the cause of a DatagramClose */

static ngx_uint_t
ngx_zltunnel_visit_admit(ngx_zltunnel_visit_t *visit)
{
    ngx_uint_t                  cause;
    const char                 *limit;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_counter_t  *counter;
    ngx_zltunnel_sh_service_t  *service;

    registry = visit->registry;
    limit = NULL;
    cause = 0;

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, visit->dial.tunnel_id);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel,
                                                  visit->dial.service_id)
                     : NULL;

    if (service == NULL) {
        cause = ZLT_E_UNREACHABLE;

    } else if ((limit = ngx_zltunnel_quota_service(registry, service))) {
        cause = ZLT_E_LIMIT;

    } else {
        counter = ngx_zltunnel_counter_more(registry, service, visit->served);

        if (counter == NULL) {
            cause = ZLT_E_BUSY;

        } else {
            counter->total++;
            visit->served = counter;
        }
    }

    ngx_zltunnel_zone_unlock(registry);

    if (cause == ZLT_E_LIMIT) {
        ngx_zltunnel_log_complain(visit->end.connection->log,
                                  "visitor's session refused: limit of %s",
                                  limit);
    }

    return cause;
}


static ngx_int_t
ngx_zltunnel_visit_closed(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    ngx_zltunnel_visit_t  *visit;

    visit = d->data;

    return ngx_zltunnel_visit_end(visit,
                                  1 - ngx_zltunnel_visit_side(visit, d),
                                  f->session, f->cause);
}


/* the session that it names, if it does, ends on both sides */

static ngx_int_t
ngx_zltunnel_visit_malformed(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    ngx_zltunnel_visit_t  *visit;

    visit = d->data;

    ngx_zltunnel_visit_drop(visit, NGX_ZLTUNNEL_DROP_MALFORMED);

    ngx_zltunnel_log_complain(visit->end.connection->log,
                              "malformed %s on a datagram channel",
                              zlt_msg_name(f->type));

    if (!f->has_session
        || ngx_zltunnel_visit_session(visit, f->session) == NULL)
    {
        return NGX_OK;
    }

    if (ngx_zltunnel_visit_end(visit, 0, f->session, ZLT_E_FORBIDDEN)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_zltunnel_visit_end(visit, 1, f->session, ZLT_E_FORBIDDEN);
}


/* a DatagramClose to that side, which may no longer know of the session */

static ngx_int_t
ngx_zltunnel_visit_end(ngx_zltunnel_visit_t *visit, ngx_uint_t to,
    uint32_t number, ngx_uint_t cause)
{
    ngx_rbtree_node_t  *node;

    node = ngx_zltunnel_visit_session(visit, number);

    if (node) {
        ngx_zltunnel_visit_forget(visit, node);
    }

    return ngx_zltunnel_datagrams_out_close(&visit->side[to], number, cause);
}


static ngx_rbtree_node_t *
ngx_zltunnel_visit_session(ngx_zltunnel_visit_t *visit, uint32_t number)
{
    ngx_rbtree_node_t  *node;

    node = visit->sessions.root;

    while (node != &visit->sentinel) {

        if (number == node->key) {
            return node;
        }

        node = (number < node->key) ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_zltunnel_visit_forget(ngx_zltunnel_visit_t *visit, ngx_rbtree_node_t *node)
{
    ngx_rbtree_delete(&visit->sessions, node);
    ngx_free(node);

    ngx_zltunnel_zone_lock(visit->registry);
    ngx_zltunnel_counter_put(visit->registry, visit->served);
    ngx_zltunnel_zone_unlock(visit->registry);

    if (--visit->nsessions == 0) {
        visit->served = NULL;
    }
}


static void
ngx_zltunnel_visit_drop(ngx_zltunnel_visit_t *visit, ngx_uint_t cause)
{
    if (visit->served) {
        visit->served->dropped[cause]++;
    }
}
