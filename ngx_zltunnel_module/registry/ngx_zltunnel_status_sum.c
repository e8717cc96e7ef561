
/*
 * Copyright (C) zltunnel authors
 */

/* What JSON and metrics show alike: sums, and the names of figures. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_status_sum.h"
#include "ngx_zltunnel_figure.h"

#include "zlt_msg.h"


const ngx_str_t  ngx_zltunnel_status_sum_drops[NGX_ZLTUNNEL_DROPS] = {
    ngx_string("queue"), ngx_string("age"), ngx_string("limit"),
    ngx_string("channel"), ngx_string("session"), ngx_string("send"),
    ngx_string("malformed"), ngx_string("kernel"), ngx_string("rate")
};

const ngx_str_t  ngx_zltunnel_status_sum_ways[NGX_ZLTUNNEL_WAYS] = {
    ngx_string("local"), ngx_string("moved"), ngx_string("bridged"),
    ngx_string("fresh"), ngx_string("lane")
};

const ngx_str_t  ngx_zltunnel_status_sum_notified[NGX_ZLTUNNEL_NOTIFIED] = {
    ngx_string("sent"), ngx_string("failed"), ngx_string("dropped")
};


void
ngx_zltunnel_status_sum(ngx_zltunnel_status_t *st,
    ngx_zltunnel_sh_worker_t *sum)
{
    ngx_uint_t                 i;
    ngx_zltunnel_sh_worker_t  *worker;

    ngx_memzero(sum, sizeof(ngx_zltunnel_sh_worker_t));

    /* the last one is the sum of those that are gone */

    for (i = 0; i <= st->nworkers; i++) {

        worker = &st->workers[i];

        if (worker->pid == 0 && i < st->nworkers) {
            continue;
        }

        ngx_zltunnel_figure_add_worker(sum, worker);
    }
}


ngx_uint_t
ngx_zltunnel_status_sum_ports(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                i, ports;
    ngx_zltunnel_listener_t  *l;

    /* a port may have sockets of several addresses, side by side */

    ports = 0;
    l = registry->listeners.elts;

    for (i = 0; i < registry->listeners.nelts; i++) {

        if (i == 0 || l[i].port != l[i - 1].port || l[i].udp != l[i - 1].udp) {
            ports++;
        }
    }

    return ports;
}


time_t
ngx_zltunnel_status_sum_time(ngx_msec_t msec)
{
    ngx_msec_int_t  age;

    age = (ngx_msec_int_t) (ngx_current_msec - msec);

    return ngx_time() - (age > 0 ? age / 1000 : 0);
}


const char *
ngx_zltunnel_status_sum_cause(ngx_uint_t code)
{
    switch (code) {

    case 0:
        return "timeout";

    case ZLT_E_REFUSED:
        return "refused";

    case ZLT_E_UNREACHABLE:
        return "unreachable";

    case ZLT_E_BUSY:
        return "busy";

    case ZLT_E_FORBIDDEN:
        return "forbidden";

    default:
        return "failed";
    }
}
