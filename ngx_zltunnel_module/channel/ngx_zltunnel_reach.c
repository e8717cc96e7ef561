
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How a worker gets a data channel to another node: it connects there with the
 * certificate of nodes, and asks for one.
 *
 * The dial that wants it may have ended when the channel is there: it is idle
 * then, for the next one.  A node that is not reached in time, or refuses, is
 * left alone for a while where there is another one, and so the dial goes there.
 * For a dial that has had no answer on a channel of before it is only to find out
 * whether the node is there; if not, all such channels go.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_reach.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_drop.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_dial_elsewhere.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_hex.h"

#include <ngx_event_connect.h>


#define NGX_ZLTUNNEL_REACH_PARTS  3        /* of connect_timeout, for one node */
#define NGX_ZLTUNNEL_REACH_LEAST  300      /* ms */
#define NGX_ZLTUNNEL_REACH_AGAIN  10       /* times */
#define NGX_ZLTUNNEL_REACH_PAUSE  10       /* ms, and more each time */


typedef struct {
    ngx_queue_t                  queue;       /* of this worker */
    ngx_zltunnel_registry_t     *registry;
    u_char                       id[ZLT_ID_SIZE];         /* the dial's */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       node[ZLT_ID_SIZE];
    uint64_t                     epoch;
    ngx_event_t                  timer;
    ngx_event_t                  again;
    ngx_uint_t                   tries;
    ngx_connection_t            *connection;
    ngx_sockaddr_t               sockaddr;
    socklen_t                    socklen;
    const char                  *wrong;
    u_char                      *pos;         /* of the request */
    u_char                      *last;
    size_t                       have;        /* of the answer */
    u_char                       request[512];
    u_char                       answer[2048];
} ngx_zltunnel_reach_t;


static ngx_int_t ngx_zltunnel_reach_look(ngx_zltunnel_reach_t *reach);
static ngx_int_t ngx_zltunnel_reach_connect(ngx_zltunnel_reach_t *reach);
static ngx_int_t ngx_zltunnel_reach_prepare(ngx_zltunnel_reach_t *reach);
static void ngx_zltunnel_reach_request(ngx_zltunnel_reach_t *reach);
static void ngx_zltunnel_reach_timer(ngx_event_t *ev);
static void ngx_zltunnel_reach_again(ngx_zltunnel_reach_t *reach,
    const char *wrong);
static void ngx_zltunnel_reach_beside(ngx_zltunnel_reach_t *reach);
static void ngx_zltunnel_reach_pause(ngx_zltunnel_reach_t *reach,
    ngx_uint_t n);
static void ngx_zltunnel_reach_again_handler(ngx_event_t *ev);
static void ngx_zltunnel_reach_connected(ngx_event_t *ev);
static void ngx_zltunnel_reach_handshaked(ngx_connection_t *c);
static void ngx_zltunnel_reach_write(ngx_event_t *ev);
static void ngx_zltunnel_reach_read(ngx_event_t *ev);
static void ngx_zltunnel_reach_done(ngx_zltunnel_reach_t *reach, u_char *rest);
static void ngx_zltunnel_reach_fail(ngx_zltunnel_reach_t *reach,
    const char *wrong);
static void ngx_zltunnel_reach_mark(ngx_zltunnel_reach_t *reach,
    ngx_uint_t reached);
static ngx_zltunnel_dial_t *ngx_zltunnel_reach_dial(
    ngx_zltunnel_reach_t *reach);
static void ngx_zltunnel_reach_free(ngx_zltunnel_reach_t *reach);


static ngx_queue_t  ngx_zltunnel_reaches;


void
ngx_zltunnel_reach(ngx_zltunnel_dial_t *dial)
{
    ngx_msec_t             timeout;
    ngx_zltunnel_reach_t  *reach;

    if (dial->reaching) {
        return;
    }

    reach = ngx_calloc(sizeof(ngx_zltunnel_reach_t), dial->log);
    if (reach == NULL) {
        /* its timer ends it */
        return;
    }

    if (ngx_zltunnel_reaches.next == NULL) {
        ngx_queue_init(&ngx_zltunnel_reaches);
    }

    ngx_queue_insert_tail(&ngx_zltunnel_reaches, &reach->queue);

    reach->registry = dial->registry;
    ngx_memcpy(reach->id, dial->id, ZLT_ID_SIZE);
    ngx_memcpy(reach->tunnel_id, dial->tunnel_id, ZLT_ID_SIZE);

    reach->timer.handler = ngx_zltunnel_reach_timer;
    reach->timer.data = reach;
    reach->timer.log = ngx_cycle->log;

    reach->again.handler = ngx_zltunnel_reach_again_handler;
    reach->again.data = reach;
    reach->again.log = ngx_cycle->log;

    dial->reaching = 1;

    /* a connection was held for it */

    ngx_zltunnel_room_release(&dial->held);

    timeout = ngx_max(dial->registry->connect_timeout
                      / NGX_ZLTUNNEL_REACH_PARTS,
                      NGX_ZLTUNNEL_REACH_LEAST);

    if (ngx_zltunnel_reach_look(reach) != NGX_OK) {
        timeout = 1;

    } else if (dial->unread > 1) {
        ngx_zltunnel_reach_pause(reach, dial->unread);

    } else if (ngx_zltunnel_reach_connect(reach) != NGX_OK) {
        timeout = 1;
    }

    ngx_add_timer(&reach->timer, timeout);
}


static ngx_int_t
ngx_zltunnel_reach_look(ngx_zltunnel_reach_t *reach)
{
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_zltunnel_zone_lock_read(reach->registry);

    tunnel = ngx_zltunnel_tunnel_find(reach->registry->sh, reach->tunnel_id);

    if (tunnel && tunnel->remote) {
        ngx_memcpy(reach->node, tunnel->remote->id, ZLT_ID_SIZE);
        reach->sockaddr = tunnel->remote->sockaddr;
        reach->socklen = tunnel->remote->socklen;
        reach->epoch = tunnel->epoch;

    } else {
        reach->wrong = "it has no such service any more";
    }

    ngx_zltunnel_zone_unlock(reach->registry);

    return reach->wrong ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_zltunnel_reach_connect(ngx_zltunnel_reach_t *reach)
{
    u_char                 text[NGX_SOCKADDR_STRLEN];
    ngx_int_t              rc;
    ngx_str_t              name;
    ngx_connection_t      *c;
    ngx_peer_connection_t  pc;

    name.data = text;
    name.len = ngx_sock_ntop(&reach->sockaddr.sockaddr, reach->socklen, text,
                             sizeof(text), 1);

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = &reach->sockaddr.sockaddr;
    pc.socklen = reach->socklen;
    pc.name = &name;
    pc.get = ngx_event_get_peer;
    pc.log = ngx_cycle->log;
    pc.log_error = NGX_ERROR_ERR;

    rc = ngx_event_connect_peer(&pc);

    c = pc.connection;

    if (c == NULL) {
        reach->wrong = "no connection could be made";
        return NGX_ERROR;
    }

    reach->connection = c;
    c->data = reach;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    if ((rc != NGX_OK && rc != NGX_AGAIN)
        || ngx_zltunnel_reach_prepare(reach) != NGX_OK)
    {
        /* no event of it may come before the timer */

        ngx_zltunnel_connection_close(c);

        reach->connection = NULL;
        reach->wrong = "no connection could be made";
        return NGX_ERROR;
    }

    ngx_zltunnel_reach_request(reach);

    c->read->handler = ngx_zltunnel_reach_connected;
    c->write->handler = ngx_zltunnel_reach_connected;

    if (rc == NGX_OK) {
        ngx_post_event(c->write, &ngx_posted_events);
    }

    return NGX_OK;
}


/* as ngx_zltunnel_connection_create() has it */

static ngx_int_t
ngx_zltunnel_reach_prepare(ngx_zltunnel_reach_t *reach)
{
    ngx_log_t         *clog;
    ngx_connection_t  *c;

    c = reach->connection;

    c->pool = ngx_create_pool(512, ngx_cycle->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    clog = ngx_pcalloc(c->pool, sizeof(ngx_log_t));
    if (clog == NULL) {
        return NGX_ERROR;
    }

    *clog = *ngx_cycle->log;
    clog->handler = NULL;
    clog->data = NULL;
    clog->action = NULL;
    clog->connection = c->number;

    c->log = clog;
    c->pool->log = clog;
    c->read->log = clog;
    c->write->log = clog;

    c->log_error = NGX_ERROR_INFO;
    c->start_time = ngx_current_msec;

    c->addr_text.data = ngx_pnalloc(c->pool, NGX_SOCKADDR_STRLEN);
    if (c->addr_text.data == NULL) {
        return NGX_ERROR;
    }

    c->addr_text.len = ngx_sock_ntop(&reach->sockaddr.sockaddr,
                                     reach->socklen, c->addr_text.data,
                                     NGX_SOCKADDR_STRLEN, 0);

    return NGX_OK;
}


static void
ngx_zltunnel_reach_request(ngx_zltunnel_reach_t *reach)
{
    char    node[2 * ZLT_ID_SIZE], own[2 * ZLT_ID_SIZE];
    u_char  text[NGX_SOCKADDR_STRLEN];
    size_t  len;

    zlt_hex_encode(node, reach->node, ZLT_ID_SIZE);
    zlt_hex_encode(own, ngx_zltunnel_node_id(reach->registry), ZLT_ID_SIZE);

    len = ngx_sock_ntop(&reach->sockaddr.sockaddr, reach->socklen, text,
                        sizeof(text), 1);

    reach->pos = reach->request;
    reach->last = ngx_snprintf(reach->request, sizeof(reach->request),
                               "GET /tunnel/v1 HTTP/1.1" CRLF
                               "Host: %*s" CRLF
                               "Connection: Upgrade" CRLF
                               "Upgrade: zltunnel" CRLF
                               "Zltunnel-Node: %*s" CRLF
                               "Zltunnel-Peer: %*s" CRLF CRLF,
                               len, text, sizeof(node), node,
                               sizeof(own), own);
}


static void
ngx_zltunnel_reach_timer(ngx_event_t *ev)
{
    ngx_zltunnel_reach_t  *reach;

    reach = ev->data;

    ngx_zltunnel_reach_fail(reach, reach->wrong ? reach->wrong
                                                : "it does not answer in time");
}


/* The node's worker that has the connection begins or exits, or has no room: a
   moment later it is another one. */

static void
ngx_zltunnel_reach_again(ngx_zltunnel_reach_t *reach, const char *wrong)
{
    if (reach->tries++ == NGX_ZLTUNNEL_REACH_AGAIN) {
        ngx_zltunnel_reach_fail(reach, wrong);
        return;
    }

    ngx_zltunnel_reach_pause(reach, reach->tries);
}


/* Two binaries of the node accept there, of which the other one is meant.  Once
   that is exiting, whoever still has it for the node learns of the new one. */

static void
ngx_zltunnel_reach_beside(ngx_zltunnel_reach_t *reach)
{
    ngx_zltunnel_dial_t  *dial;

    reach->tries++;

    dial = ngx_zltunnel_reach_dial(reach);

    if (dial && reach->tries > 1 && ngx_zltunnel_dial_searches(dial)
        && !dial->asked[0] && !dial->asked[1]
        && ngx_zltunnel_dial_elsewhere(dial) == NGX_OK)
    {
        ngx_zltunnel_reach_free(reach);
        return;
    }

    if (dial) {
        dial->reaching = 1;
    }

    ngx_zltunnel_reach_pause(reach, reach->tries);
}


static void
ngx_zltunnel_reach_pause(ngx_zltunnel_reach_t *reach, ngx_uint_t n)
{
    if (reach->connection) {
        ngx_zltunnel_connection_close(reach->connection);
        reach->connection = NULL;
    }

    reach->have = 0;

    ngx_add_timer(&reach->again, ngx_min(n, NGX_ZLTUNNEL_REACH_AGAIN)
                                 * NGX_ZLTUNNEL_REACH_PAUSE);
}


static void
ngx_zltunnel_reach_again_handler(ngx_event_t *ev)
{
    ngx_zltunnel_reach_t  *reach;

    reach = ev->data;

    if (ngx_zltunnel_reach_connect(reach) != NGX_OK) {
        ngx_zltunnel_reach_fail(reach, reach->wrong);
    }
}


static void
ngx_zltunnel_reach_connected(ngx_event_t *ev)
{
    int                    err;
    ngx_int_t              rc;
    socklen_t              len;
    ngx_connection_t      *c;
    ngx_zltunnel_reach_t  *reach;

    c = ev->data;
    reach = c->data;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err || c->close) {
        ngx_zltunnel_reach_fail(reach, err == NGX_ECONNREFUSED
                                       ? "nobody listens there"
                                       : "no connection could be made");
        return;
    }

    if (!c->write->ready) {
        return;
    }

    if (ngx_zltunnel_cluster_cert_connect(reach->registry, c) != NGX_OK) {
        ngx_zltunnel_reach_fail(reach, "this node has no certificate for it");
        return;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ngx_zltunnel_reach_handshaked;
        return;
    }

    ngx_zltunnel_reach_handshaked(c);
}


static void
ngx_zltunnel_reach_handshaked(ngx_connection_t *c)
{
    const char            *wrong;
    ngx_zltunnel_reach_t  *reach;

    reach = c->data;

    wrong = ngx_zltunnel_cluster_cert_wrong(c);

    if (wrong) {
        ngx_zltunnel_reach_fail(reach, wrong);
        return;
    }

    c->read->handler = ngx_zltunnel_reach_read;
    c->write->handler = ngx_zltunnel_reach_write;

    ngx_zltunnel_reach_write(c->write);
}


static void
ngx_zltunnel_reach_write(ngx_event_t *ev)
{
    ssize_t                n;
    ngx_connection_t      *c;
    ngx_zltunnel_reach_t  *reach;

    c = ev->data;
    reach = c->data;

    while (reach->pos < reach->last) {

        n = c->send(c, reach->pos, reach->last - reach->pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_zltunnel_reach_fail(reach, "it has closed the connection");
            return;
        }

        reach->pos += n;
    }

    if (ngx_handle_write_event(ev, 0) != NGX_OK) {
        ngx_zltunnel_reach_fail(reach, "no connection could be made");
        return;
    }

    if (c->read->ready && reach->pos == reach->last) {
        ngx_zltunnel_reach_read(c->read);
    }
}


static void
ngx_zltunnel_reach_read(ngx_event_t *ev)
{
    u_char                *end;
    ssize_t                n;
    ngx_connection_t      *c;
    ngx_zltunnel_reach_t  *reach;

    static const char  switching[] = "HTTP/1.1 101 ";

    c = ev->data;
    reach = c->data;

    for ( ;; ) {

        /* one byte stays for the zero that ends the text */

        n = c->recv(c, reach->answer + reach->have,
                    sizeof(reach->answer) - 1 - reach->have);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0 && reach->have == 0) {
            ngx_zltunnel_reach_again(reach, "it has closed the connection");
            return;
        }

        if (n <= 0) {
            ngx_zltunnel_reach_fail(reach, "it has closed the connection");
            return;
        }

        reach->have += n;
        reach->answer[reach->have] = '\0';

        if (ngx_strncmp(reach->answer, "HTTP/1.1 503", 12) == 0) {
            ngx_zltunnel_reach_again(reach, "it has no room");
            return;
        }

        end = (u_char *) ngx_strstr(reach->answer, CRLF CRLF);

        if (ngx_strncmp(reach->answer, "HTTP/1.1 421", 12) == 0) {

            if (end == NULL && reach->have < sizeof(reach->answer) - 1) {
                continue;
            }

            if (ngx_strstr(reach->answer, "; upgrade" CRLF)) {
                ngx_zltunnel_reach_beside(reach);

            } else {
                ngx_zltunnel_reach_fail(reach, "it is another node now");
            }

            return;
        }

        if (ngx_strncmp(reach->answer, switching,
                        ngx_min(reach->have, sizeof(switching) - 1))
            != 0)
        {
            ngx_zltunnel_reach_fail(reach,
                          ngx_strncmp(reach->answer, "HTTP/1.1 403", 12) == 0
                          ? "it does not know this node: its "
                            "\"cluster_trusted_certificate\" did not sign "
                            "this one's \"cluster_certificate\", or its "
                            "server{} has no \"ssl_verify_client\""
                          : "it does not answer as a node");
            return;
        }

        if (end) {
            ngx_zltunnel_reach_done(reach, end + 4);
            return;
        }

        if (reach->have == sizeof(reach->answer) - 1) {
            ngx_zltunnel_reach_fail(reach, "it does not answer as a node");
            return;
        }
    }

    if (ngx_handle_read_event(ev, 0) != NGX_OK) {
        ngx_zltunnel_reach_fail(reach, "no connection could be made");
    }
}


/* the channel is there, for its dial or for another one */

static void
ngx_zltunnel_reach_done(ngx_zltunnel_reach_t *reach, u_char *rest)
{
    ngx_int_t                rc;
    ngx_connection_t        *c;
    ngx_zltunnel_dial_t     *dial;
    ngx_zltunnel_channel_t  *channel;

    c = reach->connection;
    c->sent = 0;

    channel = ngx_zltunnel_channel_create(reach->registry, c, NULL);

    if (channel == NULL) {
        ngx_zltunnel_reach_fail(reach, "there is no memory");
        return;
    }

    reach->connection = NULL;

    channel->epoch = reach->epoch;
    ngx_memcpy(channel->tunnel_id, reach->tunnel_id, ZLT_ID_SIZE);

    rc = ngx_zltunnel_channel_io_unread(channel, rest,
                                        reach->answer + reach->have - rest);

    ngx_zltunnel_reach_mark(reach, 1);

    dial = ngx_zltunnel_reach_dial(reach);

    ngx_zltunnel_reach_free(reach);

    if (rc != NGX_OK) {
        ngx_zltunnel_channel_close(channel);

        if (dial) {
            (void) ngx_zltunnel_dial_elsewhere(dial);
        }

        return;
    }

    /* it may have got one from another worker meanwhile, and Connect on both
       would be two connections: nothing at the node sees that they are one */

    if (dial && ngx_zltunnel_dial_searches(dial)) {
        ngx_zltunnel_dial_connect_by(dial, channel, NGX_ZLTUNNEL_FRESH);
        return;
    }

    ngx_zltunnel_release_idle(channel, NULL);
}


static void
ngx_zltunnel_reach_fail(ngx_zltunnel_reach_t *reach, const char *wrong)
{
    u_char                text[NGX_SOCKADDR_STRLEN];
    size_t                len;
    ngx_zltunnel_dial_t  *dial;

    len = ngx_sock_ntop(&reach->sockaddr.sockaddr, reach->socklen, text,
                        sizeof(text), 1);

    if (ngx_zltunnel_log_paced(ngx_cycle->log, "nodes not reached")) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "node %s at %*s was not reached: %s",
                      ngx_zltunnel_access_hex(reach->node), len, text, wrong);
    }

    ngx_zltunnel_reach_mark(reach, 0);

    dial = ngx_zltunnel_reach_dial(reach);

    ngx_zltunnel_reach_free(reach);

    if (dial == NULL) {
        return;
    }

    /* it has had no answer, and told the node nothing of its client yet */

    if (dial->silent && dial->last == 0) {
        ngx_zltunnel_dial_connect_leave(dial);
    }

    if (ngx_zltunnel_dial_searches(dial)
        && !dial->asked[0] && !dial->asked[1]
        && ngx_zltunnel_dial_elsewhere(dial) != NGX_OK)
    {
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_ERROR);
    }
}


static void
ngx_zltunnel_reach_mark(ngx_zltunnel_reach_t *reach, ngx_uint_t reached)
{
    ngx_zltunnel_ipc_t         msg;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    ngx_zltunnel_zone_lock(reach->registry);

    tunnel = ngx_zltunnel_tunnel_find(reach->registry->sh, reach->tunnel_id);

    if (tunnel && tunnel->remote) {

        if (!reached && !ngx_zltunnel_remote_failing(tunnel)) {
            msg.epoch = ++tunnel->epoch;
        }

        ngx_zltunnel_remote_reached(tunnel, reached);
        tunnel->heard = reached ? ngx_current_msec : tunnel->heard;
    }

    ngx_zltunnel_zone_unlock(reach->registry);

    if (msg.epoch) {

        /* channels of before are as dead, and who takes one finds out late */

        msg.type = NGX_ZLTUNNEL_IPC_DROP;
        ngx_memcpy(msg.tunnel_id, reach->tunnel_id, ZLT_ID_SIZE);

        ngx_zltunnel_ipc_broadcast(reach->registry, &msg);
        ngx_zltunnel_channel_drop(reach->registry, reach->tunnel_id, msg.epoch);
    }
}


/* .. if it still waits for this one */

static ngx_zltunnel_dial_t *
ngx_zltunnel_reach_dial(ngx_zltunnel_reach_t *reach)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_find(reach->id);

    if (dial == NULL
        || ngx_memcmp(dial->tunnel_id, reach->tunnel_id, ZLT_ID_SIZE) != 0)
    {
        return NULL;
    }

    dial->reaching = 0;

    return dial;
}


static void
ngx_zltunnel_reach_free(ngx_zltunnel_reach_t *reach)
{
    if (reach->timer.timer_set) {
        ngx_del_timer(&reach->timer);
    }

    if (reach->again.timer_set) {
        ngx_del_timer(&reach->again);
    }

    if (reach->connection) {
        ngx_zltunnel_connection_close(reach->connection);
    }

    ngx_queue_remove(&reach->queue);
    ngx_free(reach);
}


void
ngx_zltunnel_reach_exit(void)
{
    ngx_queue_t  *q;

    if (ngx_zltunnel_reaches.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_zltunnel_reaches)) {
        q = ngx_queue_head(&ngx_zltunnel_reaches);

        ngx_zltunnel_reach_free(ngx_queue_data(q, ngx_zltunnel_reach_t,
                                               queue));
    }
}
