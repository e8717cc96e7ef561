
/*
 * Copyright (C) zltunnel authors
 */

/* The process: the loop, the second's tick, signals, the links. */


#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "access_all.h"
#include "channel.h"
#include "clock.h"
#include "config.h"
#include "exit.h"
#include "link.h"
#include "log.h"
#include "notify.h"
#include "often.h"
#include "process.h"
#include "resolve.h"
#include "spread.h"
#include "spread_link.h"
#include "tls.h"
#include "udp.h"
#include "version.h"


#define ZLT_PROCESS_WATCHDOG   5       /* s, between signs of life */
#define ZLT_PROCESS_JUMP       2000    /* ms of sleep that are noticed */
#define ZLT_PROCESS_TURNS      8       /* of the loop, to close its handles */


static int zlt_process_init(zlt_process_t *p);
static int zlt_process_links(zlt_process_t *p);
static void zlt_process_hello(zlt_process_t *p);
static void zlt_process_tick(uv_timer_t *timer);
static int64_t zlt_process_suspended(void);
static void zlt_process_signal(uv_signal_t *handle, int signum);
static void zlt_process_changed(zlt_process_t *p);
static void zlt_process_refused(zlt_process_t *p);
static void zlt_process_end(zlt_process_t *p, int code);
static void zlt_process_waits(zlt_process_t *p, int signum);
static unsigned zlt_process_open(const zlt_list_t *links);
static void zlt_process_stop(zlt_process_t *p);
static void zlt_process_quit(zlt_process_t *p);
static int zlt_process_done(zlt_process_t *p);
static void zlt_process_handle_closed(uv_handle_t *handle, void *arg);


const zlt_link_ops_t  zlt_process_link_ops = {
    zlt_process_changed,
    zlt_process_link_gone,
    zlt_process_end,
    zlt_process_refused,
    zlt_spread_link_found,
    zlt_spread_link_held,
    zlt_spread_link_port,
    zlt_spread_link_settle,
    zlt_spread_link_down,
    zlt_spread_link_elsewhere
};


int
zlt_process_run(zlt_config_t *config, const char *conf_file,
    const zlt_conf_t *with, const zlt_process_ctl_t *ctl_ops)
{
    int             rc, alive;
    zlt_process_t  *p;

    p = calloc(1, sizeof(zlt_process_t));
    if (p == NULL) {
        zlt_log_complain("out of memory");
        zlt_config_free(config);
        return 1;
    }

    p->config = config;
    p->conf_file = conf_file;
    p->with = with;
    p->ctl_ops = ctl_ops;

    zlt_list_init(&p->links);
    zlt_list_init(&p->ending);
    zlt_list_init(&p->spreads);

    zlt_log_set_level((zlt_log_level_e) config->agent.log_level);
    zlt_log_set_json((int) config->agent.log_format);
    zlt_log_set_where(config->agent.log);

    if (zlt_process_init(p) == -1) {
        zlt_log_complain("the event loop cannot be made: %s", strerror(errno));
        zlt_config_free(config);
        free(p);
        return 1;
    }

    rc = zlt_process_links(p);

    if (rc == 0) {
        rc = p->ctl_ops->start(p);
    }

    if (rc == 0) {
        zlt_process_hello(p);
        zlt_io_run();
    }

    alive = zlt_process_done(p);

    zlt_often_done();

    if (rc == 0) {
        zlt_log_info("stopped");
        rc = p->code;
    }

    if (alive) {
        /* a name server is silent, and exit() would wait for the thread that
           waits for it */
        (void) fflush(NULL);
        _exit(rc);
    }

    free(p);

    return rc;
}


static int
zlt_process_init(zlt_process_t *p)
{
    unsigned  i;

    static const int  signals[] = { SIGTERM, SIGINT, SIGHUP };

    if (uv_loop_init(&p->loop) != 0 || zlt_io_init(&p->loop) == -1
        || zlt_resolve_init(&p->loop) == -1)
    {
        return -1;
    }

    (void) uv_timer_init(&p->loop, &p->tick);
    zlt_relay_setup(&p->loop);
    p->tick.data = p;

    (void) uv_timer_start(&p->tick, zlt_process_tick, 1000, 1000);

    for (i = 0; i < 3; i++) {
        (void) uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        (void) uv_signal_start(&p->signals[i], zlt_process_signal,
                               signals[i]);
    }

    p->suspended = zlt_process_suspended();
    p->started = time(NULL);

    return 0;
}


/* All that is configured; what is wrong with one ends the start.  0, or the
   exit code. */

static int
zlt_process_links(zlt_process_t *p)
{
    char          error[ZLT_CONF_ERROR_SIZE];
    unsigned      i;
    zlt_tls_t    *tls;
    zlt_conf_t   *conf;
    zlt_link_t   *l;
    zlt_token_t   token;

    for (i = 0; i < p->config->nlinks; i++) {
        conf = p->config->links[i];

        if (zlt_process_prepare(conf, &token, &tls, error) == -1) {
            zlt_log_complain("%s", error);
            return 2;
        }

        l = zlt_link_create(&zlt_process_link_ops, p, &p->loop, conf, &token,
                            tls);
        zlt_token_wipe(&token);

        if (l == NULL) {
            zlt_log_complain("out of memory");
            zlt_tls_destroy(tls);
            return 1;
        }

        p->config->links[i] = NULL;

        zlt_list_append(&p->links, &l->node);
        zlt_spread_join(p, l);

        if (zlt_access_all_create(&l->owner, error) == -1) {
            zlt_log_complain("%s", error);
            return 1;
        }
    }

    return 0;
}


int
zlt_process_prepare(zlt_conf_t *conf, zlt_token_t *token, zlt_tls_t **tls,
    char *error)
{
    char  why[ZLT_CONF_ERROR_SIZE];

    if (zlt_token_read(token, conf->token_file, why) == -1) {
        goto failed;
    }

    if (zlt_link_way(conf, tls, why) == -1) {
        zlt_token_wipe(token);
        goto failed;
    }

    return 0;

failed:

    if (strcmp(conf->name, ZLT_CONF_AGENT) == 0) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%.500s", why);

    } else {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "the tunnel \"%.49s\": "
                        "%.400s", conf->name, why);
    }

    return -1;
}


static void
zlt_process_hello(zlt_process_t *p)
{
    char         text[ZLT_URL_TEXT];
    zlt_list_t  *link;
    zlt_link_t  *l;

    if (zlt_list_empty(&p->links)) {
        zlt_log_info("zltunnel-agent " ZLT_AGENT_VERSION ": no tunnel begins "
                     "here");
    }

    zlt_list_each(link, &p->links) {
        l = zlt_list_data(link, zlt_link_t, node);

        zlt_log_link(l->owner.label, ZLT_LOG_INFO,
                     "zltunnel-agent " ZLT_AGENT_VERSION " for %s%s%s%s",
                     zlt_url_text(text, &l->owner.conf->url),
                     l->owner.conf->via.kind ? " through " : "",
                     l->owner.conf->via.kind ? l->owner.conf->via.name : "",
                     l->owner.conf->nservers > 1 ? ", others in reserve" : "");

        zlt_link_warn(l, p->conf_file == NULL);

        if (!zlt_spread_waits(l)) {
            zlt_link_start(l);
        }
    }

    zlt_notify("READY=1");
}


zlt_link_t *
zlt_process_find(zlt_process_t *p, const char *name, const zlt_link_t *after)
{
    zlt_link_t        *l;
    const zlt_list_t  *link;

    link = after ? &after->node : &p->links;

    while ((link = link->next) != &p->links) {
        l = zlt_list_data(link, zlt_link_t, node);

        if (name == NULL || strcmp(l->owner.conf->name, name) == 0) {
            return l;
        }
    }

    return NULL;
}


static void
zlt_process_changed(zlt_process_t *p)
{
    zlt_process_notify(p);
    zlt_spread_changed(p);
}


void
zlt_process_notify(zlt_process_t *p)
{
    char         text[64];
    unsigned     n, up;
    zlt_list_t  *link;

    if (p->stopping) {
        return;
    }

    n = 0;
    up = 0;

    zlt_list_each(link, &p->links) {
        n++;
        up += (zlt_list_data(link, zlt_link_t, node)->state
               == ZLT_LINK_CONNECTED);
    }

    if (n == 1) {
        zlt_notify(up ? "STATUS=Connected" : "STATUS=Not connected");
        return;
    }

    (void) snprintf(text, sizeof(text), "STATUS=%u of %u tunnels connected",
                    up, n);
    zlt_notify(text);
}


static void
zlt_process_tick(uv_timer_t *timer)
{
    int64_t         suspended;
    uint64_t        now;
    zlt_list_t     *link, *next;
    zlt_process_t  *p;

    p = timer->data;
    now = zlt_io_now();

    zlt_log_tick();
    zlt_often_tick();
    zlt_timer_tick();
    zlt_relay_tick();
    zlt_udp_tick();
    zlt_channel_tick();
    p->ctl_ops->tick(p);

    zlt_list_each_safe(link, next, &p->links) {
        zlt_link_tick(zlt_list_data(link, zlt_link_t, node), now);
    }

    zlt_spread_tick(p, now);

    zlt_list_each_safe(link, next, &p->ending) {
        zlt_link_tick(zlt_list_data(link, zlt_link_t, node), now);
    }

    /* a machine that has slept does not know whether its NAT still does */

    suspended = zlt_process_suspended();

    if (suspended - p->suspended > ZLT_PROCESS_JUMP && !p->stopping) {
        zlt_log_info("the machine has slept for %lld s",
                     (long long) (suspended - p->suspended) / 1000);

        zlt_list_each(link, &p->links) {
            zlt_link_control_woken(zlt_list_data(link, zlt_link_t, node));
        }

        zlt_spread_woken(p);
    }

    p->suspended = suspended;

    if (++p->ticks % ZLT_PROCESS_WATCHDOG == 0) {
        zlt_notify("WATCHDOG=1");
    }
}


static int64_t
zlt_process_suspended(void)
{
    return (int64_t) (zlt_clock_boot() - uv_hrtime() / 1000000);
}


static void
zlt_process_signal(uv_signal_t *handle, int signum)
{
    char            error[ZLT_CONF_ERROR_SIZE];
    zlt_process_t  *p;

    p = handle->data;

    if (signum == SIGHUP) {
        if (!p->stopping) {
            (void) zlt_reload(p, error);
        }

        return;
    }

    if (p->stopping) {
        zlt_log_info("stopping at once (%s)",
                     signum == SIGINT ? "SIGINT" : "SIGTERM");
        zlt_process_quit(p);
        return;
    }

    zlt_log_info("stopping (%s)", signum == SIGINT ? "SIGINT" : "SIGTERM");
    zlt_process_stop(p);

    if (!p->stopped) {
        zlt_process_waits(p, signum);
    }
}


/* What it waits for now. */

static void
zlt_process_waits(zlt_process_t *p, int signum)
{
    unsigned  n;

    n = zlt_process_open(&p->links) + zlt_process_open(&p->ending);

    if (n) {
        zlt_log_info("%u connection%s open: up to %u s, %s again to end at "
                     "once",
                     n, n == 1 ? " is" : "s are",
                     (p->config->agent.shutdown_timeout + 999) / 1000,
                     signum == SIGINT ? "press Ctrl-C" : "send SIGTERM");
    }
}


/* UDP sessions have no end to wait for. */

static unsigned
zlt_process_open(const zlt_list_t *links)
{
    unsigned            n;
    const zlt_list_t   *link;
    zlt_link_totals_t   t;

    n = 0;

    for (link = links->next; link != links; link = link->next) {
        zlt_link_state_totals(zlt_list_data(link, zlt_link_t, node), &t);
        n += t.open - t.sessions;
    }

    return n;
}


/* Who has typed it waits for it, and the token will not become right. */

static void
zlt_process_refused(zlt_process_t *p)
{
    zlt_list_t        *link;
    const zlt_link_t  *l;

    if (p->conf_file || zlt_spread_more(p)) {
        return;
    }

    zlt_list_each(link, &p->links) {
        l = zlt_list_data(link, zlt_link_t, node);

        if (l->good || l->refusals < l->owner.conf->nservers) {
            return;
        }
    }

    zlt_process_end(p, ZLT_EXIT_USAGE);
}


static void
zlt_process_end(zlt_process_t *p, int code)
{
    if (p->stopping) {
        return;
    }

    p->code = code;

    zlt_process_stop(p);
}


/*
 * No Unregister: the server keeps the ports for a while, which is what an
 * agent that is restarted needs.  For its sake the control socket goes first.
 */

static void
zlt_process_stop(zlt_process_t *p)
{
    zlt_list_t  *link, *next;

    zlt_notify("STOPPING=1");

    p->stopping = 1;

    p->ctl_ops->stop(p);

    zlt_spread_done(p);

    zlt_list_each_safe(link, next, &p->links) {
        zlt_link_stop(zlt_list_data(link, zlt_link_t, node), 0,
                      p->config->agent.shutdown_timeout, "the agent ends");
    }

    zlt_process_link_gone(p, NULL);
}


void
zlt_process_remove(zlt_process_t *p, zlt_link_t *l, const char *why)
{
    zlt_spread_leave(l);

    zlt_list_remove(&l->node);
    zlt_list_append(&p->ending, &l->node);

    l->removed = 1;

    if (l->stopped) {
        zlt_process_link_gone(p, l);

    } else {
        zlt_link_stop(l, 1, p->config->agent.shutdown_timeout, why);
    }
}


void
zlt_process_link_gone(zlt_process_t *p, zlt_link_t *l)
{
    zlt_list_t  *link;

    if (l && l->removed) {
        zlt_link_destroy(l);
    }

    if (!p->stopping || !zlt_list_empty(&p->ending)) {
        return;
    }

    zlt_list_each(link, &p->links) {
        if (!zlt_list_data(link, zlt_link_t, node)->stopped) {
            return;
        }
    }

    zlt_process_quit(p);
}


static void
zlt_process_quit(zlt_process_t *p)
{
    p->stopped = 1;

    zlt_io_stop();
}


/* 1 if a thread is still at work. */

static int
zlt_process_done(zlt_process_t *p)
{
    int          alive;
    unsigned     turns;
    zlt_list_t  *link, *next;
    zlt_link_t  *l;

    p->stopping = 1;

    p->ctl_ops->stop(p);

    zlt_spread_done(p);

    zlt_list_each_safe(link, next, &p->ending) {
        zlt_list_append(&p->links, link);
    }

    zlt_list_each_safe(link, next, &p->links) {
        l = zlt_list_data(link, zlt_link_t, node);
        l->removed = 0;

        zlt_link_abort(l);
        zlt_link_destroy(l);
    }

    /* handles that are closed call back in the loop's last turns */

    uv_walk(&p->loop, zlt_process_handle_closed, NULL);

    /* one who is told again is as good as done */

    (void) signal(SIGTERM, SIG_IGN);
    (void) signal(SIGINT, SIG_IGN);
    (void) signal(SIGHUP, SIG_IGN);

    zlt_io_done();

    for (turns = 0; turns < ZLT_PROCESS_TURNS; turns++) {
        if (uv_run(&p->loop, UV_RUN_NOWAIT) == 0) {
            break;
        }
    }

    alive = zlt_resolve_done();

    zlt_io_done();
    (void) uv_loop_close(&p->loop);

    zlt_config_free(p->config);

    return alive;
}


static void
zlt_process_handle_closed(uv_handle_t *handle, void *arg)
{
    (void) arg;

    if (!uv_is_closing(handle)
        && (handle->type == UV_TIMER || handle->type == UV_SIGNAL))
    {
        uv_close(handle, NULL);
    }
}
