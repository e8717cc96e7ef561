
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How a connection ends on a data channel, and a channel itself.
 *
 * A connection ends by messages, and the channel is idle again.  Behind Retire
 * what was sent last must arrive: a channel is shut down, and read to its end.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_connect.h"
#include "channel_end.h"
#include "channel_open.h"
#include "framed.h"
#include "lane.h"
#include "log.h"
#include "often.h"
#include "race.h"
#include "service.h"
#include "shared.h"


#define ZLT_CHANNEL_DISCARD  5         /* s, after ConnectFail and Retire */
#define ZLT_CHANNEL_WASTE    (1024 * 1024)     /* bytes, before it is idle */


static zlt_service_result_e zlt_channel_end_result(const zlt_channel_t *ch,
    unsigned code);
static void zlt_channel_end_leave(zlt_channel_t *ch, zlt_io_pt handler);
static void zlt_channel_end_closing(zlt_io_t *io);
static void zlt_channel_end_reuse(zlt_channel_t *ch);
static void zlt_channel_end_ending(zlt_io_t *io);


/*
 * Our end of a framed connection has been sent, or is about to be.  What the
 * server has sent before it knew is discarded, up to its own end; then the
 * channel is idle again.
 */

void
zlt_channel_end_connection(zlt_channel_t *ch)
{
    zlt_conn_close(&ch->relay.side[ZLT_RELAY_SERVICE]);
    zlt_relay_reuse(&ch->relay);

    zlt_channel_state(ch, ZLT_CHANNEL_CLOSING);
    ch->discarded = 0;

    zlt_channel_end_leave(ch, zlt_channel_end_closing);

    if (zlt_frames_over(&ch->framed.frames)) {
        zlt_channel_end_reuse(ch);
    }
}


/* Done with the service; the handler says how it goes on with the server, and
   has some time for it. */

static void
zlt_channel_end_leave(zlt_channel_t *ch, zlt_io_pt handler)
{
    zlt_io_t  *io;

    zlt_conn_close(&ch->relay.side[ZLT_RELAY_SERVICE]);
    zlt_list_remove(&ch->waiter.link);
    zlt_race_cancel(ch->race);
    ch->race = NULL;

    if (ch->service) {
        zlt_service_release(ch->service);
        ch->service = NULL;
    }

    zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_DISCARD,
                    zlt_channel_expired);

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;
    io->handler = handler;
    io->data = ch;

    zlt_channel_post(ch);
}


static void
zlt_channel_end_closing(zlt_io_t *io)
{
    ssize_t         n;
    zlt_conn_t     *c;
    zlt_channel_t  *ch;

    ch = io->data;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    n = zlt_conn_flush(c);

    zlt_scratch_borrow();

    while (n != ZLT_CONN_ERROR
           && ch->framed.frames.in.end == ZLT_FRAMES_OPEN)
    {
        n = zlt_conn_read(c, zlt_scratch, ZLT_SCRATCH_SIZE);

        if (n <= 0) {
            break;
        }

        ch->discarded += (uint32_t) n;

        if (ch->discarded > ZLT_CHANNEL_WASTE) {
            n = ZLT_CONN_ERROR;
        }
    }

    zlt_scratch_return();

    if (zlt_frames_over(&ch->framed.frames)) {
        zlt_channel_end_reuse(ch);

    } else if (n == ZLT_CONN_ERROR
               || ch->framed.frames.in.end == ZLT_FRAMES_RAW)
    {
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
    }
}


static void
zlt_channel_end_reuse(zlt_channel_t *ch)
{
    zlt_buf_t    *rest;
    zlt_conn_t   *c;
    zlt_owner_t  *o;

    o = ch->owner;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    if (c->lane) {
        zlt_lane_over(c);
        zlt_conn_close(c);
        zlt_channel_free(ch);
        return;
    }

    rest = ch->framed.rest;
    ch->framed.rest = NULL;

    zlt_framed_stop(c);
    zlt_relay_reuse(&ch->relay);

    free(ch->target);
    ch->target = NULL;

    free(ch->client);
    ch->client = NULL;

    ch->use = &zlt_channel_use_idle;
    ch->early = 0;

    c->io.data = ch;
    c->io.handler = zlt_channel_connect_idle;
    zlt_channel_state(ch, ZLT_CHANNEL_IDLE);

    zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                    zlt_channel_expired);

    if (ch->framed.retired) {
        free(rest);
        zlt_channel_end(ch);
        return;
    }

    if (zlt_pool_retires(&ch->framed)) {
        free(rest);
        zlt_channel_end_retire(ch);
        return;
    }

    zlt_pool_return(o->pool, ch);

    /* the next Connect may be there, or any number of them */

    if (rest) {
        zlt_channel_unread(ch, rest);
    }

    zlt_channel_post(ch);
}


void
zlt_channel_end_fail(zlt_channel_t *ch, unsigned code, const char *reason)
{
    zlt_channel_end_fail_told(ch, code, reason, reason);
}


void
zlt_channel_end_fail_told(zlt_channel_t *ch, unsigned code,
    const char *reason, const char *told)
{
    size_t       n;
    ssize_t      sent;
    uint8_t      buf[ZLT_CHANNEL_FAIL];
    zlt_msg_t    m;
    const char  *name;

    if (code != ZLT_E_DUPLICATE) {
        name = ch->service ? ch->service->conf.name : "?";
        zlt_often_warn(ch->owner->label, name, "a connection to \"%s\" "
                       "failed: %s", name, told);

        if (ch->service) {
            zlt_service_failed(ch->service, told);
            zlt_service_count(ch->service, zlt_channel_end_result(ch, code));
        }
    }

    if (ch->state == ZLT_CHANNEL_OPENING || ch->state == ZLT_CHANNEL_SERVED) {

        /* the server will not wait for the channel any longer */

        ch->owner->ops->connect_fail(ch->owner, ch->serial, ch->id, code,
                                     reason);

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

    n = zlt_msg_encode(&m, buf, sizeof(buf));
    sent = n ? zlt_framed_push(&ch->relay.side[ZLT_RELAY_CHANNEL], buf, n)
             : ZLT_CONN_ERROR;

    /* nothing was under way, so it is taken, or the channel is dead */

    if (sent != (ssize_t) n) {
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
        return;
    }

    /* it is our end of the connection */

    ch->framed.frames.out.end = ZLT_FRAMES_RESET;

    zlt_channel_end_connection(ch);
}


static zlt_service_result_e
zlt_channel_end_result(const zlt_channel_t *ch, unsigned code)
{
    switch (code) {

    case ZLT_E_REFUSED:
        return ZLT_SERVICE_REFUSES;

    case ZLT_E_BUSY:
        return ZLT_SERVICE_LIMIT;

    case ZLT_E_FORBIDDEN:
        return ZLT_SERVICE_FORBIDDEN;

    default:
        return ch->late ? ZLT_SERVICE_NO_ANSWER : ZLT_SERVICE_UNREACHABLE;
    }
}


/* What was sent must arrive, so input is read, and thrown away, until the
   server has closed: unread bytes would make a reset of the close. */

void
zlt_channel_end(zlt_channel_t *ch)
{
    zlt_flow_t  *f;

    zlt_channel_state(ch, ZLT_CHANNEL_ENDING);

    f = &ch->relay.flow[ZLT_RELAY_CHANNEL];
    free(f->buf);
    f->buf = NULL;

    zlt_channel_end_leave(ch, zlt_channel_end_ending);
}


static void
zlt_channel_end_ending(zlt_io_t *io)
{
    int             rc;
    ssize_t         n;
    zlt_conn_t     *c;
    zlt_channel_t  *ch;

    ch = io->data;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    rc = zlt_channel_flush(ch);

    if (rc == 0 && ch->relay.flow[ZLT_RELAY_SERVICE].buf == NULL) {
        rc = zlt_conn_shutdown(c);
    }

    if (rc == 0 || rc == ZLT_CONN_AGAIN) {
        zlt_scratch_borrow();

        do {
            n = zlt_conn_read(c, zlt_scratch, ZLT_SCRATCH_SIZE);
        } while (n > 0);

        zlt_scratch_return();

        if (n == ZLT_CONN_AGAIN) {
            return;
        }
    }

    zlt_conn_close(c);
    zlt_channel_free(ch);
}


void
zlt_channel_end_retire(zlt_channel_t *ch)
{
    zlt_msg_t  m;

    if (ch->shared) {
        zlt_shared_retire(ch);
        return;
    }

    (void) zlt_pool_leave(ch);

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_RETIRE;

    if (zlt_channel_send(ch, &m, ZLT_CHANNEL_SMALL) == -1) {
        zlt_relay_abort(&ch->relay);
        zlt_channel_free(ch);
        return;
    }

    zlt_channel_end(ch);
}
