
/*
 * Copyright (C) zltunnel authors
 */

/* Tunnels, and what they have, as the API shows them. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_api_tunnel.h"
#include "ngx_zltunnel_status_sum.h"


static void ngx_zltunnel_api_tunnel_open(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_api_tunnel_close(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_api_tunnel_sums(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_api_tunnel_service(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service);
static void ngx_zltunnel_api_tunnel_names(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service);
static void ngx_zltunnel_api_tunnel_dropped(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service);
static void ngx_zltunnel_api_tunnel_leads(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service);
static const char *ngx_zltunnel_api_tunnel_state(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_api_tunnel_text(ngx_zltunnel_json_t *j,
    const char *name, const char *text);


void
ngx_zltunnel_api_tunnel(ngx_zltunnel_status_t *st)
{
    ngx_zltunnel_api_tunnel_open(st);
    ngx_zltunnel_json_number(&st->json, "services", st->nservices);
    ngx_zltunnel_api_tunnel_close(st);
}


void
ngx_zltunnel_api_tunnel_whole(ngx_zltunnel_status_t *st)
{
    ngx_zltunnel_api_tunnel_open(st);

    ngx_zltunnel_json_open(&st->json, "services", '[');
    ngx_zltunnel_api_tunnel_services(st);
    ngx_zltunnel_json_close(&st->json, ']');

    ngx_zltunnel_api_tunnel_close(st);
}


void
ngx_zltunnel_api_tunnel_past(ngx_zltunnel_status_t *st,
    ngx_zltunnel_sh_past_t *past, ngx_uint_t whole)
{
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    st->past = past;
    st->nservices = 0;

    tunnel = &st->tunnel;

    ngx_memzero(tunnel, sizeof(ngx_zltunnel_sh_tunnel_t));

    ngx_memcpy(tunnel->id, past->id, ZLT_ID_SIZE);

    tunnel->name_len = past->name_len;
    ngx_memcpy(tunnel->name, past->name, past->name_len);

    tunnel->agent_len = past->agent_len;
    ngx_memcpy(tunnel->agent, past->agent, past->agent_len);

    tunnel->address_len = past->address_len;
    ngx_memcpy(tunnel->address, past->address, past->address_len);

    tunnel->error_len = past->error_len;
    ngx_memcpy(tunnel->error, past->error, past->error_len);

    tunnel->failed = past->failed;
    tunnel->since = past->since;
    tunnel->left = past->left;

    if (whole) {
        ngx_zltunnel_api_tunnel_whole(st);

    } else {
        ngx_zltunnel_api_tunnel(st);
    }

    st->past = NULL;
}


static void
ngx_zltunnel_api_tunnel_open(ngx_zltunnel_status_t *st)
{
    ngx_zltunnel_json_t       *j;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    j = &st->json;
    tunnel = &st->tunnel;

    ngx_zltunnel_json_open(j, NULL, '{');

    ngx_zltunnel_json_hex(j, "id", tunnel->id, ZLT_ID_SIZE);
    ngx_zltunnel_json_string(j, "token", tunnel->name, tunnel->name_len);
    ngx_zltunnel_api_tunnel_text(j, "state", ngx_zltunnel_api_tunnel_state(st));

    if (tunnel->remote) {
        ngx_zltunnel_json_hex(j, "remote_node", tunnel->remote_id,
                              ZLT_ID_SIZE);

    } else {
        ngx_zltunnel_json_null(j, "remote_node");
    }

    ngx_zltunnel_json_string(j, "agent", tunnel->agent, tunnel->agent_len);
    ngx_zltunnel_json_string(j, "address", tunnel->address,
                             tunnel->address_len);
    ngx_zltunnel_json_time(j, "connected", tunnel->since);
    ngx_zltunnel_json_time(j, "last_seen",
                           st->past ? st->past->heard
                                    : ngx_zltunnel_status_sum_time(
                                                           tunnel->heard));
    ngx_zltunnel_json_time(j, "disconnected", tunnel->left);

    if (tunnel->failed) {
        ngx_zltunnel_json_open(j, "last_error", '{');
        ngx_zltunnel_json_time(j, "time", tunnel->failed);
        ngx_zltunnel_json_string(j, "text", tunnel->error, tunnel->error_len);
        ngx_zltunnel_json_close(j, '}');

    } else {
        ngx_zltunnel_json_null(j, "last_error");
    }
}


static void
ngx_zltunnel_api_tunnel_close(ngx_zltunnel_status_t *st)
{
    ngx_zltunnel_json_t       *j;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    j = &st->json;
    tunnel = &st->tunnel;

    ngx_zltunnel_api_tunnel_sums(st);

    if (tunnel->rtt) {
        ngx_zltunnel_json_number(j, "rtt", tunnel->rtt - 1);

    } else {
        ngx_zltunnel_json_null(j, "rtt");
    }

    ngx_zltunnel_json_number(j, "idle_channels", tunnel->nidle);
    ngx_zltunnel_json_number(j, "pending", tunnel->npending);

    ngx_zltunnel_json_close(j, '}');
}


static void
ngx_zltunnel_api_tunnel_sums(ngx_zltunnel_status_t *st)
{
    uint64_t                        total, in, out;
    ngx_uint_t                      i, active;
    ngx_zltunnel_json_t            *j;
    ngx_zltunnel_status_service_t  *service;

    active = 0;
    total = 0;
    in = 0;
    out = 0;

    for (i = 0; i < st->nservices; i++) {
        service = &st->services[i];

        active += service->active;
        total += service->total;
        in += service->bytes[0];
        out += service->bytes[1];
    }

    if (st->past) {
        total = st->past->total;
        in = st->past->bytes[0];
        out = st->past->bytes[1];
    }

    j = &st->json;

    ngx_zltunnel_json_number(j, "active", active);
    ngx_zltunnel_json_number(j, "total", total);
    ngx_zltunnel_json_number(j, "bytes_in", in);
    ngx_zltunnel_json_number(j, "bytes_out", out);
}


void
ngx_zltunnel_api_tunnel_services(ngx_zltunnel_status_t *st)
{
    ngx_uint_t  i;

    for (i = 0; i < st->nservices; i++) {
        ngx_zltunnel_api_tunnel_service(st, &st->services[i]);
    }
}


static void
ngx_zltunnel_api_tunnel_service(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service)
{
    ngx_zltunnel_json_t  *j;

    j = &st->json;

    ngx_zltunnel_json_open(j, NULL, '{');

    ngx_zltunnel_json_hex(j, "id", service->id, ZLT_ID_SIZE);
    ngx_zltunnel_json_hex(j, "tunnel", st->tunnel.id, ZLT_ID_SIZE);
    ngx_zltunnel_json_string(j, "token", st->tunnel.name, st->tunnel.name_len);
    ngx_zltunnel_json_string(j, "name", service->name, service->name_len);
    ngx_zltunnel_api_tunnel_text(j, "protocol", service->udp ? "udp" : "tcp");
    ngx_zltunnel_json_number(j, "port", service->port);
    ngx_zltunnel_json_number(j, "local_port", service->local_port);

    ngx_zltunnel_json_open(j, "hosts", '[');
    ngx_zltunnel_api_tunnel_names(st, service);
    ngx_zltunnel_json_close(j, ']');

    ngx_zltunnel_api_tunnel_text(j, "state",
                                 ngx_zltunnel_status_copy_state(st, service));

    ngx_zltunnel_json_number(j, "active", service->active);
    ngx_zltunnel_json_number(j, "total", service->total);
    ngx_zltunnel_json_number(j, "bytes_in", service->bytes[0]);
    ngx_zltunnel_json_number(j, "bytes_out", service->bytes[1]);
    ngx_zltunnel_json_number(j, "datagrams_in", service->datagrams[0]);
    ngx_zltunnel_json_number(j, "datagrams_out", service->datagrams[1]);

    ngx_zltunnel_api_tunnel_dropped(st, service);

    if (service->unreached) {
        ngx_zltunnel_json_open(j, "last_failure", '{');
        ngx_zltunnel_json_time(j, "time", service->unreached);
        ngx_zltunnel_api_tunnel_text(j, "cause",
                              ngx_zltunnel_status_sum_cause(service->cause));
        ngx_zltunnel_json_close(j, '}');

    } else {
        ngx_zltunnel_json_null(j, "last_failure");
    }

    if (service->down) {
        ngx_zltunnel_json_open(j, "check", '{');
        ngx_zltunnel_json_time(j, "since", service->ill_since);
        ngx_zltunnel_json_string(j, "error", service->ill, service->ill_len);
        ngx_zltunnel_json_close(j, '}');

    } else {
        ngx_zltunnel_json_null(j, "check");
    }

    ngx_zltunnel_json_close(j, '}');
}


static void
ngx_zltunnel_api_tunnel_names(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service)
{
    ngx_uint_t                   i;
    ngx_zltunnel_status_host_t  *host;

    for (i = 0; i < service->nhosts; i++) {
        host = &st->hosts[service->hosts + i];
        ngx_zltunnel_json_string(&st->json, NULL, host->name, host->len);
    }
}


/* of a service without datagrams it is empty */

static void
ngx_zltunnel_api_tunnel_dropped(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service)
{
    ngx_uint_t            i;
    ngx_zltunnel_json_t  *j;

    j = &st->json;

    ngx_zltunnel_json_open(j, "dropped", '{');

    for (i = 0; service->udp && i < NGX_ZLTUNNEL_DROPS; i++) {
        ngx_zltunnel_json_number(j,
                             (char *) ngx_zltunnel_status_sum_drops[i].data,
                             service->dropped[i]);
    }

    ngx_zltunnel_json_close(j, '}');
}


void
ngx_zltunnel_api_tunnel_hosts(ngx_zltunnel_status_t *st)
{
    ngx_uint_t                      i, k;
    ngx_zltunnel_json_t            *j;
    ngx_zltunnel_status_host_t     *host;
    ngx_zltunnel_status_service_t  *service;

    j = &st->json;

    for (i = 0; i < st->nservices; i++) {
        service = &st->services[i];

        for (k = 0; k < service->nhosts; k++) {
            host = &st->hosts[service->hosts + k];

            ngx_zltunnel_json_open(j, NULL, '{');
            ngx_zltunnel_json_string(j, "name", host->name, host->len);
            ngx_zltunnel_api_tunnel_leads(st, service);
            ngx_zltunnel_json_close(j, '}');
        }
    }
}


void
ngx_zltunnel_api_tunnel_ports(ngx_zltunnel_status_t *st)
{
    ngx_uint_t                      i;
    ngx_zltunnel_json_t            *j;
    ngx_zltunnel_status_service_t  *service;

    j = &st->json;

    for (i = 0; i < st->nservices; i++) {
        service = &st->services[i];

        if (service->port == 0) {
            continue;
        }

        ngx_zltunnel_json_open(j, NULL, '{');
        ngx_zltunnel_json_number(j, "port", service->port);
        ngx_zltunnel_api_tunnel_text(j, "protocol",
                                     service->udp ? "udp" : "tcp");
        ngx_zltunnel_api_tunnel_leads(st, service);
        ngx_zltunnel_json_close(j, '}');
    }
}


/* where a name or a port leads */

static void
ngx_zltunnel_api_tunnel_leads(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service)
{
    ngx_zltunnel_json_t  *j;

    j = &st->json;

    ngx_zltunnel_json_string(j, "service", service->name, service->name_len);
    ngx_zltunnel_json_hex(j, "service_id", service->id, ZLT_ID_SIZE);
    ngx_zltunnel_json_hex(j, "tunnel", st->tunnel.id, ZLT_ID_SIZE);
    ngx_zltunnel_json_string(j, "token", st->tunnel.name, st->tunnel.name_len);
    ngx_zltunnel_api_tunnel_text(j, "state",
                                 ngx_zltunnel_status_copy_state(st, service));
}


static const char *
ngx_zltunnel_api_tunnel_state(ngx_zltunnel_status_t *st)
{
    if (st->past) {
        return st->past->kept ? "kept_out" : "gone";
    }

    if (st->tunnel.state != NGX_ZLTUNNEL_LIVE) {
        return "disconnected";
    }

    return st->tunnel.draining ? "draining" : "connected";
}


static void
ngx_zltunnel_api_tunnel_text(ngx_zltunnel_json_t *j, const char *name,
    const char *text)
{
    ngx_zltunnel_json_string(j, name, (u_char *) text, ngx_strlen(text));
}
