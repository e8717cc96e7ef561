
/*
 * Copyright (C) zltunnel authors
 */

/* An event for programs; docs/operations.md says what its fields are. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_event.h"

#include "zlt_msg.h"


static void ngx_zltunnel_event_json_head(ngx_zltunnel_json_t *j,
    ngx_zltunnel_event_t *event, u_char *id);
static void ngx_zltunnel_event_json_service(ngx_zltunnel_json_t *j,
    ngx_zltunnel_event_t *event);
static void ngx_zltunnel_event_json_hosts(ngx_zltunnel_json_t *j,
    ngx_str_t *hosts);
static void ngx_zltunnel_event_json_access(ngx_zltunnel_json_t *j,
    ngx_zltunnel_event_t *event);
static void ngx_zltunnel_event_json_id(ngx_zltunnel_json_t *j,
    const char *name, ngx_uint_t there, u_char *id);
static void ngx_zltunnel_event_json_text(ngx_zltunnel_json_t *j,
    const char *name, ngx_str_t *text);
static void ngx_zltunnel_event_json_code(ngx_zltunnel_json_t *j,
    ngx_uint_t code);


ngx_int_t
ngx_zltunnel_event_json(ngx_zltunnel_event_t *event, u_char *id,
    ngx_str_t *text)
{
    off_t                 size;
    u_char               *p;
    ngx_pool_t           *pool;
    ngx_chain_t          *out;
    ngx_zltunnel_json_t   j;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_json_init(&j, pool);
    j.compact = 1;

    ngx_zltunnel_json_open(&j, NULL, '{');
    ngx_zltunnel_event_json_head(&j, event, id);
    ngx_zltunnel_event_json_service(&j, event);
    ngx_zltunnel_event_json_access(&j, event);
    ngx_zltunnel_json_close(&j, '}');

    text->data = NULL;

    if (ngx_zltunnel_json_end(&j, &out, &size) == NGX_OK) {
        text->data = ngx_alloc(size, ngx_cycle->log);
    }

    if (text->data) {

        for (p = text->data; out; out = out->next) {
            p = ngx_cpymem(p, out->buf->pos, out->buf->last - out->buf->pos);
        }

        text->len = p - text->data;
    }

    ngx_destroy_pool(pool);

    return text->data ? NGX_OK : NGX_ERROR;
}


static void
ngx_zltunnel_event_json_head(ngx_zltunnel_json_t *j,
    ngx_zltunnel_event_t *event, u_char *id)
{
    u_char            *p, time[sizeof("0000-00-00T00:00:00.000Z")];
    u_char             text[NGX_ZLTUNNEL_EVENT_TEXT];
    ngx_tm_t           tm;
    const ngx_str_t   *name;

    name = ngx_zltunnel_event_log_name(event);

    ngx_gmtime(event->sec, &tm);
    p = ngx_sprintf(time, "%4d-%02d-%02dT%02d:%02d:%02d.%03uiZ",
                    tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                    tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec, event->msec);

    ngx_zltunnel_json_hex(j, "id", id, ZLT_ID_SIZE);
    ngx_zltunnel_json_number(j, "sequence", event->sequence);
    ngx_zltunnel_json_string(j, "time", time, p - time);
    ngx_zltunnel_json_string(j, "type", name->data, name->len);
    ngx_zltunnel_json_string(j, "text", text,
                             ngx_zltunnel_event_log_text(event, text,
                                                         sizeof(text)));
    ngx_zltunnel_json_string(j, "registry", event->registry->name.data,
                             event->registry->name.len);
    ngx_zltunnel_json_string(j, "node", ngx_cycle->hostname.data,
                             ngx_cycle->hostname.len);

    ngx_zltunnel_event_json_id(j, "tunnel", event->tunnel, event->tunnel_id);
    ngx_zltunnel_event_json_text(j, "token", &event->token);
    ngx_zltunnel_event_json_text(j, "agent", &event->agent);
    ngx_zltunnel_event_json_text(j, "address", &event->address);
    ngx_zltunnel_event_json_text(j, "former_address",
                                 event->type == NGX_ZLTUNNEL_EVENT_TAKEN_OVER
                                 ? &event->former : NULL);
    ngx_zltunnel_event_json_code(j, event->code);
    ngx_zltunnel_event_json_text(j, "reason", &event->reason);
}


static void
ngx_zltunnel_event_json_service(ngx_zltunnel_json_t *j,
    ngx_zltunnel_event_t *event)
{
    if (event->service.data == NULL) {
        ngx_zltunnel_json_null(j, "service");
        return;
    }

    ngx_zltunnel_json_open(j, "service", '{');

    ngx_zltunnel_event_json_id(j, "id", event->registered, event->service_id);
    ngx_zltunnel_json_string(j, "name", event->service.data,
                             event->service.len);
    ngx_zltunnel_json_string(j, "protocol",
                             (u_char *) (event->udp ? "udp" : "tcp"), 3);

    if (event->port) {
        ngx_zltunnel_json_number(j, "port", event->port);

    } else {
        ngx_zltunnel_json_null(j, "port");
    }

    ngx_zltunnel_json_open(j, "hosts", '[');
    ngx_zltunnel_event_json_hosts(j, &event->hosts);
    ngx_zltunnel_json_close(j, ']');

    ngx_zltunnel_json_close(j, '}');
}


static void
ngx_zltunnel_event_json_hosts(ngx_zltunnel_json_t *j, ngx_str_t *hosts)
{
    u_char  *p, *last, *end;

    last = hosts->data + hosts->len;

    for (p = hosts->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ' ');

        if (end == NULL) {
            end = last;
        }

        ngx_zltunnel_json_string(j, NULL, p, end - p);
    }
}


static void
ngx_zltunnel_event_json_access(ngx_zltunnel_json_t *j,
    ngx_zltunnel_event_t *event)
{
    if (!event->access) {
        ngx_zltunnel_json_null(j, "access");
        return;
    }

    ngx_zltunnel_json_open(j, "access", '{');

    ngx_zltunnel_json_hex(j, "id", event->access_id, ZLT_ID_SIZE);
    ngx_zltunnel_event_json_text(j, "target", &event->target);
    ngx_zltunnel_event_json_text(j, "served_by", &event->by);
    ngx_zltunnel_json_time(j, "until", event->until);
    ngx_zltunnel_json_number(j, "connections", event->sum.total);
    ngx_zltunnel_json_number(j, "bytes_in", event->sum.bytes[0]);
    ngx_zltunnel_json_number(j, "bytes_out", event->sum.bytes[1]);

    ngx_zltunnel_json_close(j, '}');
}


static void
ngx_zltunnel_event_json_id(ngx_zltunnel_json_t *j, const char *name,
    ngx_uint_t there, u_char *id)
{
    if (there) {
        ngx_zltunnel_json_hex(j, name, id, ZLT_ID_SIZE);

    } else {
        ngx_zltunnel_json_null(j, name);
    }
}


static void
ngx_zltunnel_event_json_text(ngx_zltunnel_json_t *j, const char *name,
    ngx_str_t *text)
{
    if (text && text->len) {
        ngx_zltunnel_json_string(j, name, text->data, text->len);

    } else {
        ngx_zltunnel_json_null(j, name);
    }
}


static void
ngx_zltunnel_event_json_code(ngx_zltunnel_json_t *j, ngx_uint_t code)
{
    ngx_str_t  name;

    static const ngx_str_t  names[] = {
        [ZLT_E_BAD_TOKEN]   = ngx_string("bad_token"),
        [ZLT_E_EXPIRED]     = ngx_string("expired"),
        [ZLT_E_IN_USE]      = ngx_string("in_use"),
        [ZLT_E_LIMIT]       = ngx_string("limit"),
        [ZLT_E_PORT_TAKEN]  = ngx_string("port_taken"),
        [ZLT_E_FORBIDDEN]   = ngx_string("forbidden"),
        [ZLT_E_REFUSED]     = ngx_string("refused"),
        [ZLT_E_UNREACHABLE] = ngx_string("unreachable"),
        [ZLT_E_DUPLICATE]   = ngx_string("duplicate"),
        [ZLT_E_BUSY]        = ngx_string("busy"),
        [ZLT_E_HOST_TAKEN]  = ngx_string("host_taken")
    };

    ngx_str_null(&name);

    if (code < sizeof(names) / sizeof(names[0])) {
        name = names[code];
    }

    ngx_zltunnel_event_json_text(j, "code", &name);
}
