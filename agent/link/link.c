
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The life of a link: made from its configuration, started, stopped, started
 * again, and freed.
 *
 * What was stopped still finishes the connections that run; it may be started
 * again before that is over.  A link that goes with its configuration is
 * moved to process->ending, and freed when nothing is left.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "process.h"


static void zlt_agent_label(zlt_agent_t *a, const zlt_conf_t *conf);
static void zlt_agent_ended(zlt_agent_t *a);
static void zlt_agent_totals_tick(zlt_agent_t *a, uint64_t now);
static void zlt_agent_register(zlt_agent_t *a, uint64_t now);
static void zlt_agent_handle_closed(uv_handle_t *handle);


zlt_agent_t *
zlt_agent_create(zlt_process_t *process, zlt_conf_t *conf,
    const zlt_token_t *token, zlt_tls_t *tls)
{
    unsigned        i;
    zlt_list_t     *link, *next;
    zlt_agent_t    *a;
    zlt_service_t  *s;

    a = calloc(1, sizeof(zlt_agent_t));
    if (a == NULL) {
        return NULL;
    }

    a->process = process;
    a->loop = &process->loop;

    zlt_list_init(&a->link);
    zlt_list_init(&a->services);
    zlt_list_init(&a->accesses);
    zlt_list_init(&a->kept);
    zlt_list_init(&a->channels);
    zlt_list_init(&a->early);
    zlt_list_init(&a->watchers);

    for (i = 0; i < conf->nservices; i++) {
        s = zlt_service_create(&a->services, &conf->services[i]);

        if (s == NULL) {

            zlt_list_each_safe(link, next, &a->services) {
                zlt_service_remove(zlt_list_data(link, zlt_service_t, link));
            }

            free(a);
            return NULL;
        }

        if (s->conf.flags & ZLT_R_OPEN) {
            zlt_allow_move(&s->allow, &conf->allow);
        }
    }

    zlt_agent_label(a, conf);
    zlt_transport_init(&a->transport, zlt_conf_transport(conf), a->label);

    a->conf = conf;
    a->token = *token;
    a->tls = tls;
    a->since = time(NULL);
    a->since_ms = zlt_io_now();

    (void) uv_timer_init(a->loop, &a->reconnect);
    (void) uv_timer_init(a->loop, &a->refill);
    a->reconnect.data = a;
    a->refill.data = a;
    a->open_handles = 2;

    return a;
}


/* Whose log lines they are, where there may be several. */

static void
zlt_agent_label(zlt_agent_t *a, const zlt_conf_t *conf)
{
    if (strcmp(conf->name, ZLT_CONF_AGENT) != 0) {
        (void) snprintf(a->label, sizeof(a->label), "%s: ", conf->name);
    }

    if (conf->mode == ZLT_CONF_ALL) {
        (void) snprintf(a->label, sizeof(a->label), "%.49s at %.150s: ",
                        conf->name, conf->url.authority);
    }
}


int
zlt_agent_way(zlt_conf_t *conf, zlt_tls_t **tls, char *error)
{
    *tls = NULL;

    if (zlt_via_choose(&conf->via, &conf->url, conf->proxy, conf->proxy_file,
                       error)
        == -1)
    {
        return -1;
    }

    if (conf->url.tls) {
        *tls = zlt_tls_create(conf, error);
    }

    return conf->url.tls && *tls == NULL ? -1 : 0;
}


void
zlt_agent_warn(const zlt_agent_t *a)
{
    unsigned           i;
    const zlt_url_t   *url;
    const zlt_conf_t  *conf;

    conf = a->conf;

    for (i = 0; i < conf->nservers; i++) {
        url = &conf->servers[i].url;

        if (url->tls && conf->insecure) {
            zlt_link_log(a->label, ZLT_LOG_WARN, "the server's certificate is "
                         "not verified: anyone on the way to %s can read the "
                         "token and all traffic", url->host);
        }

        if (!url->tls && !url->is_unix
            && (!zlt_url_loopback(url->host)
                || (conf->via.kind && !zlt_url_loopback(conf->via.host))))
        {
            zlt_link_log(a->label, ZLT_LOG_WARN, "ws:// is not encrypted: "
                         "anyone on the way to %s can read the token and all "
                         "traffic; use wss://", url->host);
        }
    }

    if (a->process->conf_file == NULL && conf->proxy
        && conf->via.password[0])
    {
        zlt_link_log(a->label, ZLT_LOG_WARN, "the proxy's password is on the "
                     "command line, where every user of this machine can see "
                     "it: use --proxy-file");
    }
}


/* From the first server on, as at the very first start. */

void
zlt_agent_start(zlt_agent_t *a)
{
    a->stopping = 0;
    a->stopped = 0;
    a->attempts = 0;
    a->tried = 0;
    a->carried = 0;
    a->refused = 0;

    /* those that have ended with the last stop */

    zlt_access_reload(a, a->conf);

    zlt_agent_reason(a, "");
    zlt_agent_state(a, ZLT_STATE_PENDING);

    zlt_agent_retry(a);
}


void
zlt_agent_stop(zlt_agent_t *a, int unregister, const char *reason)
{
    zlt_list_t     *link, *next;
    zlt_channel_t  *ch;

    if (a->stopping) {
        return;
    }

    a->stopping = 1;
    a->stop_at = zlt_io_now() + a->process->config->agent.shutdown_timeout;
    a->next_at = 0;

    (void) uv_timer_stop(&a->reconnect);
    (void) uv_timer_stop(&a->refill);

    zlt_access_stop_all(a);

    if (a->pool) {
        zlt_pool_abandon(a->pool, 1);
        a->pool = NULL;
    }

    /* those that are left idle belong to sessions that are kept; those with
       lanes end with the last of them */

    zlt_list_each_safe(link, next, &a->channels) {
        ch = zlt_list_data(link, zlt_channel_t, all);

        if (zlt_channel_is_idle(ch) || zlt_channel_is_shared(ch)) {
            zlt_channel_retire(ch);
        }
    }

    if (unregister) {
        zlt_list_each(link, &a->services) {

            if (a->session == NULL || !zlt_session_is_up(a->session)) {
                break;
            }

            zlt_session_unregister(a->session,
                                   zlt_list_data(link, zlt_service_t, link));
        }
    }

    if (a->session) {
        zlt_session_close(a->session, reason);
    }

    zlt_list_each_safe(link, next, &a->kept) {
        zlt_session_close(zlt_session_of_link(link), reason);
    }

    zlt_agent_reason(a, reason);
    zlt_agent_state(a, ZLT_STATE_DISCONNECTED);

    zlt_agent_channel_gone(a);
}


/* Was it the last thing we waited for? */

void
zlt_agent_channel_gone(zlt_agent_t *a)
{
    if (a->stopping && !a->stopped && a->nchannels == 0
        && a->session == NULL && zlt_list_empty(&a->kept))
    {
        zlt_agent_ended(a);
    }
}


static void
zlt_agent_ended(zlt_agent_t *a)
{
    a->stopped = 1;

    zlt_process_link_gone(a->process, a);
}


void
zlt_agent_abort(zlt_agent_t *a)
{
    zlt_list_t  *link, *next;

    a->stopping = 1;

    zlt_access_done(a);

    zlt_list_each_safe(link, next, &a->channels) {
        zlt_channel_abort(zlt_list_data(link, zlt_channel_t, all));
    }

    if (a->pool) {
        zlt_pool_abandon(a->pool, 0);
        a->pool = NULL;
    }

    if (a->session) {
        zlt_session_abort(a->session);
        a->session = NULL;
    }

    zlt_list_each_safe(link, next, &a->kept) {
        zlt_session_abort(zlt_session_of_link(link));
    }

    zlt_agent_channel_gone(a);
}


void
zlt_agent_destroy(zlt_agent_t *a)
{
    zlt_list_t     *link, *next;
    zlt_service_t  *service;

    zlt_list_remove(&a->link);

    zlt_access_done(a);

    zlt_list_each_safe(link, next, &a->services) {
        service = zlt_list_data(link, zlt_service_t, link);
        zlt_udp_service_log(a, service);
        zlt_service_remove(service);
    }

    uv_close((uv_handle_t *) &a->reconnect, zlt_agent_handle_closed);
    uv_close((uv_handle_t *) &a->refill, zlt_agent_handle_closed);
}


static void
zlt_agent_handle_closed(uv_handle_t *handle)
{
    zlt_agent_t  *a;

    a = handle->data;

    if (--a->open_handles) {
        return;
    }

    zlt_tls_destroy(a->tls);
    zlt_conf_destroy(a->conf);

    zlt_token_wipe(&a->token);
    OPENSSL_cleanse(a->resume_key, ZLT_KEY_SIZE);
    OPENSSL_cleanse(&a->param, sizeof(zlt_pool_param_t));

    free(a);
}


void
zlt_agent_tick(zlt_agent_t *a, uint64_t now)
{
    zlt_list_t  *link, *next;

    zlt_udp_session_tick(a);
    zlt_access_tick(a);

    if (a->pool) {
        zlt_pool_tick(a->pool);
    }

    if (a->session) {
        zlt_session_tick(a->session);
    }

    zlt_list_each_safe(link, next, &a->kept) {
        zlt_session_tick(zlt_session_of_link(link));
    }

    zlt_agent_totals_tick(a, now);
    zlt_agent_register(a, now);

    if (a->stopping && !a->stopped && now >= a->stop_at) {
        zlt_link_log(a->label, ZLT_LOG_WARN, "%u connections are cut short",
                     a->nchannels);
        zlt_agent_abort(a);
    }
}


static void
zlt_agent_totals_tick(zlt_agent_t *a, uint64_t now)
{
    uint64_t      moved;
    zlt_totals_t  t;

    zlt_agent_totals(a, &t);

    moved = t.bytes_in + t.bytes_out;

    if (moved != a->moved) {
        a->moved = moved;
        a->active = now;
    }
}


/* Services whose refusal may have been for a while. */

static void
zlt_agent_register(zlt_agent_t *a, uint64_t now)
{
    zlt_list_t     *link;
    zlt_service_t  *service;

    zlt_list_each(link, &a->services) {

        if (a->session == NULL || !zlt_session_is_up(a->session)) {
            return;
        }

        service = zlt_list_data(link, zlt_service_t, link);

        if (service->state == ZLT_SERVICE_REFUSED && service->again
            && now >= service->again_at)
        {
            zlt_session_register(a->session, service);
        }
    }
}
