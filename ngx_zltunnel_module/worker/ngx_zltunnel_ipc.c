
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Messages between workers, with descriptors.
 *
 * There is one way to each worker, ngx_zltunnel_way.c, and the first that a
 * worker sends to older generations is its own: a client of either finds a
 * channel, wherever it lands, as long as both serve.  Each message bears the
 * process for which it is meant: when WINCH and HUP have made two workers of
 * one number read the same pair, one that reads what is for the other puts it
 * back, and leaves the pair alone for a moment.
 *
 * What a message leads to is the business of handlers that the module hands
 * in, one for each type.  Messages are queued as they are read and acted on
 * from a posted event, since who sends one may have to read before.  Only HELLO
 * counts at once.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ipc.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_ipc_io.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_way.h"


#define NGX_ZLTUNNEL_IPC_HOPS    500
#define NGX_ZLTUNNEL_IPC_PAUSE   2     /* ms */
#define NGX_ZLTUNNEL_IPC_RETRY   5     /* ms */
#define NGX_ZLTUNNEL_IPC_QUEUE   65536 /* messages */


typedef struct {
    ngx_queue_t                  queue;
    ngx_socket_t                 to;           /* sending end */
    ngx_socket_t                 fd;           /* passed with it, or -1 */
    ngx_zltunnel_ipc_t           msg;
    u_char                       data[1];
} ngx_zltunnel_ipc_item_t;


static ngx_int_t ngx_zltunnel_ipc_enqueue(ngx_queue_t *queue, ngx_socket_t to,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t fd);
static ngx_int_t ngx_zltunnel_ipc_later(ngx_socket_t to,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t fd);
static void ngx_zltunnel_ipc_retry(ngx_event_t *ev);
static void ngx_zltunnel_ipc_read_handler(ngx_event_t *ev);
static void ngx_zltunnel_ipc_poll(void);
static void ngx_zltunnel_ipc_put_back(ngx_zltunnel_ipc_t *msg, u_char *data,
    ngx_socket_t fd);
static void ngx_zltunnel_ipc_go_on(ngx_event_t *ev);
static void ngx_zltunnel_ipc_process(ngx_event_t *ev);
static ngx_zltunnel_registry_t *ngx_zltunnel_ipc_registry(
    ngx_zltunnel_ipc_t *msg);
static void ngx_zltunnel_ipc_dispatch(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_item_t *item);


static const ngx_zltunnel_ipc_pt  *ngx_zltunnel_ipc_handlers;
static void                   (*ngx_zltunnel_ipc_exiting)(void);

static ngx_connection_t        *ngx_zltunnel_ipc_connection;
static ngx_socket_t             ngx_zltunnel_ipc_fd = (ngx_socket_t) -1;

static ngx_queue_t              ngx_zltunnel_ipc_in;
static ngx_queue_t              ngx_zltunnel_ipc_out;
static ngx_uint_t               ngx_zltunnel_ipc_nout;
static ngx_event_t              ngx_zltunnel_ipc_in_event;
static ngx_event_t              ngx_zltunnel_ipc_out_event;
static ngx_event_t              ngx_zltunnel_ipc_pause_event;
static ngx_connection_t         ngx_zltunnel_ipc_dummy;


ngx_int_t
ngx_zltunnel_ipc_init_process(ngx_cycle_t *cycle,
    const ngx_zltunnel_ipc_pt *handlers, void (*exiting)(void))
{
    ngx_connection_t  *c;

    ngx_zltunnel_ipc_handlers = handlers;
    ngx_zltunnel_ipc_exiting = exiting;

    ngx_queue_init(&ngx_zltunnel_ipc_in);
    ngx_queue_init(&ngx_zltunnel_ipc_out);

    ngx_zltunnel_ipc_dummy.fd = (ngx_socket_t) -1;

    ngx_zltunnel_ipc_in_event.handler = ngx_zltunnel_ipc_process;
    ngx_zltunnel_ipc_in_event.data = &ngx_zltunnel_ipc_dummy;
    ngx_zltunnel_ipc_in_event.log = cycle->log;

    ngx_zltunnel_ipc_out_event.handler = ngx_zltunnel_ipc_retry;
    ngx_zltunnel_ipc_out_event.data = &ngx_zltunnel_ipc_dummy;
    ngx_zltunnel_ipc_out_event.log = cycle->log;

    ngx_zltunnel_ipc_pause_event.handler = ngx_zltunnel_ipc_go_on;
    ngx_zltunnel_ipc_pause_event.data = &ngx_zltunnel_ipc_dummy;
    ngx_zltunnel_ipc_pause_event.log = cycle->log;

    ngx_zltunnel_ipc_fd = ngx_zltunnel_way_own();

    if (ngx_zltunnel_ipc_fd == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "no zltunnel socket for worker %ui", ngx_worker);
        return NGX_ERROR;
    }

    c = ngx_get_connection(ngx_zltunnel_ipc_fd, cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->pool = cycle->pool;
    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->channel = 1;
    c->write->channel = 1;
    c->read->handler = ngx_zltunnel_ipc_read_handler;

    /* a graceful exit calls the handlers of idle connections */
    c->idle = 1;

    if (ngx_add_event(c->read, NGX_READ_EVENT, 0) != NGX_OK) {
        ngx_free_connection(c);
        return NGX_ERROR;
    }

    ngx_zltunnel_ipc_connection = c;

    return NGX_OK;
}


void
ngx_zltunnel_ipc_tidy(void)
{
    /* what is queued may be for a generation that is gone */

    if (ngx_queue_empty(&ngx_zltunnel_ipc_out)) {
        ngx_zltunnel_way_tidy();
    }
}


void
ngx_zltunnel_ipc_exit(void)
{
    ngx_queue_t              *q;
    ngx_zltunnel_ipc_item_t  *item;

    while (!ngx_queue_empty(&ngx_zltunnel_ipc_out)) {
        q = ngx_queue_head(&ngx_zltunnel_ipc_out);
        ngx_queue_remove(q);

        item = ngx_queue_data(q, ngx_zltunnel_ipc_item_t, queue);
        (void) ngx_zltunnel_ipc_io_write(item->to, &item->msg, item->data,
                                      item->fd);
    }
}


void
ngx_zltunnel_ipc_hello(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                 i;
    ngx_socket_t               fd;
    ngx_zltunnel_ipc_t         msg;
    ngx_zltunnel_sh_worker_t  *w;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));
    msg.type = NGX_ZLTUNNEL_IPC_HELLO;

    for (i = 0; i < registry->sh->nslots; i++) {
        w = ngx_zltunnel_slot(registry->sh, i);

        if (w->pid == 0 || w->generation == ngx_zltunnel_way_generation) {
            continue;
        }

        fd = dup(ngx_zltunnel_way_sender(ngx_zltunnel_way_generation,
                                         ngx_worker));
        if (fd == -1) {
            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                          "dup() of a zltunnel worker's socket failed");
            return;
        }

        (void) ngx_zltunnel_ipc_send(registry, i, &msg, NULL, fd);
    }
}


ngx_int_t
ngx_zltunnel_ipc_send(ngx_zltunnel_registry_t *registry, ngx_uint_t slot,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t fd)
{
    ngx_int_t                  rc;
    ngx_socket_t               to;
    ngx_zltunnel_sh_worker_t   w;

    to = (ngx_socket_t) -1;

    if (slot < registry->sh->nslots) {

        /* read without the lock: a stale copy is found out by the receiver */

        w = *ngx_zltunnel_slot(registry->sh, slot);

        if (w.pid) {
            to = ngx_zltunnel_way_sender(w.generation, w.worker);

            if (to == (ngx_socket_t) -1) {

                /* its HELLO may be waiting to be read */

                ngx_zltunnel_ipc_poll();
                to = ngx_zltunnel_way_sender(w.generation, w.worker);
            }
        }
    }

    if (to == (ngx_socket_t) -1) {

        if (fd != (ngx_socket_t) -1) {
            (void) ngx_close_socket(fd);
        }

        return NGX_ERROR;
    }

    msg->registry = registry->hash;
    msg->slot = registry->slot;
    msg->generation = ngx_zltunnel_way_generation;
    msg->worker = ngx_worker;
    msg->from = ngx_pid;
    msg->to = w.pid;
    msg->hops = 0;

    if (data == NULL) {

        /* an answer may be what was asked, with another type */

        msg->data_len = 0;
    }

    if (w.pid == ngx_pid) {
        rc = ngx_zltunnel_ipc_enqueue(&ngx_zltunnel_ipc_in, to, msg, data, fd);
        ngx_post_event(&ngx_zltunnel_ipc_in_event, &ngx_posted_events);
        return rc;
    }

    if (ngx_queue_empty(&ngx_zltunnel_ipc_out)) {

        rc = ngx_zltunnel_ipc_io_write(to, msg, data, fd);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    if (ngx_zltunnel_ipc_nout >= NGX_ZLTUNNEL_IPC_QUEUE) {

        if (fd != (ngx_socket_t) -1) {
            (void) ngx_close_socket(fd);
        }

        return NGX_ERROR;
    }

    return ngx_zltunnel_ipc_later(to, msg, data, fd);
}


void
ngx_zltunnel_ipc_broadcast(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_uint_t  i;

    for (i = 0; i < registry->sh->nslots; i++) {

        if (i != registry->slot && ngx_zltunnel_slot(registry->sh, i)->pid) {
            (void) ngx_zltunnel_ipc_send(registry, i, msg, NULL, -1);
        }
    }
}


static ngx_int_t
ngx_zltunnel_ipc_enqueue(ngx_queue_t *queue, ngx_socket_t to,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t fd)
{
    ngx_zltunnel_ipc_item_t  *item;

    item = ngx_alloc(offsetof(ngx_zltunnel_ipc_item_t, data) + msg->data_len,
                     ngx_cycle->log);
    if (item == NULL) {

        if (fd != (ngx_socket_t) -1) {
            (void) ngx_close_socket(fd);
        }

        return NGX_ERROR;
    }

    item->to = to;
    item->fd = fd;
    item->msg = *msg;

    if (msg->data_len) {
        ngx_memcpy(item->data, data, msg->data_len);
    }

    ngx_queue_insert_tail(queue, &item->queue);

    return NGX_OK;
}


/* to be sent when there is room again */

static ngx_int_t
ngx_zltunnel_ipc_later(ngx_socket_t to, ngx_zltunnel_ipc_t *msg, u_char *data,
    ngx_socket_t fd)
{
    if (ngx_zltunnel_ipc_enqueue(&ngx_zltunnel_ipc_out, to, msg, data, fd)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_zltunnel_ipc_nout++;

    if (!ngx_zltunnel_ipc_out_event.timer_set) {
        ngx_add_timer(&ngx_zltunnel_ipc_out_event, NGX_ZLTUNNEL_IPC_RETRY);
    }

    return NGX_OK;
}


static void
ngx_zltunnel_ipc_retry(ngx_event_t *ev)
{
    ngx_queue_t              *q;
    ngx_zltunnel_ipc_item_t  *item;

    while (!ngx_queue_empty(&ngx_zltunnel_ipc_out)) {
        q = ngx_queue_head(&ngx_zltunnel_ipc_out);
        item = ngx_queue_data(q, ngx_zltunnel_ipc_item_t, queue);

        if (ngx_zltunnel_ipc_io_write(item->to, &item->msg, item->data,
                                      item->fd)
            == NGX_AGAIN)
        {
            ngx_add_timer(ev, NGX_ZLTUNNEL_IPC_RETRY);
            return;
        }

        ngx_queue_remove(q);
        ngx_free(item);
        ngx_zltunnel_ipc_nout--;
    }
}


static void
ngx_zltunnel_ipc_read_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (c->close) {

        /* not an end of this connection: the worker has begun to exit */

        c->close = 0;
        c->idle = 0;

        ngx_zltunnel_ipc_exiting();
        return;
    }

    ngx_zltunnel_ipc_poll();
}


static void
ngx_zltunnel_ipc_poll(void)
{
    ngx_socket_t        fd;
    ngx_zltunnel_ipc_t  msg;

    static u_char  data[NGX_ZLTUNNEL_IPC_IO_DATA];

    if (ngx_zltunnel_ipc_connection == NULL
        || ngx_zltunnel_ipc_pause_event.timer_set)
    {
        return;
    }

    while (ngx_zltunnel_ipc_io_read(ngx_zltunnel_ipc_fd, &msg, data, &fd)
           == NGX_OK)
    {
        if (msg.to != ngx_pid) {

            if (msg.hops++ < NGX_ZLTUNNEL_IPC_HOPS
                && kill(msg.to, 0) == 0)
            {
                ngx_zltunnel_ipc_put_back(&msg, data, fd);
                return;
            }

            if (fd != (ngx_socket_t) -1) {
                (void) ngx_close_socket(fd);
            }

            continue;
        }

        if (msg.type == NGX_ZLTUNNEL_IPC_HELLO) {
            ngx_zltunnel_way_met(msg.generation, msg.worker, fd);
            continue;
        }

        if (msg.type >= NGX_ZLTUNNEL_IPC_TYPES) {

            /* of a younger binary */

            if (fd != (ngx_socket_t) -1) {
                (void) ngx_close_socket(fd);
            }

            continue;
        }

        if (ngx_zltunnel_ipc_enqueue(&ngx_zltunnel_ipc_in, -1, &msg, data, fd)
            == NGX_OK)
        {
            ngx_post_event(&ngx_zltunnel_ipc_in_event, &ngx_posted_events);
        }
    }
}


static void
ngx_zltunnel_ipc_put_back(ngx_zltunnel_ipc_t *msg, u_char *data,
    ngx_socket_t fd)
{
    ngx_socket_t  to;

    to = ngx_zltunnel_way_sender(ngx_zltunnel_way_generation, ngx_worker);

    if (ngx_zltunnel_ipc_io_write(to, msg, data, fd) == NGX_AGAIN) {
        (void) ngx_zltunnel_ipc_later(to, msg, data, fd);
    }

    /* or it would be read here again at once */

    (void) ngx_del_event(ngx_zltunnel_ipc_connection->read, NGX_READ_EVENT, 0);

    ngx_add_timer(&ngx_zltunnel_ipc_pause_event, NGX_ZLTUNNEL_IPC_PAUSE);
}


static void
ngx_zltunnel_ipc_go_on(ngx_event_t *ev)
{
    if (ngx_add_event(ngx_zltunnel_ipc_connection->read, NGX_READ_EVENT, 0)
        != NGX_OK)
    {
        ngx_add_timer(ev, NGX_ZLTUNNEL_IPC_PAUSE);
    }
}


static void
ngx_zltunnel_ipc_process(ngx_event_t *ev)
{
    ngx_queue_t               *q;
    ngx_zltunnel_ipc_item_t   *item;
    ngx_zltunnel_registry_t   *registry;

    while (!ngx_queue_empty(&ngx_zltunnel_ipc_in)) {
        q = ngx_queue_head(&ngx_zltunnel_ipc_in);
        ngx_queue_remove(q);

        item = ngx_queue_data(q, ngx_zltunnel_ipc_item_t, queue);

        registry = ngx_zltunnel_ipc_registry(&item->msg);

        if (registry) {
            ngx_zltunnel_ipc_dispatch(registry, item);
        }

        if (item->fd != (ngx_socket_t) -1) {
            (void) ngx_close_socket(item->fd);
        }

        ngx_free(item);
    }
}


static ngx_zltunnel_registry_t *
ngx_zltunnel_ipc_registry(ngx_zltunnel_ipc_t *msg)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (registry[i]->hash == msg->registry) {
            return registry[i];
        }
    }

    return NULL;
}


void
ngx_zltunnel_ipc_handle(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data)
{
    ngx_socket_t  fd;

    fd = (ngx_socket_t) -1;

    ngx_zltunnel_ipc_handlers[msg->type](registry, msg, data, &fd);
}


/* a descriptor that is taken over is set to -1 in the item */

static void
ngx_zltunnel_ipc_dispatch(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_item_t *item)
{
    ngx_zltunnel_ipc_t   *msg;
    ngx_zltunnel_ipc_pt   handler;

    msg = &item->msg;

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "zltunnel message %uD from %P, fd:%d",
                   msg->type, msg->from, item->fd);

    handler = ngx_zltunnel_ipc_handlers[msg->type];

    if (handler) {
        handler(registry, msg, item->data, &item->fd);
    }
}
