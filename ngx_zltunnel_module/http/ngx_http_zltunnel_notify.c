
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel_notify: each event is sent to a location, by a request of our own.
 *
 * Nobody waits for that.  An event is put into a queue of this worker, which has
 * a bound, and what is above it is dropped and counted.  A few are under way at
 * a time, but of one tunnel one only, so that its events arrive in their order.
 * One that fails is tried once more.
 *
 * A worker that exits has some seconds for what is left.  The timers of what is
 * under way keep it until then, as those of a client's request do.
 */


#include "ngx_http_zltunnel_notify.h"
#include "ngx_http_zltunnel_subrequest.h"
#include "ngx_zltunnel_config.h"


#define NGX_HTTP_ZLTUNNEL_NOTIFY_QUEUE     1000     /* events that wait */
#define NGX_HTTP_ZLTUNNEL_NOTIFY_STRANGERS 500      /* .. of agents that were
                                                       refused, whom anybody
                                                       can be */
#define NGX_HTTP_ZLTUNNEL_NOTIFY_PARALLEL  4
#define NGX_HTTP_ZLTUNNEL_NOTIFY_TRIES     2
#define NGX_HTTP_ZLTUNNEL_NOTIFY_AGAIN     1000     /* ms */
#define NGX_HTTP_ZLTUNNEL_NOTIFY_TIMEOUT   10000    /* ms, for an answer */
#define NGX_HTTP_ZLTUNNEL_NOTIFY_EXIT      10000    /* ms, to begin what is
                                                       left */


/* of a registry */

struct ngx_http_zltunnel_notify_s {
    ngx_str_t                 uri;
    ngx_http_core_srv_conf_t *server;
    u_char                   *file;
    ngx_uint_t                line;
};


/* an event that waits, or is under way */

typedef struct {
    ngx_queue_t               queue;
    ngx_zltunnel_registry_t  *registry;
    const ngx_str_t          *type;
    ngx_str_t                 body;
    u_char                    id[2 * ZLT_ID_SIZE];
    u_char                    tunnel_id[ZLT_ID_SIZE];
    ngx_uint_t                tunnel;     /* it is of one */
    ngx_uint_t                tries;
    ngx_event_t               again;
} ngx_http_zltunnel_told_t;


static void ngx_http_zltunnel_notify_event(ngx_zltunnel_event_t *event);
static ngx_uint_t ngx_http_zltunnel_notify_full(ngx_zltunnel_event_t *event);
static void ngx_http_zltunnel_notify_handler(ngx_event_t *ev);
static ngx_uint_t ngx_http_zltunnel_notify_late(void);
static ngx_http_zltunnel_told_t *ngx_http_zltunnel_notify_next(void);
static ngx_uint_t ngx_http_zltunnel_notify_busy(
    ngx_http_zltunnel_told_t *told);
static void ngx_http_zltunnel_notify_send(ngx_http_zltunnel_told_t *told);
static void ngx_http_zltunnel_notify_done(void *data, ngx_uint_t status,
    ngx_list_t *headers);
static void ngx_http_zltunnel_notify_again(ngx_event_t *ev);
static void ngx_http_zltunnel_notify_free(ngx_http_zltunnel_told_t *told,
    ngx_uint_t result);
static void ngx_http_zltunnel_notify_drop_all(ngx_queue_t *queue);


static ngx_queue_t       ngx_http_zltunnel_notify_waiting;
static ngx_queue_t       ngx_http_zltunnel_notify_sent;
static ngx_uint_t        ngx_http_zltunnel_notify_nwaiting;
static ngx_uint_t        ngx_http_zltunnel_notify_nsent;
static ngx_msec_t        ngx_http_zltunnel_notify_deadline;
static ngx_event_t       ngx_http_zltunnel_notify_posted;
static ngx_connection_t  ngx_http_zltunnel_notify_dummy;


char *
ngx_http_zltunnel_notify(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_zltunnel_loc_conf_t *zlcf = conf;

    ngx_str_t                   *value;
    ngx_http_zltunnel_notify_t  *notify;

    if (zlcf->notify) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_zltunnel_subrequest_uri(cf, &value[1]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    notify = ngx_pcalloc(cf->pool, sizeof(ngx_http_zltunnel_notify_t));
    if (notify == NULL) {
        return NGX_CONF_ERROR;
    }

    notify->uri = value[1];
    notify->server = ngx_http_conf_get_module_srv_conf(cf,
                                                       ngx_http_core_module);
    notify->file = cf->conf_file->file.name.data;
    notify->line = cf->conf_file->line;

    zlcf->notify = notify;

    return NGX_CONF_OK;
}


char *
ngx_http_zltunnel_notify_check(ngx_conf_t *cf,
    ngx_http_zltunnel_loc_conf_t *zlcf)
{
    ngx_str_t                   *name;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_zltunnel_notify_t  *notify, *other;

    notify = zlcf->notify;

    if (notify == NULL) {
        return NGX_CONF_OK;
    }

    if (zlcf->handler != ngx_http_zltunnel_handshake_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"zltunnel_notify\" belongs into the location that has "
                      "\"zltunnel\" in %s:%ui", notify->file, notify->line);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    name = &clcf->name;

    if (name->len == notify->uri.len
        && ngx_strncmp(name->data, notify->uri.data, name->len) == 0)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"zltunnel_notify\" has \"%V\", where agents connect: "
                      "it must be another location, in %s:%ui", name,
                      notify->file, notify->line);
        return NGX_CONF_ERROR;
    }

    other = zlcf->registry->notify;

    if (other && other != notify) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"zltunnel_notify\" of registry \"%V\" is in %s:%ui "
                      "and again in %s:%ui: one location is told of all events "
                      "of a registry", &zlcf->registry->name, other->file,
                      other->line, notify->file, notify->line);
        return NGX_CONF_ERROR;
    }

    zlcf->registry->notify = notify;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_zltunnel_notify_init_process(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_http_zltunnel_notify_waiting);
    ngx_queue_init(&ngx_http_zltunnel_notify_sent);

    ngx_http_zltunnel_notify_dummy.fd = (ngx_socket_t) -1;

    ngx_http_zltunnel_notify_posted.handler = ngx_http_zltunnel_notify_handler;
    ngx_http_zltunnel_notify_posted.data = &ngx_http_zltunnel_notify_dummy;
    ngx_http_zltunnel_notify_posted.log = cycle->log;

    ngx_zltunnel_event_listen(ngx_http_zltunnel_notify_event);

    return NGX_OK;
}


static void
ngx_http_zltunnel_notify_event(ngx_zltunnel_event_t *event)
{
    u_char                     id[ZLT_ID_SIZE];
    ngx_http_zltunnel_told_t  *told;

    if (event->registry->notify == NULL) {
        return;
    }

    if (ngx_http_zltunnel_notify_full(event)) {
        ngx_zltunnel_log_complain(ngx_cycle->log, "events are dropped: %s",
                                  "as many wait for \"zltunnel_notify\" as may");
        ngx_zltunnel_figure_notified(event->registry, NGX_ZLTUNNEL_DROPPED, 1);
        return;
    }

    told = ngx_calloc(sizeof(ngx_http_zltunnel_told_t), ngx_cycle->log);
    if (told == NULL) {
        ngx_zltunnel_figure_notified(event->registry, NGX_ZLTUNNEL_DROPPED, 1);
        return;
    }

    ngx_zltunnel_util_random(id, ZLT_ID_SIZE);

    if (ngx_zltunnel_event_json(event, id, &told->body) != NGX_OK) {
        ngx_zltunnel_figure_notified(event->registry, NGX_ZLTUNNEL_DROPPED, 1);
        ngx_free(told);
        return;
    }

    (void) ngx_hex_dump(told->id, id, ZLT_ID_SIZE);

    told->registry = event->registry;
    told->type = ngx_zltunnel_event_log_name(event);
    told->tunnel = event->tunnel;
    ngx_memcpy(told->tunnel_id, event->tunnel_id, ZLT_ID_SIZE);

    told->again.handler = ngx_http_zltunnel_notify_again;
    told->again.data = told;
    told->again.log = ngx_cycle->log;

    ngx_queue_insert_tail(&ngx_http_zltunnel_notify_waiting, &told->queue);
    ngx_http_zltunnel_notify_nwaiting++;

    ngx_post_event(&ngx_http_zltunnel_notify_posted, &ngx_posted_events);
}


static ngx_uint_t
ngx_http_zltunnel_notify_full(ngx_zltunnel_event_t *event)
{
    return ngx_http_zltunnel_notify_nwaiting
           >= (event->type == NGX_ZLTUNNEL_EVENT_REFUSED
               ? NGX_HTTP_ZLTUNNEL_NOTIFY_STRANGERS
               : NGX_HTTP_ZLTUNNEL_NOTIFY_QUEUE);
}


/* begins as many as there may be */

static void
ngx_http_zltunnel_notify_handler(ngx_event_t *ev)
{
    ngx_http_zltunnel_told_t  *told;

    if (ngx_http_zltunnel_notify_late()) {
        ngx_http_zltunnel_notify_drop_all(&ngx_http_zltunnel_notify_waiting);
        return;
    }

    while (ngx_http_zltunnel_notify_nsent < NGX_HTTP_ZLTUNNEL_NOTIFY_PARALLEL) {

        told = ngx_http_zltunnel_notify_next();

        if (told == NULL) {
            return;
        }

        ngx_queue_remove(&told->queue);
        ngx_http_zltunnel_notify_nwaiting--;

        ngx_queue_insert_tail(&ngx_http_zltunnel_notify_sent, &told->queue);
        ngx_http_zltunnel_notify_nsent++;

        ngx_http_zltunnel_notify_send(told);
    }
}


/* the worker exits, and has done so for long enough */

static ngx_uint_t
ngx_http_zltunnel_notify_late(void)
{
    ngx_msec_t        time;
    ngx_core_conf_t  *ccf;

    if (!ngx_exiting) {
        return 0;
    }

    if (ngx_http_zltunnel_subrequest_over()) {
        return 1;
    }

    if (ngx_http_zltunnel_notify_deadline == 0) {
        ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                               ngx_core_module);
        time = NGX_HTTP_ZLTUNNEL_NOTIFY_EXIT;

        if (ccf->shutdown_timeout) {
            time = ngx_min(time, ccf->shutdown_timeout);
        }

        ngx_http_zltunnel_notify_deadline = ngx_current_msec + time;
    }

    return (ngx_msec_int_t) (ngx_current_msec
                             - ngx_http_zltunnel_notify_deadline) > 0;
}


static ngx_http_zltunnel_told_t *
ngx_http_zltunnel_notify_next(void)
{
    ngx_queue_t               *q;
    ngx_http_zltunnel_told_t  *told;

    for (q = ngx_queue_head(&ngx_http_zltunnel_notify_waiting);
         q != ngx_queue_sentinel(&ngx_http_zltunnel_notify_waiting);
         q = ngx_queue_next(q))
    {
        told = ngx_queue_data(q, ngx_http_zltunnel_told_t, queue);

        if (!ngx_http_zltunnel_notify_busy(told)) {
            return told;
        }
    }

    return NULL;
}


/* one of its tunnel is under way */

static ngx_uint_t
ngx_http_zltunnel_notify_busy(ngx_http_zltunnel_told_t *told)
{
    ngx_queue_t               *q;
    ngx_http_zltunnel_told_t  *sent;

    if (!told->tunnel) {
        return 0;
    }

    for (q = ngx_queue_head(&ngx_http_zltunnel_notify_sent);
         q != ngx_queue_sentinel(&ngx_http_zltunnel_notify_sent);
         q = ngx_queue_next(q))
    {
        sent = ngx_queue_data(q, ngx_http_zltunnel_told_t, queue);

        if (sent->tunnel
            && ngx_memcmp(sent->tunnel_id, told->tunnel_id, ZLT_ID_SIZE) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_zltunnel_notify_send(ngx_http_zltunnel_told_t *told)
{
    ngx_keyval_t                   headers[3];
    ngx_http_zltunnel_notify_t    *notify;
    ngx_http_zltunnel_question_t   question;

    notify = told->registry->notify;

    ngx_str_set(&headers[0].key, "Content-Type");
    ngx_str_set(&headers[0].value, "application/json");
    ngx_str_set(&headers[1].key, "Zltunnel-Event");
    headers[1].value = *told->type;
    ngx_str_set(&headers[2].key, "Zltunnel-Event-Id");
    headers[2].value.data = told->id;
    headers[2].value.len = sizeof(told->id);

    ngx_memzero(&question, sizeof(ngx_http_zltunnel_question_t));

    question.ctx = notify->server->ctx;
    question.uri = notify->uri;
    question.host = notify->server->server_name;
    question.headers = headers;
    question.nheaders = 3;
    question.body = told->body;
    question.timeout = NGX_HTTP_ZLTUNNEL_NOTIFY_TIMEOUT;
    question.handler = ngx_http_zltunnel_notify_done;
    question.data = told;

    told->tries++;

    if (ngx_http_zltunnel_subrequest_start(&question) == NULL) {
        ngx_http_zltunnel_notify_done(told, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                      NULL);
    }
}


static void
ngx_http_zltunnel_notify_done(void *data, ngx_uint_t status,
    ngx_list_t *headers)
{
    ngx_http_zltunnel_told_t *told = data;

    u_char                       text[NGX_ZLTUNNEL_TEXT_MAX];
    ngx_http_zltunnel_notify_t  *notify;

    if (status >= NGX_HTTP_OK && status < NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_http_zltunnel_notify_free(told, NGX_ZLTUNNEL_SENT);
        return;
    }

    if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR
        && told->tries < NGX_HTTP_ZLTUNNEL_NOTIFY_TRIES
        && !ngx_http_zltunnel_notify_late())
    {
        ngx_add_timer(&told->again, NGX_HTTP_ZLTUNNEL_NOTIFY_AGAIN);
        return;
    }

    notify = told->registry->notify;

    (void) ngx_snprintf(text, sizeof(text) - 1, "\"%V\" answered %ui%Z",
                        &notify->uri, status);
    text[sizeof(text) - 1] = '\0';

    ngx_zltunnel_log_complain(ngx_cycle->log, "an event was not taken: %s",
                              (char *) text);

    ngx_http_zltunnel_notify_free(told, NGX_ZLTUNNEL_FAILED);
}


static void
ngx_http_zltunnel_notify_again(ngx_event_t *ev)
{
    ngx_http_zltunnel_notify_send(ev->data);
}


static void
ngx_http_zltunnel_notify_free(ngx_http_zltunnel_told_t *told,
    ngx_uint_t result)
{
    ngx_zltunnel_figure_notified(told->registry, result, 1);

    ngx_queue_remove(&told->queue);
    ngx_http_zltunnel_notify_nsent--;

    ngx_free(told->body.data);
    ngx_free(told);

    ngx_post_event(&ngx_http_zltunnel_notify_posted, &ngx_posted_events);
}


/* too late for all of a queue */

static void
ngx_http_zltunnel_notify_drop_all(ngx_queue_t *queue)
{
    ngx_uint_t                 n;
    ngx_queue_t               *q;
    ngx_http_zltunnel_told_t  *told;

    for (n = 0; !ngx_queue_empty(queue); n++) {
        q = ngx_queue_head(queue);
        ngx_queue_remove(q);

        told = ngx_queue_data(q, ngx_http_zltunnel_told_t, queue);

        ngx_zltunnel_figure_notified(told->registry, NGX_ZLTUNNEL_DROPPED, 1);

        if (told->again.timer_set) {
            ngx_del_timer(&told->again);
        }

        ngx_free(told->body.data);
        ngx_free(told);
    }

    if (n) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "%ui event%s dropped: the worker exits", n,
                      n == 1 ? "" : "s");
    }

    ngx_http_zltunnel_notify_nwaiting = 0;
}


/* those under way have been cancelled */

void
ngx_http_zltunnel_notify_exit(ngx_cycle_t *cycle)
{
    if (ngx_http_zltunnel_notify_waiting.next == NULL) {
        return;
    }

    ngx_queue_add(&ngx_http_zltunnel_notify_waiting,
                  &ngx_http_zltunnel_notify_sent);
    ngx_queue_init(&ngx_http_zltunnel_notify_sent);

    ngx_http_zltunnel_notify_drop_all(&ngx_http_zltunnel_notify_waiting);
}
