
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel's way to the service: name, connection, ConnectAck, and the
 * relay between both.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_dial.h"
#include "channel_end.h"
#include "channel_fail.h"
#include "channel_open.h"
#include "flow.h"
#include "log.h"
#include "pp.h"
#include "race.h"
#include "service.h"


/* what a connection to an address has become by the time that it was begun */

typedef enum {
    ZLT_CHANNEL_DIAL_JOINED = 0,       /* it is there; the channel may be gone
                                          already */
    ZLT_CHANNEL_DIAL_PENDING,
    ZLT_CHANNEL_DIAL_FAILED            /* errno says why */
} zlt_channel_dial_e;


static int zlt_channel_dial_pp(zlt_channel_t *ch, const zlt_msg_t *m);
static int zlt_channel_dial_target(zlt_channel_t *ch, const zlt_msg_t *m);
static void zlt_channel_dial_client(const zlt_channel_t *ch,
    const zlt_service_t *s, zlt_str_t client);
static int zlt_channel_dial_header(zlt_channel_t *ch, const zlt_service_t *s,
    zlt_str_t client);
static void zlt_channel_dial_resolved(zlt_waiter_t *waiter, const char *error);
static void zlt_channel_dial_begin(zlt_channel_t *ch);
static zlt_channel_dial_e zlt_channel_dial_first(zlt_channel_t *ch,
    const zlt_addr_t *addr);
static zlt_channel_dial_e zlt_channel_dial_early(zlt_channel_t *ch);
static void zlt_channel_dial_race(zlt_channel_t *ch, zlt_addrs_t *addrs,
    zlt_conn_t *first);
static void zlt_channel_dial_raced(void *data, zlt_conn_t *winner,
    const zlt_addr_t *addr, int err);
static void zlt_channel_dial_connecting(zlt_io_t *io);
static void zlt_channel_dial_served(zlt_channel_t *ch);
static void zlt_channel_dial_done(zlt_relay_t *r, zlt_relay_end_e how);


int
zlt_channel_dial_prepare(zlt_channel_t *ch, const zlt_msg_t *m)
{
    return zlt_channel_dial_pp(ch, m) == -1 ? -1
                                            : zlt_channel_dial_target(ch, m);
}


/* The header of the PROXY protocol, if the service wants it, goes before all
   bytes of the client: 0, or -1 without memory. */

static int
zlt_channel_dial_pp(zlt_channel_t *ch, const zlt_msg_t *m)
{
    zlt_service_t  *s;

    s = zlt_service_by_id(&ch->owner->services, m->service_id);

    if (s == NULL) {

        /* it may be known when RegisterOk has come */

        ch->client = strndup((const char *) m->client_addr.data,
                             m->client_addr.len);

        return ch->client ? 0 : -1;
    }

    zlt_channel_dial_client(ch, s, m->client_addr);

    return zlt_channel_dial_header(ch, s, m->client_addr);
}


static void
zlt_channel_dial_client(const zlt_channel_t *ch, const zlt_service_t *s,
    zlt_str_t client)
{
    char  text[ZLT_LOG_TEXT_SIZE];

    if (zlt_log_enabled(ZLT_LOG_DEBUG)) {
        zlt_log_link(ch->owner->label, ZLT_LOG_DEBUG, "a client of \"%s\"%s%s",
                     s->conf.name, client.len ? " from " : "",
                     zlt_log_text(text, client));
    }
}


/* In front of what has come already. */

static int
zlt_channel_dial_header(zlt_channel_t *ch, const zlt_service_t *s,
    zlt_str_t client)
{
    int         rc;
    size_t      n;
    uint8_t     header[ZLT_PP_HEADER];
    zlt_buf_t  *early;

    if (s->conf.proxy_protocol == 0) {
        return 0;
    }

    n = zlt_pp_header(header, s->conf.proxy_protocol, client.data,
                      client.len, s->conf.host, s->conf.port);

    early = ch->relay.flow[ZLT_RELAY_CHANNEL].buf;
    ch->relay.flow[ZLT_RELAY_CHANNEL].buf = NULL;

    rc = zlt_flow_put(&ch->relay, ZLT_RELAY_CHANNEL, header, n);

    if (rc == 0 && early) {
        rc = zlt_flow_put(&ch->relay, ZLT_RELAY_CHANNEL,
                          early->data + early->pos, early->last - early->pos);
    }

    free(early);

    return rc;
}


/* Where a connection to the open service is to lead: 0, or -1 without
   memory. */

static int
zlt_channel_dial_target(zlt_channel_t *ch, const zlt_msg_t *m)
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

void
zlt_channel_dial_wait(zlt_io_t *io)
{
    (void) io;
}


void
zlt_channel_dial(zlt_channel_t *ch, const uint8_t *service_id)
{
    zlt_str_t       client, target;
    zlt_owner_t    *o;
    zlt_service_t  *s;

    o = ch->owner;
    s = zlt_service_by_id(&o->services, service_id);

    if (s == NULL && o->ops->registers(o)) {

        /* a client was faster than RegisterOk, which comes another way */

        memmove(ch->service_id, service_id, ZLT_ID_SIZE);
        zlt_list_append(&o->early, &ch->waiter.link);

        zlt_timer_start(&ch->relay.timer, zlt_channel_timeout(ch),
                        zlt_channel_expired);
        return;
    }

    if (s == NULL) {
        zlt_channel_end_fail(ch, ZLT_E_REFUSED, "no such service");
        return;
    }

    if (ch->state == ZLT_CHANNEL_OPENING
        && s->conf.protocol == ZLT_PROTO_UDP)
    {
        /* its sessions come with the first frames */
        ch->use = &zlt_channel_use_datagrams;
        return;
    }

    if (s->conf.protocol != ZLT_PROTO_TCP) {
        zlt_channel_end_fail(ch, ZLT_E_REFUSED, "not a TCP service");
        return;
    }

    if (ch->client) {
        client.data = (const uint8_t *) ch->client;
        client.len = strlen(ch->client);

        zlt_channel_dial_client(ch, s, client);

        if (zlt_channel_dial_header(ch, s, client) == -1) {
            zlt_channel_end_fail(ch, ZLT_E_BUSY, "out of memory");
            return;
        }
    }

    if (!zlt_io_room(1)) {
        zlt_channel_end_fail(ch, ZLT_E_BUSY, "out of descriptors");
        return;
    }

    if (!(s->conf.flags & ZLT_R_OPEN) != !ch->target) {
        zlt_channel_end_fail(ch, ZLT_E_FORBIDDEN,
                             ch->target ? "the service takes no target"
                                        : "the service needs a target");
        return;
    }

    if (ch->target) {
        target.data = (const uint8_t *) ch->target;
        target.len = strlen(ch->target);

        s = zlt_service_target(s, target);

        if (s == NULL) {
            zlt_channel_end_fail(ch, ZLT_E_FORBIDDEN, "not a target");
            return;
        }

    } else {
        zlt_service_hold(s);
    }

    ch->service = s;
    ch->dialled = uv_hrtime() / 1000;
    ch->late = 0;
    ch->waiter.handler = zlt_channel_dial_resolved;

    zlt_timer_start(&ch->relay.timer, zlt_channel_timeout(ch),
                    zlt_channel_expired);

    if (zlt_service_resolve(s, &ch->waiter) == 0) {
        zlt_channel_dial_begin(ch);
    }
}


void
zlt_channel_dial_registered(zlt_owner_t *o)
{
    unsigned        n;
    zlt_list_t     *link;
    zlt_waiter_t   *waiter;
    zlt_channel_t  *ch;

    /* those that are still too early go to the end */

    n = 0;

    zlt_list_each(link, &o->early) {
        n++;
    }

    while (n-- && !zlt_list_empty(&o->early)) {
        waiter = zlt_list_data(o->early.next, zlt_waiter_t, link);
        ch = zlt_list_data(waiter, zlt_channel_t, waiter);

        zlt_list_remove(&waiter->link);
        zlt_channel_dial(ch, ch->service_id);
    }
}


static void
zlt_channel_dial_resolved(zlt_waiter_t *waiter, const char *error)
{
    zlt_channel_t  *ch;

    ch = zlt_list_data(waiter, zlt_channel_t, waiter);

    if (error) {
        zlt_channel_end_fail(ch, ZLT_E_UNREACHABLE, error);
        return;
    }

    zlt_channel_dial_begin(ch);
}


/*
 * Most services have an address, or have one that works, which is the first.
 * So that one is tried without ceremony, and often is there at once; only if
 * it is not, and there are others, it begins to race with them.  Those of
 * this machine answer at once, or refuse: the second waits for that.
 */

static void
zlt_channel_dial_begin(zlt_channel_t *ch)
{
    char                reason[300];
    zlt_addrs_t         addrs;
    zlt_channel_dial_e  rc;

    if (zlt_channel_dial_permitted(ch, &addrs) == 0) {

        if (ch->service->addrs.n == 0) {
            zlt_channel_fail(ch, EHOSTUNREACH);
            return;
        }

        (void) snprintf(reason, sizeof(reason), "\"%.270s\" is not allowed",
                        ch->service->conf.local);
        zlt_channel_end_fail(ch, ZLT_E_FORBIDDEN, reason);
        return;
    }

    rc = zlt_channel_dial_first(ch, &addrs.addrs[0]);

    if (rc == ZLT_CHANNEL_DIAL_FAILED && addrs.n == 1) {
        zlt_channel_fail(ch, errno);

    } else if (rc == ZLT_CHANNEL_DIAL_FAILED) {

        /* with the first once more, which has its word in the end */

        zlt_channel_dial_race(ch, &addrs, NULL);

    } else if (rc == ZLT_CHANNEL_DIAL_PENDING && addrs.n > 1
               && !ch->service->loopback)
    {
        zlt_channel_dial_race(ch, &addrs, &ch->relay.side[ZLT_RELAY_SERVICE]);
    }
}


unsigned
zlt_channel_dial_permitted(const zlt_channel_t *ch, zlt_addrs_t *to)
{
    unsigned            i;
    const zlt_addrs_t  *from;

    from = &ch->service->addrs;
    to->n = 0;

    for (i = 0; i < from->n; i++) {
        if (zlt_service_permits(ch->service, &from->addrs[i])) {
            to->addrs[to->n++] = from->addrs[i];
        }
    }

    return to->n;
}


static zlt_channel_dial_e
zlt_channel_dial_first(zlt_channel_t *ch, const zlt_addr_t *addr)
{
    int                 err, early;
    zlt_conn_t         *c;
    zlt_channel_dial_e  rc;

    c = &ch->relay.side[ZLT_RELAY_SERVICE];
    early = (ch->relay.flow[ZLT_RELAY_CHANNEL].buf != NULL);

    if (zlt_conn_connect(c, &addr->addr.sa, addr->len, early,
                         zlt_channel_dial_connecting)
        == -1)
    {
        return ZLT_CHANNEL_DIAL_FAILED;
    }

    c->io.data = ch;

    if (!early) {
        return ZLT_CHANNEL_DIAL_PENDING;
    }

    rc = zlt_channel_dial_early(ch);

    if (rc == ZLT_CHANNEL_DIAL_FAILED) {
        err = errno;
        zlt_conn_close(c);
        errno = err;
    }

    return rc;
}


/* Early bytes that can be written show that the service is there already. */

static zlt_channel_dial_e
zlt_channel_dial_early(zlt_channel_t *ch)
{
    ssize_t      n;
    zlt_buf_t   *buf;
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_SERVICE];
    buf = ch->relay.flow[ZLT_RELAY_CHANNEL].buf;

    zlt_conn_presume(c);

    n = zlt_conn_write(c, buf->data + buf->pos, buf->last - buf->pos);

    if (n < 0) {
        return n == ZLT_CONN_AGAIN ? ZLT_CHANNEL_DIAL_PENDING
                                   : ZLT_CHANNEL_DIAL_FAILED;
    }

    buf->pos += (uint32_t) n;

    if (buf->pos == buf->last) {
        free(buf);
        ch->relay.flow[ZLT_RELAY_CHANNEL].buf = NULL;
    }

    ch->early = 1;
    c->io.handler = zlt_channel_dial_wait;

    zlt_channel_dial_served(ch);

    return ZLT_CHANNEL_DIAL_JOINED;
}


/* first: on its way to the first of them, or NULL */

static void
zlt_channel_dial_race(zlt_channel_t *ch, zlt_addrs_t *addrs,
    zlt_conn_t *first)
{
    ch->race = zlt_race_start(ch->owner->loop, addrs, first,
                              ch->relay.flow[ZLT_RELAY_CHANNEL].buf != NULL,
                              zlt_channel_dial_raced, ch);

    if (ch->race == NULL) {
        zlt_channel_fail(ch, ENOMEM);
    }
}


static void
zlt_channel_dial_raced(void *data, zlt_conn_t *winner, const zlt_addr_t *addr,
    int err)
{
    zlt_conn_t     *c;
    zlt_channel_t  *ch;

    ch = data;
    c = &ch->relay.side[ZLT_RELAY_SERVICE];

    if (winner == NULL) {
        zlt_channel_fail(ch, err);
        return;
    }

    ch->race = NULL;

    if (zlt_race_take(c, winner, zlt_channel_dial_wait) == -1) {
        zlt_channel_fail(ch, ENOMEM);
        return;
    }

    c->io.data = ch;

    zlt_service_worked(ch->service, addr);
    zlt_channel_dial_served(ch);
}


static void
zlt_channel_dial_connecting(zlt_io_t *io)
{
    int             rc, err;
    zlt_conn_t     *c;
    zlt_addrs_t     addrs;
    zlt_channel_t  *ch;

    ch = io->data;
    c = &ch->relay.side[ZLT_RELAY_SERVICE];

    rc = zlt_conn_connected(c);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    if (rc == 0) {
        io->handler = zlt_channel_dial_wait;
        zlt_channel_dial_served(ch);
        return;
    }

    err = errno;

    zlt_conn_close(c);

    if (zlt_channel_dial_permitted(ch, &addrs) > 1) {
        zlt_channel_dial_race(ch, &addrs, NULL);

    } else {
        zlt_channel_fail(ch, err);
    }
}


/* The service is there. */

static void
zlt_channel_dial_served(zlt_channel_t *ch)
{
    zlt_service_count(ch->service, ZLT_SERVICE_OK);
    zlt_figure_count(&ch->owner->connects,
                     uv_hrtime() / 1000 - ch->dialled);

    if (ch->state == ZLT_CHANNEL_OPENING) {
        zlt_channel_state(ch, ZLT_CHANNEL_SERVED);

    } else {
        zlt_channel_dial_join(ch);
    }
}


/*
 * Server and service are both there: answer, and relay.  If the client has
 * spoken already, the service is likely to answer at once, and ConnectAck
 * waits up to a millisecond to go in one packet with that; nobody waits for
 * it, since the client's bytes do not.
 */

void
zlt_channel_dial_join(zlt_channel_t *ch)
{
    size_t     n;
    uint8_t    buf[ZLT_CHANNEL_SMALL];
    zlt_msg_t  ack;

    zlt_channel_state(ch, ZLT_CHANNEL_RELAY);
    ch->owner->connections++;

    zlt_service_served(ch->service);
    zlt_service_release(ch->service);
    ch->service = NULL;

    memset(&ack, 0, sizeof(zlt_msg_t));
    ack.type = ZLT_CONNECT_ACK;
    ack.connection_id = ch->id;

    n = zlt_msg_encode(&ack, buf, sizeof(buf));

    zlt_frames_put(&ch->framed.frames.out, buf, n);

    if (ch->early || ch->relay.flow[ZLT_RELAY_CHANNEL].buf) {
        zlt_relay_hold(&ch->relay, ZLT_RELAY_SERVICE);
    }

    zlt_relay_start(&ch->relay, zlt_channel_dial_done);
}


static void
zlt_channel_dial_done(zlt_relay_t *r, zlt_relay_end_e how)
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

    /* the relay has left the channel open, to be used again */

    if (zlt_conn_is_open(&ch->relay.side[ZLT_RELAY_CHANNEL])) {
        zlt_channel_end_connection(ch);
        return;
    }

    zlt_channel_free(ch);
}
