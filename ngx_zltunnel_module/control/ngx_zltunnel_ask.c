
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Asking the system behind zltunnel_auth.
 *
 * One question at a time is asked for a token: all control channels with it, new
 * ones and live ones, wait for the same answer.  A worker asks so many questions
 * at once, the others wait in a queue, first come, first served.  A new control
 * channel that waits keeps its place among those that have not sent Auth, so the
 * queue has a bound, too.
 *
 * What was answered is a grant (registry/ngx_zltunnel_grant.c).  It is fresh for
 * the answer's max-age, in which a new Auth need not ask.  It holds, if nobody
 * can say, until max-age or the interval of asking for live tunnels, whichever
 * is longer, and "stale" have passed.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ask.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_hex.h"

#include <openssl/sha.h>


#define NGX_ZLTUNNEL_ASK_MOST    32        /* questions at once, of a worker */
#define NGX_ZLTUNNEL_ASK_TOKEN   8192      /* bytes */
#define NGX_ZLTUNNEL_ASK_AGAIN   10000     /* ms, after a failure */
#define NGX_ZLTUNNEL_ASK_REASON  200       /* bytes */


struct ngx_zltunnel_ask_s {
    ngx_queue_t                  queue;
    ngx_queue_t                  waiters;   /* ngx_zltunnel_control_t */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_ask_conf_t     *conf;
    u_char                       hash[32];
    void                        *request;
    ngx_event_t                  event;     /* it could not be begun */
    unsigned                     running:1; /* it is not in the queue */
    unsigned                     answered:1;
};


static ngx_uint_t ngx_zltunnel_ask_printable(ngx_str_t *text);
static ngx_zltunnel_ask_t *ngx_zltunnel_ask_find(ngx_queue_t *queue,
    ngx_zltunnel_control_t *control);
static void ngx_zltunnel_ask_run(void);
static void ngx_zltunnel_ask_start(ngx_zltunnel_ask_t *ask);
static void ngx_zltunnel_ask_failed(ngx_event_t *ev);
static void ngx_zltunnel_ask_free(ngx_zltunnel_ask_t *ask);
static ngx_zltunnel_ask_verdict_e ngx_zltunnel_ask_judge(
    ngx_zltunnel_ask_t *ask, ngx_zltunnel_ask_answer_t *answer);
static ngx_zltunnel_ask_verdict_e ngx_zltunnel_ask_allow(
    ngx_zltunnel_ask_t *ask, ngx_zltunnel_ask_answer_t *answer);
static void ngx_zltunnel_ask_name(u_char *hash, ngx_str_t *name);
static void ngx_zltunnel_ask_end(ngx_zltunnel_registry_t *registry,
    u_char *hash, ngx_uint_t lapsed);
static void ngx_zltunnel_ask_due(ngx_zltunnel_control_t *control,
    ngx_msec_t interval);
static void ngx_zltunnel_ask_live(ngx_zltunnel_control_t *control,
    ngx_zltunnel_ask_verdict_e verdict);


static ngx_queue_t  ngx_zltunnel_asks_waiting;
static ngx_queue_t  ngx_zltunnel_asks_running;
static ngx_uint_t   ngx_zltunnel_asks;        /* .. how many */


ngx_int_t
ngx_zltunnel_ask_keep(ngx_zltunnel_control_t *control, ngx_str_t *token,
    ngx_str_t *agent)
{
    u_char  *p;

    /* it goes into a header */

    if (token->len == 0 || token->len > NGX_ZLTUNNEL_ASK_TOKEN
        || !ngx_zltunnel_ask_printable(token))
    {
        return NGX_DECLINED;
    }

    p = ngx_alloc(token->len + NGX_ZLTUNNEL_AGENT_NAME,
                  control->end.connection->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    control->secret.data = p;
    control->secret.len = token->len;
    ngx_memcpy(p, token->data, token->len);

    control->agent.data = p + token->len;
    control->agent.len = ngx_zltunnel_log_printable(control->agent.data,
                                                    NGX_ZLTUNNEL_AGENT_NAME,
                                                    agent->data, agent->len);
    return NGX_OK;
}


static ngx_uint_t
ngx_zltunnel_ask_printable(ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {

        if (text->data[i] <= ' ' || text->data[i] >= 0x7f) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_zltunnel_ask_known(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_granted_t  *granted;

    ngx_zltunnel_grant_sync(control->registry);

    granted = ngx_zltunnel_granted_find(control->registry, control->token);

    return granted && granted->set && ngx_time() < granted->fresh;
}


ngx_uint_t
ngx_zltunnel_ask_holds(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_granted_t  *granted;

    granted = ngx_zltunnel_granted_find(control->registry, control->token);

    return granted && granted->set && ngx_time() < granted->until;
}


void
ngx_zltunnel_ask_begin(ngx_zltunnel_control_t *control,
    ngx_zltunnel_asked_pt asked)
{
    ngx_zltunnel_ask_t  *ask;

    control->verdict = asked;

    if (ngx_zltunnel_asks_waiting.next == NULL) {
        ngx_queue_init(&ngx_zltunnel_asks_waiting);
        ngx_queue_init(&ngx_zltunnel_asks_running);
    }

    ask = ngx_zltunnel_ask_find(&ngx_zltunnel_asks_running, control);

    if (ask == NULL) {
        ask = ngx_zltunnel_ask_find(&ngx_zltunnel_asks_waiting, control);
    }

    if (ask) {
        ngx_queue_insert_tail(&ask->waiters, &control->ask_queue);
        control->ask = ask;
        return;
    }

    ask = ngx_calloc(sizeof(ngx_zltunnel_ask_t), ngx_cycle->log);

    if (ask == NULL) {

        /* a new one gives up when its time is over, a live one asks again */

        return;
    }

    ask->event.handler = ngx_zltunnel_ask_failed;
    ask->event.data = ask;
    ask->event.log = ngx_cycle->log;

    ngx_queue_init(&ask->waiters);
    ask->registry = control->registry;
    ask->conf = control->asks;
    ngx_memcpy(ask->hash, control->token, 32);

    ngx_queue_insert_tail(&ask->waiters, &control->ask_queue);
    control->ask = ask;

    ngx_queue_insert_tail(&ngx_zltunnel_asks_waiting, &ask->queue);

    ngx_zltunnel_ask_run();
}


static ngx_zltunnel_ask_t *
ngx_zltunnel_ask_find(ngx_queue_t *queue, ngx_zltunnel_control_t *control)
{
    ngx_queue_t         *q;
    ngx_zltunnel_ask_t  *ask;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        ask = ngx_queue_data(q, ngx_zltunnel_ask_t, queue);

        if (ask->conf == control->asks
            && ngx_memcmp(ask->hash, control->token, 32) == 0)
        {
            return ask;
        }
    }

    return NULL;
}


static void
ngx_zltunnel_ask_run(void)
{
    ngx_queue_t         *q;
    ngx_zltunnel_ask_t  *ask;

    while (ngx_zltunnel_asks < NGX_ZLTUNNEL_ASK_MOST
           && !ngx_queue_empty(&ngx_zltunnel_asks_waiting))
    {
        q = ngx_queue_head(&ngx_zltunnel_asks_waiting);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&ngx_zltunnel_asks_running, q);
        ngx_zltunnel_asks++;

        ask = ngx_queue_data(q, ngx_zltunnel_ask_t, queue);
        ask->running = 1;

        ngx_zltunnel_ask_start(ask);
    }
}


static void
ngx_zltunnel_ask_start(ngx_zltunnel_ask_t *ask)
{
    ngx_queue_t                  *q;
    ngx_zltunnel_control_t       *control;
    ngx_zltunnel_ask_question_t   question;

    q = ngx_queue_head(&ask->waiters);
    control = ngx_queue_data(q, ngx_zltunnel_control_t, ask_queue);

    question.token = &control->secret;
    question.agent = &control->agent;
    question.host = &control->host;
    question.client = control->end.connection;

    ask->request = ask->conf->start(ask->conf, &question, ask);

    if (ask->request == NULL) {
        ngx_post_event(&ask->event, &ngx_posted_events);
    }
}


static void
ngx_zltunnel_ask_failed(ngx_event_t *ev)
{
    ngx_zltunnel_ask_answer_t  answer;

    ngx_memzero(&answer, sizeof(ngx_zltunnel_ask_answer_t));
    answer.status = 500;

    ngx_zltunnel_ask_answered(ev->data, &answer);
}


void
ngx_zltunnel_ask_leave(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_ask_t  *ask;

    ask = control->ask;

    if (ask == NULL) {
        return;
    }

    control->ask = NULL;
    ngx_queue_remove(&control->ask_queue);

    if (ask->answered || !ngx_queue_empty(&ask->waiters)) {
        return;
    }

    if (ask->request) {
        ask->conf->cancel(ask->request);
    }

    ngx_zltunnel_ask_free(ask);

    /* whoever waits has its turn when another answer comes, or with the tick */
}


void
ngx_zltunnel_ask_answered(ngx_zltunnel_ask_t *ask,
    ngx_zltunnel_ask_answer_t *answer)
{
    u_char                       text[NGX_ZLTUNNEL_ASK_REASON + 1];
    size_t                       len;
    ngx_queue_t                 *q;
    const char                  *reason;
    ngx_zltunnel_control_t      *control;
    ngx_zltunnel_ask_verdict_e   verdict;

    len = ngx_zltunnel_log_printable(text, NGX_ZLTUNNEL_ASK_REASON,
                                     answer->reason.data, answer->reason.len);
    text[len] = '\0';
    reason = len ? (char *) text : NULL;

    ask->answered = 1;

    verdict = ngx_zltunnel_ask_judge(ask, answer);

    ngx_zltunnel_figure_asked(ask->registry, verdict);

    while (!ngx_queue_empty(&ask->waiters)) {
        q = ngx_queue_head(&ask->waiters);
        control = ngx_queue_data(q, ngx_zltunnel_control_t, ask_queue);

        ngx_queue_remove(q);
        control->ask = NULL;

        if (control->verdict) {
            control->verdict(control, verdict, reason);

        } else {
            ngx_zltunnel_ask_live(control, verdict);
        }
    }

    ngx_zltunnel_ask_free(ask);
    ngx_zltunnel_ask_run();
}


static void
ngx_zltunnel_ask_free(ngx_zltunnel_ask_t *ask)
{
    if (ask->event.posted) {
        ngx_delete_posted_event(&ask->event);
    }

    ngx_zltunnel_asks -= ask->running;

    ngx_queue_remove(&ask->queue);
    ngx_free(ask);
}


static ngx_zltunnel_ask_verdict_e
ngx_zltunnel_ask_judge(ngx_zltunnel_ask_t *ask,
    ngx_zltunnel_ask_answer_t *answer)
{
    if (answer->status >= 200 && answer->status < 300) {
        return ngx_zltunnel_ask_allow(ask, answer);
    }

    if (answer->status == 401 || answer->status == 403) {
        ngx_zltunnel_ask_end(ask->registry, ask->hash, 0);
        return NGX_ZLTUNNEL_ASK_REFUSED;
    }

    if (ngx_zltunnel_log_paced(ngx_cycle->log, "answers to zltunnel_auth")) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "zltunnel_auth \"%V\" cannot say whether a token is let "
                      "in: status %ui, where 2xx, 401 or 403 is expected",
                      &ask->conf->uri, answer->status);
    }

    return NGX_ZLTUNNEL_ASK_FAILED;
}


static ngx_zltunnel_ask_verdict_e
ngx_zltunnel_ask_allow(ngx_zltunnel_ask_t *ask,
    ngx_zltunnel_ask_answer_t *answer)
{
    u_char                      name[sizeof("auth-") + 2 * SHA256_DIGEST_LENGTH];
    time_t                      now, fresh, until;
    ngx_int_t                   rc;
    ngx_str_t                   text;
    ngx_zltunnel_token_error_t  e;

    text = answer->rights;

    if (text.len == 0) {
        text.data = name;
        ngx_zltunnel_ask_name(ask->hash, &text);
    }

    now = ngx_time();
    fresh = now + answer->max_age;
    until = ngx_max(fresh, now + (time_t) (ask->conf->interval / 1000))
            + ask->conf->stale;

    if (answer->wrong) {
        rc = NGX_ERROR;
        ngx_cpystrn(e.text, (u_char *) answer->wrong,
                    NGX_ZLTUNNEL_TOKEN_ERROR);
    } else {
        rc = ngx_zltunnel_granted_set(ask->registry, ask->hash, &text, fresh,
                                      until, &e);
    }

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "zltunnel_auth \"%V\" lets in a token, but its "
                      "Zltunnel-Token is wrong: %s", &ask->conf->uri, e.text);
        return NGX_ZLTUNNEL_ASK_FAILED;
    }

    if (rc == NGX_OK) {
        ask->registry->grants_changed = 1;
    }

    if (ngx_zltunnel_grant_set(ask->registry, ask->hash, &text, fresh, until)
        != NGX_OK)
    {
        ngx_zltunnel_log_complain(ngx_cycle->log,
                                  "token of zltunnel_auth refused: %s",
                                  NGX_ZLTUNNEL_ZONE_FULL);
        ngx_zltunnel_ask_end(ask->registry, ask->hash, 1);
        return NGX_ZLTUNNEL_ASK_FAILED;
    }

    return NGX_ZLTUNNEL_ASK_ALLOWED;
}


/* for one that was given none: the same each time, and nothing of its hash */

static void
ngx_zltunnel_ask_name(u_char *hash, ngx_str_t *name)
{
    u_char  *p, other[SHA256_DIGEST_LENGTH];

    SHA256(hash, 32, other);

    p = ngx_cpymem(name->data, "auth-", sizeof("auth-") - 1);
    zlt_hex_encode((char *) p, other, 8);

    name->len = sizeof("auth-") - 1 + 2 * 8;
}


static void
ngx_zltunnel_ask_end(ngx_zltunnel_registry_t *registry, u_char *hash,
    ngx_uint_t lapsed)
{
    if (ngx_zltunnel_granted_end(registry, hash, lapsed) == NGX_OK) {
        registry->grants_changed = 1;
    }

    ngx_zltunnel_grant_end(registry, hash, lapsed);
}


/* of a tunnel that is there; what has changed, the tick acts on */

static void
ngx_zltunnel_ask_live(ngx_zltunnel_control_t *control,
    ngx_zltunnel_ask_verdict_e verdict)
{
    ngx_zltunnel_ask_due(control, control->asks->interval);

    if (verdict == NGX_ZLTUNNEL_ASK_FAILED) {

        if (!ngx_zltunnel_ask_holds(control)) {
            ngx_log_error(NGX_LOG_ERR, control->end.connection->log, 0,
                          "token of agent \"%V\" cannot be verified any more, "
                          "since zltunnel_auth \"%V\" did not say for longer "
                          "than \"stale\"", &control->peer->name,
                          &control->asks->uri);
            ngx_zltunnel_ask_end(control->registry, control->token, 1);
        }

        ngx_zltunnel_ask_due(control, ngx_min(control->asks->interval,
                                              NGX_ZLTUNNEL_ASK_AGAIN));
    }
}


void
ngx_zltunnel_ask_opened(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_ask_due(control, control->asks->interval);
}


/* within that time, and not all of them at the same moment */

static void
ngx_zltunnel_ask_due(ngx_zltunnel_control_t *control, ngx_msec_t interval)
{
    control->ask_at = ngx_current_msec + interval * 3 / 4
                      + ngx_random() % (interval / 4 + 1);
}


void
ngx_zltunnel_ask_again(ngx_zltunnel_registry_t *registry)
{
    ngx_rbtree_key_t         key;
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_control_t  *control;

    if (!registry->asks || ngx_exiting) {
        return;
    }

    for (peer = ngx_zltunnel_peer_next(registry, NULL);
         peer;
         peer = ngx_zltunnel_peer_next(registry, &key))
    {
        key = peer->node.key;
        control = peer->control;

        if (control == NULL || control->secret.len == 0 || control->ask
            || control->state != NGX_ZLTUNNEL_CONTROL_OPEN
            || (ngx_msec_int_t) (ngx_current_msec - control->ask_at) < 0)
        {
            continue;
        }

        ngx_zltunnel_ask_begin(control, NULL);
    }

    if (ngx_zltunnel_asks_waiting.next) {
        ngx_zltunnel_ask_run();
    }
}
