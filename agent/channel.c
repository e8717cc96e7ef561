
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel, step by step: the handler of its connection is the step.
 *
 *   connecting, talking, handshaking,   on its way to the server; talking is
 *   answer                              with a proxy
 *   idle                                framed: heartbeats, then Connect
 *   (service: dialling)                 taken: early bytes wait
 *   relay                               raw or framed, relay.c
 *   closing                             framed: until the server's end comes
 *   datagrams                           framed, udp.c
 *   ending                              ConnectFail or Retire was sent
 *
 * One that stays framed throughout a connection is idle again after it.  A
 * visitor's channel goes the same way until the 101; what follows is in
 * visit.c.
 *
 * A fresh channel, which answers a Connect that came on the control channel,
 * dials server and service at the same time and joins both.
 *
 * The protocol has a framed reader take a header and its payload and no byte
 * more, so that a descriptor can change hands.  Here it never does, so we
 * read what there is at once: bytes behind Connect are the service's and
 * wait in the relay's flow, and an idle channel that is taken costs one
 * recv() and not three.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "dup.h"
#include "http.h"
#include "proxy.h"
#include "visit.h"
#include "ws.h"


#define ZLT_CHANNEL_TRIES    4         /* of a fresh one to reach the server */
#define ZLT_CHANNEL_ASTRAY   100       /* .. and the binary with its tunnel */
#define ZLT_CHANNEL_SILENCE  60        /* s; the server heartbeats every 25 */
#define ZLT_CHANNEL_DISCARD  5         /* s, after ConnectFail and Retire */
#define ZLT_CHANNEL_WASTE    (1024 * 1024)     /* bytes, before it is idle */

#define ZLT_CHANNEL_SMALL    64        /* any message that we send but Fail */
#define ZLT_CHANNEL_FAIL     512

enum {
    ZLT_CHANNEL_OPENING = 0,
    ZLT_CHANNEL_IDLE,
    ZLT_CHANNEL_TAKEN,
    ZLT_CHANNEL_RELAY,
    ZLT_CHANNEL_CLOSING,
    ZLT_CHANNEL_DATAGRAMS,
    ZLT_CHANNEL_ENDING
};

/* whether the connection of a Connect is framed */
#define zlt_channel_framed(m)                                                 \
    (((m)->ext & ZLT_X_FLAGS) && ((m)->flags & ZLT_C_FRAMED))


static zlt_channel_t *zlt_channel_create(zlt_agent_t *a);
static void zlt_channel_freed(zlt_task_t *task);
static int zlt_channel_connect(zlt_channel_t *ch, const zlt_addr_t *addr);
static void zlt_channel_connecting(zlt_io_t *io);
static void zlt_channel_talk(zlt_channel_t *ch);
static void zlt_channel_talking(zlt_io_t *io);
static void zlt_channel_reached(zlt_channel_t *ch);
static void zlt_channel_handshaking(zlt_io_t *io);
static void zlt_channel_request(zlt_channel_t *ch);
static void zlt_channel_answer(zlt_io_t *io);
static zlt_wsc_use_e zlt_channel_use(const zlt_channel_t *ch);
static int zlt_channel_upgraded(zlt_channel_t *ch,
    const zlt_http_answer_t *answer);
static void zlt_channel_refused(zlt_channel_t *ch,
    const zlt_http_answer_t *answer);
static unsigned zlt_channel_doubtful(const zlt_http_answer_t *answer);
static void zlt_channel_doubt(zlt_channel_t *ch, unsigned doubt,
    const char *why);
static void zlt_channel_open_failed(zlt_channel_t *ch, const char *why);
static void zlt_channel_shut(zlt_channel_t *ch);
static void zlt_channel_given_up(zlt_channel_t *ch, const char *why);
static const zlt_pool_param_t *zlt_channel_param(zlt_channel_t *ch);
static void zlt_channel_again(zlt_task_t *task);
static void zlt_channel_idle(zlt_io_t *io);
static void zlt_channel_frames(zlt_channel_t *ch, const uint8_t *p,
    size_t len);
static void zlt_channel_taken(zlt_channel_t *ch, const zlt_msg_t *m,
    const uint8_t *early, size_t len);
static void zlt_channel_datagrams(zlt_channel_t *ch, const uint8_t *p,
    size_t len);
static int zlt_channel_proxy(zlt_channel_t *ch, const zlt_msg_t *m);
static int zlt_channel_target(zlt_channel_t *ch, const zlt_msg_t *m);
static void zlt_channel_wait(zlt_io_t *io);
static void zlt_channel_dial(zlt_channel_t *ch, const uint8_t *service_id);
static void zlt_channel_resolved(zlt_waiter_t *waiter, const char *error);
static void zlt_channel_dial_next(zlt_channel_t *ch);
static int zlt_channel_dial_early(zlt_channel_t *ch);
static void zlt_channel_dialling(zlt_io_t *io);
static void zlt_channel_dial_failed(zlt_channel_t *ch, int err);
static void zlt_channel_join(zlt_channel_t *ch);
static int zlt_channel_early(zlt_channel_t *ch, const uint8_t *data,
    size_t len);
static void zlt_channel_close(zlt_channel_t *ch);
static void zlt_channel_closing_turn(zlt_task_t *task);
static void zlt_channel_closing(zlt_io_t *io);
static void zlt_channel_reuse(zlt_channel_t *ch);
static void zlt_channel_done(zlt_relay_t *r, zlt_relay_end_e how);
static void zlt_channel_fail(zlt_channel_t *ch, unsigned code,
    const char *reason);
static void zlt_channel_fail_framed(zlt_channel_t *ch, const zlt_msg_t *m);
static void zlt_channel_ending_turn(zlt_task_t *task);
static void zlt_channel_ending(zlt_io_t *io);
static void zlt_channel_lost(zlt_channel_t *ch, const char *why);
static int zlt_channel_send(zlt_channel_t *ch, const zlt_msg_t *m,
    size_t size);
static unsigned zlt_channel_timeout(zlt_channel_t *ch);
static void zlt_channel_log(zlt_channel_t *ch, const char *what);


static zlt_channel_t *
zlt_channel_create(zlt_agent_t *a)
{
    zlt_channel_t  *ch;

    ch = calloc(1, sizeof(zlt_channel_t));
    if (ch == NULL) {
        return NULL;
    }

    zlt_relay_init(&ch->relay);

    zlt_list_init(&ch->link);
    zlt_list_init(&ch->waiter.link);
    zlt_list_append(&a->channels, &ch->all);

    ch->agent = a;
    a->nchannels++;

    return ch;
}


/* Both sides must be closed.  The memory stays for this turn, since events
   for it may have been fetched. */

void
zlt_channel_free(zlt_channel_t *ch)
{
    zlt_relay_cleanup(&ch->relay);

    if (ch->visit) {
        zlt_visit_freed(ch);

    } else {
        ch->agent->bytes[0] += ch->relay.bytes[0];
        ch->agent->bytes[1] += ch->relay.bytes[1];
    }

    if (ch->udp) {
        zlt_udp_free(ch->udp);
        ch->udp = NULL;
    }

    zlt_talk_free(ch->talk);
    ch->talk = NULL;

    zlt_list_remove(&ch->link);
    zlt_list_remove(&ch->all);
    zlt_list_remove(&ch->waiter.link);

    if (ch->service) {
        zlt_service_release(ch->service);
        ch->service = NULL;
    }

    free(ch->target);
    ch->target = NULL;

    ch->agent->nchannels--;
    zlt_agent_channel_gone(ch->agent);

    ch->relay.task.handler = zlt_channel_freed;
    zlt_io_later(&ch->relay.task);
}


static void
zlt_channel_freed(zlt_task_t *task)
{
    zlt_relay_t  *r;

    r = zlt_list_data(task, zlt_relay_t, task);

    free(zlt_list_data(r, zlt_channel_t, relay));
}


int
zlt_channel_open(zlt_pool_t *p, zlt_agent_t *a)
{
    zlt_channel_t  *ch;

    /* one for it and one for the service that it may have to dial */

    if (!zlt_io_room(2)) {
        errno = EMFILE;
        return -1;
    }

    ch = zlt_channel_create(a);
    if (ch == NULL) {
        return -1;
    }

    if (zlt_channel_connect(ch, &zlt_pool_get_param(p)->way.addr) == -1) {
        zlt_channel_free(ch);
        return -1;
    }

    ch->pool = p;
    memcpy(ch->tunnel_id, zlt_pool_get_param(p)->tunnel_id, ZLT_ID_SIZE);

    zlt_conn_presume(&ch->relay.side[ZLT_RELAY_CHANNEL]);
    zlt_channel_connecting(&ch->relay.side[ZLT_RELAY_CHANNEL].io);

    return 0;
}


void
zlt_channel_fresh(zlt_agent_t *a, zlt_session_t *s,
    const zlt_pool_param_t *param, const zlt_msg_t *m)
{
    zlt_channel_t  *ch;

    if (zlt_dup_seen(m->connection_id)) {
        zlt_session_connect_fail(s, m->connection_id, ZLT_E_DUPLICATE,
                                 "duplicate");
        return;
    }

    ch = zlt_io_room(2) ? zlt_channel_create(a) : NULL;

    if (ch == NULL) {
        zlt_log_warn("a connection is refused: out of descriptors or memory");
        zlt_session_connect_fail(s, m->connection_id, ZLT_E_BUSY,
                                 "out of descriptors or memory");
        return;
    }

    ch->fresh = 1;
    ch->serial = zlt_session_serial(s);
    ch->reusable = zlt_channel_framed(m);
    memcpy(ch->id, m->connection_id, ZLT_ID_SIZE);
    memcpy(ch->tunnel_id, param->tunnel_id, ZLT_ID_SIZE);

    if (zlt_channel_connect(ch, &param->way.addr) == -1) {
        zlt_channel_fail(ch, ZLT_E_BUSY, strerror(errno));
        return;
    }

    if (zlt_channel_proxy(ch, m) == -1 || zlt_channel_target(ch, m) == -1) {
        zlt_channel_fail(ch, ZLT_E_BUSY, "out of memory");
        return;
    }

    zlt_channel_dial(ch, m->service_id);
}


zlt_channel_t *
zlt_channel_visit(zlt_agent_t *a, zlt_visit_t *v)
{
    zlt_channel_t  *ch;

    ch = zlt_channel_create(a);

    if (ch) {
        ch->visit = v;
    }

    return ch;
}


int
zlt_channel_visit_open(zlt_channel_t *ch)
{
    const zlt_pool_param_t  *param;

    param = zlt_channel_param(ch);

    if (param == NULL) {
        errno = ENOTCONN;
        return -1;
    }

    if (zlt_channel_connect(ch, &param->way.addr) == -1) {
        return -1;
    }

    zlt_conn_presume(&ch->relay.side[ZLT_RELAY_CHANNEL]);
    zlt_channel_connecting(&ch->relay.side[ZLT_RELAY_CHANNEL].io);

    return 0;
}


void
zlt_channel_visit_shut(zlt_channel_t *ch)
{
    zlt_channel_shut(ch);

    ch->state = ZLT_CHANNEL_OPENING;
    ch->upgraded = 0;

    zlt_list_remove(&ch->relay.task.link);
}


static int
zlt_channel_connect(zlt_channel_t *ch, const zlt_addr_t *addr)
{
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    /* where a client waits nothing is tried out */

    ch->websocket = zlt_transport_pick(&ch->agent->transport,
                                       !ch->fresh && ch->visit == NULL,
                                       zlt_io_now())
                    ? 1 : 0;

    if (zlt_conn_connect(c, &addr->addr.sa, addr->len, 1,
                         zlt_channel_connecting)
        == -1)
    {
        return -1;
    }

    c->io.data = ch;

    /* a visitor's client has a time of its own, for all attempts */

    if (ch->visit == NULL) {
        zlt_timer_start(&ch->relay.timer, zlt_channel_timeout(ch),
                        zlt_channel_expired);
    }

    return 0;
}


static void
zlt_channel_connecting(zlt_io_t *io)
{
    int             rc;
    zlt_conn_t     *c;
    zlt_channel_t  *ch;

    ch = io->data;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    rc = zlt_conn_connected(c);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    if (rc == ZLT_CONN_ERROR) {
        zlt_channel_open_failed(ch, strerror(errno));
        return;
    }

    if (ch->agent->conf->via.kind) {
        zlt_channel_talk(ch);

    } else {
        zlt_channel_reached(ch);
    }
}


/* The proxy is there, and has to be told where to. */

static void
zlt_channel_talk(zlt_channel_t *ch)
{
    zlt_io_t                *io;
    zlt_conf_t              *conf;
    const zlt_pool_param_t  *param;

    param = zlt_channel_param(ch);

    if (param == NULL) {
        zlt_channel_open_failed(ch, "the tunnel is gone");
        return;
    }

    conf = ch->agent->conf;
    ch->talk = zlt_reach_talk(&conf->url, &conf->via, &param->way.target);

    if (ch->talk == NULL) {
        zlt_channel_open_failed(ch, "out of memory");
        return;
    }

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;
    io->handler = zlt_channel_talking;
    zlt_channel_talking(io);
}


static void
zlt_channel_talking(zlt_io_t *io)
{
    int             rc;
    char            error[ZLT_VIA_ERROR_SIZE];
    zlt_channel_t  *ch;

    ch = io->data;

    rc = zlt_talk_step(ch->talk, &ch->relay.side[ZLT_RELAY_CHANNEL], error);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    zlt_talk_free(ch->talk);
    ch->talk = NULL;

    if (rc == 0) {
        zlt_channel_reached(ch);

    } else {
        zlt_channel_open_failed(ch, error);
    }
}


static void
zlt_channel_reached(zlt_channel_t *ch)
{
    zlt_conn_t  *c;

    if (ch->agent->tls == NULL) {
        zlt_channel_request(ch);
        return;
    }

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    if (zlt_tls_start(ch->agent->tls, c) == -1) {
        zlt_channel_open_failed(ch, "out of memory");
        return;
    }

    c->io.handler = zlt_channel_handshaking;
    zlt_channel_handshaking(&c->io);
}


static void
zlt_channel_handshaking(zlt_io_t *io)
{
    int             rc;
    char            error[ZLT_TLS_ERROR_SIZE];
    zlt_channel_t  *ch;

    ch = io->data;

    rc = zlt_tls_handshake(&ch->relay.side[ZLT_RELAY_CHANNEL], error);

    if (rc == 0) {
        zlt_channel_request(ch);

    } else if (rc == ZLT_CONN_ERROR) {
        zlt_channel_open_failed(ch, error);
    }
}


static void
zlt_channel_request(zlt_channel_t *ch)
{
    char                     buf[ZLT_HTTP_REQUEST_SIZE];
    size_t                   n;
    zlt_io_t                *io;
    const zlt_pool_param_t  *param;

    param = zlt_channel_param(ch);

    if (param == NULL) {
        zlt_channel_open_failed(ch, "the tunnel is gone");
        return;
    }

    if (ch->visit) {
        n = zlt_http_access(buf, &ch->agent->conf->url, param->tunnel_id,
                            param->key, ch->visit->access->id,
                            ch->visit->client,
                            ch->websocket ? ch->accept : NULL);

    } else {
        n = zlt_http_channel(buf, &ch->agent->conf->url, param->tunnel_id,
                             param->key, ch->fresh ? ch->id : NULL,
                             ch->websocket ? ch->accept : NULL);
    }

    if (n == 0 || zlt_channel_write(ch, (uint8_t *) buf, n) == -1) {
        zlt_channel_open_failed(ch, "the request could not be sent");
        return;
    }

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;
    io->handler = zlt_channel_answer;

    if (io->ready & ZLT_IO_READ) {
        zlt_channel_answer(io);
    }
}


static void
zlt_channel_answer(zlt_io_t *io)
{
    size_t              len;
    ssize_t             n;
    zlt_channel_t      *ch;
    zlt_http_answer_t   answer;

    ch = io->data;

    if (zlt_channel_flush(ch) == -1) {
        zlt_channel_open_failed(ch, strerror(errno));
        return;
    }

    n = zlt_channel_fill(ch, &len);

    if (n == ZLT_CONN_AGAIN) {
        return;
    }

    if (n <= 0) {
        zlt_channel_doubt(ch, ZLT_TRANSPORT_HINT,
                          n == 0 ? "the connection was closed"
                                 : strerror(errno));
        return;
    }

    n = zlt_http_parse(&answer, (char *) zlt_scratch, len);

    if (n == 0) {
        if (zlt_relay_put(&ch->relay, ZLT_RELAY_CHANNEL, zlt_scratch, len)
            == -1)
        {
            zlt_channel_open_failed(ch, "out of memory");
        }

        return;
    }

    if (n < 0) {
        zlt_channel_doubt(ch, ZLT_TRANSPORT_PROOF, "the answer is not HTTP");
        return;
    }

    if (!zlt_channel_upgraded(ch, &answer)) {
        zlt_channel_refused(ch, &answer);
        return;
    }

    zlt_transport_opened(&ch->agent->transport, ch->websocket, zlt_io_now());

    ch->upgraded = 1;
    ch->worker = (uint16_t) (answer.worker % ZLT_CHANNEL_WORKERS);
    ch->workers = (uint16_t) (answer.workers > ZLT_CHANNEL_WORKERS
                              ? ZLT_CHANNEL_WORKERS : answer.workers);

    len -= (size_t) n;

    if (ch->websocket
        && zlt_wsc_start(&ch->relay.side[ZLT_RELAY_CHANNEL],
                         zlt_channel_use(ch), zlt_scratch + n, &len)
           == -1)
    {
        zlt_channel_open_failed(ch, "out of memory");
        return;
    }

    if (ch->visit) {
        ch->state = ZLT_CHANNEL_RELAY;
        zlt_visit_opened(ch, zlt_scratch + n, len);
        return;
    }

    if (ch->datagrams) {
        zlt_channel_datagrams(ch, zlt_scratch + n, len);
        return;
    }

    if (ch->fresh) {
        /* its Connect came before: the client's bytes from here on */

        io->handler = zlt_channel_wait;
        ch->reusable = ch->reusable && !ch->websocket;

        if (ch->reusable) {
            zlt_framed_start(&ch->relay.side[ZLT_RELAY_CHANNEL], &ch->framed);
        }

        if (zlt_channel_early(ch, zlt_scratch + n, len) == -1) {
            zlt_channel_fail(ch, ZLT_E_BUSY, "out of memory");
            return;
        }

        zlt_channel_join(ch);
        return;
    }

    ch->state = ZLT_CHANNEL_IDLE;
    io->handler = zlt_channel_idle;

    zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                    zlt_channel_expired);

    zlt_pool_idle(ch->pool, ch);

    if (len && ch->state == ZLT_CHANNEL_IDLE) {
        zlt_channel_frames(ch, zlt_scratch + n, len);
    }

    /* under TLS what came behind it raises no event again, nor does an end */

    if (ch->state == ZLT_CHANNEL_IDLE) {
        zlt_channel_idle(io);
    }
}


/* What its requests say who it belongs to; NULL: there is no tunnel. */

static const zlt_pool_param_t *
zlt_channel_param(zlt_channel_t *ch)
{
    zlt_agent_t             *a;
    zlt_session_t           *s;
    const zlt_pool_param_t  *param;

    a = ch->agent;

    if (ch->visit) {
        return a->has_param ? &a->param : NULL;
    }

    if (!ch->fresh) {
        return zlt_pool_get_param(ch->pool);
    }

    s = zlt_session_find(a, ch->serial);
    param = s ? zlt_session_param(s) : NULL;

    /* the tunnel has moved on to another control channel, keys and all */

    if (param == NULL && a->has_param) {
        param = &a->param;
    }

    return param;
}


static zlt_wsc_use_e
zlt_channel_use(const zlt_channel_t *ch)
{
    if (ch->visit) {
        return ch->visit->udp ? ZLT_WSC_FRAMES : ZLT_WSC_VISIT;
    }

    return ch->fresh ? ZLT_WSC_FRESH : ZLT_WSC_FRAMES;
}


static int
zlt_channel_upgraded(zlt_channel_t *ch, const zlt_http_answer_t *answer)
{
    if (answer->status != 101 || !answer->upgrade) {
        return 0;
    }

    return ch->websocket ? answer->websocket && answer->data
                           && strcmp(answer->accept, ch->accept) == 0
                         : answer->zltunnel;
}


static void
zlt_channel_refused(zlt_channel_t *ch, const zlt_http_answer_t *answer)
{
    char  why[128];

    (void) snprintf(why, sizeof(why), "the server answered %u %s",
                    answer->status, answer->reason);

    if (ch->visit) {
        zlt_visit_failed(ch, answer, why);
        return;
    }

    if (answer->status == 421 && ch->fresh) {

        /* another binary is about to take the server over, or was; chance
           decides which of them a connection meets */

        if (++ch->astray < ZLT_CHANNEL_ASTRAY) {
            zlt_channel_anew(ch, why);
            return;
        }

    } else if (answer->status == 421) {
        zlt_pool_astray(ch->pool);
        zlt_channel_given_up(ch, NULL);
        return;
    }

    if (ch->fresh && (answer->status == 410 || answer->status == 403)) {

        /* 410: another one was faster, or the client has gone; 403: the
           tunnel has */

        zlt_channel_given_up(ch, why);
        return;
    }

    zlt_channel_doubt(ch, zlt_channel_doubtful(answer), why);
}


/*
 * Whose answer it is.  Our server's says which worker gave it, but for servers
 * of before that, and if it does not see the request for what it is, something
 * on the way has changed it.
 */

static unsigned
zlt_channel_doubtful(const zlt_http_answer_t *answer)
{
    switch (answer->status) {

    case 400:
    case 426:
        return ZLT_TRANSPORT_PROOF;

    case 403:
    case 410:
    case 421:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return answer->workers ? 0 : ZLT_TRANSPORT_HINT;

    default:
        return answer->workers ? 0 : ZLT_TRANSPORT_PROOF;
    }
}


/* It has failed, and that may be for what its request was. */

static void
zlt_channel_doubt(zlt_channel_t *ch, unsigned doubt, const char *why)
{
    if (doubt) {
        zlt_transport_failed(&ch->agent->transport, ch->websocket, doubt, why,
                             zlt_io_now());
    }

    zlt_channel_open_failed(ch, why);
}


/*
 * A client waits for a fresh one, so it is tried again at once: at a reload,
 * the worker that it met may have exited.
 */

static void
zlt_channel_open_failed(zlt_channel_t *ch, const char *why)
{
    if (ch->visit) {
        zlt_visit_failed(ch, NULL, why);
        return;
    }

    if (!ch->fresh) {
        zlt_channel_given_up(ch, why);
        return;
    }

    if (++ch->tries == ZLT_CHANNEL_TRIES) {
        zlt_log_warn("a data channel could not be opened: %s", why);
        zlt_channel_given_up(ch, why);
        return;
    }

    zlt_channel_anew(ch, why);
}


void
zlt_channel_anew(zlt_channel_t *ch, const char *why)
{
    zlt_log_debug("a data channel is tried again: %s", why);

    zlt_channel_shut(ch);

    ch->relay.task.handler = zlt_channel_again;
    zlt_io_post(&ch->relay.task);
}


/* The way to the server, and what was under way on it. */

static void
zlt_channel_shut(zlt_channel_t *ch)
{
    unsigned  i;

    zlt_conn_close(&ch->relay.side[ZLT_RELAY_CHANNEL]);

    zlt_talk_free(ch->talk);
    ch->talk = NULL;

    for (i = 0; i < 2; i++) {
        free(ch->relay.flow[i].buf);
        ch->relay.flow[i].buf = NULL;
    }
}


static void
zlt_channel_again(zlt_task_t *task)
{
    zlt_relay_t             *r;
    zlt_channel_t           *ch;
    const zlt_pool_param_t  *param;

    r = zlt_list_data(task, zlt_relay_t, task);
    ch = zlt_list_data(r, zlt_channel_t, relay);

    param = zlt_channel_param(ch);

    if (param == NULL && ch->visit) {
        zlt_visit_failed(ch, NULL, "the tunnel is gone");

    } else if (param == NULL) {
        zlt_channel_given_up(ch, "the tunnel is gone");

    } else if (zlt_channel_connect(ch, &param->way.addr) == -1) {
        zlt_channel_open_failed(ch, strerror(errno));
    }
}


/* why: NULL if the pool has been told */

static void
zlt_channel_given_up(zlt_channel_t *ch, const char *why)
{
    zlt_pool_t  *p;

    p = ch->pool;

    if (ch->fresh) {
        zlt_log_debug("a data channel is given up: %s", why);

        /* the service may have been dialled, but has not seen a byte */

        zlt_dup_forget(ch->id);

    } else if (why) {
        zlt_pool_failed(p, why);
    }

    zlt_relay_abort(&ch->relay);

    if (p) {
        ch->pool = NULL;
        zlt_pool_closed(p, ch);
    }

    zlt_channel_free(ch);
}


static void
zlt_channel_idle(zlt_io_t *io)
{
    size_t          len;
    ssize_t         n;
    zlt_channel_t  *ch;

    ch = io->data;

    if (zlt_channel_flush(ch) == -1) {
        zlt_channel_lost(ch, strerror(errno));
        return;
    }

    while (ch->state == ZLT_CHANNEL_IDLE) {

        n = zlt_channel_fill(ch, &len);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            zlt_channel_lost(ch, n == 0 ? "closed by the server"
                                        : strerror(errno));
            return;
        }

        zlt_channel_frames(ch, zlt_scratch, len);
    }
}


static void
zlt_channel_frames(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    int        rc;
    size_t     used;
    zlt_msg_t  m, ack;

    while (len) {

        if (*p == ZLT_DATAGRAM_OPEN) {
            zlt_channel_datagrams(ch, p, len);
            return;
        }

        rc = zlt_msg_decode(&m, p, len, ZLT_MAX_CHANNEL_FRAME, &used);

        if (rc == ZLT_AGAIN) {
            if (zlt_relay_put(&ch->relay, ZLT_RELAY_CHANNEL, p, len) == -1) {
                zlt_channel_lost(ch, "out of memory");
            }

            return;
        }

        if (rc != ZLT_OK) {
            zlt_channel_lost(ch, zlt_strerror(rc));
            return;
        }

        p += used;
        len -= used;

        switch (m.type) {

        case ZLT_HEARTBEAT:
            memset(&ack, 0, sizeof(zlt_msg_t));
            ack.type = ZLT_HEARTBEAT_ACK;
            ack.timestamp = m.timestamp;

            if (zlt_channel_send(ch, &ack, ZLT_CHANNEL_SMALL) == -1) {
                zlt_channel_lost(ch, strerror(errno));
                return;
            }

            zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                            zlt_channel_expired);
            break;

        case ZLT_HEARTBEAT_ACK:
            break;

        case ZLT_CONNECT:
            zlt_channel_taken(ch, &m, p, len);
            return;

        default:
            zlt_channel_lost(ch, "a message that is not for a data channel");
            return;
        }
    }
}


static void
zlt_channel_taken(zlt_channel_t *ch, const zlt_msg_t *m,
    const uint8_t *early, size_t len)
{
    zlt_pool_t  *p;

    /* m and early are in the shared buffer: first keep what is needed */

    memcpy(ch->id, m->connection_id, ZLT_ID_SIZE);

    ch->state = ZLT_CHANNEL_TAKEN;
    ch->reusable = zlt_channel_framed(m) && !ch->websocket;
    ch->relay.side[ZLT_RELAY_CHANNEL].io.handler = zlt_channel_wait;

    if (ch->reusable) {
        zlt_framed_start(&ch->relay.side[ZLT_RELAY_CHANNEL], &ch->framed);
    }

    p = ch->pool;
    ch->pool = NULL;

    if (zlt_dup_seen(ch->id)) {
        zlt_channel_fail(ch, ZLT_E_DUPLICATE, "duplicate");

    } else if (zlt_channel_proxy(ch, m) == -1
               || zlt_channel_target(ch, m) == -1)
    {
        zlt_channel_fail(ch, ZLT_E_BUSY, "out of memory");

    } else if (zlt_channel_early(ch, early, len) == -1) {
        zlt_channel_fail(ch, ZLT_E_BUSY, "out of memory");

    } else {
        zlt_channel_dial(ch, m->service_id);
    }

    /* opens the next one; later is early enough, the service comes first */

    zlt_pool_used(p, ch);
}


/* Bytes of the client that came behind Connect, in the shared buffer: 0 or
   -1. */

static int
zlt_channel_early(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];
    n = (ssize_t) len;

    if (len && c->framed) {
        n = zlt_framed_take(c, (uint8_t *) data, len);
    }

    if (n <= 0) {
        return n == 0 ? 0 : -1;
    }

    ch->relay.bytes[ZLT_RELAY_CHANNEL] += (uint64_t) n;

    return zlt_relay_put(&ch->relay, ZLT_RELAY_CHANNEL, data, (size_t) n);
}


/* The first frame says that the channel is for datagrams, or the Connect that
   asked for it did. */

static void
zlt_channel_datagrams(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    zlt_pool_t  *pool;

    ch->state = ZLT_CHANNEL_DATAGRAMS;

    pool = ch->pool;
    ch->pool = NULL;

    zlt_timer_stop(&ch->relay.timer);

    if (zlt_udp_start(ch, p, len) == -1) {
        zlt_log_warn("a datagram channel could not be made: out of memory");
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
    }

    if (pool) {
        zlt_pool_used(pool, ch);
    }
}


/* The header of the PROXY protocol, if the service wants it, goes before all
   bytes of the client: 0, or -1 without memory. */

static int
zlt_channel_proxy(zlt_channel_t *ch, const zlt_msg_t *m)
{
    size_t          n;
    uint8_t         buf[ZLT_PROXY_HEADER];
    zlt_service_t  *s;

    s = zlt_service_by_id(&ch->agent->services, m->service_id);

    if (s == NULL || s->conf.proxy_protocol == 0) {
        return 0;
    }

    n = zlt_proxy_header(buf, s->conf.proxy_protocol, m->client_addr.data,
                         m->client_addr.len, s->conf.host, s->conf.port);

    return zlt_relay_put(&ch->relay, ZLT_RELAY_CHANNEL, buf, n);
}


/* Where a connection to the open service is to lead: 0, or -1 without
   memory. */

static int
zlt_channel_target(zlt_channel_t *ch, const zlt_msg_t *m)
{
    if (!(m->ext & ZLT_X_TARGET)) {
        return 0;
    }

    ch->target = malloc(m->target.len + 1);

    if (ch->target == NULL) {
        return -1;
    }

    memcpy(ch->target, m->target.data, m->target.len);
    ch->target[m->target.len] = '\0';

    return 0;
}


/* What comes meanwhile stays in the socket, and the bits say that it came. */

static void
zlt_channel_wait(zlt_io_t *io)
{
    (void) io;
}


static void
zlt_channel_dial(zlt_channel_t *ch, const uint8_t *service_id)
{
    zlt_str_t       target;
    zlt_agent_t    *a;
    zlt_service_t  *s;

    a = ch->agent;
    s = zlt_service_by_id(&a->services, service_id);

    if (s == NULL && a->session && zlt_session_registers(a->session)) {

        /* a client was faster than RegisterOk, which comes another way */

        memmove(ch->service_id, service_id, ZLT_ID_SIZE);
        zlt_list_append(&a->early, &ch->waiter.link);

        zlt_timer_start(&ch->relay.timer, zlt_channel_timeout(ch),
                        zlt_channel_expired);
        return;
    }

    if (s == NULL) {
        zlt_channel_fail(ch, ZLT_E_REFUSED, "no such service");
        return;
    }

    if (ch->fresh && s->conf.protocol == ZLT_PROTO_UDP) {
        /* its sessions come with the first frames */
        ch->datagrams = 1;
        return;
    }

    if (s->conf.protocol != ZLT_PROTO_TCP) {
        zlt_channel_fail(ch, ZLT_E_REFUSED, "not a TCP service");
        return;
    }

    if (!zlt_io_room(1)) {
        zlt_channel_fail(ch, ZLT_E_BUSY, "out of descriptors");
        return;
    }

    if (!(s->conf.flags & ZLT_R_OPEN) != !ch->target) {
        zlt_channel_fail(ch, ZLT_E_FORBIDDEN,
                         ch->target ? "the service takes no target"
                                    : "the service needs a target");
        return;
    }

    if (ch->target) {
        target.data = (const uint8_t *) ch->target;
        target.len = strlen(ch->target);

        s = zlt_service_target(s, target);

        if (s == NULL) {
            zlt_channel_fail(ch, ZLT_E_FORBIDDEN, "not a target");
            return;
        }

    } else {
        zlt_service_hold(s);
    }

    ch->service = s;
    ch->waiter.handler = zlt_channel_resolved;

    zlt_timer_start(&ch->relay.timer, zlt_channel_timeout(ch),
                    zlt_channel_expired);

    if (zlt_service_resolve(s, ch->agent->loop, &ch->waiter) == 0) {
        zlt_channel_dial_next(ch);
    }
}


void
zlt_channel_registered(zlt_agent_t *a)
{
    unsigned        n;
    zlt_list_t     *link;
    zlt_waiter_t   *waiter;
    zlt_channel_t  *ch;

    /* those that are still too early go to the end */

    n = 0;

    zlt_list_each(link, &a->early) {
        n++;
    }

    while (n-- && !zlt_list_empty(&a->early)) {
        waiter = zlt_list_data(a->early.next, zlt_waiter_t, link);
        ch = zlt_list_data(waiter, zlt_channel_t, waiter);

        zlt_list_remove(&waiter->link);
        zlt_channel_dial(ch, ch->service_id);
    }
}


static void
zlt_channel_resolved(zlt_waiter_t *waiter, const char *error)
{
    zlt_channel_t  *ch;

    ch = zlt_list_data(waiter, zlt_channel_t, waiter);

    if (error) {
        zlt_channel_fail(ch, ZLT_E_UNREACHABLE, error);
        return;
    }

    zlt_channel_dial_next(ch);
}


static void
zlt_channel_dial_next(zlt_channel_t *ch)
{
    int          err, early;
    char         reason[300];
    zlt_addr_t  *addr;
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_SERVICE];
    err = 0;

    while (ch->address < ch->service->addrs.n) {

        addr = &ch->service->addrs.addrs[ch->address++];

        if (!zlt_service_permits(ch->service, addr)) {
            continue;
        }

        early = (ch->relay.flow[ZLT_RELAY_CHANNEL].buf != NULL);

        if (zlt_conn_connect(c, &addr->addr.sa, addr->len, early,
                             zlt_channel_dialling)
            == 0)
        {
            c->io.data = ch;

            if (!early) {
                return;
            }

            err = zlt_channel_dial_early(ch);

            if (err == 0) {
                return;
            }

            zlt_conn_close(c);
            continue;
        }

        err = errno;
    }

    if (err == 0 && ch->service->open && ch->service->addrs.n) {
        (void) snprintf(reason, sizeof(reason), "\"%.270s\" is not allowed",
                        ch->service->conf.local);
        zlt_channel_fail(ch, ZLT_E_FORBIDDEN, reason);
        return;
    }

    zlt_channel_dial_failed(ch, err ? err : EHOSTUNREACH);
}


/* Early bytes that can be written show that the service is there already:
   0, or what connect(2) would have told. */

static int
zlt_channel_dial_early(zlt_channel_t *ch)
{
    ssize_t      n;
    zlt_buf_t   *buf;
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_SERVICE];
    buf = ch->relay.flow[ZLT_RELAY_CHANNEL].buf;

    zlt_conn_presume(c);

    n = zlt_conn_write(c, buf->data + buf->pos, buf->last - buf->pos);

    if (n == ZLT_CONN_AGAIN) {
        return 0;
    }

    if (n == ZLT_CONN_ERROR) {
        return errno;
    }

    buf->pos += (uint32_t) n;

    if (buf->pos == buf->last) {
        free(buf);
        ch->relay.flow[ZLT_RELAY_CHANNEL].buf = NULL;
    }

    ch->early = 1;
    ch->connected = 1;
    c->io.handler = zlt_channel_wait;

    zlt_channel_join(ch);

    return 0;
}


static void
zlt_channel_dialling(zlt_io_t *io)
{
    int             rc, err;
    zlt_conn_t     *c;
    zlt_channel_t  *ch;

    ch = io->data;
    c = &ch->relay.side[ZLT_RELAY_SERVICE];

    rc = zlt_conn_connected(c);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    if (rc == 0) {
        ch->connected = 1;
        io->handler = zlt_channel_wait;
        zlt_channel_join(ch);
        return;
    }

    err = errno;

    zlt_conn_close(c);

    if (ch->address < ch->service->addrs.n) {
        zlt_channel_dial_next(ch);
        return;
    }

    zlt_channel_dial_failed(ch, err);
}


static void
zlt_channel_dial_failed(zlt_channel_t *ch, int err)
{
    unsigned  code;

    switch (err) {

    case ECONNREFUSED:
        code = ZLT_E_REFUSED;
        break;

    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN:               /* a UNIX socket whose backlog is full */
    case EADDRNOTAVAIL:        /* no local port is left */
        code = ZLT_E_BUSY;
        break;

    default:
        code = ZLT_E_UNREACHABLE;
    }

    zlt_channel_fail(ch, code, strerror(err));
}


/*
 * Server and service are both there: answer, and relay.  If the client has
 * spoken already, the service is likely to answer at once, and ConnectAck
 * waits up to a millisecond to go in one packet with that; nobody waits for
 * it, since the client's bytes do not.
 */

static void
zlt_channel_join(zlt_channel_t *ch)
{
    size_t     n;
    uint8_t    buf[ZLT_CHANNEL_SMALL];
    zlt_msg_t  ack;

    if (!ch->connected || !ch->upgraded) {
        return;
    }

    ch->state = ZLT_CHANNEL_RELAY;
    ch->agent->connections++;

    zlt_service_release(ch->service);
    ch->service = NULL;

    memset(&ack, 0, sizeof(zlt_msg_t));
    ack.type = ZLT_CONNECT_ACK;
    ack.connection_id = ch->id;

    n = zlt_msg_encode(&ack, buf, sizeof(buf));

    if (ch->reusable) {
        zlt_frames_put(&ch->framed.frames.out, buf, n);

    } else if (zlt_relay_put(&ch->relay, ZLT_RELAY_SERVICE, buf, n) == -1) {
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
        return;
    }

    if (ch->early || ch->relay.flow[ZLT_RELAY_CHANNEL].buf) {
        zlt_agent_hold(ch->agent);
        zlt_relay_hold(&ch->relay, ZLT_RELAY_SERVICE);
    }

    zlt_relay_start(&ch->relay, zlt_channel_done);
}


static void
zlt_channel_done(zlt_relay_t *r, zlt_relay_end_e how)
{
    zlt_channel_t  *ch;

    static const char *const  texts[] = {
        "ended",
        "was reset by the client or the server",
        "was reset by the service",
        "timed out",
        "was given up, out of memory"
    };

    ch = zlt_list_data(r, zlt_channel_t, relay);

    zlt_channel_log(ch, texts[how]);

    if (ch->relay.side[ZLT_RELAY_CHANNEL].framed) {
        zlt_channel_close(ch);
        return;
    }

    zlt_channel_free(ch);
}


/*
 * Our end of a framed connection has been sent, or is about to be.  What the
 * server has sent before it knew is discarded, up to its own end; then the
 * channel is idle again.
 */

static void
zlt_channel_close(zlt_channel_t *ch)
{
    zlt_io_t  *io;

    ch->state = ZLT_CHANNEL_CLOSING;
    ch->discarded = 0;

    zlt_conn_close(&ch->relay.side[ZLT_RELAY_SERVICE]);
    zlt_list_remove(&ch->waiter.link);

    if (ch->service) {
        zlt_service_release(ch->service);
        ch->service = NULL;
    }

    zlt_relay_reuse(&ch->relay);

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;
    io->handler = zlt_channel_closing;
    io->data = ch;

    if (zlt_frames_over(&ch->framed.frames)) {
        zlt_channel_reuse(ch);
        return;
    }

    zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_DISCARD,
                    zlt_channel_expired);

    /* what has come already raises no event */

    ch->relay.task.handler = zlt_channel_closing_turn;
    zlt_io_post(&ch->relay.task);
}


static void
zlt_channel_closing_turn(zlt_task_t *task)
{
    zlt_relay_t  *r;

    r = zlt_list_data(task, zlt_relay_t, task);

    zlt_channel_closing(&r->side[ZLT_RELAY_CHANNEL].io);
}


static void
zlt_channel_closing(zlt_io_t *io)
{
    ssize_t         n;
    zlt_conn_t     *c;
    zlt_channel_t  *ch;

    ch = io->data;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    n = zlt_conn_flush(c);

    while (n != ZLT_CONN_ERROR
           && ch->framed.frames.in.end == ZLT_FRAMES_OPEN)
    {
        n = zlt_conn_read(c, zlt_scratch, ZLT_RELAY_SCRATCH);

        if (n <= 0) {
            break;
        }

        ch->discarded += (uint32_t) n;

        if (ch->discarded > ZLT_CHANNEL_WASTE) {
            n = ZLT_CONN_ERROR;
        }
    }

    if (zlt_frames_over(&ch->framed.frames)) {
        zlt_channel_reuse(ch);

    } else if (n == ZLT_CONN_ERROR || zlt_conn_raw_in(c)) {
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
    }
}


static void
zlt_channel_reuse(zlt_channel_t *ch)
{
    zlt_buf_t    *rest;
    zlt_conn_t   *c;
    zlt_agent_t  *a;

    a = ch->agent;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    rest = ch->framed.rest;
    ch->framed.rest = NULL;

    zlt_framed_stop(c);
    zlt_relay_reuse(&ch->relay);

    free(ch->target);
    ch->target = NULL;

    ch->address = 0;
    ch->fresh = 0;
    ch->connected = 0;
    ch->early = 0;
    ch->reusable = 0;

    c->io.data = ch;
    c->io.handler = zlt_channel_idle;
    ch->state = ZLT_CHANNEL_IDLE;

    zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                    zlt_channel_expired);

    if (a->pool == NULL || a->stopping
        || !zlt_pool_wants(a->pool, ch->tunnel_id))
    {
        free(rest);
        zlt_channel_retire(ch);
        return;
    }

    zlt_pool_return(a->pool, ch);

    if (rest) {
        memcpy(zlt_scratch, rest->data, rest->last);
        zlt_channel_frames(ch, zlt_scratch, rest->last);
        free(rest);
    }

    if (ch->state == ZLT_CHANNEL_IDLE) {
        zlt_channel_idle(&c->io);
    }
}


static void
zlt_channel_fail(zlt_channel_t *ch, unsigned code, const char *reason)
{
    zlt_msg_t       m;
    zlt_session_t  *s;

    if (code != ZLT_E_DUPLICATE) {
        zlt_log_warn("a connection to \"%s\" failed: %s",
                     ch->service ? ch->service->conf.name : "?", reason);
    }

    if (ch->fresh && !ch->upgraded) {

        /* the server will not wait for the channel any longer */

        s = zlt_session_find(ch->agent, ch->serial);

        if (s == NULL && ch->agent->session
            && zlt_session_is_up(ch->agent->session))
        {
            s = ch->agent->session;
        }

        if (s) {
            zlt_session_connect_fail(s, ch->id, code, reason);
        }

        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
        return;
    }

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_CONNECT_FAIL;
    m.connection_id = ch->id;
    m.reason.data = (const uint8_t *) reason;
    m.reason.len = strlen(reason);
    m.ext = ZLT_X_CODE;
    m.code = (uint8_t) code;

    if (ch->reusable) {
        zlt_channel_fail_framed(ch, &m);
        return;
    }

    if (zlt_channel_send(ch, &m, ZLT_CHANNEL_FAIL) == -1) {
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
        return;
    }

    zlt_channel_end(ch);
}


/* It is our end of the connection. */

static void
zlt_channel_fail_framed(zlt_channel_t *ch, const zlt_msg_t *m)
{
    size_t       n;
    ssize_t      sent;
    uint8_t      buf[ZLT_CHANNEL_FAIL];
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    n = zlt_msg_encode(m, buf, sizeof(buf));
    sent = n ? zlt_conn_push(c, buf, n) : ZLT_CONN_ERROR;

    /* nothing was under way, so it is taken, or the channel is dead */

    if (sent != (ssize_t) n) {
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
        return;
    }

    ch->framed.frames.out.end = ZLT_FRAMES_RESET;

    zlt_channel_close(ch);
}


/* What was sent must arrive, so input is read, and thrown away, until the
   server has closed: unread bytes would make a reset of the close. */

void
zlt_channel_end(zlt_channel_t *ch)
{
    zlt_flow_t  *f;

    ch->state = ZLT_CHANNEL_ENDING;

    zlt_conn_close(&ch->relay.side[ZLT_RELAY_SERVICE]);
    zlt_list_remove(&ch->waiter.link);

    if (ch->service) {
        zlt_service_release(ch->service);
        ch->service = NULL;
    }

    f = &ch->relay.flow[ZLT_RELAY_CHANNEL];
    free(f->buf);
    f->buf = NULL;

    zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_DISCARD,
                    zlt_channel_expired);

    ch->relay.side[ZLT_RELAY_CHANNEL].io.handler = zlt_channel_ending;
    ch->relay.task.handler = zlt_channel_ending_turn;
    zlt_io_post(&ch->relay.task);
}


static void
zlt_channel_ending_turn(zlt_task_t *task)
{
    zlt_relay_t  *r;

    r = zlt_list_data(task, zlt_relay_t, task);

    zlt_channel_ending(&r->side[ZLT_RELAY_CHANNEL].io);
}


static void
zlt_channel_ending(zlt_io_t *io)
{
    int             rc;
    ssize_t         n;
    zlt_conn_t     *c;
    zlt_channel_t  *ch;

    ch = io->data;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    rc = zlt_channel_flush(ch);

    if (rc == 0 && ch->relay.flow[ZLT_RELAY_SERVICE].buf == NULL
        && !ch->draining)
    {
        rc = zlt_conn_shutdown(c);

        if (rc == 0) {
            ch->draining = 1;
        }
    }

    if (rc == 0 || rc == ZLT_CONN_AGAIN) {
        do {
            n = zlt_conn_read(c, zlt_scratch, ZLT_RELAY_SCRATCH);
        } while (n > 0);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }
    }

    zlt_conn_close(c);
    zlt_channel_free(ch);
}


void
zlt_channel_retire(zlt_channel_t *ch)
{
    zlt_msg_t    m;
    zlt_pool_t  *p;

    p = ch->pool;
    ch->pool = NULL;

    if (p) {
        zlt_pool_closed(p, ch);
    }

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_RETIRE;

    if (zlt_channel_send(ch, &m, ZLT_CHANNEL_SMALL) == -1) {
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
        return;
    }

    zlt_channel_end(ch);
}


/* An idle channel is of no use any more. */

static void
zlt_channel_lost(zlt_channel_t *ch, const char *why)
{
    zlt_pool_t  *p;

    zlt_log_debug("an idle data channel is lost: %s", why);

    p = ch->pool;
    ch->pool = NULL;

    zlt_relay_abort(&ch->relay);

    if (p) {
        zlt_pool_closed(p, ch);
    }

    ch->state = ZLT_CHANNEL_ENDING;
    zlt_channel_free(ch);
}


void
zlt_channel_abort(zlt_channel_t *ch)
{
    zlt_pool_t  *p;

    p = ch->pool;
    ch->pool = NULL;

    zlt_relay_abort(&ch->relay);

    if (p) {
        zlt_pool_closed(p, ch);
    }

    zlt_channel_free(ch);
}


int
zlt_channel_is_relay(const zlt_channel_t *ch)
{
    return ch->state == ZLT_CHANNEL_RELAY || ch->state == ZLT_CHANNEL_TAKEN
           || ch->state == ZLT_CHANNEL_DATAGRAMS || ch->fresh;
}


int
zlt_channel_is_idle(const zlt_channel_t *ch)
{
    return ch->state == ZLT_CHANNEL_IDLE;
}


int
zlt_channel_is_joined(const zlt_channel_t *ch)
{
    return ch->state == ZLT_CHANNEL_RELAY && ch->visit == NULL;
}


void
zlt_channel_expired(zlt_timer_t *timer)
{
    const char     *why;
    zlt_relay_t    *r;
    zlt_channel_t  *ch;

    r = zlt_list_data(timer, zlt_relay_t, timer);
    ch = zlt_list_data(r, zlt_channel_t, relay);

    if (ch->visit) {
        zlt_visit_expired(ch);

    } else if (ch->state == ZLT_CHANNEL_IDLE) {
        zlt_channel_lost(ch, "no heartbeat came");

    } else if (ch->state == ZLT_CHANNEL_ENDING
               || ch->state == ZLT_CHANNEL_CLOSING)
    {
        zlt_conn_reset(&r->side[ZLT_RELAY_CHANNEL]);
        zlt_channel_free(ch);

    } else if (!ch->connected
               && (ch->service || ch->state == ZLT_CHANNEL_TAKEN))
    {
        zlt_channel_fail(ch, ZLT_E_UNREACHABLE,
                         "the service did not answer in time");

    } else {
        /* no time is left to try again */

        if (r->side[ZLT_RELAY_CHANNEL].io.handler == zlt_channel_answer) {
            zlt_transport_failed(&ch->agent->transport, ch->websocket,
                                 ZLT_TRANSPORT_SIGN, "no answer came",
                                 zlt_io_now());
        }

        why = ch->talk ? "the proxy did not answer in time"
                       : "the server did not answer in time";

        if (ch->fresh) {
            zlt_log_warn("a data channel could not be opened: %s", why);
        }

        zlt_channel_given_up(ch, why);
    }
}


/*
 * Reads behind what an earlier, incomplete read has left.  The bytes are at
 * the start of zlt_scratch, *len of them.  As zlt_conn_read().
 */

ssize_t
zlt_channel_fill(zlt_channel_t *ch, size_t *len)
{
    size_t       kept;
    ssize_t      n;
    zlt_flow_t  *f;

    f = &ch->relay.flow[ZLT_RELAY_CHANNEL];
    kept = f->buf ? f->buf->last : 0;

    n = zlt_conn_read(&ch->relay.side[ZLT_RELAY_CHANNEL], zlt_scratch + kept,
                      ZLT_RELAY_SCRATCH - kept);

    if (n > 0) {
        if (kept) {
            memcpy(zlt_scratch, f->buf->data, kept);
            free(f->buf);
            f->buf = NULL;
        }

        *len = kept + (size_t) n;
    }

    return n;
}


static int
zlt_channel_send(zlt_channel_t *ch, const zlt_msg_t *m, size_t size)
{
    size_t   n;
    uint8_t  buf[ZLT_CHANNEL_FAIL];

    n = zlt_msg_encode(m, buf, size);

    if (n == 0) {
        errno = EMSGSIZE;
        return -1;
    }

    return zlt_channel_write(ch, buf, n);
}


/* Sends, now or when there is room. */

int
zlt_channel_write(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    ssize_t  n;

    n = 0;

    if (ch->relay.flow[ZLT_RELAY_SERVICE].buf == NULL) {
        n = zlt_conn_write(&ch->relay.side[ZLT_RELAY_CHANNEL], data, len);

        if (n == ZLT_CONN_ERROR) {
            return -1;
        }

        if (n == ZLT_CONN_AGAIN) {
            n = 0;
        }
    }

    if ((size_t) n == len) {
        return 0;
    }

    return zlt_relay_put(&ch->relay, ZLT_RELAY_SERVICE, data + n,
                         len - (size_t) n);
}


int
zlt_channel_flush(zlt_channel_t *ch)
{
    ssize_t      n;
    zlt_flow_t  *f;

    f = &ch->relay.flow[ZLT_RELAY_SERVICE];

    n = zlt_conn_flush(&ch->relay.side[ZLT_RELAY_CHANNEL]);

    if (n != 0) {
        return n == ZLT_CONN_AGAIN ? 0 : -1;
    }

    while (f->buf) {
        n = zlt_conn_write(&ch->relay.side[ZLT_RELAY_CHANNEL],
                           f->buf->data + f->buf->pos,
                           f->buf->last - f->buf->pos);

        if (n < 0) {
            return n == ZLT_CONN_AGAIN ? 0 : -1;
        }

        f->buf->pos += (uint32_t) n;

        if (f->buf->pos == f->buf->last) {
            free(f->buf);
            f->buf = NULL;
        }
    }

    return 0;
}


static unsigned
zlt_channel_timeout(zlt_channel_t *ch)
{
    return (ch->agent->conf->connect_timeout + 999) / 1000;
}


static void
zlt_channel_log(zlt_channel_t *ch, const char *what)
{
    char  id[2 * ZLT_ID_SIZE];

    if (!zlt_log_enabled(ZLT_LOG_DEBUG)) {
        return;
    }

    zlt_hex_encode(id, ch->id, ZLT_ID_SIZE);
    zlt_log_debug("connection %.*s %s", (int) sizeof(id), id, what);
}
