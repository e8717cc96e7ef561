
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Access sessions on the control channel.  Answers tell which question they
 * are for by their order alone, so each question waits in a list.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "control_access.h"
#include "control_ws.h"
#include "exit.h"
#include "link.h"
#include "log.h"
#include "often.h"


/* a question to the server, answered in the order of asking */

typedef struct {
    zlt_list_t           link;         /* control->asks */
    zlt_access_t        *access;       /* NULL: it has ended since */
    zlt_ask_pt           handler;      /* of a renewal, or NULL */
    void                *data;
    unsigned             renew:1;
    unsigned             resume:1;
} zlt_ask_t;


static zlt_access_offer_e zlt_control_access_offered(const zlt_owner_t *o);
static void zlt_control_access_ask(zlt_access_t *x);
static void zlt_control_access_end(zlt_access_t *x, const char *reason);
static void zlt_control_access_forget(zlt_access_t *x);
static void zlt_control_access_finish(zlt_owner_t *o, int failed);
static zlt_ask_t *zlt_ask_create(zlt_control_t *c, zlt_access_t *x);
static zlt_ask_t *zlt_ask_answered(zlt_control_t *c);
static void zlt_ask_finish(zlt_ask_t *ask, const char *error);


const zlt_access_ops_t  zlt_control_access_ops = {
    zlt_control_access_offered,
    zlt_control_access_ask,
    zlt_control_access_end,
    zlt_control_access_forget,
    zlt_control_access_finish
};


static zlt_access_offer_e
zlt_control_access_offered(const zlt_owner_t *o)
{
    const zlt_control_t  *c;

    c = zlt_link_of(o)->control;

    if (c == NULL || !zlt_control_is_up(c)) {
        return ZLT_ACCESS_NOT_NOW;
    }

    return (c->features & ZLT_F_ACCESS) && (c->features & ZLT_F_CHANNELS)
           ? ZLT_ACCESS_OFFERED : ZLT_ACCESS_NEVER;
}


static void
zlt_control_access_ask(zlt_access_t *x)
{
    zlt_ask_t      *ask;
    zlt_msg_t       m;
    zlt_control_t  *c;

    c = zlt_link_of(x->owner)->control;
    ask = zlt_ask_create(c, x);

    if (ask == NULL) {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "out of memory");
        return;
    }

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_ACCESS_OPEN;
    m.name.data = (const uint8_t *) x->conf.service;
    m.name.len = strlen(x->conf.service);
    m.protocol = x->conf.protocol;
    m.ttl = x->created ? zlt_access_expiry_left(x) : x->conf.ttl;
    m.grace = x->conf.grace;

    if (x->has_id) {
        m.ext |= ZLT_X_ACCESS_ID;
        m.access_id = x->id;
        ask->resume = 1;
    }

    if (x->conf.target[0]) {
        m.ext |= ZLT_X_TARGET;
        m.target.data = (const uint8_t *) x->conf.target;
        m.target.len = strlen(x->conf.target);
    }

    zlt_control_ws_send(c, &m);
}


int
zlt_control_access_renew(zlt_access_t *x, uint32_t ttl, zlt_ask_pt handler,
    void *data)
{
    zlt_ask_t      *ask;
    zlt_msg_t       m;
    zlt_control_t  *c;

    c = zlt_link_of(x->owner)->control;

    if (c == NULL || !zlt_control_is_up(c) || !zlt_access_runs(x)) {
        return -1;
    }

    ask = zlt_ask_create(c, x);

    if (ask == NULL) {
        return -1;
    }

    ask->renew = 1;
    ask->handler = handler;
    ask->data = data;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_ACCESS_RENEW;
    m.access_id = x->id;
    m.ttl = ttl;

    zlt_control_ws_send(c, &m);

    return 0;
}


void
zlt_control_access_unask(zlt_link_t *l, void *data)
{
    zlt_ask_t   *ask;
    zlt_list_t  *link;

    if (l->control == NULL) {
        return;
    }

    zlt_list_each(link, &l->control->asks) {
        ask = zlt_list_data(link, zlt_ask_t, link);

        if (ask->handler && ask->data == data) {
            ask->handler = NULL;
        }
    }
}


static void
zlt_control_access_end(zlt_access_t *x, const char *reason)
{
    zlt_msg_t       m;
    zlt_control_t  *c;

    c = zlt_link_of(x->owner)->control;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_ACCESS_CLOSE;
    m.access_id = x->id;
    m.reason.data = (const uint8_t *) reason;
    m.reason.len = strlen(reason);

    x->has_id = 0;

    zlt_control_ws_send(c, &m);
}


static zlt_ask_t *
zlt_ask_create(zlt_control_t *c, zlt_access_t *x)
{
    zlt_ask_t  *ask;

    ask = calloc(1, sizeof(zlt_ask_t));
    if (ask == NULL) {
        return NULL;
    }

    ask->access = x;
    zlt_list_append(&c->asks, &ask->link);

    return ask;
}


/* The question that an answer is for, to be freed; NULL: there is none. */

static zlt_ask_t *
zlt_ask_answered(zlt_control_t *c)
{
    zlt_ask_t  *ask;

    if (zlt_list_empty(&c->asks)) {
        zlt_often_warn(c->link->owner.label, "", "an answer about access "
                       "that nothing had asked for is ignored");
        return NULL;
    }

    ask = zlt_list_data(c->asks.next, zlt_ask_t, link);
    zlt_list_remove(&ask->link);

    return ask;
}


static void
zlt_ask_finish(zlt_ask_t *ask, const char *error)
{
    if (ask->handler) {
        ask->handler(ask->data, error);
    }

    free(ask);
}


void
zlt_control_access_ok(zlt_control_t *c, const zlt_msg_t *m)
{
    zlt_ask_t     *ask;
    zlt_msg_t      gone;
    zlt_access_t  *x;

    ask = zlt_ask_answered(c);

    if (ask == NULL) {
        return;
    }

    x = ask->access;

    if (x == NULL) {

        /* nobody wants it any more */

        if (!ask->renew) {
            memset(&gone, 0, sizeof(zlt_msg_t));
            gone.type = ZLT_ACCESS_CLOSE;
            gone.access_id = m->access_id;
            zlt_control_ws_send(c, &gone);
        }

        zlt_ask_finish(ask, "the session has ended");
        return;
    }

    if (ask->renew) {
        zlt_access_expiry_renewed(x, m->ttl);

    } else {
        zlt_access_granted(x, m->access_id, m->ttl,
                           (m->ext & ZLT_X_SERVED_BY) != 0);
    }

    zlt_ask_finish(ask, NULL);
}


void
zlt_control_access_fail(zlt_control_t *c, const zlt_msg_t *m)
{
    char           text[ZLT_LOG_TEXT_SIZE];
    unsigned       code;
    zlt_ask_t     *ask;
    zlt_access_t  *x;

    ask = zlt_ask_answered(c);

    if (ask == NULL) {
        return;
    }

    x = ask->access;
    code = (m->ext & ZLT_X_CODE) ? m->code : 0;

    (void) zlt_log_text(text, m->reason);

    if (x && !ask->renew) {
        zlt_access_refused(x, code, text);
    }

    zlt_ask_finish(ask, text);
}


void
zlt_control_access_close(zlt_control_t *c, const zlt_msg_t *m)
{
    char           text[ZLT_LOG_TEXT_SIZE];
    zlt_access_t  *x;

    x = zlt_access_by_id(&c->link->owner, m->access_id);

    if (x) {
        zlt_access_expiry_closed(x, (m->ext & ZLT_X_CODE) ? m->code : 0,
                                 zlt_log_text(text, m->reason));
    }
}


static void
zlt_control_access_forget(zlt_access_t *x)
{
    zlt_ask_t      *ask;
    zlt_list_t     *link;
    zlt_control_t  *c;

    c = zlt_link_of(x->owner)->control;

    if (c == NULL) {
        return;
    }

    zlt_list_each(link, &c->asks) {
        ask = zlt_list_data(link, zlt_ask_t, link);

        if (ask->access == x) {
            ask->access = NULL;
        }
    }
}


void
zlt_control_access_lost(zlt_control_t *c)
{
    zlt_ask_t   *ask;
    zlt_list_t  *link;

    while (!zlt_list_empty(&c->asks)) {
        link = c->asks.next;
        ask = zlt_list_data(link, zlt_ask_t, link);

        zlt_list_remove(link);
        zlt_ask_finish(ask, "the connection to the server was lost");
    }
}


static void
zlt_control_access_finish(zlt_owner_t *o, int failed)
{
    zlt_link_t  *l;

    l = zlt_link_of(o);

    l->ops->finish(l->process, failed ? ZLT_EXIT_FAILED : ZLT_EXIT_OK);
}
