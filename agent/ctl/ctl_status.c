
/*
 * Copyright (C) zltunnel authors
 */

/* "status": the links as they are, for people and for machines. */


#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "ctl_status.h"
#include "io.h"
#include "link.h"
#include "process.h"
#include "service.h"
#include "version.h"


/* what is asked for: all, or a tunnel, or a service */

typedef struct {
    zlt_process_t   *process;
    const char      *name;             /* of a tunnel; NULL: any */
    const char      *service;          /* NULL: any */
} zlt_ctl_status_t;


static zlt_link_t *zlt_ctl_status_next(const zlt_ctl_status_t *st,
    const zlt_link_t *after);
static const zlt_tunnel_conf_t *zlt_ctl_status_expected(
    const zlt_ctl_status_t *st, const zlt_tunnel_conf_t *after);
static void zlt_ctl_status_table(zlt_text_t *t, const zlt_ctl_status_t *st);
static void zlt_ctl_status_nodes(int *width, const zlt_ctl_status_t *st);
static void zlt_ctl_status_widen(int *width, const char *text);
static void zlt_ctl_status_row(zlt_text_t *t, const zlt_link_t *l,
    const int *width);
static void zlt_ctl_status_places(zlt_text_t *t, const zlt_range_t *r);
static void zlt_ctl_status_troubles(zlt_text_t *t, const zlt_link_t *l);
static void zlt_ctl_status_detail(zlt_text_t *t, const zlt_link_t *l);
static void zlt_ctl_status_services(zlt_text_t *t, const zlt_link_t *l,
    const char *name);
static int zlt_ctl_status_is(const zlt_range_t *r, const char *name);
static void zlt_ctl_status_down(zlt_text_t *t, const zlt_range_t *r,
    const zlt_service_t *s);
static void zlt_ctl_status_failure(zlt_text_t *t, const zlt_service_t *s);
static const char *zlt_ctl_status_transport(const zlt_link_t *l);
static void zlt_ctl_status_ready(zlt_text_t *t, const zlt_ctl_status_t *st);
static void zlt_ctl_status_ready_services(zlt_text_t *t, const zlt_link_t *l,
    const char *name);
static void zlt_ctl_status_json(zlt_text_t *t, const zlt_ctl_status_t *st);
static void zlt_ctl_status_json_link(zlt_text_t *t, const zlt_link_t *l,
    const char *service);
static void zlt_ctl_status_json_dropped(zlt_text_t *t, const zlt_link_t *l,
    const zlt_udp_count_t *c);
static void zlt_ctl_status_json_services(zlt_text_t *t, const zlt_link_t *l,
    const char *name);
static void zlt_ctl_status_json_check(zlt_text_t *t, const zlt_range_t *r);
static void zlt_ctl_status_json_urls(zlt_text_t *t, const char *urls);
static void zlt_ctl_status_json_expected(zlt_text_t *t,
    const zlt_ctl_status_t *st);


void
zlt_ctl_status(zlt_ctl_request_t *r)
{
    zlt_ctl_status_t  st;

    st.process = r->process;
    st.name = r->nwords > 2 ? r->words[2] : NULL;
    st.service = NULL;

    if (st.name && !zlt_ctl_status_next(&st, NULL)
        && !zlt_ctl_status_expected(&st, NULL))
    {
        /* for most people the service is the tunnel */

        st.service = st.name;
        st.name = NULL;
    }

    if (st.service && !zlt_ctl_status_next(&st, NULL)) {
        zlt_ctl_fail(r, "there is no tunnel and no service \"%.100s\"",
                     st.service);
        return;
    }

    if (strcmp(r->words[1], "json") == 0) {
        zlt_ctl_status_json(&r->text, &st);

    } else if (strcmp(r->words[1], "text") == 0) {
        zlt_ctl_status_table(&r->text, &st);

    } else if (strcmp(r->words[1], "ready") == 0) {
        zlt_ctl_status_ready(&r->text, &st);

    } else {
        zlt_ctl_fail(r, "a status is \"text\", \"json\" or \"ready\"");
        return;
    }

    zlt_ctl_done(r);
}


const zlt_link_t *
zlt_ctl_status_has(zlt_process_t *p, const char *service)
{
    zlt_ctl_status_t  st;

    st.process = p;
    st.name = NULL;
    st.service = service;

    return zlt_ctl_status_next(&st, NULL);
}


/* The next link of those that are asked for; NULL for the first, and after
   the last. */

static zlt_link_t *
zlt_ctl_status_next(const zlt_ctl_status_t *st, const zlt_link_t *after)
{
    zlt_link_t  *l;
    zlt_list_t  *link;

    for (l = zlt_process_find(st->process, st->name, after); l;
         l = zlt_process_find(st->process, st->name, l))
    {
        if (st->service == NULL) {
            return l;
        }

        zlt_list_each(link, &l->owner.ranges) {
            if (zlt_ctl_status_is(zlt_list_data(link, zlt_range_t, link),
                                  st->service))
            {
                return l;
            }
        }
    }

    return NULL;
}


/* By the name of one of its ports as well. */

static int
zlt_ctl_status_is(const zlt_range_t *r, const char *name)
{
    return name == NULL || strcmp(r->conf.name, name) == 0
           || zlt_option_range_has(&r->conf, name);
}


static const zlt_tunnel_conf_t *
zlt_ctl_status_expected(const zlt_ctl_status_t *st,
    const zlt_tunnel_conf_t *after)
{
    return st->service ? NULL
                       : zlt_config_expected(st->process->config, st->name,
                                             after);
}


static void
zlt_ctl_status_table(zlt_text_t *t, const zlt_ctl_status_t *st)
{
    int                       width[3];
    zlt_link_t               *l;
    const zlt_tunnel_conf_t  *e;

    width[0] = 4;
    width[1] = 6;
    width[2] = 0;

    for (l = NULL; (l = zlt_ctl_status_next(st, l)) != NULL; ) {
        zlt_ctl_status_widen(&width[0], l->owner.conf->name);
        zlt_ctl_status_widen(&width[1], l->owner.conf->server);
    }

    zlt_ctl_status_nodes(&width[2], st);

    for (e = NULL; (e = zlt_ctl_status_expected(st, e)) != NULL; ) {
        zlt_ctl_status_widen(&width[0], e->conf.name);
    }

    zlt_text_printf(t, "%-*s  %-12s  %-*s  %-*s%-8s  %-8s  %9s  %7s  %7s"
                    "  %s\n", width[0], "NAME", "STATE", width[1], "SERVER",
                    width[2], width[2] ? "NODE" : "", "SINCE", "ACTIVE", "OPEN/ALL", "IN", "OUT", "LATENCY");

    for (l = NULL; (l = zlt_ctl_status_next(st, l)) != NULL; ) {
        zlt_ctl_status_row(t, l, width);

        if (st->name) {
            zlt_ctl_status_detail(t, l);

        } else if (st->service) {
            zlt_ctl_status_services(t, l, st->service);

        } else {
            zlt_ctl_status_troubles(t, l);
        }
    }

    for (e = NULL; (e = zlt_ctl_status_expected(st, e)) != NULL; ) {
        zlt_text_printf(t, "%-*s  %-12s  from %s\n", width[0], e->conf.name,
                        "expected", e->from);
    }
}


/* Which of several a link is, is of interest where a server has several. */

static void
zlt_ctl_status_nodes(int *width, const zlt_ctl_status_t *st)
{
    int                several;
    char               place[ZLT_LINK_PLACE_TEXT];
    const zlt_link_t  *l, *before;

    *width = 4;
    several = 0;
    before = NULL;

    for (l = NULL; (l = zlt_ctl_status_next(st, l)) != NULL; before = l) {
        zlt_ctl_status_widen(width, zlt_link_place_text(l, place));
        several |= (before && l->spread && before->spread == l->spread);
    }

    *width = several ? *width + 2 : 0;
}


static void
zlt_ctl_status_widen(int *width, const char *text)
{
    int  len;

    len = (int) strlen(text);
    *width = len > *width ? len : *width;
}


static void
zlt_ctl_status_row(zlt_text_t *t, const zlt_link_t *l, const int *width)
{
    char               since[ZLT_TEXT_UNIT], active[ZLT_TEXT_UNIT],
                       in[ZLT_TEXT_UNIT], out[ZLT_TEXT_UNIT], count[48],
                       latency[ZLT_TEXT_UNIT], place[ZLT_LINK_PLACE_TEXT];
    uint64_t           now;
    zlt_link_totals_t  totals;

    now = zlt_io_now();

    zlt_link_state_totals(l, &totals);

    (void) snprintf(count, sizeof(count), "%u/%llu", totals.open,
                    (unsigned long long) totals.total);
    (void) strcpy(latency, "-");

    if (l->srtt && l->state == ZLT_LINK_CONNECTED) {
        (void) snprintf(latency, sizeof(latency), "%u.%u ms", l->srtt / 1000,
                        l->srtt % 1000 / 100);
    }

    (void) zlt_link_place_text(l, place);

    zlt_text_printf(t, "%-*s  %-12s  %-*s  %-*s%-8s  %-8s  %9s  %7s  %7s"
                    "  %s\n", width[0], l->owner.conf->name,
                    zlt_link_state_names[l->state],
                    width[1], l->owner.conf->server,
                    width[2], width[2] ? place : "",
                    zlt_text_time(since, (now - l->since_ms) / 1000),
                    l->active
                    ? zlt_text_time(active, (now - l->active) / 1000) : "-",
                    count, zlt_text_bytes(in, totals.bytes_in),
                    zlt_text_bytes(out, totals.bytes_out), latency);

    if (l->reason[0]) {
        zlt_text_printf(t, "    %s", l->reason);

        if (l->next_at > now) {
            zlt_text_printf(t, "; again in %llu.%llu s",
                            (unsigned long long) (l->next_at - now) / 1000,
                            (unsigned long long) (l->next_at - now) % 1000
                            / 100);
        }

        zlt_text_printf(t, "\n");
    }
}


/* how its next data channel will be opened */

static const char *
zlt_ctl_status_transport(const zlt_link_t *l)
{
    if (!zlt_link_state_carries(l)) {
        return "none";
    }

    return l->owner.transport.websocket ? "websocket" : "raw";
}


/* Of one that was asked for by name. */

static void
zlt_ctl_status_detail(zlt_text_t *t, const zlt_link_t *l)
{
    unsigned  i;

    zlt_text_printf(t, "    data channels: %s\n", zlt_ctl_status_transport(l));

    if (l->owner.conf->via.kind) {
        zlt_text_printf(t, "    through the proxy %s\n",
                        l->owner.conf->via.name);
    }

    for (i = 0; i < l->owner.conf->nservers; i++) {
        if (i != l->owner.conf->current) {
            zlt_text_printf(t, "    in reserve: %s\n",
                            l->owner.conf->servers[i].text);
        }
    }

    zlt_ctl_status_services(t, l, NULL);
}


static void
zlt_ctl_status_services(zlt_text_t *t, const zlt_link_t *l, const char *name)
{
    zlt_list_t           *link;
    const zlt_range_t    *r;
    const zlt_service_t  *s;

    zlt_list_each(link, &l->owner.ranges) {
        r = zlt_list_data(link, zlt_range_t, link);

        if (!zlt_ctl_status_is(r, name)) {
            continue;
        }

        zlt_text_printf(t, "    %s  %s  %s  ->  ", r->conf.name,
                        r->conf.protocol == ZLT_PROTO_UDP ? "udp" : "tcp",
                        r->conf.local);
        zlt_ctl_status_places(t, r);
        zlt_text_printf(t, "  %s", r->state == ZLT_SERVICE_REFUSED
                                   ? r->refused : zlt_range_states[r->state]);

        s = zlt_range_unhealthy(r);

        if (s) {
            zlt_text_printf(t, "; ");
            zlt_ctl_status_down(t, r, s);
        }

        s = zlt_range_failed(r);

        if (s) {
            zlt_text_printf(t, "; ");
            zlt_ctl_status_failure(t, s);
        }

        zlt_text_printf(t, "\n");
    }
}


/* Its port, and the URLs of its hosts. */

static void
zlt_ctl_status_places(zlt_text_t *t, const zlt_range_t *r)
{
    int          len;
    const char  *p, *url, *comma;

    zlt_text_printf(t, "%s", r->shown[0] || r->urls_shown ? r->shown : "-");

    comma = r->shown[0] ? ", " : "";

    for (p = r->urls_shown; (len = zlt_urls_next(&p, &url)) != 0; comma = ", ")
    {
        zlt_text_printf(t, "%s%.*s", comma, len, url);
    }
}


/* Of a link that is fine, the services that are not. */

static void
zlt_ctl_status_troubles(zlt_text_t *t, const zlt_link_t *l)
{
    zlt_list_t           *link;
    const zlt_range_t    *r;
    const zlt_service_t  *s, *down;

    zlt_list_each(link, &l->owner.ranges) {
        r = zlt_list_data(link, zlt_range_t, link);
        s = zlt_range_failed(r);
        down = zlt_range_unhealthy(r);

        if (r->state == ZLT_SERVICE_REFUSED
            && l->state == ZLT_LINK_CONNECTED)
        {
            zlt_text_printf(t, "    the service \"%s\" is refused: %s\n",
                            r->conf.name, r->refused);

        } else if (down) {
            zlt_text_printf(t, "    the service \"%s\": ", r->conf.name);
            zlt_ctl_status_down(t, r, down);
            zlt_text_printf(t, "\n");

        } else if (s) {
            zlt_text_printf(t, "    the service \"%s\": ", s->conf.name);
            zlt_ctl_status_failure(t, s);
            zlt_text_printf(t, "\n");
        }
    }
}


/* By its check; of a range, with the name of the one that is. */

static void
zlt_ctl_status_down(zlt_text_t *t, const zlt_range_t *r,
    const zlt_service_t *s)
{
    char  time[ZLT_TEXT_UNIT];

    if (r->conf.ports) {
        zlt_text_printf(t, "%s ", s->conf.name);
    }

    zlt_text_printf(t, "the check fails for %s: %s",
                    zlt_text_time(time,
                                  (zlt_io_now() - s->health.since_ms) / 1000),
                    s->health.why);
}


static void
zlt_ctl_status_failure(zlt_text_t *t, const zlt_service_t *s)
{
    char  ago[ZLT_TEXT_UNIT];

    zlt_text_printf(t, "last failure %s ago: %s",
                    zlt_text_time(ago, (zlt_io_now() - s->failed_at) / 1000),
                    s->failure);
}


/* Of what is asked for, what is not ready; nothing if all is. */

static void
zlt_ctl_status_ready(zlt_text_t *t, const zlt_ctl_status_t *st)
{
    char         place[ZLT_LINK_PLACE_TEXT];
    zlt_link_t  *l;

    l = zlt_ctl_status_next(st, NULL);

    if (l == NULL) {
        zlt_text_printf(t, "there is no tunnel that begins here\n");
    }

    for ( /* void */ ; l; l = zlt_ctl_status_next(st, l)) {

        if (l->state == ZLT_LINK_CONNECTED) {
            zlt_ctl_status_ready_services(t, l, st->service);
            continue;
        }

        (void) zlt_link_place_text(l, place);

        zlt_text_printf(t, "the tunnel \"%s\"%s%s is %s%s%s\n",
                        l->owner.conf->name, place[0] ? " at " : "", place,
                        zlt_link_state_names[l->state],
                        l->reason[0] ? ": " : "", l->reason);
    }
}


static void
zlt_ctl_status_ready_services(zlt_text_t *t, const zlt_link_t *l,
    const char *name)
{
    zlt_list_t           *link;
    const zlt_range_t    *r;
    const zlt_service_t  *down;

    zlt_list_each(link, &l->owner.ranges) {
        r = zlt_list_data(link, zlt_range_t, link);
        down = zlt_range_unhealthy(r);

        if (!zlt_ctl_status_is(r, name)) {
            continue;
        }

        if (r->state != ZLT_SERVICE_UP) {
            zlt_text_printf(t, "the service \"%s\" is not registered: %s\n",
                            r->conf.name, r->state == ZLT_SERVICE_REFUSED
                            ? r->refused : zlt_range_states[r->state]);

        } else if (down) {
            zlt_text_printf(t, "the service \"%s\" is down: ", r->conf.name);
            zlt_ctl_status_down(t, r, down);
            zlt_text_printf(t, "\n");
        }
    }
}


static void
zlt_ctl_status_json(zlt_text_t *t, const zlt_ctl_status_t *st)
{
    char         when[ZLT_CLOCK_UTC];
    const char  *comma;
    zlt_link_t  *l;

    zlt_text_printf(t, "{\"version\":\"" ZLT_AGENT_VERSION "\",\"pid\":%ld,"
                    "\"started\":\"%s\",\"node\":", (long) getpid(),
                    zlt_clock_utc(when, st->process->started));
    zlt_text_json_null(t, st->process->config->node);

    zlt_text_printf(t, ",\n\"tunnels\":[");
    comma = "\n";

    for (l = NULL; (l = zlt_ctl_status_next(st, l)) != NULL; ) {
        zlt_text_printf(t, "%s", comma);
        zlt_ctl_status_json_link(t, l, st->service);
        comma = ",\n";
    }

    zlt_text_printf(t, "],\n\"expected\":[");
    zlt_ctl_status_json_expected(t, st);
    zlt_text_printf(t, "]}\n");
}


/* Times are in seconds, latencies in milliseconds. */

static void
zlt_ctl_status_json_link(zlt_text_t *t, const zlt_link_t *l,
    const char *service)
{
    char               when[ZLT_CLOCK_UTC], addr[ZLT_ADDR_TEXT],
                       node[ZLT_LINK_PLACE_NODE];
    unsigned           i;
    uint64_t           now;
    zlt_link_totals_t  totals;

    now = zlt_io_now();

    zlt_text_printf(t, "{\"name\":");
    zlt_text_json(t, l->owner.conf->name);
    zlt_text_printf(t, ",\"to\":");
    zlt_text_json_null(t, l->owner.conf->to);
    zlt_text_printf(t, ",\"state\":\"%s\",\"reason\":",
                    zlt_link_state_names[l->state]);
    zlt_text_json_null(t, l->reason);

    zlt_text_printf(t, ",\"since\":\"%s\",\"seconds\":%llu",
                    zlt_clock_utc(when, l->since),
                    (unsigned long long) (now - l->since_ms) / 1000);

    if (l->next_at > now) {
        zlt_text_printf(t, ",\"retry_in\":%.3f",
                        (double) (l->next_at - now) / 1000);

    } else {
        zlt_text_printf(t, ",\"retry_in\":null");
    }

    if (l->active) {
        zlt_text_printf(t, ",\"idle\":%llu",
                        (unsigned long long) (now - l->active) / 1000);

    } else {
        zlt_text_printf(t, ",\"idle\":null");
    }

    zlt_text_printf(t, ",\n \"server\":");
    zlt_text_json(t, l->owner.conf->server);
    zlt_text_printf(t, ",\"address\":");
    zlt_text_json_null(t, zlt_link_place_address(l, addr));
    zlt_text_printf(t, ",\"node\":");
    zlt_text_json_null(t, zlt_link_place_node(l, node));
    zlt_text_printf(t, ",\"servers\":[");

    for (i = 0; i < l->owner.conf->nservers; i++) {
        zlt_text_printf(t, "%s", i ? "," : "");
        zlt_text_json(t, l->owner.conf->servers[i].text);
    }

    zlt_link_state_totals(l, &totals);

    zlt_text_printf(t, "],\"transport\":\"%s\",\"proxy\":",
                    zlt_ctl_status_transport(l));
    zlt_text_json_null(t, l->owner.conf->via.kind
                          ? l->owner.conf->via.name : "");

    zlt_text_printf(t, ",\n \"connections\":{\"open\":%u,\"total\":%llu},"
                    "\"bytes\":{\"in\":%llu,\"out\":%llu},",
                    totals.open, (unsigned long long) totals.total,
                    (unsigned long long) totals.bytes_in,
                    (unsigned long long) totals.bytes_out);

    zlt_ctl_status_json_dropped(t, l, &totals.all);
    zlt_text_printf(t, ",\"latency\":");

    if (l->srtt && l->state == ZLT_LINK_CONNECTED) {
        zlt_text_printf(t, "{\"last\":%.3f,\"smoothed\":%.3f}",
                        (double) l->rtt / 1000, (double) l->srtt / 1000);

    } else {
        zlt_text_printf(t, "null");
    }

    zlt_text_printf(t, ",\n \"services\":[");
    zlt_ctl_status_json_services(t, l, service);
    zlt_text_printf(t, "]}");
}


/* Datagrams, as in the metrics. */

static void
zlt_ctl_status_json_dropped(zlt_text_t *t, const zlt_link_t *l,
    const zlt_udp_count_t *c)
{
    zlt_text_printf(t, "\"dropped\":{\"queue\":%llu,\"age\":%llu,"
                    "\"send\":%llu,\"kernel\":%llu,\"session\":%llu}",
                    (unsigned long long) (c->full_in + c->full_out),
                    (unsigned long long) (c->late_in + c->late_out),
                    (unsigned long long) c->failed,
                    (unsigned long long) c->kernel,
                    (unsigned long long) l->owner.udp_unknown);
}


static void
zlt_ctl_status_json_services(zlt_text_t *t, const zlt_link_t *l,
    const char *name)
{
    int                   up;
    const char           *comma;
    zlt_list_t           *link;
    const zlt_range_t    *r;
    const zlt_service_t  *s;

    comma = "";

    zlt_list_each(link, &l->owner.ranges) {
        r = zlt_list_data(link, zlt_range_t, link);

        if (!zlt_ctl_status_is(r, name)) {
            continue;
        }

        zlt_text_printf(t, "%s{\"name\":", comma);
        zlt_text_json(t, r->conf.name);
        zlt_text_printf(t, ",\"protocol\":\"%s\",\"local\":",
                        r->conf.protocol == ZLT_PROTO_UDP ? "udp" : "tcp");
        zlt_text_json(t, r->conf.local);
        zlt_text_printf(t, ",\"state\":\"%s\",\"public\":",
                        zlt_range_states[r->state]);

        up = r->state == ZLT_SERVICE_UP && zlt_link_state_carries(l);

        zlt_text_json_null(t, up ? r->shown : "");
        zlt_text_printf(t, ",\"urls\":[");
        zlt_ctl_status_json_urls(t, up ? r->urls_shown : NULL);
        zlt_text_printf(t, "],\"reason\":");
        zlt_text_json_null(t, r->state == ZLT_SERVICE_REFUSED
                              ? r->refused : "");

        s = zlt_range_failed(r);

        if (s) {
            zlt_text_printf(t, ",\"failure\":{\"seconds\":%llu,\"reason\":",
                            (unsigned long long)
                            (zlt_io_now() - s->failed_at) / 1000);
            zlt_text_json(t, s->failure);
            zlt_text_printf(t, "}");

        } else {
            zlt_text_printf(t, ",\"failure\":null");
        }

        zlt_ctl_status_json_check(t, r);
        zlt_text_printf(t, "}");

        comma = ",";
    }
}


/* Of a range, that of the one that is down, or of any. */

static void
zlt_ctl_status_json_check(zlt_text_t *t, const zlt_range_t *r)
{
    char                  when[ZLT_CLOCK_UTC];
    const zlt_health_t   *h;
    const zlt_service_t  *s;

    if (r->conf.check[0] == '\0') {
        zlt_text_printf(t, ",\"check\":null");
        return;
    }

    s = zlt_range_unhealthy(r);
    h = &(s ? s : zlt_range_first(r))->health;

    zlt_text_printf(t, ",\"check\":{\"type\":");
    zlt_text_json(t, r->conf.check);
    zlt_text_printf(t, ",\"state\":\"%s\",\"since\":",
                    h->down ? "down" : h->known ? "up" : "unknown");

    if (h->since) {
        zlt_text_printf(t, "\"%s\"", zlt_clock_utc(when, h->since));

    } else {
        zlt_text_printf(t, "null");
    }

    zlt_text_printf(t, ",\"error\":");
    zlt_text_json_null(t, h->why);
    zlt_text_printf(t, "}");
}


/* They need no escapes. */

static void
zlt_ctl_status_json_urls(zlt_text_t *t, const char *urls)
{
    int          len;
    const char  *url, *comma;

    for (comma = ""; (len = zlt_urls_next(&urls, &url)) != 0; comma = ",") {
        zlt_text_printf(t, "%s\"%.*s\"", comma, len, url);
    }
}


static void
zlt_ctl_status_json_expected(zlt_text_t *t, const zlt_ctl_status_t *st)
{
    const char               *comma;
    const zlt_tunnel_conf_t  *e;

    comma = "\n";

    for (e = NULL; (e = zlt_ctl_status_expected(st, e)) != NULL; ) {
        zlt_text_printf(t, "%s{\"name\":", comma);
        zlt_text_json(t, e->conf.name);
        zlt_text_printf(t, ",\"from\":");
        zlt_text_json(t, e->from);
        zlt_text_printf(t, ",\"protocol\":\"%s\",\"remote_port\":%u,"
                        "\"expose\":\"%s\"}",
                        e->conf.services[0].protocol == ZLT_PROTO_UDP
                        ? "udp" : "tcp",
                        (unsigned) e->conf.services[0].remote_port,
                        e->is_public ? "public" : "internal");
        comma = ",\n";
    }
}
