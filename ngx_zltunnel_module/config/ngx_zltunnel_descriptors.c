
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The descriptors of the master and of a worker.
 *
 * Each port of a range is a socket, which the master and every worker have.
 * A service manager's soft limit is 1024, for the sake of programs that use
 * select(), and nginx does not: the limit is raised to the hard one, before
 * the sockets are opened, and workers inherit it.  Where that is not enough,
 * nginx -t says so, and what would be.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_descriptors.h"

#include <sys/resource.h>


/*
 * A worker begins with all that the master has.  That is two channels of nginx
 * and two of ours for each worker, and at a reload as much for those that are
 * to go; and a few descriptors for logs, epoll, the zone, and so on.
 */

#define NGX_ZLTUNNEL_DESCRIPTORS_WORKER  8
#define NGX_ZLTUNNEL_DESCRIPTORS_FIXED   64

/* the pipes through which a worker splices */

#define NGX_ZLTUNNEL_DESCRIPTORS_PIPES   256


#define NGX_ZLTUNNEL_DESCRIPTORS_TEXT    256


static rlim_t ngx_zltunnel_descriptors_raise(ngx_core_conf_t *ccf,
    ngx_log_t *log);
static ngx_uint_t ngx_zltunnel_descriptors_files(ngx_cycle_t *cycle);
static void ngx_zltunnel_descriptors_remedy(u_char *text,
    ngx_core_conf_t *ccf, ngx_uint_t n);
static ngx_uint_t ngx_zltunnel_descriptors_allowed(ngx_uint_t n);


ngx_int_t
ngx_zltunnel_descriptors_check(ngx_cycle_t *cycle)
{
    rlim_t            limit;
    u_char            remedy[NGX_ZLTUNNEL_DESCRIPTORS_TEXT];
    ngx_uint_t        start, all, workers;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    limit = ngx_zltunnel_descriptors_raise(ccf, cycle->log);

    if (ccf->rlimit_nofile != NGX_CONF_UNSET) {
        limit = ngx_min(limit, (rlim_t) ccf->rlimit_nofile);
    }

    workers = ccf->master ? (ngx_uint_t) ccf->worker_processes : 1;

    start = cycle->listening.nelts + ngx_zltunnel_descriptors_files(cycle)
            + workers * NGX_ZLTUNNEL_DESCRIPTORS_WORKER
            + NGX_ZLTUNNEL_DESCRIPTORS_FIXED;

    all = start + cycle->connection_n + NGX_ZLTUNNEL_DESCRIPTORS_PIPES;

    if (limit >= all) {
        return NGX_OK;
    }

    ngx_zltunnel_descriptors_remedy(remedy, ccf, all);

    if (limit >= start) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "%ui worker_connections, %ui listening socket%s and "
                      "%ui worker%s may need %ui descriptors in a worker, "
                      "the limit is %uL: %s", cycle->connection_n,
                      cycle->listening.nelts,
                      cycle->listening.nelts == 1 ? "" : "s", workers,
                      workers == 1 ? "" : "s", all, (uint64_t) limit, remedy);
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "%ui listening socket%s and %ui worker%s need %ui "
                  "descriptors in each process before there is a connection, "
                  "the limit is %uL: %s", cycle->listening.nelts,
                  cycle->listening.nelts == 1 ? "" : "s", workers,
                  workers == 1 ? "" : "s", start, (uint64_t) limit, remedy);

    return NGX_ERROR;
}


/*
 * The limit of this process from now on.  "worker_rlimit_nofile" is the
 * administrator's permission to go beyond the hard one, where the system has
 * none against it.
 */

static rlim_t
ngx_zltunnel_descriptors_raise(ngx_core_conf_t *ccf, ngx_log_t *log)
{
    rlim_t         before;
    struct rlimit  limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "getrlimit(RLIMIT_NOFILE) failed");
        return RLIM_INFINITY;
    }

    before = limit.rlim_cur;

    if (ccf->rlimit_nofile != NGX_CONF_UNSET
        && (rlim_t) ccf->rlimit_nofile > limit.rlim_max
        && ngx_zltunnel_descriptors_allowed((ngx_uint_t) ccf->rlimit_nofile))
    {
        limit.rlim_max = (rlim_t) ccf->rlimit_nofile;
    }

    limit.rlim_cur = limit.rlim_max;

    if (limit.rlim_cur == before) {
        return before;
    }

    if (setrlimit(RLIMIT_NOFILE, &limit) == -1) {
        ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                      "setrlimit(RLIMIT_NOFILE, %uL) failed",
                      (uint64_t) limit.rlim_cur);
        return before;
    }

    if (!ngx_test_config) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "zltunnel: the limit of descriptors is raised from "
                      "%uL to %uL", (uint64_t) before,
                      (uint64_t) limit.rlim_cur);
    }

    return limit.rlim_cur;
}


/* logs, and whatever else is open for good */

static ngx_uint_t
ngx_zltunnel_descriptors_files(ngx_cycle_t *cycle)
{
    ngx_uint_t        n;
    ngx_list_part_t  *part;

    n = 0;

    for (part = &cycle->open_files.part; part; part = part->next) {
        n += part->nelts;
    }

    return n;
}


static void
ngx_zltunnel_descriptors_remedy(u_char *text, ngx_core_conf_t *ccf,
    ngx_uint_t n)
{
    u_char      *p, *last;
    ngx_uint_t   allowed;

    p = text;
    last = text + NGX_ZLTUNNEL_DESCRIPTORS_TEXT - 1;

    allowed = ngx_zltunnel_descriptors_allowed(n);

    if (!allowed) {
        p = ngx_slprintf(p, last, "write \"LimitNOFILE=%ui\" in the unit of "
                         "nginx, or where there is none \"ulimit -n %ui\" "
                         "before it is started", n, n);
    }

    if (allowed || ccf->rlimit_nofile != NGX_CONF_UNSET) {
        p = ngx_slprintf(p, last, "%swrite \"worker_rlimit_nofile %ui;\" in "
                         "nginx.conf", allowed ? "" : "; and ", n);
    }

    *p = '\0';
}


/* whether this process could have as many */

static ngx_uint_t
ngx_zltunnel_descriptors_allowed(ngx_uint_t n)
{
    struct rlimit  limit, more;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_max >= n) {
        return 1;
    }

    more = limit;
    more.rlim_max = n;

    if (setrlimit(RLIMIT_NOFILE, &more) == -1) {
        return 0;
    }

    /* to lower it again is always allowed */

    (void) setrlimit(RLIMIT_NOFILE, &limit);

    return 1;
}
