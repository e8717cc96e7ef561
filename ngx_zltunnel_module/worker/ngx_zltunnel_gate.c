
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Who accepts clients while a registry begins anew.
 *
 * After a binary upgrade, or a reload with another size of the zone, the
 * registry is empty, and agents come to it when the former workers exit.
 * Until then a new worker could only refuse clients, so it leaves the
 * listening sockets of zltunnel_ports and zltunnel_pass out of epoll as long
 * as no agent that is connected has the service.  They are accepted by the
 * former workers, who share the sockets; and when these have gone, and the
 * agents are on their way, they wait in the sockets' queues, and are not
 * refused either.
 *
 * The same is done by workers that the former binary starts again, on the way
 * back from an upgrade, and by all when a worker has died within a change, upon
 * which the registry was emptied.  A worker's gates are open for good when
 * there is but one binary, and the agents have had as long as the grace.
 */


#include "ngx_zltunnel_shm.h"


static void ngx_zltunnel_gate_look(ngx_zltunnel_registry_t *registry,
    ngx_array_t *listeners);
static ngx_uint_t ngx_zltunnel_gate_served(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_listener_t *listener);


ngx_uint_t  ngx_zltunnel_overlapping;


/* the pid file that the master of a former binary leaves while it lives */

ngx_uint_t
ngx_zltunnel_overlap(void)
{
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_int_t         pid;
    ngx_core_conf_t  *ccf;
    u_char            buf[NGX_INT64_LEN + 2];

    ngx_zltunnel_overlapping = 0;

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    if (ccf->oldpid.len == 0) {
        return 0;
    }

    fd = ngx_open_file(ccf->oldpid.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      ngx_close_file_n " \"%s\" failed", ccf->oldpid.data);
    }

    while (n > 0 && (buf[n - 1] == LF || buf[n - 1] == CR)) {
        n--;
    }

    pid = (n > 0) ? ngx_atoi(buf, n) : NGX_ERROR;

    if (pid > 0 && (kill((ngx_pid_t) pid, 0) == 0 || ngx_errno == NGX_EPERM)) {
        ngx_zltunnel_overlapping = 1;
    }

    return ngx_zltunnel_overlapping;
}


void
ngx_zltunnel_gate_init(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    (void) ngx_zltunnel_overlap();

    for (i = 0; i < conf->registries.nelts; i++) {

        registry[i]->gated = ngx_zltunnel_gate_expecting(registry[i]);

        ngx_zltunnel_gate_update(registry[i]);
    }
}


void
ngx_zltunnel_gate_lower(ngx_zltunnel_registry_t *registry)
{
    registry->gated = 1;

    ngx_zltunnel_gate_update(registry);
}


ngx_uint_t
ngx_zltunnel_gate_expecting(ngx_zltunnel_registry_t *registry)
{
    if (ngx_zltunnel_overlapping) {
        return 1;
    }

    return registry->sh->expecting
           && ngx_current_msec - registry->sh->started
              < registry->reconnect_grace;
}


void
ngx_zltunnel_gate_update(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                i;
    ngx_zltunnel_listener_t  *pass;

    if (!registry->gated || ngx_exiting) {
        return;
    }

    if (!ngx_zltunnel_gate_expecting(registry)) {
        registry->gated = 0;

    } else {
        ngx_zltunnel_lock_read(registry);

        ngx_zltunnel_gate_look(registry, &registry->listeners);
        ngx_zltunnel_gate_look(registry, &registry->passes);

        ngx_zltunnel_unlock(registry);
    }

    ngx_zltunnel_port_update(registry, 0, 0);

    pass = registry->passes.elts;

    for (i = 0; i < registry->passes.nelts; i++) {
        ngx_zltunnel_listener_update(&pass[i]);
    }
}


static void
ngx_zltunnel_gate_look(ngx_zltunnel_registry_t *registry,
    ngx_array_t *listeners)
{
    ngx_uint_t                i;
    ngx_zltunnel_listener_t  *listener;

    listener = listeners->elts;

    for (i = 0; i < listeners->nelts; i++) {
        listener[i].served = ngx_zltunnel_gate_served(registry->sh,
                                                      &listener[i]);
    }
}


/* by an agent that is connected and has registered the service */

static ngx_uint_t
ngx_zltunnel_gate_served(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_listener_t *listener)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    if (listener->pass && listener->service.len == 0) {

        /* a variable: whichever it will name */

        for (q = ngx_queue_head(&sh->list);
             q != ngx_queue_sentinel(&sh->list);
             q = ngx_queue_next(q))
        {
            tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);

            if (tunnel->state == NGX_ZLTUNNEL_LIVE && tunnel->nservices) {
                return 1;
            }
        }

        return 0;
    }

    if (listener->pass) {
        service = ngx_zltunnel_service_by_name(sh, &listener->service,
                                               listener->udp,
                                               listener->token.len
                                               ? &listener->token : NULL);

    } else {
        service = ngx_zltunnel_service_by_port(sh, listener->port,
                                               listener->udp);
    }

    return service && !service->stale
           && service->tunnel->state == NGX_ZLTUNNEL_LIVE;
}
