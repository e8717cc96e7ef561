
/*
 * Copyright (C) zltunnel authors
 */

/* What a registry holds, for Prometheus. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_metrics.h"
#include "ngx_zltunnel_cluster_status.h"
#include "ngx_zltunnel_figure.h"
#include "ngx_zltunnel_metrics_sum.h"
#include "ngx_zltunnel_metrics_text.h"
#include "ngx_zltunnel_node.h"
#include "ngx_zltunnel_status_copy.h"
#include "ngx_zltunnel_status_sum.h"

#include "zlt_hex.h"


#define ngx_zltunnel_metrics_one(m, labels, value)                            \
    ngx_zltunnel_metrics_text_sample(m, "", labels,                                \
                                sizeof(labels) / sizeof(labels[0]), value)


typedef struct {
    ngx_zltunnel_metrics_text_t   text;
    ngx_zltunnel_status_t        *st;
    ngx_zltunnel_metrics_sum_t  **sums;
    ngx_uint_t                    nsums;
    ngx_uint_t                    first[NGX_ZLTUNNEL_METRICS_KINDS + 1];
} ngx_zltunnel_metrics_t;


/* a gauge of a sum: family, and where the value is */

typedef struct {
    const char                   *name;
    const char                   *help;
    size_t                        offset;
} ngx_zltunnel_metrics_figure_t;


static void ngx_zltunnel_metrics_registry(ngx_zltunnel_metrics_t *m);
static void ngx_zltunnel_metrics_node(ngx_zltunnel_metrics_t *m);
static void ngx_zltunnel_metrics_workers(ngx_zltunnel_metrics_t *m);
static void ngx_zltunnel_metrics_channels(ngx_zltunnel_metrics_t *m);
static void ngx_zltunnel_metrics_dials(ngx_zltunnel_metrics_t *m);
static void ngx_zltunnel_metrics_counts(ngx_zltunnel_metrics_t *m,
    const char *name, const char *by, const char *help,
    const ngx_str_t *values, uint64_t *counts, ngx_uint_t n);
static void ngx_zltunnel_metrics_times(ngx_zltunnel_metrics_t *m,
    const char *name, const char *help, ngx_zltunnel_sh_times_t *times);
static void ngx_zltunnel_metrics_tunnels(ngx_zltunnel_metrics_t *m);
static void ngx_zltunnel_metrics_services(ngx_zltunnel_metrics_t *m);
static void ngx_zltunnel_metrics_pairs(ngx_zltunnel_metrics_t *m,
    const char *name, const char *help, ngx_zltunnel_metrics_kind_e kind,
    size_t offset);
static void ngx_zltunnel_metrics_drops(ngx_zltunnel_metrics_t *m);
static void ngx_zltunnel_metrics_first(ngx_zltunnel_metrics_t *m);


/* of the tunnels of a token */

static const ngx_zltunnel_metrics_figure_t  ngx_zltunnel_metrics_of_tunnels[] =
{
    { "dials_pending",
      "Connections that wait for the agent.",
      offsetof(ngx_zltunnel_metrics_sum_t, pending) },

    { "channels_idle",
      "Data channels that wait for a connection.",
      offsetof(ngx_zltunnel_metrics_sum_t, idle) },

    { "access_sessions",
      "Access sessions of visitors.",
      offsetof(ngx_zltunnel_metrics_sum_t, accesses) },

    { "access_connections",
      "Connections of access sessions that are open.",
      offsetof(ngx_zltunnel_metrics_sum_t, visits) }
};


/* what a number with a label is of */

static const ngx_str_t  ngx_zltunnel_metrics_protocol[] = {
    ngx_null_string, ngx_string("tcp"), ngx_string("udp")
};

static const ngx_str_t  ngx_zltunnel_metrics_direction[] = {
    ngx_string("in"), ngx_string("out")
};


ngx_int_t
ngx_zltunnel_metrics(ngx_zltunnel_registry_t *registry, ngx_pool_t *pool,
    ngx_zltunnel_metrics_e by, ngx_chain_t **out, off_t *size)
{
    ngx_zltunnel_metrics_t  *m;

    m = ngx_pcalloc(pool, sizeof(ngx_zltunnel_metrics_t));
    if (m == NULL) {
        return NGX_ERROR;
    }

    m->st = ngx_pcalloc(pool, sizeof(ngx_zltunnel_status_t));
    if (m->st == NULL) {
        return NGX_ERROR;
    }

    m->st->registry = registry;
    m->st->pool = pool;

    ngx_zltunnel_text_init(&m->text.text, pool);

    if (ngx_zltunnel_status_copy(m->st) != NGX_OK) {
        return NGX_ERROR;
    }

    m->sums = ngx_zltunnel_metrics_sum_all(m->st, by, &m->nsums);
    if (m->sums == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_metrics_first(m);

    ngx_zltunnel_metrics_registry(m);
    ngx_zltunnel_metrics_node(m);
    ngx_zltunnel_cluster_status_metrics(registry, &m->text);
    ngx_zltunnel_metrics_workers(m);
    ngx_zltunnel_metrics_channels(m);
    ngx_zltunnel_metrics_dials(m);
    ngx_zltunnel_metrics_tunnels(m);
    ngx_zltunnel_metrics_services(m);

    return ngx_zltunnel_text_end(&m->text.text, out, size);
}


/* where the sums of each kind begin */

static void
ngx_zltunnel_metrics_first(ngx_zltunnel_metrics_t *m)
{
    ngx_uint_t  i, kind;

    i = 0;

    for (kind = 0; kind <= NGX_ZLTUNNEL_METRICS_KINDS; kind++) {

        while (i < m->nsums && m->sums[i]->kind < kind) {
            i++;
        }

        m->first[kind] = i;
    }
}


static void
ngx_zltunnel_metrics_registry(ngx_zltunnel_metrics_t *m)
{
    size_t                         size;
    ngx_uint_t                     ports;
    ngx_zltunnel_status_t         *st;
    ngx_zltunnel_tokens_t         *tokens;
    ngx_zltunnel_registry_t       *registry;
    ngx_zltunnel_metrics_text_t   *text;
    ngx_zltunnel_metrics_label_t   info[2], state[1];

    text = &m->text;
    st = m->st;
    registry = st->registry;
    tokens = registry->tokens;

    info[0].name = "version";
    ngx_str_set(&info[0].value, NGX_ZLTUNNEL_VERSION);
    info[1].name = "registry";
    info[1].value = registry->name;

    ngx_zltunnel_metrics_text_family(text, "info", "gauge",
                                "The module and its registry; always 1.");
    ngx_zltunnel_metrics_one(text, info, 1);

    ngx_zltunnel_metrics_text_family(text, "registry_resets_total", "counter",
                                "Times that the registry was emptied, since a "
                                "worker died within a change.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, st->resets - 1);

    size = registry->shm_zone->shm.size;
    state[0].name = "state";

    ngx_zltunnel_metrics_text_family(text, "zone_bytes", "gauge",
                                "Shared memory of the registry.");
    ngx_str_set(&state[0].value, "used");
    ngx_zltunnel_metrics_one(text, state, size - st->free);
    ngx_str_set(&state[0].value, "free");
    ngx_zltunnel_metrics_one(text, state, st->free);

    ports = ngx_zltunnel_status_sum_ports(registry);

    ngx_zltunnel_metrics_text_family(text, "ports", "gauge",
                                "Ports of zltunnel_ports, tcp and udp.");
    ngx_str_set(&state[0].value, "open");
    ngx_zltunnel_metrics_one(text, state, st->open);
    ngx_str_set(&state[0].value, "free");
    ngx_zltunnel_metrics_one(text, state,
                             ports > st->open ? ports - st->open : 0);

    if (tokens == NULL || registry->token_file.len == 0) {
        return;
    }

    ngx_zltunnel_metrics_text_family(text, "tokens", "gauge",
                                "Lines of the token file that are in force.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, tokens->tokens.nelts);

    ngx_zltunnel_metrics_text_family(text, "token_file_bad_lines", "gauge",
                                "Lines of the token file that are left out.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, tokens->nbad);

    ngx_zltunnel_metrics_text_family(text, "token_file_ok", "gauge",
                                "1 if the last reading of the token file took "
                                "it over whole.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0,
                                tokens->nbad == 0 && !tokens->stuck);

    ngx_zltunnel_metrics_text_family(text, "token_file_modified_seconds", "gauge",
                                "When the file in force was written, in "
                                "seconds since 1970.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, tokens->written);
}


static void
ngx_zltunnel_metrics_node(ngx_zltunnel_metrics_t *m)
{
    u_char                        id[2 * ZLT_ID_SIZE];
    ngx_zltunnel_metrics_label_t  label[1];

    zlt_hex_encode((char *) id, ngx_zltunnel_node_id(m->st->registry),
                   ZLT_ID_SIZE);

    label[0].name = "node_id";
    label[0].value.data = id;
    label[0].value.len = sizeof(id);

    ngx_zltunnel_metrics_text_family(&m->text, "node_info", "gauge",
                                "Who this server is among those behind one "
                                "name; always 1.");
    ngx_zltunnel_metrics_one(&m->text, label, 1);

    ngx_zltunnel_metrics_text_family(&m->text, "channels_astray_total",
                                "counter",
                                "Data channels that were for another node.");
    ngx_zltunnel_metrics_text_sample(&m->text, "", NULL, 0, m->st->astray);
}


/* several of a number may be there: of the generations before, too */

static void
ngx_zltunnel_metrics_workers(ngx_zltunnel_metrics_t *m)
{
    u_char                         number[NGX_INT_T_LEN];
    ngx_uint_t                     i, j, n, idle, exiting;
    ngx_zltunnel_status_t         *st;
    ngx_zltunnel_sh_worker_t      *worker;
    ngx_zltunnel_metrics_label_t   label[1];

    st = m->st;
    exiting = 0;

    label[0].name = "worker";
    label[0].value.data = number;

    ngx_zltunnel_metrics_text_family(&m->text, "worker_channels_idle", "gauge",
                                "Data channels that wait for a connection, by "
                                "worker.");

    for (i = 0; i < st->nworkers; i++) {

        if (st->workers[i].pid == 0) {
            continue;
        }

        exiting += st->workers[i].exiting ? 1 : 0;
        n = st->workers[i].worker;

        for (j = 0; j < i; j++) {

            if (st->workers[j].pid && st->workers[j].worker == n) {
                break;
            }
        }

        if (j < i) {
            continue;
        }

        idle = 0;

        for (j = i; j < st->nworkers; j++) {
            worker = &st->workers[j];

            if (worker->pid && worker->worker == n) {
                idle += worker->nidle;
            }
        }

        label[0].value.len = ngx_sprintf(number, "%ui", n) - number;
        ngx_zltunnel_metrics_one(&m->text, label, idle);
    }

    ngx_zltunnel_metrics_text_family(&m->text, "workers_exiting", "gauge",
                                "Workers of former configurations that still "
                                "have connections.");
    ngx_zltunnel_metrics_text_sample(&m->text, "", NULL, 0, exiting);
}


static void
ngx_zltunnel_metrics_channels(ngx_zltunnel_metrics_t *m)
{
    ngx_zltunnel_sh_worker_t      sum;
    ngx_zltunnel_metrics_text_t  *text;

    text = &m->text;

    ngx_zltunnel_status_sum(m->st, &sum);

    ngx_zltunnel_metrics_counts(m, "channels_acquired_total", "way",
                                "Connections that got a data channel, by the "
                                "way in which they did.",
                                ngx_zltunnel_status_sum_ways, sum.acquired,
                                NGX_ZLTUNNEL_WAYS);

    ngx_zltunnel_metrics_text_family(text, "connects_repeated_total", "counter",
                                "Connects that were sent again.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, sum.repeated);

    ngx_zltunnel_metrics_text_family(text, "channels_reused_total", "counter",
                                "Data channels that were idle again behind a "
                                "connection.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, sum.reused);

    ngx_zltunnel_metrics_text_family(text, "lanes_left_total", "counter",
                                "Connections that left their lane for a channel "
                                "of their own.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, sum.left);

    ngx_zltunnel_metrics_text_family(text, "spliced_bytes_total", "counter",
                                "Bytes that splice() moved.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, sum.spliced);
}


static void
ngx_zltunnel_metrics_dials(ngx_zltunnel_metrics_t *m)
{
    ngx_zltunnel_sh_figures_t  *figures;

    static const ngx_str_t  results[NGX_ZLTUNNEL_RESULTS] = {
        ngx_string("ok"), ngx_string("no_service"), ngx_string("limit"),
        ngx_string("refused"), ngx_string("timeout"), ngx_string("shutdown"),
        ngx_string("incapable"), ngx_string("error")
    };

    static const ngx_str_t  asked[NGX_ZLTUNNEL_ASKED] = {
        ngx_string("allowed"), ngx_string("refused"), ngx_string("failed")
    };

    figures = &m->st->figures;

    ngx_zltunnel_metrics_counts(m, "dials_total", "result",
                                "Connections that asked for a data "
                                "channel, by what came of it.",
                                results, figures->dials, NGX_ZLTUNNEL_RESULTS);

    ngx_zltunnel_metrics_counts(m, "notifications_total", "result",
                                "Events for zltunnel_notify, by what "
                                "became of them.",
                                ngx_zltunnel_status_sum_notified,
                                figures->notified, NGX_ZLTUNNEL_NOTIFIED);

    ngx_zltunnel_metrics_counts(m, "auth_requests_total", "result",
                                "Requests of zltunnel_auth, by what was "
                                "answered.",
                                asked, figures->asked, NGX_ZLTUNNEL_ASKED);

    ngx_zltunnel_metrics_times(m, "connect_seconds",
                               "Time until the agent had connected to the "
                               "service.", &figures->connects);

    ngx_zltunnel_metrics_times(m, "heartbeat_seconds",
                               "Round trips of heartbeats on control channels.",
                               &figures->heartbeats);
}


/* a counter for each value of one label */

static void
ngx_zltunnel_metrics_counts(ngx_zltunnel_metrics_t *m, const char *name,
    const char *by, const char *help, const ngx_str_t *values,
    uint64_t *counts, ngx_uint_t n)
{
    ngx_uint_t                    i;
    ngx_zltunnel_metrics_label_t  label[1];

    label[0].name = by;

    ngx_zltunnel_metrics_text_family(&m->text, name, "counter", help);

    for (i = 0; i < n; i++) {
        label[0].value = values[i];
        ngx_zltunnel_metrics_one(&m->text, label, counts[i]);
    }
}


static void
ngx_zltunnel_metrics_times(ngx_zltunnel_metrics_t *m, const char *name,
    const char *help, ngx_zltunnel_sh_times_t *times)
{
    u_char                         limit[NGX_INT_T_LEN];
    uint64_t                       n;
    ngx_uint_t                     i;
    ngx_msec_t                     ms;
    ngx_zltunnel_metrics_label_t   label[1];

    label[0].name = "le";

    ngx_zltunnel_metrics_text_family(&m->text, name, "histogram", help);

    n = 0;

    for (i = 0; i < NGX_ZLTUNNEL_BUCKETS; i++) {
        n += times->bucket[i];

        if (i < NGX_ZLTUNNEL_BUCKETS - 1) {
            ms = ngx_zltunnel_figure_limits[i];

            label[0].value.data = limit;
            label[0].value.len = ngx_sprintf(limit, "%M.%03M", ms / 1000,
                                             ms % 1000)
                                 - limit;
        } else {
            ngx_str_set(&label[0].value, "+Inf");
        }

        ngx_zltunnel_metrics_text_sample(&m->text, "_bucket", label, 1, n);
    }

    ngx_zltunnel_metrics_text_seconds(&m->text, "_sum", times->sum);
    ngx_zltunnel_metrics_text_sample(&m->text, "_count", NULL, 0, n);
}


static void
ngx_zltunnel_metrics_tunnels(ngx_zltunnel_metrics_t *m)
{
    ngx_uint_t                            i, f;
    ngx_zltunnel_metrics_sum_t           *sum;
    ngx_zltunnel_metrics_label_t          label[2];
    const ngx_zltunnel_metrics_figure_t  *figure;

    label[0].name = "token";
    label[1].name = "state";

    ngx_zltunnel_metrics_text_family(&m->text, "tunnels", "gauge",
                                "Tunnels; those disconnected wait for their "
                                "agent to come back, those kept out are ended "
                                "by the administrator.");

    for (i = 0; i < m->first[NGX_ZLTUNNEL_METRICS_TCP]; i++) {
        sum = m->sums[i];
        label[0].value = sum->token;

        ngx_str_set(&label[1].value, "connected");
        ngx_zltunnel_metrics_one(&m->text, label,
                                 sum->n - sum->away - sum->draining);
        ngx_str_set(&label[1].value, "draining");
        ngx_zltunnel_metrics_one(&m->text, label, sum->draining);
        ngx_str_set(&label[1].value, "kept_out");
        ngx_zltunnel_metrics_one(&m->text, label, sum->kept);
        ngx_str_set(&label[1].value, "disconnected");
        ngx_zltunnel_metrics_one(&m->text, label, sum->away);
    }

    for (f = 0; f < sizeof(ngx_zltunnel_metrics_of_tunnels)
                    / sizeof(ngx_zltunnel_metrics_of_tunnels[0]); f++)
    {
        figure = &ngx_zltunnel_metrics_of_tunnels[f];

        ngx_zltunnel_metrics_text_family(&m->text, figure->name, "gauge",
                                    figure->help);

        for (i = 0; i < m->first[NGX_ZLTUNNEL_METRICS_TCP]; i++) {
            sum = m->sums[i];
            label[0].value = sum->token;

            ngx_zltunnel_metrics_text_sample(&m->text, "", label, 1,
                         *(ngx_uint_t *) ((u_char *) sum + figure->offset));
        }
    }
}


static void
ngx_zltunnel_metrics_services(ngx_zltunnel_metrics_t *m)
{
    ngx_uint_t                     i, f;
    ngx_zltunnel_metrics_sum_t    *sum;
    ngx_zltunnel_metrics_label_t   label[3];

    static const char  *names[] = {
        "services", "services_up", "services_changed_seconds", "connections",
        "connections_total"
    };

    static const char  *help[] = {
        "Services that agents have registered.",
        "Services whose agent is connected, and has not found them down.",
        "The last time that a check found a service up or down, since 1970; "
        "0: never.",
        "Connections of clients, and UDP sessions, that are open.",
        "Connections of clients, and UDP sessions, in all."
    };

    uint64_t  value[5];

    label[0].name = "token";
    label[1].name = "service";
    label[2].name = "protocol";

    for (f = 0; f < 5; f++) {
        ngx_zltunnel_metrics_text_family(&m->text, names[f],
                                    f == 4 ? "counter" : "gauge", help[f]);

        for (i = m->first[NGX_ZLTUNNEL_METRICS_TCP]; i < m->nsums; i++) {
            sum = m->sums[i];

            label[0].value = sum->token;
            label[1].value = sum->service;
            label[2].value = ngx_zltunnel_metrics_protocol[sum->kind];

            value[0] = sum->n;
            value[1] = sum->up;
            value[2] = sum->changed;
            value[3] = sum->active;
            value[4] = sum->total;

            ngx_zltunnel_metrics_one(&m->text, label, value[f]);
        }
    }

    ngx_zltunnel_metrics_pairs(m, "bytes_total",
                               "Bytes from clients (in) and to them (out).",
                               NGX_ZLTUNNEL_METRICS_TCP,
                               offsetof(ngx_zltunnel_metrics_sum_t, bytes));

    ngx_zltunnel_metrics_pairs(m, "datagrams_total",
                               "Datagrams from clients (in) and to them (out).",
                               NGX_ZLTUNNEL_METRICS_UDP,
                               offsetof(ngx_zltunnel_metrics_sum_t, datagrams));

    ngx_zltunnel_metrics_drops(m);
}


/* of that kind and those behind it, in both directions */

static void
ngx_zltunnel_metrics_pairs(ngx_zltunnel_metrics_t *m, const char *name,
    const char *help, ngx_zltunnel_metrics_kind_e kind, size_t offset)
{
    uint64_t                      *value;
    ngx_uint_t                     i, d;
    ngx_zltunnel_metrics_sum_t    *sum;
    ngx_zltunnel_metrics_label_t   label[4];

    label[0].name = "token";
    label[1].name = "service";
    label[2].name = "protocol";
    label[3].name = "direction";

    ngx_zltunnel_metrics_text_family(&m->text, name, "counter", help);

    for (i = m->first[kind]; i < m->nsums; i++) {
        sum = m->sums[i];
        value = (uint64_t *) ((u_char *) sum + offset);

        label[0].value = sum->token;
        label[1].value = sum->service;
        label[2].value = ngx_zltunnel_metrics_protocol[sum->kind];

        for (d = 0; d < 2; d++) {
            label[3].value = ngx_zltunnel_metrics_direction[d];
            ngx_zltunnel_metrics_one(&m->text, label, value[d]);
        }
    }
}


static void
ngx_zltunnel_metrics_drops(ngx_zltunnel_metrics_t *m)
{
    ngx_uint_t                     i, cause;
    ngx_zltunnel_metrics_sum_t    *sum;
    ngx_zltunnel_metrics_label_t   label[3];

    label[0].name = "token";
    label[1].name = "service";
    label[2].name = "cause";

    ngx_zltunnel_metrics_text_family(&m->text, "datagrams_dropped_total", "counter",
                                "Datagrams that were dropped, by cause; "
                                "\"kernel\" before nginx got them.");

    for (i = m->first[NGX_ZLTUNNEL_METRICS_UDP]; i < m->nsums; i++) {
        sum = m->sums[i];

        label[0].value = sum->token;
        label[1].value = sum->service;

        for (cause = 0; cause < NGX_ZLTUNNEL_DROPS; cause++) {
            label[2].value = ngx_zltunnel_status_sum_drops[cause];
            ngx_zltunnel_metrics_one(&m->text, label, sum->dropped[cause]);
        }
    }
}
