
/*
 * Copyright (C) zltunnel authors
 */

/* How the directory of "cluster" stands, as this node sees it. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cluster_status.h"
#include "ngx_zltunnel_shm.h"


typedef struct {
    const char                  *name;
    size_t                       offset;      /* in ngx_zltunnel_sh_cluster_t */
    const char                  *metric;      /* of a gauge */
    const char                  *help;
} ngx_zltunnel_cluster_figure_t;


static void ngx_zltunnel_cluster_status_time(ngx_zltunnel_json_t *j,
    const char *name, time_t time, ngx_uint_t api);


static const ngx_zltunnel_cluster_figure_t  ngx_zltunnel_cluster_figures[] = {

    { "nodes", offsetof(ngx_zltunnel_sh_cluster_t, nodes),
      "cluster_nodes", "Other nodes that are in the directory." },

    { "services", offsetof(ngx_zltunnel_sh_cluster_t, services),
      "cluster_services", "Services of theirs." },

    { "published", offsetof(ngx_zltunnel_sh_cluster_t, published),
      "cluster_published", "Services of this node in the directory." },

    { "leases", offsetof(ngx_zltunnel_sh_cluster_t, leases),
      "cluster_leases", "Ports and hosts that this node has there." },

    { NULL, 0, NULL, NULL }
};


#define ngx_zltunnel_cluster_figure(state, figure)                            \
    (*(ngx_uint_t *) ((u_char *) (state) + (figure)->offset))


size_t
ngx_zltunnel_cluster_status_layout(void)
{
    return NGX_ZLTUNNEL_CLUSTER_LAYOUT;
}


void
ngx_zltunnel_cluster_status(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, ngx_uint_t api)
{
    ngx_zltunnel_sh_cluster_t             state;
    const ngx_zltunnel_cluster_figure_t  *figure;

    if (registry->cluster == NULL) {

        if (api) {
            ngx_zltunnel_json_null(j, "cluster");
        }

        return;
    }

    state = *registry->sh->cluster;

    ngx_zltunnel_json_open(j, "cluster", '{');
    ngx_zltunnel_json_bool(j, "connected", state.connected);
    ngx_zltunnel_cluster_status_time(j, "since", state.since, api);
    ngx_zltunnel_json_string(j, "engine", state.engine,
                             ngx_min(state.engine_len, sizeof(state.engine)));

    if (state.failed) {
        ngx_zltunnel_json_string(j, "last_error", state.error,
                                 ngx_min(state.error_len,
                                         sizeof(state.error)));

    } else {
        ngx_zltunnel_json_null(j, "last_error");
    }

    ngx_zltunnel_cluster_status_time(j, "failed", state.failed, api);

    for (figure = ngx_zltunnel_cluster_figures; figure->name; figure++) {
        ngx_zltunnel_json_number(j, figure->name,
                                 ngx_zltunnel_cluster_figure(&state, figure));
    }

    ngx_zltunnel_json_number(j, "lag", state.lag);
    ngx_zltunnel_json_number(j, "leases_lost", state.lost);
    ngx_zltunnel_json_close(j, '}');
}


static void
ngx_zltunnel_cluster_status_time(ngx_zltunnel_json_t *j, const char *name,
    time_t time, ngx_uint_t api)
{
    if (api || time == 0) {
        ngx_zltunnel_json_time(j, name, time);
        return;
    }

    ngx_zltunnel_json_number(j, name, time);
}


void
ngx_zltunnel_cluster_status_metrics(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_metrics_text_t *text)
{
    ngx_zltunnel_sh_cluster_t             *state;
    ngx_zltunnel_metrics_label_t           way;
    const ngx_zltunnel_cluster_figure_t   *figure;

    if (registry->cluster == NULL) {
        return;
    }

    state = registry->sh->cluster;

    ngx_zltunnel_metrics_text_family(text, "cluster_connected", "gauge",
                                     "1 if the engine of the directory is "
                                     "there.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, state->connected);

    for (figure = ngx_zltunnel_cluster_figures; figure->name; figure++) {
        ngx_zltunnel_metrics_text_family(text, figure->metric, "gauge",
                                         figure->help);
        ngx_zltunnel_metrics_text_sample(text, "", NULL, 0,
                                 ngx_zltunnel_cluster_figure(state, figure));
    }

    ngx_zltunnel_metrics_text_family(text, "cluster_lag_seconds", "gauge",
                                     "From here to here by the engine, of the "
                                     "last change.");
    ngx_zltunnel_metrics_text_seconds(text, "", state->lag);

    ngx_zltunnel_metrics_text_family(text, "cluster_errors_total", "counter",
                                     "Times that the engine went, or was of no "
                                     "help.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, state->errors);

    ngx_zltunnel_metrics_text_family(text, "cluster_leases_lost_total",
                                     "counter",
                                     "Ports and hosts that another token had.");
    ngx_zltunnel_metrics_text_sample(text, "", NULL, 0, state->lost);

    way.name = "direction";

    ngx_zltunnel_metrics_text_family(text, "cluster_changes_total", "counter",
                                     "Changes that the engine was told of, and "
                                     "messages of others.");
    ngx_str_set(&way.value, "out");
    ngx_zltunnel_metrics_text_sample(text, "", &way, 1, state->sent);
    ngx_str_set(&way.value, "in");
    ngx_zltunnel_metrics_text_sample(text, "", &way, 1, state->heard);
}
