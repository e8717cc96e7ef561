
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The sessions of a service.  They are in the order in which they were used
 * last, to the second, so that the idle ones are at the front.
 */


#include <stdarg.h>
#include <stdio.h>

#include "conf.h"
#include "log.h"
#include "often.h"
#include "owner.h"
#include "udp_service.h"
#include "udp_session_state.h"


#define ZLT_UDP_REPORT   60            /* s, between reports of drops */


static void zlt_udp_service_idle(const zlt_owner_t *o,
    zlt_service_t *service);
static void zlt_udp_service_report(const zlt_owner_t *o,
    zlt_service_t *service);


void
zlt_udp_service_tick(zlt_owner_t *o)
{
    zlt_list_t     *link, *next, *inner;
    zlt_service_t  *service, *target;

    zlt_list_each(link, &o->services) {
        service = zlt_list_data(link, zlt_service_t, link);

        zlt_udp_service_idle(o, service);

        /* a target goes with its last session */

        zlt_list_each_safe(inner, next, &service->targets) {
            target = zlt_list_data(inner, zlt_service_t, link);
            zlt_udp_service_idle(o, target);
        }
    }
}


static void
zlt_udp_service_idle(const zlt_owner_t *o, zlt_service_t *service)
{
    zlt_service_hold(service);

    zlt_udp_peer_idle(&service->sessions, o->conf->udp_timeout);

    if (zlt_udp_now % ZLT_UDP_REPORT == 0) {
        zlt_udp_service_report(o, service);
    }

    zlt_service_release(service);
}


/* Tells of drops that were not told yet. */

static void
zlt_udp_service_report(const zlt_owner_t *o, zlt_service_t *service)
{
    uint64_t          dropped;
    zlt_udp_count_t  *c;

    c = &service->udp;
    dropped = c->full_in + c->late_in + c->full_out + c->late_out + c->failed
              + c->kernel;

    if (dropped == c->reported) {
        return;
    }

    zlt_log_link(o->label, ZLT_LOG_WARN, "the UDP service \"%s\" has dropped "
                 "%llu datagram%s in the last minute", service->conf.name,
                 (unsigned long long) (dropped - c->reported),
                 dropped - c->reported == 1 ? "" : "s");

    c->reported = dropped;

    zlt_udp_service_log(o, service);
}


void
zlt_udp_service_log(const zlt_owner_t *o, const zlt_service_t *service)
{
    const zlt_udp_count_t  *c;

    c = &service->udp;

    if (c->sessions == 0 && c->refused == 0) {
        return;
    }

    zlt_log_link(o->label, ZLT_LOG_INFO, "the UDP service \"%s\": %u session%s "
                 "open, %llu in all, %llu refused; to the service %llu "
                 "datagrams, %llu bytes, dropped %llu full, %llu late; to the "
                 "server %llu datagrams, %llu bytes, dropped %llu full, %llu "
                 "late; %llu failed, %llu without room", service->conf.name, service->nsessions,
                 service->nsessions == 1 ? "" : "s",
                 (unsigned long long) c->sessions,
                 (unsigned long long) c->refused, (unsigned long long) c->in,
                 (unsigned long long) c->bytes_in,
                 (unsigned long long) c->full_in,
                 (unsigned long long) c->late_in, (unsigned long long) c->out,
                 (unsigned long long) c->bytes_out,
                 (unsigned long long) c->full_out,
                 (unsigned long long) c->late_out,
                 (unsigned long long) c->failed,
                 (unsigned long long) c->kernel);
}


void
zlt_udp_service_end(zlt_service_t *service)
{
    zlt_list_t  *link, *next;

    zlt_list_each_safe(link, next, &service->targets) {
        zlt_udp_service_end(zlt_list_data(link, zlt_service_t, link));
    }

    zlt_service_hold(service);

    while (!zlt_list_empty(&service->sessions)) {
        zlt_udp_peer_close(zlt_list_data(service->sessions.next,
                                         zlt_udp_peer_t, used),
                           ZLT_DGRAM_ENDED, 1);
    }

    zlt_service_release(service);
}


void
zlt_udp_service_complain(const zlt_udp_t *u, const zlt_service_t *service,
    const char *fmt, ...)
{
    char     text[256];
    va_list  args;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    zlt_often_warn(u->owner->label, service->conf.name, "the UDP service "
                   "\"%s\": %s", service->conf.name, text);
}
