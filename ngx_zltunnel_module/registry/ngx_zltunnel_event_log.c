
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The line that the log has of an event.  What an operator wants to know is at
 * "notice", what was refused at "warn"; services come in numbers, so what is
 * right of them is at "info", and not more than some lines a minute are written
 * of what one agent can bring about as often as it likes.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_event.h"


static void ngx_zltunnel_event_log_refused(ngx_zltunnel_event_t *event,
    ngx_log_t *log);
static void ngx_zltunnel_event_log_service(ngx_zltunnel_event_t *event,
    ngx_log_t *log);
static void ngx_zltunnel_event_log_opened(ngx_zltunnel_event_t *event,
    ngx_log_t *log);
static void ngx_zltunnel_event_log_closed(ngx_zltunnel_event_t *event,
    ngx_log_t *log);
static void ngx_zltunnel_event_log_access_refused(ngx_zltunnel_event_t *event,
    ngx_log_t *log);


void
ngx_zltunnel_event_log(ngx_zltunnel_event_t *event, ngx_log_t *log)
{
    u_char     *tunnel;
    ngx_str_t  *token, *address;

    token = &event->token;
    address = &event->address;
    tunnel = ngx_zltunnel_access_hex(event->tunnel_id);

    switch (event->type) {

    case NGX_ZLTUNNEL_EVENT_CONNECTED:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "agent \"%V\" connected from %V, tunnel %s", token,
                      address, tunnel);
        break;

    case NGX_ZLTUNNEL_EVENT_BACK:
    case NGX_ZLTUNNEL_EVENT_MOVED:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "agent \"%V\" is back from %V, tunnel %s", token,
                      address, tunnel);
        break;

    case NGX_ZLTUNNEL_EVENT_TAKEN_OVER:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "agent \"%V\" is back from %V, tunnel %s, taken over "
                      "from %V", token, address, tunnel, &event->former);
        break;

    case NGX_ZLTUNNEL_EVENT_REFUSED:
        ngx_zltunnel_event_log_refused(event, log);
        break;

    case NGX_ZLTUNNEL_EVENT_DISCONNECTED:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "agent \"%V\" disconnected, tunnel %s, from %V%s%V",
                      token, tunnel, address, event->reason.len ? ": " : "",
                      &event->reason);
        break;

    case NGX_ZLTUNNEL_EVENT_GONE:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "agent \"%V\" has not come back in time, its tunnel %s "
                      "from %V is gone", token, tunnel, address);
        break;

    case NGX_ZLTUNNEL_EVENT_REVOKED:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "token of agent \"%V\" was removed or has expired, "
                      "its tunnel %s from %V ends", token, tunnel, address);
        break;

    case NGX_ZLTUNNEL_EVENT_KICKED:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "agent \"%V\": %V (tunnel %s, from %V)", token,
                      &event->reason, tunnel, address);
        break;

    case NGX_ZLTUNNEL_EVENT_DRAINED:
    case NGX_ZLTUNNEL_EVENT_RESUMED:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "a tunnel of agent \"%V\" %s by the administrator "
                      "(tunnel %s, from %V)", token,
                      event->type == NGX_ZLTUNNEL_EVENT_DRAINED
                      ? "is drained" : "is in use again", tunnel, address);
        break;

    case NGX_ZLTUNNEL_EVENT_REGISTERED:
    case NGX_ZLTUNNEL_EVENT_AGAIN:
    case NGX_ZLTUNNEL_EVENT_SERVICE_REFUSED:
    case NGX_ZLTUNNEL_EVENT_SERVICE_GONE:
        ngx_zltunnel_event_log_service(event, log);
        break;

    case NGX_ZLTUNNEL_EVENT_OPENED:
    case NGX_ZLTUNNEL_EVENT_ACCESS_RESUMED:
    case NGX_ZLTUNNEL_EVENT_RENEWED:
        ngx_zltunnel_event_log_opened(event, log);
        break;

    case NGX_ZLTUNNEL_EVENT_ACCESS_REFUSED:
    case NGX_ZLTUNNEL_EVENT_RENEWAL_REFUSED:
        ngx_zltunnel_event_log_access_refused(event, log);
        break;

    default: /* STOPPED, CLOSED */
        ngx_zltunnel_event_log_closed(event, log);
        break;
    }
}


/* one whose token is none has no name; filters look for how the line begins */

static void
ngx_zltunnel_event_log_refused(ngx_zltunnel_event_t *event, ngx_log_t *log)
{
    ngx_str_t  *token;

    token = &event->token;

    ngx_log_error(NGX_LOG_WARN, log, 0, "agent from %V refused: %V%s%V%s",
                  &event->address, &event->reason,
                  token->len ? " (agent \"" : "", token,
                  token->len ? "\")" : "");
}


static void
ngx_zltunnel_event_log_service(ngx_zltunnel_event_t *event, ngx_log_t *log)
{
    u_char      *tunnel;
    ngx_str_t   *name, *token, *address;

    name = &event->service;
    token = &event->token;
    address = &event->address;
    tunnel = ngx_zltunnel_access_hex(event->tunnel_id);

    if (event->type == NGX_ZLTUNNEL_EVENT_SERVICE_REFUSED) {

        if (ngx_zltunnel_log_paced(log, "services that are refused")) {
            ngx_log_error(NGX_LOG_WARN, log, 0,
                          "service \"%V\" of agent \"%V\" refused: %V "
                          "(tunnel %s, from %V)", name, token, &event->reason,
                          tunnel, address);
        }

        return;
    }

    if (event->type == NGX_ZLTUNNEL_EVENT_SERVICE_GONE) {

        if (ngx_zltunnel_log_paced(log, "services that are gone")) {
            ngx_log_error(NGX_LOG_INFO, log, 0,
                          "service \"%V\" of agent \"%V\" is gone: %V "
                          "(tunnel %s, from %V)", name, token, &event->reason,
                          tunnel, address);
        }

        return;
    }

    if (ngx_zltunnel_log_paced(log, "services that are registered")) {
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "service \"%V\" of agent \"%V\" %s, port %ui "
                      "(tunnel %s, from %V)", name, token,
                      event->type == NGX_ZLTUNNEL_EVENT_AGAIN
                      ? "registered again" : "registered",
                      (ngx_uint_t) event->port, tunnel, address);
    }
}


static void
ngx_zltunnel_event_log_opened(ngx_zltunnel_event_t *event, ngx_log_t *log)
{
    u_char      *p, id[2 * ZLT_ID_SIZE + 1];
    ngx_tm_t     tm;
    const char  *what;
    u_char       until[sizeof("without an end")
                       + sizeof("until 0000-00-00T00:00:00Z")];

    what = (event->type == NGX_ZLTUNNEL_EVENT_OPENED) ? "opened"
           : (event->type == NGX_ZLTUNNEL_EVENT_RENEWED) ? "renewed"
                                                         : "resumed";

    if (event->until) {
        ngx_gmtime(event->until, &tm);

        p = ngx_sprintf(until, "until %4d-%02d-%02dT%02d:%02d:%02dZ",
                        tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                        tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);

    } else {
        p = ngx_cpymem(until, "without an end", sizeof("without an end") - 1);
    }

    *p = '\0';
    *ngx_hex_dump(id, event->access_id, ZLT_ID_SIZE) = '\0';

    ngx_log_error(NGX_LOG_NOTICE, log, 0,
                  "agent \"%V\" %s access to %s service \"%V\"%s%V%s %s, "
                  "session %s%s%V%s (tunnel %s, from %V)",
                  &event->token, what, event->udp ? "udp" : "tcp",
                  &event->service, event->target.len ? " at \"" : "",
                  &event->target, event->target.len ? "\"" : "", until, id,
                  event->by.len ? ", served by agent \"" : ", not served yet",
                  &event->by, event->by.len ? "\"" : "",
                  ngx_zltunnel_access_hex(event->tunnel_id), &event->address);
}


static void
ngx_zltunnel_event_log_access_refused(ngx_zltunnel_event_t *event,
    ngx_log_t *log)
{
    u_char  id[2 * ZLT_ID_SIZE + 1], *tunnel;

    tunnel = ngx_zltunnel_access_hex(event->tunnel_id);

    if (event->type == NGX_ZLTUNNEL_EVENT_RENEWAL_REFUSED) {

        if (ngx_zltunnel_log_paced(log, "renewals that are refused")) {
            *ngx_hex_dump(id, event->access_id, ZLT_ID_SIZE) = '\0';

            ngx_log_error(NGX_LOG_WARN, log, 0,
                          "agent \"%V\" was refused to renew access session "
                          "%s: %V (tunnel %s, from %V)", &event->token, id,
                          &event->reason, tunnel, &event->address);
        }

        return;
    }

    if (ngx_zltunnel_log_paced(log, "access sessions that are refused")) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "agent \"%V\" was refused access to service \"%V\": %V "
                      "(tunnel %s, from %V)", &event->token, &event->service,
                      &event->reason, tunnel, &event->address);
    }
}


static void
ngx_zltunnel_event_log_closed(ngx_zltunnel_event_t *event, ngx_log_t *log)
{
    u_char  id[2 * ZLT_ID_SIZE + 1];

    *ngx_hex_dump(id, event->access_id, ZLT_ID_SIZE) = '\0';

    if (event->type == NGX_ZLTUNNEL_EVENT_STOPPED) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "agent \"%V\" stopped access session %s: "
                      "%uL connection%s, %uL bytes in, %uL out, %ui to be "
                      "cut (tunnel %s, from %V)", &event->token, id,
                      event->sum.total, event->sum.total == 1 ? "" : "s",
                      event->sum.bytes[0], event->sum.bytes[1],
                      event->sum.active,
                      ngx_zltunnel_access_hex(event->tunnel_id),
                      &event->address);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, log, 0,
                  "access session %s of agent \"%V\" to service \"%V\" "
                  "ended, %V: %uL connection%s, %uL bytes in, %uL out, "
                  "%ui open (tunnel %s, from %V)",
                  id, &event->token, &event->service, &event->reason,
                  event->sum.total, event->sum.total == 1 ? "" : "s",
                  event->sum.bytes[0], event->sum.bytes[1], event->sum.active,
                  ngx_zltunnel_access_hex(event->tunnel_id), &event->address);
}
