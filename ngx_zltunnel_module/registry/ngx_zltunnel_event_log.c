
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The line that an event has in the log, and what else is fixed for its type.
 * What an operator wants to know is at "notice", what was refused at "warn".
 * Services come in numbers, so what is right of them is at "info".  Of what one
 * agent can bring about as often as it likes there are some lines a minute.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_event.h"


typedef u_char *(*ngx_zltunnel_event_text_pt)(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);


typedef struct {
    ngx_str_t                    name;        /* empty: told to the log only */
    ngx_uint_t                   level;
    const char                  *paced;       /* NULL: each is logged */
    ngx_zltunnel_event_text_pt   text;
} ngx_zltunnel_event_kind_t;


static u_char *ngx_zltunnel_event_text_agent(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_refused(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_left(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_api(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_registered(
    ngx_zltunnel_event_t *event, u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_service(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_opened(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_not_opened(
    ngx_zltunnel_event_t *event, u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_closed(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);
static u_char *ngx_zltunnel_event_text_of(ngx_zltunnel_event_t *event,
    u_char *p, u_char *last);
static void ngx_zltunnel_event_hex(u_char *text, u_char *id);


static const ngx_zltunnel_event_kind_t
                           ngx_zltunnel_event_kinds[NGX_ZLTUNNEL_EVENTS] = {

    [NGX_ZLTUNNEL_EVENT_CONNECTED] = {
        ngx_string("agent.connected"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_agent },

    [NGX_ZLTUNNEL_EVENT_BACK] = {
        ngx_string("agent.back"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_agent },

    [NGX_ZLTUNNEL_EVENT_MOVED] = {
        ngx_null_string, NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_agent },

    [NGX_ZLTUNNEL_EVENT_TAKEN_OVER] = {
        ngx_string("agent.taken_over"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_agent },

    [NGX_ZLTUNNEL_EVENT_REFUSED] = {
        ngx_string("agent.refused"), NGX_LOG_WARN, NULL,
        ngx_zltunnel_event_text_refused },

    [NGX_ZLTUNNEL_EVENT_DISCONNECTED] = {
        ngx_string("agent.disconnected"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_left },

    [NGX_ZLTUNNEL_EVENT_GONE] = {
        ngx_string("agent.gone"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_left },

    [NGX_ZLTUNNEL_EVENT_REVOKED] = {
        ngx_string("agent.revoked"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_left },

    [NGX_ZLTUNNEL_EVENT_KICKED] = {
        ngx_string("agent.kicked"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_api },

    [NGX_ZLTUNNEL_EVENT_DRAINED] = {
        ngx_string("agent.drained"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_api },

    [NGX_ZLTUNNEL_EVENT_RESUMED] = {
        ngx_string("agent.resumed"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_api },

    [NGX_ZLTUNNEL_EVENT_REGISTERED] = {
        ngx_string("service.registered"), NGX_LOG_INFO,
        "services that are registered", ngx_zltunnel_event_text_registered },

    [NGX_ZLTUNNEL_EVENT_AGAIN] = {
        ngx_null_string, NGX_LOG_INFO,
        "services that are registered", ngx_zltunnel_event_text_registered },

    [NGX_ZLTUNNEL_EVENT_SERVICE_REFUSED] = {
        ngx_string("service.refused"), NGX_LOG_WARN,
        "services that are refused", ngx_zltunnel_event_text_service },

    [NGX_ZLTUNNEL_EVENT_SERVICE_GONE] = {
        ngx_string("service.gone"), NGX_LOG_INFO,
        "services that are gone", ngx_zltunnel_event_text_service },

    [NGX_ZLTUNNEL_EVENT_OPENED] = {
        ngx_string("access.opened"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_opened },

    [NGX_ZLTUNNEL_EVENT_ACCESS_RESUMED] = {
        ngx_null_string, NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_opened },

    [NGX_ZLTUNNEL_EVENT_RENEWED] = {
        ngx_string("access.renewed"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_opened },

    [NGX_ZLTUNNEL_EVENT_ACCESS_REFUSED] = {
        ngx_string("access.refused"), NGX_LOG_WARN,
        "access sessions that are refused",
        ngx_zltunnel_event_text_not_opened },

    [NGX_ZLTUNNEL_EVENT_RENEWAL_REFUSED] = {
        ngx_string("access.refused"), NGX_LOG_WARN,
        "renewals that are refused", ngx_zltunnel_event_text_not_opened },

    [NGX_ZLTUNNEL_EVENT_STOPPED] = {
        ngx_string("access.closed"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_closed },

    [NGX_ZLTUNNEL_EVENT_CLOSED] = {
        ngx_string("access.closed"), NGX_LOG_NOTICE, NULL,
        ngx_zltunnel_event_text_closed }
};


const ngx_str_t *
ngx_zltunnel_event_log_name(ngx_zltunnel_event_t *event)
{
    return &ngx_zltunnel_event_kinds[event->type].name;
}


size_t
ngx_zltunnel_event_log_text(ngx_zltunnel_event_t *event, u_char *text,
    size_t size)
{
    return ngx_zltunnel_event_kinds[event->type].text(event, text, text + size)
           - text;
}


void
ngx_zltunnel_event_log(ngx_zltunnel_event_t *event, ngx_log_t *log)
{
    u_char                            text[NGX_ZLTUNNEL_EVENT_TEXT];
    size_t                            len;
    const ngx_zltunnel_event_kind_t  *kind;

    kind = &ngx_zltunnel_event_kinds[event->type];

    if (log->log_level < kind->level
        || (kind->paced && !ngx_zltunnel_log_paced(log, kind->paced)))
    {
        return;
    }

    len = ngx_zltunnel_event_log_text(event, text, sizeof(text));

    ngx_log_error(kind->level, log, 0, "%*s", len, text);
}


static u_char *
ngx_zltunnel_event_text_agent(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    u_char  tunnel[2 * ZLT_ID_SIZE + 1];

    ngx_zltunnel_event_hex(tunnel, event->tunnel_id);

    p = ngx_slprintf(p, last, "agent \"%V\" %s from %V, tunnel %s",
                     &event->token,
                     event->type == NGX_ZLTUNNEL_EVENT_CONNECTED
                     ? "connected" : "is back",
                     &event->address, tunnel);

    if (event->type == NGX_ZLTUNNEL_EVENT_TAKEN_OVER) {
        p = ngx_slprintf(p, last, ", taken over from %V", &event->former);
    }

    return p;
}


/* one whose token is none has no name; filters look for how the line begins */

static u_char *
ngx_zltunnel_event_text_refused(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    ngx_str_t  *token;

    token = &event->token;

    return ngx_slprintf(p, last, "agent from %V refused: %V%s%V%s",
                        &event->address, &event->reason,
                        token->len ? " (agent \"" : "", token,
                        token->len ? "\")" : "");
}


static u_char *
ngx_zltunnel_event_text_left(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    u_char  tunnel[2 * ZLT_ID_SIZE + 1];

    ngx_zltunnel_event_hex(tunnel, event->tunnel_id);

    switch (event->type) {

    case NGX_ZLTUNNEL_EVENT_GONE:
        return ngx_slprintf(p, last, "agent \"%V\" has not come back in time, "
                            "its tunnel %s from %V is gone", &event->token,
                            tunnel, &event->address);

    case NGX_ZLTUNNEL_EVENT_REVOKED:
        return ngx_slprintf(p, last, "token of agent \"%V\" does not hold any "
                            "more, its tunnel %s from %V ends: %V",
                            &event->token, tunnel, &event->address,
                            &event->reason);

    default: /* DISCONNECTED */
        return ngx_slprintf(p, last, "agent \"%V\" disconnected, tunnel %s, "
                            "from %V%s%V", &event->token, tunnel,
                            &event->address, event->reason.len ? ": " : "",
                            &event->reason);
    }
}


static u_char *
ngx_zltunnel_event_text_api(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    if (event->type == NGX_ZLTUNNEL_EVENT_KICKED) {
        p = ngx_slprintf(p, last, "agent \"%V\": %V", &event->token,
                         &event->reason);
    } else {
        p = ngx_slprintf(p, last, "a tunnel of agent \"%V\" %s by the "
                         "administrator", &event->token,
                         event->type == NGX_ZLTUNNEL_EVENT_DRAINED
                         ? "is drained" : "is in use again");
    }

    return ngx_zltunnel_event_text_of(event, p, last);
}


static u_char *
ngx_zltunnel_event_text_registered(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    p = ngx_slprintf(p, last, "service \"%V\" of agent \"%V\" %s, port %ui",
                     &event->service, &event->token,
                     event->type == NGX_ZLTUNNEL_EVENT_AGAIN
                     ? "registered again" : "registered",
                     (ngx_uint_t) event->port);

    return ngx_zltunnel_event_text_of(event, p, last);
}


static u_char *
ngx_zltunnel_event_text_service(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    p = ngx_slprintf(p, last, "service \"%V\" of agent \"%V\" %s: %V",
                     &event->service, &event->token,
                     event->type == NGX_ZLTUNNEL_EVENT_SERVICE_REFUSED
                     ? "refused" : "is gone", &event->reason);

    return ngx_zltunnel_event_text_of(event, p, last);
}


static u_char *
ngx_zltunnel_event_text_opened(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    u_char       id[2 * ZLT_ID_SIZE + 1];
    ngx_tm_t     tm;
    const char  *what;

    what = (event->type == NGX_ZLTUNNEL_EVENT_OPENED) ? "opened"
           : (event->type == NGX_ZLTUNNEL_EVENT_RENEWED) ? "renewed"
                                                         : "resumed";

    ngx_zltunnel_event_hex(id, event->access_id);

    p = ngx_slprintf(p, last, "agent \"%V\" %s access to %s service \"%V\"",
                     &event->token, what, event->udp ? "udp" : "tcp",
                     &event->service);

    if (event->target.len) {
        p = ngx_slprintf(p, last, " at \"%V\"", &event->target);
    }

    if (event->until) {
        ngx_gmtime(event->until, &tm);

        p = ngx_slprintf(p, last, " until %4d-%02d-%02dT%02d:%02d:%02dZ",
                         tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                         tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);

    } else {
        p = ngx_slprintf(p, last, " without an end");
    }

    p = ngx_slprintf(p, last, ", session %s%s%V%s", id,
                     event->by.len ? ", served by agent \""
                                   : ", not served yet",
                     &event->by, event->by.len ? "\"" : "");

    return ngx_zltunnel_event_text_of(event, p, last);
}


static u_char *
ngx_zltunnel_event_text_not_opened(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    u_char  id[2 * ZLT_ID_SIZE + 1];

    if (event->type == NGX_ZLTUNNEL_EVENT_RENEWAL_REFUSED) {
        ngx_zltunnel_event_hex(id, event->access_id);

        p = ngx_slprintf(p, last, "agent \"%V\" was refused to renew access "
                         "session %s: %V", &event->token, id, &event->reason);
    } else {
        p = ngx_slprintf(p, last, "agent \"%V\" was refused access to service "
                         "\"%V\": %V", &event->token, &event->service,
                         &event->reason);
    }

    return ngx_zltunnel_event_text_of(event, p, last);
}


static u_char *
ngx_zltunnel_event_text_closed(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    u_char                      id[2 * ZLT_ID_SIZE + 1];
    ngx_zltunnel_access_sum_t  *sum;

    ngx_zltunnel_event_hex(id, event->access_id);
    sum = &event->sum;

    if (event->type == NGX_ZLTUNNEL_EVENT_STOPPED) {
        p = ngx_slprintf(p, last, "agent \"%V\" stopped access session %s: ",
                         &event->token, id);
    } else {
        p = ngx_slprintf(p, last, "access session %s of agent \"%V\" to "
                         "service \"%V\" ended, %V: ", id, &event->token,
                         &event->service, &event->reason);
    }

    p = ngx_slprintf(p, last, "%uL connection%s, %uL bytes in, %uL out, %ui %s",
                     sum->total, sum->total == 1 ? "" : "s", sum->bytes[0],
                     sum->bytes[1], sum->active,
                     event->type == NGX_ZLTUNNEL_EVENT_STOPPED ? "to be cut"
                                                               : "open");

    return ngx_zltunnel_event_text_of(event, p, last);
}


static u_char *
ngx_zltunnel_event_text_of(ngx_zltunnel_event_t *event, u_char *p,
    u_char *last)
{
    u_char  tunnel[2 * ZLT_ID_SIZE + 1];

    ngx_zltunnel_event_hex(tunnel, event->tunnel_id);

    return ngx_slprintf(p, last, " (tunnel %s, from %V)", tunnel,
                        &event->address);
}


static void
ngx_zltunnel_event_hex(u_char *text, u_char *id)
{
    *ngx_hex_dump(text, id, ZLT_ID_SIZE) = '\0';
}
