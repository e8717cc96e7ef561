
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
#include "session.h"


static zlt_ask_t *zlt_ask_create(zlt_session_t *s, zlt_access_t *x);
static zlt_ask_t *zlt_ask_answered(zlt_session_t *s);
static void zlt_ask_finish(zlt_ask_t *ask, const char *error);


int
zlt_session_has_access(const zlt_session_t *s)
{
    return (s->features & ZLT_F_ACCESS) && (s->features & ZLT_F_CHANNELS);
}


void
zlt_access_ask(zlt_session_t *s, zlt_access_t *x)
{
    zlt_ask_t  *ask;
    zlt_msg_t   m;

    ask = zlt_ask_create(s, x);

    if (ask == NULL) {
        zlt_access_refused(x, ZLT_E_BUSY, "out of memory");
        return;
    }

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_ACCESS_OPEN;
    m.name.data = (const uint8_t *) x->conf.service;
    m.name.len = strlen(x->conf.service);
    m.protocol = x->conf.protocol;
    m.ttl = x->created ? zlt_access_left(x) : x->conf.ttl;
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

    zlt_session_send(s, &m);
}


int
zlt_access_renew(zlt_access_t *x, uint32_t ttl, zlt_ask_pt handler,
    void *data)
{
    zlt_ask_t      *ask;
    zlt_msg_t       m;
    zlt_session_t  *s;

    s = x->agent->session;

    if (s == NULL || !zlt_session_is_up(s) || !zlt_access_runs(x)) {
        return -1;
    }

    ask = zlt_ask_create(s, x);

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

    zlt_session_send(s, &m);

    return 0;
}


void
zlt_access_unask(zlt_agent_t *a, void *data)
{
    zlt_ask_t   *ask;
    zlt_list_t  *link;

    if (a->session == NULL) {
        return;
    }

    zlt_list_each(link, &a->session->asks) {
        ask = zlt_list_data(link, zlt_ask_t, link);

        if (ask->handler && ask->data == data) {
            ask->handler = NULL;
        }
    }
}


void
zlt_access_tell_close(zlt_session_t *s, zlt_access_t *x, const char *reason)
{
    zlt_msg_t  m;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_ACCESS_CLOSE;
    m.access_id = x->id;
    m.reason.data = (const uint8_t *) reason;
    m.reason.len = strlen(reason);

    x->has_id = 0;

    zlt_session_send(s, &m);
}


static zlt_ask_t *
zlt_ask_create(zlt_session_t *s, zlt_access_t *x)
{
    zlt_ask_t  *ask;

    ask = calloc(1, sizeof(zlt_ask_t));
    if (ask == NULL) {
        return NULL;
    }

    ask->access = x;
    zlt_list_append(&s->asks, &ask->link);

    return ask;
}


/* The question that an answer is for, to be freed; NULL: there is none. */

static zlt_ask_t *
zlt_ask_answered(zlt_session_t *s)
{
    zlt_ask_t  *ask;

    if (zlt_list_empty(&s->asks)) {
        zlt_link_log(s->agent->label, ZLT_LOG_WARN, "an answer about access "
                     "that nothing had asked for is ignored");
        return NULL;
    }

    ask = zlt_list_data(s->asks.next, zlt_ask_t, link);
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
zlt_session_access_ok(zlt_session_t *s, const zlt_msg_t *m)
{
    zlt_ask_t     *ask;
    zlt_msg_t      gone;
    zlt_access_t  *x;

    ask = zlt_ask_answered(s);

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
            zlt_session_send(s, &gone);
        }

        zlt_ask_finish(ask, "the session has ended");
        return;
    }

    if (ask->renew) {
        zlt_access_renewed(x, m->ttl);

    } else {
        zlt_access_granted(x, m->access_id, m->ttl);
    }

    zlt_ask_finish(ask, NULL);
}


void
zlt_session_access_fail(zlt_session_t *s, const zlt_msg_t *m)
{
    char           text[ZLT_LOG_TEXT_SIZE];
    unsigned       code;
    zlt_ask_t     *ask;
    zlt_access_t  *x;

    ask = zlt_ask_answered(s);

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
zlt_session_access_close(zlt_session_t *s, const zlt_msg_t *m)
{
    char           text[ZLT_LOG_TEXT_SIZE];
    zlt_access_t  *x;

    x = zlt_access_by_id(s->agent, m->access_id);

    if (x) {
        zlt_access_closed(x, (m->ext & ZLT_X_CODE) ? m->code : 0,
                          zlt_log_text(text, m->reason));
    }
}


void
zlt_access_forget(zlt_session_t *s, zlt_access_t *x)
{
    zlt_ask_t   *ask;
    zlt_list_t  *link;

    zlt_list_each(link, &s->asks) {
        ask = zlt_list_data(link, zlt_ask_t, link);

        if (ask->access == x) {
            ask->access = NULL;
        }
    }
}


void
zlt_session_access_lost(zlt_session_t *s)
{
    zlt_ask_t   *ask;
    zlt_list_t  *link;

    while (!zlt_list_empty(&s->asks)) {
        link = s->asks.next;
        ask = zlt_list_data(link, zlt_ask_t, link);

        zlt_list_remove(link);
        zlt_ask_finish(ask, "the connection to the server was lost");
    }
}
