
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The agent: sessions one after the other, the second's tick, signals.
 *
 * Reconnecting: random(0, min(cap, base * 2^n)), so that many agents of one
 * server do not return in step; n begins anew after a healthy minute.  When
 * one is lost that had been healthy for 10 s, the first attempt comes within
 * 200 ms; it counts as one what the server asked to move on, at a reload.
 */


#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "agent.h"
#include "dup.h"
#include "notify.h"
#include "reload.h"
#include "version.h"


#define ZLT_AGENT_QUICK        200     /* ms, the first retry */
#define ZLT_AGENT_SOUND        10000   /* ms up that earn it */
#define ZLT_AGENT_HEALTHY      60000   /* ms up that end the backoff */
#define ZLT_AGENT_IN_USE       5000    /* ms */
#define ZLT_AGENT_WATCHDOG     5       /* s, between signs of life */
#define ZLT_AGENT_JUMP         2000    /* ms of sleep that are noticed */
#define ZLT_AGENT_JUMP_PROBE   5000


static int zlt_agent_init(zlt_agent_t *a, zlt_conf_t *conf,
    const char *conf_file);
static void zlt_agent_warn(const zlt_agent_t *a);
static void zlt_agent_connect(zlt_agent_t *a);
static void zlt_agent_reconnect(uv_timer_t *timer);
static void zlt_agent_schedule(zlt_agent_t *a, uint32_t delay);
static void zlt_agent_refilled(uv_timer_t *timer);
static uint32_t zlt_agent_backoff(zlt_agent_t *a, uint64_t healthy);
static void zlt_agent_tick(uv_timer_t *timer);
static void zlt_agent_release(uv_timer_t *timer);
static void zlt_agent_register(zlt_agent_t *a, uint64_t now);
static int64_t zlt_agent_suspended(void);
static void zlt_agent_signal(uv_signal_t *handle, int signum);
static void zlt_agent_stop(zlt_agent_t *a);
static void zlt_agent_quit(zlt_agent_t *a);
static void zlt_agent_done(zlt_agent_t *a);
static void zlt_agent_handle_closed(uv_handle_t *handle, void *arg);


int
zlt_agent_run(zlt_conf_t *conf, const char *conf_file)
{
    int           rc;
    char          text[ZLT_URL_TEXT];
    zlt_agent_t  *a;

    a = calloc(1, sizeof(zlt_agent_t));
    if (a == NULL) {
        zlt_complain("out of memory");
        return 1;
    }

    rc = zlt_agent_init(a, conf, conf_file);

    if (rc == 0) {
        zlt_log_info("zltunnel-agent " ZLT_AGENT_VERSION " for %s%s%s",
                     zlt_url_text(text, &a->conf->url),
                     a->conf->via.kind ? " through " : "",
                     a->conf->via.kind ? a->conf->via.name : "");
        zlt_agent_warn(a);

        zlt_agent_connect(a);
        zlt_notify("READY=1");

        zlt_io_run();

        zlt_agent_done(a);
        zlt_log_info("ended");
    }

    zlt_token_wipe(&a->token);
    OPENSSL_cleanse(a->resume_key, ZLT_KEY_SIZE);
    OPENSSL_cleanse(&a->param, sizeof(zlt_pool_param_t));
    free(a);

    return rc;
}


/* 0, or the exit code. */

static int
zlt_agent_init(zlt_agent_t *a, zlt_conf_t *conf, const char *conf_file)
{
    char      error[ZLT_TLS_ERROR_SIZE];
    unsigned  i;

    static const int  signals[] = { SIGTERM, SIGINT, SIGHUP };

    a->conf = conf;
    a->conf_file = conf_file;

    zlt_list_init(&a->services);
    zlt_list_init(&a->kept);
    zlt_list_init(&a->channels);
    zlt_list_init(&a->early);

    zlt_log_set_level((zlt_log_level_e) conf->log_level);
    zlt_transport_init(&a->transport, (zlt_transport_e) conf->transport);

    if (zlt_token_read(&a->token, conf->token_file, error) == -1) {
        zlt_complain("%s", error);
        return 2;
    }

    if (zlt_via_choose(&conf->via, &conf->url, conf->proxy, conf->proxy_file,
                       error)
        == -1)
    {
        zlt_complain("%s", error);
        return 2;
    }

    if (conf->url.tls) {
        a->tls = zlt_tls_create(conf, error);
        if (a->tls == NULL) {
            zlt_complain("%s", error);
            return 2;
        }
    }

    for (i = 0; i < conf->nservices; i++) {
        if (zlt_service_create(&a->services, &conf->services[i]) == NULL) {
            zlt_complain("out of memory");
            return 1;
        }
    }

    if (uv_loop_init(&a->loop) != 0 || zlt_io_init(&a->loop) == -1) {
        zlt_complain("the event loop cannot be made: %s", strerror(errno));
        return 1;
    }

    (void) uv_timer_init(&a->loop, &a->tick);
    (void) uv_timer_init(&a->loop, &a->reconnect);
    (void) uv_timer_init(&a->loop, &a->held);
    (void) uv_timer_init(&a->loop, &a->refill);
    a->tick.data = a;
    a->reconnect.data = a;
    a->refill.data = a;

    (void) uv_timer_start(&a->tick, zlt_agent_tick, 1000, 1000);

    for (i = 0; i < 3; i++) {
        (void) uv_signal_init(&a->loop, &a->signals[i]);
        a->signals[i].data = a;
        (void) uv_signal_start(&a->signals[i], zlt_agent_signal, signals[i]);
    }

    a->suspended = zlt_agent_suspended();

    return 0;
}


/* What has to be said at each start. */

static void
zlt_agent_warn(const zlt_agent_t *a)
{
    const zlt_conf_t  *conf;

    conf = a->conf;

    if (conf->url.tls && conf->insecure) {
        zlt_log_warn("the server's certificate is not verified: anyone on "
                     "the way can read the token and all traffic");
    }

    if (!conf->url.tls && !conf->url.is_unix
        && (!zlt_url_loopback(conf->url.host)
            || (conf->via.kind && !zlt_url_loopback(conf->via.host))))
    {
        zlt_log_warn("ws:// is not encrypted: anyone on the way can read the "
                     "token and all traffic; use wss://");
    }

    if (a->conf_file == NULL && conf->proxy && conf->via.password[0]) {
        zlt_log_warn("the proxy's password is on the command line, where "
                     "every user of this machine can see it: use "
                     "--proxy-file");
    }
}


uint32_t
zlt_agent_random(uint32_t n)
{
    uint32_t  r;

    if (RAND_bytes((uint8_t *) &r, sizeof(r)) != 1) {
        r = (uint32_t) uv_hrtime();
    }

    return (uint32_t) (((uint64_t) r * n) >> 32);
}


static void
zlt_agent_connect(zlt_agent_t *a)
{
    if (a->stopping || a->session) {
        return;
    }

    a->session = zlt_session_start(a);

    if (a->session == NULL) {
        zlt_log_error("out of memory");
        zlt_agent_schedule(a, a->conf->reconnect_interval);
    }
}


static void
zlt_agent_reconnect(uv_timer_t *timer)
{
    zlt_agent_connect(timer->data);
}


static void
zlt_agent_schedule(zlt_agent_t *a, uint32_t delay)
{
    (void) uv_timer_start(&a->reconnect, zlt_agent_reconnect, delay, 0);
}


void
zlt_agent_refill(zlt_agent_t *a, uint32_t delay)
{
    (void) uv_timer_start(&a->refill, zlt_agent_refilled, delay, 0);
}


static void
zlt_agent_refilled(uv_timer_t *timer)
{
    zlt_agent_t  *a;

    a = timer->data;

    if (a->pool) {
        zlt_pool_refill(a->pool);
    }
}


void
zlt_agent_retry(zlt_agent_t *a)
{
    if (a->session == NULL && !a->stopping) {
        zlt_agent_schedule(a, 0);
    }
}


void
zlt_agent_restart(zlt_agent_t *a)
{
    zlt_agent_warn(a);
    zlt_transport_init(&a->transport, (zlt_transport_e) a->conf->transport);

    a->attempts = 0;
    a->carried = 0;
    a->warned_v1 = 0;
    a->resumable = 0;
    a->has_param = 0;

    if (a->pool) {
        zlt_pool_abandon(a->pool, 1);
        a->pool = NULL;
    }

    /* its end begins the next one */

    if (a->session) {
        zlt_session_close(a->session, "the agent goes to another server");

    } else {
        zlt_agent_retry(a);
    }
}


/* The former session serves until the server closes it, and if the new token
   turns out to be wrong. */

void
zlt_agent_move(zlt_agent_t *a)
{
    zlt_list_t     *link;
    zlt_session_t  *s;
    zlt_service_t  *service;

    s = a->session;

    if (s == NULL) {
        zlt_agent_retry(a);
        return;
    }

    if (!zlt_session_is_up(s)) {
        zlt_session_close(s, "the token has changed");
        return;
    }

    a->session = NULL;

    zlt_list_each(link, &a->services) {
        service = zlt_list_data(link, zlt_service_t, link);
        service->state = ZLT_SERVICE_DOWN;
    }

    zlt_session_keep_aside(s, &a->kept);
    zlt_agent_schedule(a, 0);
}


void
zlt_agent_up(zlt_agent_t *a, zlt_session_t *s)
{
    char                     id[2 * ZLT_ID_SIZE], text[ZLT_ADDR_TEXT];
    zlt_list_t              *link;
    zlt_service_t           *service;
    const zlt_pool_param_t  *param;

    param = zlt_session_param(s);

    a->refused = 0;

    if (a->conf->via.kind) {
        zlt_log_info("connected to the server through the proxy %s (from %s)",
                     a->conf->via.name, a->conf->via.source);
        zlt_notify("STATUS=Connected through a proxy");

    } else {
        zlt_log_info("connected to the server");
        zlt_notify("STATUS=Connected");
    }

    if (param == NULL) {
        if (!a->warned_v1) {
            a->warned_v1 = 1;
            zlt_log_warn("the server is one of protocol version 1: it "
                         "registers services but cannot carry connections "
                         "to them, and does not tell their addresses");
        }

        if (a->pool) {
            zlt_pool_abandon(a->pool, 1);
            a->pool = NULL;
        }

    } else {
        zlt_hex_encode(id, param->tunnel_id, ZLT_ID_SIZE);
        zlt_log_debug("tunnel %.*s at %s", (int) sizeof(id), id,
                      zlt_addr_text(text, &param->way.addr));

        a->param = *param;
        a->has_param = 1;

        if (a->pool && !zlt_pool_is(a->pool, param->tunnel_id)) {
            zlt_pool_abandon(a->pool, 1);
            a->pool = NULL;
        }

        if (a->pool) {
            zlt_pool_update(a->pool, param);

        } else {
            a->pool = zlt_pool_create(a, param);
        }
    }

    zlt_list_each(link, &a->services) {
        service = zlt_list_data(link, zlt_service_t, link);
        service->again = 0;

        zlt_session_register(s, service);

        if (!zlt_session_is_up(s)) {
            /* it broke meanwhile */
            return;
        }
    }
}


void
zlt_agent_down(zlt_agent_t *a, zlt_session_t *s, zlt_down_e how,
    uint32_t retry_after, uint64_t healthy)
{
    uint32_t        delay;
    zlt_list_t     *link;
    zlt_service_t  *service;

    if (s != a->session) {
        /* one that was kept; nothing depends on it */
        zlt_agent_channel_gone(a);
        return;
    }

    a->session = NULL;

    zlt_list_each(link, &a->services) {
        service = zlt_list_data(link, zlt_service_t, link);
        service->state = ZLT_SERVICE_DOWN;
    }

    if (how == ZLT_DOWN_RECONNECT) {

        /* what belongs to the old workers ends with them */

        zlt_session_keep_aside(s, &a->kept);

        if (a->pool) {
            zlt_pool_abandon(a->pool, 0);
            a->pool = NULL;
        }

    } else if (a->pool) {
        zlt_pool_suspend(a->pool);
    }

    if (a->stopping) {
        zlt_agent_channel_gone(a);
        return;
    }

    zlt_notify("STATUS=Not connected");

    healthy += a->carried;
    a->carried = 0;

    switch (how) {

    case ZLT_DOWN_RECONNECT:
        a->carried = healthy;
        delay = retry_after;
        break;

    case ZLT_DOWN_REFUSED:

        /* slowly, but for the first time: the server follows its token
           file with a delay, and this token may just have been added */

        delay = a->refused ? a->conf->max_reconnect_interval
                           : a->conf->reconnect_interval;
        a->refused = 1;

        if (retry_after > delay) {
            delay = retry_after;
        }

        break;

    case ZLT_DOWN_IN_USE:
        delay = retry_after ? retry_after : ZLT_AGENT_IN_USE;
        break;

    case ZLT_DOWN_CLOSED:
        delay = 0;
        break;

    default:

        /* not so at a reload: then it is the same network */

        zlt_transport_anew(&a->transport);

        delay = zlt_agent_backoff(a, healthy);

        if (retry_after) {
            /* not all of them at the same moment */
            delay = retry_after + zlt_agent_random(retry_after / 4 + 1);
        }
    }

    if (delay >= 1000) {
        zlt_log_info("connecting again in %u.%u s", (unsigned) delay / 1000,
                     (unsigned) delay % 1000 / 100);
    }

    zlt_agent_schedule(a, delay);
}


static uint32_t
zlt_agent_backoff(zlt_agent_t *a, uint64_t healthy)
{
    unsigned  i;
    uint64_t  most;

    if (healthy >= ZLT_AGENT_HEALTHY) {
        a->attempts = 0;
    }

    if (healthy >= ZLT_AGENT_SOUND) {
        return zlt_agent_random(ZLT_AGENT_QUICK);
    }

    most = a->conf->reconnect_interval;

    for (i = 0; i < a->attempts && most < a->conf->max_reconnect_interval;
         i++)
    {
        most *= 2;
    }

    a->attempts++;

    if (most > a->conf->max_reconnect_interval) {
        most = a->conf->max_reconnect_interval;
    }

    return zlt_agent_random((uint32_t) most + 1);
}


void
zlt_agent_announce(zlt_agent_t *a, zlt_service_t *s, const char *public_addr)
{
    const char  *protocol;

    (void) a;

    protocol = s->conf.protocol == ZLT_PROTO_UDP ? "udp" : "tcp";

    zlt_log_debug("the service \"%s\" is registered: %s", s->conf.name,
                  public_addr);

    /* once, and again when it has moved */

    if (strcmp(s->shown, public_addr) == 0) {
        return;
    }

    (void) snprintf(s->shown, sizeof(s->shown), "%s", public_addr);

    (void) printf("%s  %s  %s  ->  %s\n", s->conf.name, protocol,
                  s->conf.local, public_addr);
    (void) fflush(stdout);
}


/* A channel or a session has ended: was it the last thing we waited for? */

void
zlt_agent_channel_gone(zlt_agent_t *a)
{
    if (a->stopping && !a->stopped && a->nchannels == 0
        && a->session == NULL && zlt_list_empty(&a->kept))
    {
        zlt_agent_quit(a);
    }
}


void
zlt_agent_hold(zlt_agent_t *a)
{
    if (!uv_is_active((uv_handle_t *) &a->held)) {
        (void) uv_timer_start(&a->held, zlt_agent_release, 1, 0);
    }
}


static void
zlt_agent_release(uv_timer_t *timer)
{
    (void) timer;

    zlt_relay_release();
}


static void
zlt_agent_tick(uv_timer_t *timer)
{
    int64_t         suspended;
    uint64_t        now;
    zlt_list_t     *link, *next;
    zlt_agent_t    *a;

    a = timer->data;
    now = zlt_io_now();

    zlt_timer_tick();
    zlt_relay_tick();
    zlt_udp_tick(a);
    zlt_dup_tick();

    if (a->pool) {
        zlt_pool_tick(a->pool);
    }

    if (a->session) {
        zlt_session_tick(a->session);
    }

    zlt_list_each_safe(link, next, &a->kept) {
        zlt_session_tick(zlt_session_of_link(link));
    }

    /* a machine that has slept does not know whether its NAT still does */

    suspended = zlt_agent_suspended();

    if (suspended - a->suspended > ZLT_AGENT_JUMP && !a->stopping) {
        zlt_log_info("the machine has slept for %lld s",
                     (long long) (suspended - a->suspended) / 1000);

        if (a->session) {
            zlt_session_probe(a->session, ZLT_AGENT_JUMP_PROBE);

        } else {
            /* what it waits for belongs to the time before */

            a->attempts = 0;
            zlt_agent_schedule(a, zlt_agent_random(ZLT_AGENT_QUICK));
        }
    }

    a->suspended = suspended;

    zlt_agent_register(a, now);

    if (++a->ticks % ZLT_AGENT_WATCHDOG == 0) {
        zlt_notify("WATCHDOG=1");
    }

    if (a->stopping && !a->stopped && now >= a->stop_at) {
        zlt_log_warn("%u connections are cut short", a->nchannels);
        zlt_agent_quit(a);
    }
}


/* Services whose refusal may have been for a while. */

static void
zlt_agent_register(zlt_agent_t *a, uint64_t now)
{
    zlt_list_t     *link;
    zlt_service_t  *service;

    zlt_list_each(link, &a->services) {

        if (a->session == NULL || !zlt_session_is_up(a->session)) {
            return;
        }

        service = zlt_list_data(link, zlt_service_t, link);

        if (service->state == ZLT_SERVICE_REFUSED && service->again
            && now >= service->again_at)
        {
            zlt_session_register(a->session, service);
        }
    }
}


static int64_t
zlt_agent_suspended(void)
{
#ifdef CLOCK_BOOTTIME

    struct timespec  boot, mono;

    if (clock_gettime(CLOCK_BOOTTIME, &boot) == -1
        || clock_gettime(CLOCK_MONOTONIC, &mono) == -1)
    {
        return 0;
    }

    return (int64_t) (boot.tv_sec - mono.tv_sec) * 1000
           + (boot.tv_nsec - mono.tv_nsec) / 1000000;

#else

    return 0;

#endif
}


static void
zlt_agent_signal(uv_signal_t *handle, int signum)
{
    zlt_agent_t  *a;

    a = handle->data;

    if (signum == SIGHUP) {
        if (!a->stopping) {
            zlt_agent_reload(a);
        }

        return;
    }

    if (a->stopping) {
        zlt_log_info("told again to end");
        zlt_agent_quit(a);
        return;
    }

    zlt_agent_stop(a);
}


/*
 * No Unregister: the server keeps the ports for a while, which is what an
 * agent that is restarted needs.
 */

static void
zlt_agent_stop(zlt_agent_t *a)
{
    zlt_list_t     *link, *next;
    zlt_channel_t  *ch;

    zlt_log_info("told to end");
    zlt_notify("STOPPING=1");

    a->stopping = 1;
    a->stop_at = zlt_io_now() + a->conf->shutdown_timeout;

    (void) uv_timer_stop(&a->reconnect);
    (void) uv_timer_stop(&a->refill);

    if (a->pool) {
        zlt_pool_abandon(a->pool, 1);
        a->pool = NULL;
    }

    /* those that are left idle belong to sessions that are kept */

    zlt_list_each_safe(link, next, &a->channels) {
        ch = zlt_list_data(link, zlt_channel_t, all);

        if (zlt_channel_is_idle(ch)) {
            zlt_channel_retire(ch);
        }
    }

    if (a->session) {
        zlt_session_close(a->session, "the agent ends");
    }

    zlt_list_each_safe(link, next, &a->kept) {
        zlt_session_close(zlt_session_of_link(link), "the agent ends");
    }

    zlt_agent_channel_gone(a);
}


static void
zlt_agent_quit(zlt_agent_t *a)
{
    a->stopped = 1;

    zlt_io_stop();
}


static void
zlt_agent_done(zlt_agent_t *a)
{
    zlt_list_t     *link, *next;
    zlt_service_t  *service;

    a->stopping = 1;
    a->stopped = 1;

    zlt_list_each_safe(link, next, &a->channels) {
        zlt_channel_abort(zlt_list_data(link, zlt_channel_t, all));
    }

    if (a->pool) {
        zlt_pool_abandon(a->pool, 0);
        a->pool = NULL;
    }

    if (a->session) {
        zlt_session_abort(a->session);
        a->session = NULL;
    }

    zlt_list_each_safe(link, next, &a->kept) {
        zlt_session_abort(zlt_session_of_link(link));
    }

    zlt_list_each_safe(link, next, &a->services) {
        service = zlt_list_data(link, zlt_service_t, link);
        zlt_udp_service_log(service);
        zlt_service_remove(service);
    }

    /* handles that are closed call back in the loop's last turns */

    uv_walk(&a->loop, zlt_agent_handle_closed, NULL);
    zlt_io_done();

    (void) uv_run(&a->loop, UV_RUN_DEFAULT);
    zlt_io_done();
    (void) uv_loop_close(&a->loop);

    zlt_tls_destroy(a->tls);
    zlt_conf_free(a->conf);
}


static void
zlt_agent_handle_closed(uv_handle_t *handle, void *arg)
{
    (void) arg;

    if (!uv_is_closing(handle)
        && (handle->type == UV_TIMER || handle->type == UV_SIGNAL))
    {
        uv_close(handle, NULL);
    }
}
