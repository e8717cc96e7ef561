
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The figures of "status", for Prometheus.
 *
 * They bear the label "link", the name of a tunnel as in the configuration,
 * "agent" for that of [agent].  With "mode = all" a name has a link for each
 * server: these are added up, so that no series is there twice.
 */


#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "config.h"
#include "ctl_metrics.h"
#include "figure.h"
#include "link.h"
#include "process.h"
#include "service.h"
#include "version.h"


#define ZLT_CTL_METRICS_LINK    ((size_t) ZLT_MAX_NAME * 2 + 1)
#define ZLT_CTL_METRICS_STATES  (ZLT_LINK_FAILED + 1)
#define ZLT_CTL_METRICS_SERVED  (ZLT_SERVICE_REFUSED + 1)


/* what a channel is, for those who ask */

typedef enum {
    ZLT_CTL_METRICS_OPENING = 0,
    ZLT_CTL_METRICS_IDLE,
    ZLT_CTL_METRICS_CONNECTION,
    ZLT_CTL_METRICS_LANE,              /* a connection, on a shared one */
    ZLT_CTL_METRICS_SHARED,
    ZLT_CTL_METRICS_DATAGRAMS,
    ZLT_CTL_METRICS_VISIT,
    ZLT_CTL_METRICS_ENDING,
    ZLT_CTL_METRICS_KINDS
} zlt_ctl_metrics_kind_e;


/* of all links of a name */

typedef struct {
    const char       *name;
    const zlt_link_t *link;            /* the first of them */
    uint64_t          states[ZLT_CTL_METRICS_STATES];
    time_t            since;           /* of the latest connected; 0: none */
    uint64_t          reconnects;
    uint64_t          services[ZLT_CTL_METRICS_SERVED];
    uint64_t          sessions;        /* UDP, open */
    uint64_t          open;            /* TCP */
    uint64_t          connections;
    uint64_t          bytes[2];        /* in, out */
    uint64_t          unknown;
    zlt_udp_count_t   udp;             /* of services */
    zlt_udp_count_t   all;             /* .. and of access */
    uint64_t          channels[ZLT_CTL_METRICS_KINDS];
    zlt_figure_t      connects;
    zlt_figure_t      heartbeats;
} zlt_ctl_metrics_sum_t;


typedef struct {
    const zlt_process_t    *process;
    zlt_text_t             *text;
    zlt_ctl_metrics_sum_t  *sums;
    unsigned                nsums;
    const char             *family;
} zlt_ctl_metrics_t;


static int zlt_ctl_metrics_sums(zlt_ctl_metrics_t *m);
static void zlt_ctl_metrics_sum(zlt_ctl_metrics_sum_t *sum,
    const zlt_link_t *l);
static zlt_ctl_metrics_kind_e zlt_ctl_metrics_kind(const zlt_channel_t *ch);
static void zlt_ctl_metrics_process(zlt_ctl_metrics_t *m);
static void zlt_ctl_metrics_since(zlt_ctl_metrics_t *m);
static void zlt_ctl_metrics_checks(zlt_ctl_metrics_t *m);
static void zlt_ctl_metrics_check(zlt_ctl_metrics_t *m, unsigned changed);
static void zlt_ctl_metrics_udp(zlt_ctl_metrics_t *m);
static void zlt_ctl_metrics_results(zlt_ctl_metrics_t *m);
static void zlt_ctl_metrics_service(zlt_ctl_metrics_t *m, const char *link,
    const zlt_link_t *first, const zlt_range_t *r);
static void zlt_ctl_metrics_times(zlt_ctl_metrics_t *m, const char *name,
    const char *help, size_t offset);
static void zlt_ctl_metrics_one(zlt_ctl_metrics_t *m, const char *name,
    const char *type, const char *help, size_t offset);
static void zlt_ctl_metrics_each(zlt_ctl_metrics_t *m, const char *name,
    const char *type, const char *help, const char *label,
    const char *const *values, unsigned n, size_t offset);
static void zlt_ctl_metrics_family(zlt_ctl_metrics_t *m, const char *name,
    const char *type, const char *help);
static void zlt_ctl_metrics_sample(zlt_ctl_metrics_t *m, const char *link,
    const char *label, const char *value, uint64_t n);
static const char *zlt_ctl_metrics_escape(char *buf, const char *name);


static const char *const  zlt_ctl_metrics_directions[] = { "in", "out" };

static const char *const  zlt_ctl_metrics_kinds[] = {
    "opening", "idle", "connection", "lane", "shared", "datagrams", "visit",
    "ending"
};


void
zlt_ctl_metrics(const zlt_process_t *p, zlt_text_t *t)
{
    zlt_ctl_metrics_t  m;

    memset(&m, 0, sizeof(zlt_ctl_metrics_t));
    m.process = p;
    m.text = t;

    if (zlt_ctl_metrics_sums(&m) == -1) {
        t->failed = 1;
        return;
    }

    zlt_ctl_metrics_process(&m);

    zlt_ctl_metrics_each(&m, "links", "gauge", "Tunnels that begin here.",
                         "state", zlt_link_state_names,
                         ZLT_CTL_METRICS_STATES,
                         offsetof(zlt_ctl_metrics_sum_t, states));
    zlt_ctl_metrics_since(&m);
    zlt_ctl_metrics_one(&m, "reconnects_total", "counter",
                        "Control channels that followed another one.",
                        offsetof(zlt_ctl_metrics_sum_t, reconnects));
    zlt_ctl_metrics_each(&m, "services", "gauge", "Services, a range as one.",
                         "state", zlt_range_states,
                         ZLT_CTL_METRICS_SERVED,
                         offsetof(zlt_ctl_metrics_sum_t, services));
    zlt_ctl_metrics_checks(&m);
    zlt_ctl_metrics_one(&m, "connections", "gauge",
                        "TCP connections that are open.",
                        offsetof(zlt_ctl_metrics_sum_t, open));
    zlt_ctl_metrics_one(&m, "connections_total", "counter",
                        "TCP connections that were made.",
                        offsetof(zlt_ctl_metrics_sum_t, connections));
    zlt_ctl_metrics_one(&m, "udp_sessions", "gauge",
                        "UDP sessions that are open.",
                        offsetof(zlt_ctl_metrics_sum_t, sessions));
    zlt_ctl_metrics_one(&m, "udp_sessions_total", "counter",
                        "UDP sessions that were made.",
                        offsetof(zlt_ctl_metrics_sum_t, udp.sessions));
    zlt_ctl_metrics_each(&m, "bytes_total", "counter",
                         "Bytes to the services (in) and from them (out).",
                         "direction", zlt_ctl_metrics_directions, 2,
                         offsetof(zlt_ctl_metrics_sum_t, bytes));
    zlt_ctl_metrics_udp(&m);
    zlt_ctl_metrics_results(&m);
    zlt_ctl_metrics_times(&m, "connect_seconds",
                          "Time until a service was connected to.",
                          offsetof(zlt_ctl_metrics_sum_t, connects));
    zlt_ctl_metrics_times(&m, "heartbeat_seconds",
                          "Round trips of heartbeats to the server.",
                          offsetof(zlt_ctl_metrics_sum_t, heartbeats));
    zlt_ctl_metrics_each(&m, "channels", "gauge",
                         "Data channels, and the lanes on those that are "
                         "shared.",
                         "kind", zlt_ctl_metrics_kinds,
                         ZLT_CTL_METRICS_KINDS,
                         offsetof(zlt_ctl_metrics_sum_t, channels));

    free(m.sums);
}


static int
zlt_ctl_metrics_sums(zlt_ctl_metrics_t *m)
{
    unsigned           i, n;
    const zlt_list_t  *link;
    const zlt_link_t  *l;

    n = 0;

    zlt_list_each(link, &m->process->links) {
        n++;
    }

    m->sums = calloc(n + 1, sizeof(zlt_ctl_metrics_sum_t));

    if (m->sums == NULL) {
        return -1;
    }

    zlt_list_each(link, &m->process->links) {
        l = zlt_list_data(link, zlt_link_t, node);

        for (i = 0; i < m->nsums; i++) {
            if (strcmp(m->sums[i].name, l->owner.conf->name) == 0) {
                break;
            }
        }

        if (i == m->nsums) {
            m->sums[i].name = l->owner.conf->name;
            m->sums[i].link = l;
            m->nsums++;
        }

        zlt_ctl_metrics_sum(&m->sums[i], l);
    }

    return 0;
}


static void
zlt_ctl_metrics_sum(zlt_ctl_metrics_sum_t *sum, const zlt_link_t *l)
{
    const zlt_list_t    *link;
    zlt_link_totals_t    totals;

    sum->states[l->state]++;

    if (l->state == ZLT_LINK_CONNECTED && l->since > sum->since) {
        sum->since = l->since;
    }

    sum->reconnects += l->ups ? l->ups - 1 : 0;
    sum->unknown += l->owner.udp_unknown;

    zlt_list_each(link, &l->owner.ranges) {
        sum->services[zlt_list_data(link, zlt_range_t, link)->state]++;
    }

    zlt_list_each(link, &l->owner.channels) {
        sum->channels[zlt_ctl_metrics_kind(zlt_list_data(link, zlt_channel_t,
                                                         all))]++;
    }

    zlt_link_state_totals(l, &totals);

    sum->sessions += totals.sessions;
    sum->open += totals.open - totals.sessions;
    sum->connections += l->owner.connections;
    sum->bytes[0] += totals.bytes_in;
    sum->bytes[1] += totals.bytes_out;

    zlt_link_state_udp(&sum->udp, &totals.udp);
    zlt_link_state_udp(&sum->all, &totals.all);
    zlt_figure_add(&sum->connects, &l->owner.connects);
    zlt_figure_add(&sum->heartbeats, &l->heartbeats);
}


static zlt_ctl_metrics_kind_e
zlt_ctl_metrics_kind(const zlt_channel_t *ch)
{
    switch (ch->state) {

    case ZLT_CHANNEL_OPENING:
    case ZLT_CHANNEL_SERVED:
        return ZLT_CTL_METRICS_OPENING;

    case ZLT_CHANNEL_IDLE:
        return ZLT_CTL_METRICS_IDLE;

    case ZLT_CHANNEL_SHARED:
        return ZLT_CTL_METRICS_SHARED;

    case ZLT_CHANNEL_DATAGRAMS:
        return ZLT_CTL_METRICS_DATAGRAMS;

    case ZLT_CHANNEL_ENDING:
    case ZLT_CHANNEL_GONE:
        return ZLT_CTL_METRICS_ENDING;

    default:
        return ch->user ? ZLT_CTL_METRICS_VISIT
               : ch->relay.side[ZLT_RELAY_CHANNEL].lane
               ? ZLT_CTL_METRICS_LANE : ZLT_CTL_METRICS_CONNECTION;
    }
}


static void
zlt_ctl_metrics_process(zlt_ctl_metrics_t *m)
{
    zlt_ctl_metrics_family(m, "info", "gauge", "The agent; always 1.");
    zlt_ctl_metrics_sample(m, NULL, "version", ZLT_AGENT_VERSION, 1);

    zlt_ctl_metrics_family(m, "start_time_seconds", "gauge",
                           "When the agent was started, in seconds since "
                           "1970.");
    zlt_ctl_metrics_sample(m, NULL, NULL, NULL,
                           (uint64_t) m->process->started);
}


/* There is none where there is no connection. */

static void
zlt_ctl_metrics_since(zlt_ctl_metrics_t *m)
{
    unsigned  i;

    zlt_ctl_metrics_family(m, "connected_since_seconds", "gauge",
                           "When the tunnel was connected, in seconds since "
                           "1970.");

    for (i = 0; i < m->nsums; i++) {
        if (m->sums[i].since) {
            zlt_ctl_metrics_sample(m, m->sums[i].name, NULL, NULL,
                                   (uint64_t) m->sums[i].since);
        }
    }
}


static void
zlt_ctl_metrics_checks(zlt_ctl_metrics_t *m)
{
    zlt_ctl_metrics_family(m, "service_up", "gauge",
                           "Whether the check of a service finds it up.");
    zlt_ctl_metrics_check(m, 0);

    zlt_ctl_metrics_family(m, "service_changed_seconds", "gauge",
                           "The last time that its check found it up or down, "
                           "in seconds since 1970.");
    zlt_ctl_metrics_check(m, 1);
}


/* Those that have a check, when it has said something; of a range the one that
   is down.  All links of a name check the same. */

static void
zlt_ctl_metrics_check(zlt_ctl_metrics_t *m, unsigned changed)
{
    char                  name[ZLT_CTL_METRICS_LINK],
                          service[ZLT_CTL_METRICS_LINK];
    unsigned              i;
    const zlt_list_t     *link;
    const zlt_range_t    *r;
    const zlt_health_t   *h;
    const zlt_service_t  *s;

    for (i = 0; i < m->nsums; i++) {

        zlt_list_each(link, &m->sums[i].link->owner.ranges) {
            r = zlt_list_data(link, zlt_range_t, link);
            s = zlt_range_unhealthy(r);
            h = &(s ? s : zlt_range_first(r))->health;

            if (r->conf.check[0] == '\0' || (!h->known && !h->down)) {
                continue;
            }

            zlt_text_printf(m->text, "zltunnel_agent_%s{link=\"%s\","
                            "service=\"%s\"} %llu\n", m->family,
                            zlt_ctl_metrics_escape(name, m->sums[i].name),
                            zlt_ctl_metrics_escape(service, r->conf.name),
                            changed ? (unsigned long long) h->since
                                    : (unsigned long long) !h->down);
        }
    }
}


static void
zlt_ctl_metrics_udp(zlt_ctl_metrics_t *m)
{
    unsigned                      i;
    const zlt_udp_count_t        *c;
    const zlt_ctl_metrics_sum_t  *sum;

    zlt_ctl_metrics_family(m, "datagrams_total", "counter",
                           "Datagrams for the services (in) and from them "
                           "(out), those dropped too.");

    for (i = 0; i < m->nsums; i++) {
        sum = &m->sums[i];
        zlt_ctl_metrics_sample(m, sum->name, "direction", "in", sum->udp.in);
        zlt_ctl_metrics_sample(m, sum->name, "direction", "out",
                               sum->udp.out);
    }

    zlt_ctl_metrics_family(m, "datagrams_dropped_total", "counter",
                           "Datagrams that were dropped.");

    for (i = 0; i < m->nsums; i++) {
        sum = &m->sums[i];
        c = &sum->all;
        zlt_ctl_metrics_sample(m, sum->name, "cause", "queue",
                               c->full_in + c->full_out);
        zlt_ctl_metrics_sample(m, sum->name, "cause", "age",
                               c->late_in + c->late_out);
        zlt_ctl_metrics_sample(m, sum->name, "cause", "send", c->failed);
        zlt_ctl_metrics_sample(m, sum->name, "cause", "kernel", c->kernel);
        zlt_ctl_metrics_sample(m, sum->name, "cause", "session",
                               sum->unknown);
    }

    zlt_ctl_metrics_family(m, "udp_sessions_refused_total", "counter",
                           "UDP sessions that were one too many, or had no "
                           "socket.");

    for (i = 0; i < m->nsums; i++) {
        zlt_ctl_metrics_sample(m, m->sums[i].name, NULL, NULL,
                               m->sums[i].all.refused);
    }
}


static void
zlt_ctl_metrics_results(zlt_ctl_metrics_t *m)
{
    unsigned            i;
    zlt_list_t         *link;
    const zlt_link_t   *l;
    const zlt_range_t  *r;

    zlt_ctl_metrics_family(m, "connects_total", "counter",
                           "Connections to a TCP service, by what came of "
                           "them.");

    for (i = 0; i < m->nsums; i++) {
        l = m->sums[i].link;

        zlt_list_each(link, &l->owner.ranges) {
            r = zlt_list_data(link, zlt_range_t, link);

            if (r->conf.protocol == ZLT_PROTO_TCP) {
                zlt_ctl_metrics_service(m, m->sums[i].name, l, r);
            }
        }
    }
}


/* All links of a name have the same services. */

static void
zlt_ctl_metrics_service(zlt_ctl_metrics_t *m, const char *link,
    const zlt_link_t *first, const zlt_range_t *r)
{
    char                  name[ZLT_CTL_METRICS_LINK],
                          service[ZLT_CTL_METRICS_LINK];
    unsigned              i;
    uint64_t              n[ZLT_SERVICE_RESULTS];
    zlt_list_t           *inner;
    zlt_link_t           *l;
    const zlt_range_t    *same;
    const zlt_service_t  *s;

    static const char *const  results[ZLT_SERVICE_RESULTS] = {
        "ok", "timeout", "refused", "unreachable", "limit", "forbidden"
    };

    memset(n, 0, sizeof(n));

    for (l = zlt_process_find((zlt_process_t *) (uintptr_t) m->process, link,
                              NULL);
         l;
         l = zlt_process_find((zlt_process_t *) (uintptr_t) m->process, link,
                              l))
    {
        same = l == first ? r : zlt_range_find(&l->owner.ranges, r->conf.name);

        if (same == NULL) {
            continue;
        }

        zlt_list_each(inner, &same->services) {
            s = zlt_list_data(inner, zlt_service_t, peer);

            for (i = 0; i < ZLT_SERVICE_RESULTS; i++) {
                n[i] += s->connects[i];
            }
        }
    }

    for (i = 0; i < ZLT_SERVICE_RESULTS; i++) {
        zlt_text_printf(m->text, "zltunnel_agent_%s{link=\"%s\","
                        "service=\"%s\",result=\"%s\"} %llu\n", m->family,
                        zlt_ctl_metrics_escape(name, link),
                        zlt_ctl_metrics_escape(service, r->conf.name),
                        results[i], (unsigned long long) n[i]);
    }
}


static void
zlt_ctl_metrics_times(zlt_ctl_metrics_t *m, const char *name,
    const char *help, size_t offset)
{
    char                 limit[32], link[ZLT_CTL_METRICS_LINK];
    unsigned             i, j;
    uint64_t             n;
    const zlt_figure_t  *f;

    zlt_ctl_metrics_family(m, name, "histogram", help);

    for (i = 0; i < m->nsums; i++) {
        f = (const zlt_figure_t *) (const void *)
            ((const char *) &m->sums[i] + offset);
        n = 0;
        (void) zlt_ctl_metrics_escape(link, m->sums[i].name);

        for (j = 0; j < ZLT_FIGURE_BUCKETS; j++) {
            n += f->bucket[j];

            if (j < ZLT_FIGURE_BUCKETS - 1) {
                (void) snprintf(limit, sizeof(limit), "%g",
                                zlt_figure_limits[j] / 1e6);
            } else {
                (void) strcpy(limit, "+Inf");
            }

            zlt_text_printf(m->text, "zltunnel_agent_%s_bucket{link=\"%s\","
                            "le=\"%s\"} %llu\n", name, link, limit,
                            (unsigned long long) n);
        }

        zlt_text_printf(m->text, "zltunnel_agent_%s_sum{link=\"%s\"} "
                        "%llu.%06llu\n"
                        "zltunnel_agent_%s_count{link=\"%s\"} %llu\n",
                        name, link, (unsigned long long) (f->sum / 1000000),
                        (unsigned long long) (f->sum % 1000000), name, link,
                        (unsigned long long) n);
    }
}


/* A family of one number in each sum, at that offset. */

static void
zlt_ctl_metrics_one(zlt_ctl_metrics_t *m, const char *name, const char *type,
    const char *help, size_t offset)
{
    zlt_ctl_metrics_each(m, name, type, help, NULL, NULL, 1, offset);
}


/* .. of n numbers, each with a value of the label */

static void
zlt_ctl_metrics_each(zlt_ctl_metrics_t *m, const char *name, const char *type,
    const char *help, const char *label, const char *const *values, unsigned n,
    size_t offset)
{
    unsigned         i, j;
    const uint64_t  *number;

    zlt_ctl_metrics_family(m, name, type, help);

    for (i = 0; i < m->nsums; i++) {
        number = (const uint64_t *) (const void *)
                 ((const char *) &m->sums[i] + offset);

        for (j = 0; j < n; j++) {
            zlt_ctl_metrics_sample(m, m->sums[i].name, label,
                                   label ? values[j] : NULL, number[j]);
        }
    }
}


static void
zlt_ctl_metrics_family(zlt_ctl_metrics_t *m, const char *name,
    const char *type, const char *help)
{
    m->family = name;

    zlt_text_printf(m->text, "# HELP zltunnel_agent_%s %s\n"
                    "# TYPE zltunnel_agent_%s %s\n", name, help, name, type);
}


/* link and label: NULL, if it has none */

static void
zlt_ctl_metrics_sample(zlt_ctl_metrics_t *m, const char *link,
    const char *label, const char *value, uint64_t n)
{
    char  name[ZLT_CTL_METRICS_LINK];

    zlt_text_printf(m->text, "zltunnel_agent_%s", m->family);

    if (link) {
        zlt_text_printf(m->text, "{link=\"%s\"",
                        zlt_ctl_metrics_escape(name, link));
    }

    if (label) {
        zlt_text_printf(m->text, "%s%s=\"%s\"", link ? "," : "{", label,
                        value);
    }

    zlt_text_printf(m->text, "%s %llu\n", link || label ? "}" : "",
                    (unsigned long long) n);
}


/* buf has ZLT_CTL_METRICS_LINK bytes; returns it. */

static const char *
zlt_ctl_metrics_escape(char *buf, const char *name)
{
    char  *p;

    for (p = buf; *name && p < buf + ZLT_CTL_METRICS_LINK - 2; name++) {

        if (*name == '\\' || *name == '"') {
            *p++ = '\\';
        }

        *p++ = *name;
    }

    *p = '\0';

    return buf;
}
