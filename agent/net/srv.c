
/*
 * Copyright (C) zltunnel authors
 */

/*
 * SRV records, by the C library's resolver, which has no other way to ask for
 * them than this.
 *
 * It does not tell a name server that fails from one that is silent: both are
 * an answer that did not come.  How long that took tells.
 *
 * What a name server says is shown and sent on, as the name in a request to a
 * proxy: so a host that is no host name is left out.
 */


#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "random.h"
#include "srv.h"


#define ZLT_SRV_SERVICE  "_zltunnel._tcp."
#define ZLT_SRV_ANSWER   65535
#define ZLT_SRV_SILENT   3             /* s, until a failure was silence, if
                                          the resolver does not say */


static int zlt_srv_ask_one(zlt_srv_t *srv);
static int zlt_srv_query(const char *name, uint8_t *answer, int *error,
    time_t *silent);
static int zlt_srv_record(zlt_srv_t *srv, const ns_msg *msg, const ns_rr *rr);
static int zlt_srv_is_host(const char *host);
static void zlt_srv_sort(zlt_srv_t *srv);
static int zlt_srv_before(const zlt_srv_host_t *a, const zlt_srv_host_t *b);
static void zlt_srv_first(zlt_srv_host_t *hosts, unsigned from, unsigned to);


int
zlt_srv_ask(zlt_srv_t *srv, const char *name)
{
    int   rc;
    char  service[ZLT_SRV_NAME];

    srv->n = 0;

    (void) snprintf(srv->asked, sizeof(srv->asked), "%s%s",
                    *name == '_' ? "" : ZLT_SRV_SERVICE, name);

    rc = zlt_srv_ask_one(srv);

    if (rc != EAI_NONAME || srv->why[0] || *name == '_') {

        if (rc == EAI_NONAME && srv->why[0] == '\0') {
            (void) snprintf(srv->why, sizeof(srv->why),
                            "there is no SRV record of \"%s\"", srv->asked);
        }

        return rc;
    }

    (void) strcpy(service, srv->asked);
    (void) snprintf(srv->asked, sizeof(srv->asked), "%s", name);

    rc = zlt_srv_ask_one(srv);

    if (rc == EAI_NONAME && srv->why[0] == '\0') {
        (void) snprintf(srv->why, sizeof(srv->why), "there is no SRV record of "
                        "\"%s\", nor of \"%s\" itself", service, name);
    }

    return rc;
}


/* For one name; EAI_NONAME without a text if there is no record of it. */

static int
zlt_srv_ask_one(zlt_srv_t *srv)
{
    int              n, error;
    time_t           silent;
    uint8_t          answer[ZLT_SRV_ANSWER];
    struct timespec  begun, now;

    srv->why[0] = '\0';

    (void) clock_gettime(CLOCK_MONOTONIC, &begun);

    n = zlt_srv_query(srv->asked, answer, &error, &silent);

    if (n >= 0) {
        return zlt_srv_read(srv, answer, (size_t) n);
    }

    if (error == HOST_NOT_FOUND || error == NO_DATA) {
        return EAI_NONAME;
    }

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    (void) snprintf(srv->why, sizeof(srv->why), "the SRV record of \"%s\": %s",
                    srv->asked,
                    error != TRY_AGAIN ? "the name cannot be asked for"
                    : now.tv_sec - begun.tv_sec >= silent
                    ? "no name server answers"
                    : "the name server fails, or cannot be reached");

    return EAI_AGAIN;
}


/* The answer's length, or -1 with *error as in h_errno; *silent is for how many
   seconds a name server is waited for. */

static int
zlt_srv_query(const char *name, uint8_t *answer, int *error, time_t *silent)
{
    int  n;

    *silent = ZLT_SRV_SILENT;

#ifdef __GLIBC__

    struct __res_state  state;

    memset(&state, 0, sizeof(struct __res_state));

    if (res_ninit(&state) == -1) {
        *error = NO_RECOVERY;
        return -1;
    }

    *silent = state.retrans ? state.retrans : 1;

    n = res_nquery(&state, name, ns_c_in, ns_t_srv, answer, ZLT_SRV_ANSWER);
    *error = state.res_h_errno;

    res_nclose(&state);

#else

    n = res_query(name, ns_c_in, ns_t_srv, answer, ZLT_SRV_ANSWER);
    *error = h_errno;

#endif

    return n > ZLT_SRV_ANSWER ? ZLT_SRV_ANSWER : n;
}


int
zlt_srv_read(zlt_srv_t *srv, const uint8_t *answer, size_t len)
{
    int     i, none, bad;
    ns_rr   rr;
    ns_msg  msg;

    srv->n = 0;
    srv->why[0] = '\0';
    none = 0;
    bad = 0;

    if (ns_initparse(answer, (int) len, &msg) == -1) {
        (void) snprintf(srv->why, sizeof(srv->why), "the SRV record of \"%s\": "
                        "the name server's answer cannot be read", srv->asked);
        return EAI_FAIL;
    }

    for (i = 0; i < ns_msg_count(msg, ns_s_an) && srv->n < ZLT_SRV_MAX; i++) {

        if (ns_parserr(&msg, ns_s_an, i, &rr) == -1) {
            bad = 1;
            break;
        }

        /* CNAMEs may lead to them */

        if (ns_rr_type(rr) != ns_t_srv) {
            continue;
        }

        switch (zlt_srv_record(srv, &msg, &rr)) {

        case 0:
            srv->n++;
            break;

        case 1:
            none = 1;
            break;

        default:
            bad = 1;
        }
    }

    if (srv->n) {
        return 0;
    }

    if (none) {
        (void) snprintf(srv->why, sizeof(srv->why), "the SRV record of \"%s\" "
                        "says that there is no such service (its target is "
                        "\".\")", srv->asked);

    } else if (bad) {
        (void) snprintf(srv->why, sizeof(srv->why), "the SRV record of \"%s\" "
                        "has no host name and port", srv->asked);
    }

    return EAI_NONAME;
}


/* The next of srv->hosts: 0, or 1 if it says that there is none, or -1. */

static int
zlt_srv_record(zlt_srv_t *srv, const ns_msg *msg, const ns_rr *rr)
{
    char             host[NS_MAXDNAME];
    const uint8_t   *p;
    zlt_srv_host_t  *to;

    p = ns_rr_rdata(*rr);

    if (ns_rr_rdlen(*rr) < 7
        || dn_expand(ns_msg_base(*msg), ns_msg_end(*msg), p + 6, host,
                     sizeof(host))
           == -1)
    {
        return -1;
    }

    if (host[0] == '\0' || strcmp(host, ".") == 0) {
        return 1;
    }

    to = &srv->hosts[srv->n];

    to->priority = (uint16_t) ns_get16(p);
    to->weight = (uint16_t) ns_get16(p + 2);
    to->port = (uint16_t) ns_get16(p + 4);

    if (to->port == 0 || !zlt_srv_is_host(host)) {
        return -1;
    }

    (void) strcpy(to->host, host);

    return 0;
}


static int
zlt_srv_is_host(const char *host)
{
    size_t  len;

    len = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                       "0123456789-_.");

    return host[len] == '\0' && len <= ZLT_URL_HOST_MAX;
}


void
zlt_srv_order(zlt_srv_t *srv)
{
    unsigned  i, last;

    zlt_srv_sort(srv);

    for (i = 0; i < srv->n; i++) {

        for (last = i + 1; last < srv->n; last++) {
            if (srv->hosts[last].priority != srv->hosts[i].priority) {
                break;
            }
        }

        zlt_srv_first(srv->hosts, i, last);
    }
}


/* By priority, those without weight first: they have a small chance then. */

static void
zlt_srv_sort(zlt_srv_t *srv)
{
    unsigned        i, j;
    zlt_srv_host_t  host;

    for (i = 1; i < srv->n; i++) {
        host = srv->hosts[i];

        for (j = i; j && zlt_srv_before(&host, &srv->hosts[j - 1]); j--) {
            srv->hosts[j] = srv->hosts[j - 1];
        }

        srv->hosts[j] = host;
    }
}


static int
zlt_srv_before(const zlt_srv_host_t *a, const zlt_srv_host_t *b)
{
    return a->priority != b->priority ? a->priority < b->priority
                                      : a->weight == 0 && b->weight != 0;
}


/* Draws one of those, and puts it first; the others stay in their order. */

static void
zlt_srv_first(zlt_srv_host_t *hosts, unsigned from, unsigned to)
{
    unsigned        i;
    uint32_t        sum, drawn;
    zlt_srv_host_t  host;

    sum = 0;

    for (i = from; i < to; i++) {
        sum += hosts[i].weight;
    }

    if (sum == 0) {
        i = from + zlt_random_below(to - from);

    } else {
        drawn = zlt_random_below(sum + 1);
        sum = 0;

        for (i = from; i < to - 1; i++) {
            sum += hosts[i].weight;

            if (sum >= drawn) {
                break;
            }
        }
    }

    host = hosts[i];
    memmove(&hosts[from + 1], &hosts[from],
            (i - from) * sizeof(zlt_srv_host_t));
    hosts[from] = host;
}


void
zlt_srv_begin(zlt_srv_t *srv, const zlt_srv_host_t *host)
{
    unsigned        i;
    zlt_srv_host_t  first;

    for (i = 0; i < srv->n; i++) {

        if (strcmp(srv->hosts[0].host, host->host) == 0
            && srv->hosts[0].port == host->port)
        {
            return;
        }

        first = srv->hosts[0];
        memmove(&srv->hosts[0], &srv->hosts[1],
                (srv->n - 1) * sizeof(zlt_srv_host_t));
        srv->hosts[srv->n - 1] = first;
    }
}
