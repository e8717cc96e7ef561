
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Ports of a range that another program has.
 *
 * nginx does not start if a single one is taken, and its -t says nothing, since
 * the port could be that of the nginx which runs.  So where none runs each port
 * is tried, and the first that is taken is named, with what can be done.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_taken.h"
#include "ngx_zltunnel_conf.h"


static ngx_uint_t ngx_zltunnel_taken_running(ngx_cycle_t *cycle);
static ngx_uint_t ngx_zltunnel_taken_port(ngx_listening_t *ls);


void
ngx_zltunnel_taken_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                i, n;
    ngx_listening_t          *ls;
    ngx_zltunnel_listener_t  *l, *first;

    if (registry->listeners.nelts == 0
        || ngx_zltunnel_taken_running(cycle))
    {
        return;
    }

    first = NULL;
    n = 0;

    l = registry->listeners.elts;

    for (i = 0; i < registry->listeners.nelts; i++) {
        ls = (ngx_listening_t *) cycle->listening.elts + l[i].index;

        if (!ngx_zltunnel_taken_port(ls)) {
            continue;
        }

        n++;

        if (first == NULL) {
            first = &l[i];
        }
    }

    if (first == NULL) {
        return;
    }

    ls = (ngx_listening_t *) cycle->listening.elts + first->index;

    ngx_log_error(NGX_LOG_WARN, cycle->log, NGX_EADDRINUSE,
                  "another program has %s port %V of \"zltunnel_ports\"%s, so "
                  "nginx will not start: end it, or leave the port out by "
                  "two ranges, to %d and from %d; "
                  "net.ipv4.ip_local_reserved_ports keeps a range from "
                  "outgoing connections", first->udp ? "UDP" : "TCP",
                  &ls->addr_text, n > 1 ? ", and more of them" : "",
                  first->port - 1, first->port + 1);
}


/*
 * This nginx has its sockets already, or -t is run beside one that has, or it is
 * nginx -s, which opens none.
 */

static ngx_uint_t
ngx_zltunnel_taken_running(ngx_cycle_t *cycle)
{
    u_char            buf[NGX_INT64_LEN + 2];
    ssize_t           n;
    ngx_int_t         pid;
    ngx_file_t        file;
    ngx_core_conf_t  *ccf;

    if (ngx_process == NGX_PROCESS_SIGNALLER) {
        return 1;
    }

    if (!ngx_test_config) {
        return !ngx_is_init_cycle(cycle->old_cycle)
               || cycle->old_cycle->listening.nelts;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    ngx_memzero(&file, sizeof(ngx_file_t));

    file.name = ccf->pid;
    file.log = cycle->log;

    file.fd = ngx_open_file(file.name.data, NGX_FILE_RDONLY,
                            NGX_FILE_OPEN, NGX_FILE_DEFAULT_ACCESS);

    if (file.fd == NGX_INVALID_FILE) {
        return 0;
    }

    n = ngx_read_file(&file, buf, NGX_INT64_LEN + 2, 0);

    (void) ngx_close_file(file.fd);

    if (n == NGX_ERROR) {
        return 1;
    }

    while (n && (buf[n - 1] == CR || buf[n - 1] == LF)) {
        n--;
    }

    pid = ngx_atoi(buf, (size_t) n);

    return pid > 0 && (kill((ngx_pid_t) pid, 0) == 0 || ngx_errno != NGX_ESRCH);
}


static ngx_uint_t
ngx_zltunnel_taken_port(ngx_listening_t *ls)
{
    int           on;
    ngx_uint_t    taken;
    ngx_socket_t  s;

    s = ngx_socket(ls->sockaddr->sa_family, ls->type, 0);

    if (s == (ngx_socket_t) -1) {
        return 0;
    }

    /* as ngx_open_listening_sockets() does */

    on = 1;
    (void) setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(int));

#if (NGX_HAVE_INET6 && defined IPV6_V6ONLY)
    if (ls->sockaddr->sa_family == AF_INET6) {
        on = ls->ipv6only;
        (void) setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(int));
    }
#endif

    taken = (bind(s, ls->sockaddr, ls->socklen) == -1
             && ngx_socket_errno == NGX_EADDRINUSE);

    (void) ngx_close_socket(s);

    return taken;
}
