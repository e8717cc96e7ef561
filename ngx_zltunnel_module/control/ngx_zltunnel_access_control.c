
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Access sessions on control channels: how a visitor opens, renews and stops
 * them, and how it learns that one has ended.
 *
 * AccessOpen and AccessRenew are answered in their order, each at once.  What
 * a token does not allow is refused with a reason that names the limit, never
 * cut to what it does.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_access_control.h"
#include "ngx_zltunnel_access_end.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_event.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"
#include "zlt_name.h"


#define NGX_ZLTUNNEL_ACCESS_TEXT   128


/* an answer, made under the lock and sent behind it */

typedef struct {
    ngx_zltunnel_access_ask_t    ask;
    ngx_zltunnel_token_t        *token;
    u_char                       id[ZLT_ID_SIZE];
    uint32_t                     ttl;          /* seconds left; 0: no end */
    ngx_uint_t                   resumed;
    ngx_uint_t                   code;         /* 0: AccessOk */
    const char                  *reason;
    u_char                       by[NGX_ZLTUNNEL_TOKEN_NAME];
    size_t                       by_len;       /* 0: nobody serves it now */
    u_char                       text[NGX_ZLTUNNEL_ACCESS_TEXT];
} ngx_zltunnel_access_answer_t;


static void ngx_zltunnel_access_open(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
static void ngx_zltunnel_access_open_check(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_access_answer_t *answer);
static void ngx_zltunnel_access_enough(ngx_zltunnel_access_answer_t *answer,
    uint64_t past, uint64_t ttl, uint64_t grace);
static void ngx_zltunnel_access_open_locked(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_access_answer_t *answer);
static ngx_zltunnel_sh_access_t *ngx_zltunnel_access_resumed(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    zlt_msg_t *m);
static void ngx_zltunnel_access_renew(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
static void ngx_zltunnel_access_renew_locked(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_access_answer_t *answer);
static void ngx_zltunnel_access_stop(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
static ngx_zltunnel_sh_access_t *ngx_zltunnel_access_own(
    ngx_zltunnel_control_t *control, const uint8_t *id);
static void ngx_zltunnel_access_served(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_answer_t *answer);
static void ngx_zltunnel_access_reply(ngx_zltunnel_control_t *control,
    ngx_zltunnel_access_answer_t *answer, ngx_uint_t renewal);
static void ngx_zltunnel_access_event(ngx_zltunnel_control_t *control,
    ngx_zltunnel_access_answer_t *answer, ngx_zltunnel_event_e type);


void
ngx_zltunnel_access_control(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    switch (m->type) {

    case ZLT_ACCESS_OPEN:
        ngx_zltunnel_access_open(control, m);
        break;

    case ZLT_ACCESS_RENEW:
        ngx_zltunnel_access_renew(control, m);
        break;

    default: /* ZLT_ACCESS_CLOSE */
        ngx_zltunnel_access_stop(control, m);
        break;
    }
}


static void
ngx_zltunnel_access_open(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    u_char                         name[NGX_ZLTUNNEL_TEXT_MAX];
    ngx_zltunnel_access_answer_t   answer;

    ngx_memzero(&answer, sizeof(ngx_zltunnel_access_answer_t));

    ngx_zltunnel_access_open_check(control, m, &answer);

    if (answer.code == 0) {
        ngx_zltunnel_util_random(answer.id, ZLT_ID_SIZE);
        answer.id[6] = (answer.id[6] & 0x0f) | 0x40;
        answer.id[8] = (answer.id[8] & 0x3f) | 0x80;

        ngx_zltunnel_zone_lock(control->registry);
        ngx_zltunnel_access_open_locked(control, m, &answer);
        ngx_zltunnel_zone_unlock(control->registry);
    }

    /* for the log */

    answer.ask.name.data = name;
    answer.ask.name.len = ngx_zltunnel_log_printable(name, sizeof(name),
                                                     m->name.data, m->name.len);

    ngx_zltunnel_access_event(control, &answer,
                              answer.code ? NGX_ZLTUNNEL_EVENT_ACCESS_REFUSED
                              : answer.resumed
                                ? NGX_ZLTUNNEL_EVENT_ACCESS_RESUMED
                                : NGX_ZLTUNNEL_EVENT_OPENED);

    ngx_zltunnel_access_reply(control, &answer, 0);
}


/* what can be said without the registry */

static void
ngx_zltunnel_access_open_check(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_access_answer_t *answer)
{
    uint16_t                    port;
    zlt_str_t                   host;
    ngx_zltunnel_access_ask_t  *ask;

    ask = &answer->ask;

    ask->name.data = (u_char *) m->name.data;
    ask->name.len = m->name.len;
    ask->target.data = (u_char *) m->target.data;
    ask->target.len = m->target.len;
    ask->visitor = control->peer->name;
    ask->udp = (m->protocol == ZLT_PROTO_UDP);
    ask->local = ngx_zltunnel_util_client_local(control->end.connection);
    ask->token = ngx_zltunnel_token_find(control->registry, control->token);

    if (ask->token == NULL) {
        answer->code = ZLT_E_BAD_TOKEN;
        answer->reason = "The token is no longer valid";

    } else if (ngx_exiting || control->state != NGX_ZLTUNNEL_CONTROL_OPEN) {
        answer->code = ZLT_E_BUSY;
        answer->reason = "The server is reloading, connect again";

    } else if (!zlt_name_valid(m->name.data, m->name.len)) {
        answer->code = ZLT_E_FORBIDDEN;
        answer->reason = "A service name has 1 to 255 bytes: letters, digits, "
                         "\"-\", \"_\" and \".\"";

    } else if ((m->ext & ZLT_X_TARGET)
               && zlt_name_target(m->target.data, m->target.len, &host,
                                   &port) != 0)
    {
        answer->code = ZLT_E_FORBIDDEN;
        answer->reason = "A target is a host, \":\" and a port";

    } else if (ask->token->access == NULL) {
        answer->code = ZLT_E_FORBIDDEN;
        answer->reason = "The token does not allow access to services";

    } else if (!ngx_zltunnel_rights_reaches(ask->token, &ask->name, NULL)) {
        answer->code = ZLT_E_FORBIDDEN;
        answer->reason = "The token does not allow access to that service";

    } else {
        ngx_zltunnel_access_enough(answer, 0, m->ttl, m->grace);
    }
}


/* whether the token allows a session that lasts so long from now on, and has
   been there for a while, in seconds */

static void
ngx_zltunnel_access_enough(ngx_zltunnel_access_answer_t *answer, uint64_t past,
    uint64_t ttl, uint64_t grace)
{
    u_char  text[NGX_ZLTUNNEL_UTIL_TIME];
    time_t  limit;

    limit = answer->ask.token->access_ttl;

    if (limit == 0 || (ttl && past + ttl + grace <= (uint64_t) limit)) {
        return;
    }

    *ngx_snprintf(answer->text, NGX_ZLTUNNEL_ACCESS_TEXT - 1,
                  ttl && past ? "The token allows access for %s at most from "
                                "when it was opened, grace included"
                  : ttl ? "The token allows access for %s at most, grace "
                        "included"
                      : "The token allows access for %s at most, not without "
                        "an end", ngx_zltunnel_util_time(text, limit)) = '\0';

    answer->code = ZLT_E_FORBIDDEN;
    answer->reason = (char *) answer->text;
}


/* under the lock */

static void
ngx_zltunnel_access_open_locked(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_access_answer_t *answer)
{
    uint64_t                    now, deadline;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_sh_tunnel_t   *tunnel;

    registry = control->registry;
    now = ngx_zltunnel_access_boottime();
    deadline = m->ttl ? now + (uint64_t) m->ttl * 1000 : 0;

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, control->tunnel_id);

    if (tunnel == NULL || tunnel->epoch != control->epoch) {
        answer->code = ZLT_E_BUSY;
        answer->reason = "The tunnel was lost, connect again";
        control->failed = 1;
        return;
    }

    access = ngx_zltunnel_access_resumed(registry, tunnel, m);

    if (access && ngx_zltunnel_access_over(access, now)) {
        answer->code = ZLT_E_EXPIRED;
        answer->reason = "The access session has expired";
        return;
    }

    ngx_zltunnel_access_served(registry, answer);

    if (answer->code) {
        return;
    }

    if (access) {
        answer->resumed = 1;
        access->stale = 0;

        if (access->tunnel != tunnel) {
            ngx_zltunnel_access_move(access, tunnel);
        }

        if (access->deadline && (deadline == 0 || access->deadline < deadline))
        {
            deadline = access->deadline;
        }

    } else {

        if (ngx_zltunnel_tunnel_sum(registry->sh, &control->peer->name,
                                    offsetof(ngx_zltunnel_sh_tunnel_t,
                                             naccesses))
            >= answer->ask.token->max_access
            && !ngx_zltunnel_access_stale(registry, tunnel))
        {
            answer->code = ZLT_E_LIMIT;
            answer->reason = "The token has reached its limit of access "
                             "sessions";
            return;
        }

        access = ngx_zltunnel_access_create(registry, tunnel, m, answer->id);

        if (access == NULL) {
            answer->code = ZLT_E_BUSY;
            answer->reason = NGX_ZLTUNNEL_ZONE_FULL;
            return;
        }
    }

    access->deadline = deadline;
    access->grace = (uint64_t) m->grace * 1000;

    ngx_memcpy(answer->id, access->id, ZLT_ID_SIZE);
    answer->ttl = ngx_zltunnel_access_left(access, now);
}


/* the session that is asked for again, if it is one of this kind; it may wait
   in another tunnel of the token, as a service may */

static ngx_zltunnel_sh_access_t *
ngx_zltunnel_access_resumed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, zlt_msg_t *m)
{
    ngx_zltunnel_sh_access_t  *access;

    if (!(m->ext & ZLT_X_ACCESS_ID)) {
        return NULL;
    }

    access = ngx_zltunnel_access_find(registry->sh, (u_char *) m->access_id);

    if (access == NULL
        || (access->tunnel != tunnel
            && (!ngx_zltunnel_access_waits(access)
                || access->tunnel->name_len != tunnel->name_len
                || ngx_memcmp(access->tunnel->name, tunnel->name,
                              tunnel->name_len) != 0))
        || access->udp != (m->protocol == ZLT_PROTO_UDP)
        || access->name_len != m->name.len
        || access->target_len != m->target.len
        || ngx_memcmp(access->name, m->name.data, m->name.len) != 0
        || (m->target.len
            && ngx_memcmp(ngx_zltunnel_access_target(access), m->target.data,
                          m->target.len) != 0))
    {
        return NULL;
    }

    return access;
}


/*
 * Under the lock: who serves it now.  Nobody is no error, the service may come
 * later; one that is there, and refuses this visitor or its target, is.
 */

static void
ngx_zltunnel_access_served(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_answer_t *answer)
{
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    service = ngx_zltunnel_access_service(registry->sh, &answer->ask);

    if (service == NULL) {

        if (answer->ask.code == ZLT_E_FORBIDDEN) {
            answer->code = ZLT_E_FORBIDDEN;
            answer->reason = answer->ask.reason;
        }

        return;
    }

    tunnel = service->tunnel;

    answer->by_len = tunnel->name_len;
    ngx_memcpy(answer->by, tunnel->name, tunnel->name_len);
}


static void
ngx_zltunnel_access_renew(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    u_char                         name[ZLT_MAX_NAME], target[ZLT_MAX_TARGET];
    ngx_zltunnel_access_ask_t     *ask;
    ngx_zltunnel_access_answer_t   answer;

    ngx_memzero(&answer, sizeof(ngx_zltunnel_access_answer_t));
    ngx_memcpy(answer.id, m->access_id, ZLT_ID_SIZE);

    ask = &answer.ask;
    ask->name.data = name;
    ask->target.data = target;
    ask->visitor = control->peer->name;
    ask->local = ngx_zltunnel_util_client_local(control->end.connection);
    ask->token = ngx_zltunnel_token_find(control->registry, control->token);

    ngx_zltunnel_zone_lock(control->registry);
    ngx_zltunnel_access_renew_locked(control, m, &answer);
    ngx_zltunnel_zone_unlock(control->registry);

    ngx_zltunnel_access_event(control, &answer,
                              answer.code ? NGX_ZLTUNNEL_EVENT_RENEWAL_REFUSED
                                          : NGX_ZLTUNNEL_EVENT_RENEWED);

    ngx_zltunnel_access_reply(control, &answer, 1);
}


/* answer->ask has room for the name and the target */

static void
ngx_zltunnel_access_renew_locked(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_access_answer_t *answer)
{
    uint64_t                    now;
    ngx_zltunnel_access_ask_t  *ask;
    ngx_zltunnel_sh_access_t   *access;

    ask = &answer->ask;
    now = ngx_zltunnel_access_boottime();
    access = ngx_zltunnel_access_own(control, m->access_id);

    if (access == NULL) {
        answer->code = ZLT_E_UNREACHABLE;
        answer->reason = "There is no such access session";
        return;
    }

    if (ngx_zltunnel_access_over(access, now)) {
        answer->code = ZLT_E_EXPIRED;
        answer->reason = "The access session has expired";
        return;
    }

    ask->udp = access->udp;
    ask->name.len = access->name_len;
    ngx_memcpy(ask->name.data, access->name, access->name_len);
    ask->target.len = access->target_len;
    ngx_memcpy(ask->target.data, ngx_zltunnel_access_target(access),
               access->target_len);

    if (ask->token == NULL) {
        answer->code = ZLT_E_BAD_TOKEN;
        answer->reason = "The token is no longer valid";

    } else if (!ngx_zltunnel_rights_reaches(ask->token, &ask->name, NULL)) {
        answer->code = ZLT_E_FORBIDDEN;
        answer->reason = "The token does not allow access to that service";

    } else {
        ngx_zltunnel_access_enough(answer, (now - access->opened) / 1000,
                                   m->ttl, access->grace / 1000);
    }

    if (answer->code == 0) {
        ngx_zltunnel_access_served(control->registry, answer);
    }

    if (answer->code == 0) {
        access->deadline = m->ttl ? now + (uint64_t) m->ttl * 1000 : 0;
        answer->ttl = m->ttl;
    }
}


static void
ngx_zltunnel_access_stop(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    ngx_zltunnel_event_t       *event;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_access_sum_t   sum;

    ngx_zltunnel_zone_lock(control->registry);

    access = ngx_zltunnel_access_own(control, m->access_id);

    if (access) {
        event = ngx_zltunnel_event_new(control->registry,
                                       NGX_ZLTUNNEL_EVENT_STOPPED);
        ngx_zltunnel_access_sum(access, &sum);
        ngx_zltunnel_event_access(event, access, &sum);
        ngx_zltunnel_event_reason(event, 0, "stopped by the visitor");

        access->told = 1;
        ngx_zltunnel_access_remove(control->registry, access, 0, NULL);
    }

    ngx_zltunnel_zone_unlock(control->registry);

    if (access == NULL) {
        return;
    }

    ngx_zltunnel_event_tell(control->end.connection->log);

    ngx_zltunnel_access_end_notify(control->registry);
}


/* under the lock: a session of this control channel's tunnel */

static ngx_zltunnel_sh_access_t *
ngx_zltunnel_access_own(ngx_zltunnel_control_t *control, const uint8_t *id)
{
    ngx_zltunnel_sh_access_t  *access;

    access = ngx_zltunnel_access_find(control->registry->sh, (u_char *) id);

    if (access == NULL
        || access->tunnel->epoch != control->epoch
        || ngx_memcmp(access->tunnel->id, control->tunnel_id, ZLT_ID_SIZE)
           != 0)
    {
        return NULL;
    }

    return access;
}


static void
ngx_zltunnel_access_reply(ngx_zltunnel_control_t *control,
    ngx_zltunnel_access_answer_t *answer, ngx_uint_t renewal)
{
    zlt_msg_t  m;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.access_id = answer->id;

    if (answer->code) {
        m.type = ZLT_ACCESS_FAIL;
        m.reason.data = (u_char *) answer->reason;
        m.reason.len = ngx_strlen(answer->reason);
        m.ext = ZLT_X_CODE | (renewal ? ZLT_X_ACCESS_ID : 0);
        m.code = answer->code;

    } else {
        m.type = ZLT_ACCESS_OK;
        m.ttl = answer->ttl;

        if (answer->by_len) {
            m.ext = ZLT_X_SERVED_BY;
            m.served_by.data = answer->by;
            m.served_by.len = answer->by_len;
        }
    }

    ngx_zltunnel_control_io_write(control, &m);
}


static void
ngx_zltunnel_access_event(ngx_zltunnel_control_t *control,
    ngx_zltunnel_access_answer_t *answer, ngx_zltunnel_event_e type)
{
    ngx_zltunnel_event_t       *event;
    ngx_zltunnel_access_ask_t  *ask;

    event = ngx_zltunnel_control_event(control, type);

    if (event) {
        ask = &answer->ask;

        event->udp = ask->udp;

        ngx_zltunnel_event_text(event, &event->service, ask->name.data,
                                ask->name.len);
        ngx_zltunnel_event_text(event, &event->target, ask->target.data,
                                ask->target.len);
        ngx_zltunnel_event_text(event, &event->by, answer->by, answer->by_len);

        if (type != NGX_ZLTUNNEL_EVENT_ACCESS_REFUSED) {
            event->access = 1;
            ngx_memcpy(event->access_id, answer->id, ZLT_ID_SIZE);
        }

        if (answer->code) {
            ngx_zltunnel_event_reason(event, answer->code, answer->reason);

        } else if (answer->ttl) {
            event->until = ngx_time() + answer->ttl;
        }
    }

    ngx_zltunnel_event_tell(control->end.connection->log);
}
