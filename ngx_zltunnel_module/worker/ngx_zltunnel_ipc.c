
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Messages between workers, with descriptors.
 *
 * The master makes a SEQPACKET socketpair for each worker number before it
 * forks, so a respawned worker finds the pair of the one that died.  Every
 * worker has the sending ends of all pairs of its generation and of older ones
 * that still live, and the first that it sends to the older ones is its own: a
 * client of either finds a channel, wherever it lands, as long as both serve.
 * Each message bears the process for which it is meant: when WINCH and HUP
 * have made two workers of one number read the same pair, one that reads what
 * is for the other puts it back, and leaves the pair alone for a moment.
 *
 * What a message leads to is the business of handlers that the module hands
 * in, one for each type.  Messages are queued as they are read and acted on
 * from a posted event, since who sends one may have to read before.  Only HELLO
 * counts at once.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ipc.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_pairs.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"


#define NGX_ZLTUNNEL_IPC_DATA    (ZLT_MAX_CHANNEL_FRAME + ZLT_HEADER_SIZE     \
                                  + NGX_ZLTUNNEL_END_STATE)
#define NGX_ZLTUNNEL_IPC_HOPS    500
#define NGX_ZLTUNNEL_IPC_PAUSE   2     /* ms */
#define NGX_ZLTUNNEL_IPC_RETRY   5     /* ms */
#define NGX_ZLTUNNEL_IPC_QUEUE   65536 /* messages */


typedef struct {
    ngx_uint_t                   generation;
    ngx_uint_t                   n;
    ngx_zltunnel_pair_t         *pairs;
} ngx_zltunnel_ipc_set_t;


typedef struct {
    ngx_queue_t                  queue;
    ngx_socket_t                 to;           /* sending end */
    ngx_socket_t                 fd;           /* passed with it, or -1 */
    ngx_zltunnel_ipc_t           msg;
    u_char                       data[1];
} ngx_zltunnel_ipc_item_t;


static void ngx_zltunnel_ipc_prune(ngx_cycle_t *cycle);
static void ngx_zltunnel_ipc_close(ngx_socket_t *fd);
static ngx_uint_t ngx_zltunnel_ipc_in_use(ngx_cycle_t *cycle,
    ngx_uint_t generation);
static ngx_socket_t ngx_zltunnel_ipc_sender(ngx_uint_t generation,
    ngx_uint_t worker);
static void ngx_zltunnel_ipc_met(ngx_zltunnel_ipc_t *msg, ngx_socket_t fd);
static ngx_int_t ngx_zltunnel_ipc_write(ngx_socket_t to,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t fd);
static ngx_int_t ngx_zltunnel_ipc_enqueue(ngx_queue_t *queue, ngx_socket_t to,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t fd);
static void ngx_zltunnel_ipc_retry(ngx_event_t *ev);
static void ngx_zltunnel_ipc_put_back(ngx_zltunnel_ipc_t *msg, u_char *data,
    ngx_socket_t fd);
static void ngx_zltunnel_ipc_go_on(ngx_event_t *ev);
static void ngx_zltunnel_ipc_read_handler(ngx_event_t *ev);
static void ngx_zltunnel_ipc_poll(void);
static ngx_int_t ngx_zltunnel_ipc_read(ngx_zltunnel_ipc_t *msg, u_char *data,
    ngx_socket_t *fd);
static void ngx_zltunnel_ipc_process(ngx_event_t *ev);
static ngx_zltunnel_registry_t *ngx_zltunnel_ipc_registry(
    ngx_zltunnel_ipc_t *msg);
static void ngx_zltunnel_ipc_dispatch(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_item_t *item);


ngx_uint_t  ngx_zltunnel_ipc_generation;


/* the sending ends of younger generations, as their workers said HELLO */

typedef struct {
    ngx_uint_t                   generation;
    ngx_uint_t                   worker;
    ngx_socket_t                 fd;
} ngx_zltunnel_ipc_young_t;


static const ngx_zltunnel_ipc_pt  *ngx_zltunnel_ipc_handlers;
static void                   (*ngx_zltunnel_ipc_exiting)(void);

static ngx_zltunnel_ipc_set_t  *ngx_zltunnel_ipc_sets;
static ngx_uint_t               ngx_zltunnel_ipc_nsets;

static ngx_zltunnel_ipc_young_t  *ngx_zltunnel_ipc_young;
static ngx_uint_t               ngx_zltunnel_ipc_nyoung;

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
ngx_zltunnel_ipc_prepare(ngx_uint_t workers, ngx_log_t *log)
{
    ngx_zltunnel_ipc_prune((ngx_cycle_t *) ngx_cycle);

    return ngx_zltunnel_pairs_prepare(workers, log);
}


ngx_int_t
ngx_zltunnel_ipc_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t               i, n;
    ngx_core_conf_t         *ccf;
    ngx_zltunnel_ipc_set_t  *set;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    ngx_zltunnel_ipc_generation++;

    set = realloc(ngx_zltunnel_ipc_sets,
                  (ngx_zltunnel_ipc_nsets + 1)
                  * sizeof(ngx_zltunnel_ipc_set_t));
    if (set == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_ipc_sets = set;

    if (ccf->master) {

        /* no worker of these is started again: half of the descriptors */

        for (i = 0; i < ngx_zltunnel_ipc_nsets; i++) {

            for (n = 0; n < set[i].n; n++) {
                ngx_zltunnel_ipc_close(&set[i].pairs[n][0]);
            }
        }
    }

    set += ngx_zltunnel_ipc_nsets;

    set->generation = ngx_zltunnel_ipc_generation;
    set->pairs = ngx_zltunnel_pairs_take(&set->n);

    ngx_zltunnel_ipc_nsets++;

    return NGX_OK;
}


/* closes the pairs of generations of which no worker is left */

static void
ngx_zltunnel_ipc_prune(ngx_cycle_t *cycle)
{
    ngx_uint_t               i, j, k;
    ngx_zltunnel_ipc_set_t  *set;

    for (i = 0, j = 0; i < ngx_zltunnel_ipc_nsets; i++) {
        set = &ngx_zltunnel_ipc_sets[i];

        /* the latest one's workers may be about to start */

        if (set->generation == ngx_zltunnel_ipc_generation
            || ngx_zltunnel_ipc_in_use(cycle, set->generation))
        {
            ngx_zltunnel_ipc_sets[j++] = *set;
            continue;
        }

        for (k = 0; k < set->n; k++) {
            ngx_zltunnel_ipc_close(&set->pairs[k][0]);
            ngx_zltunnel_ipc_close(&set->pairs[k][1]);
        }

        ngx_free(set->pairs);
    }

    ngx_zltunnel_ipc_nsets = j;
}


static void
ngx_zltunnel_ipc_close(ngx_socket_t *fd)
{
    if (*fd != (ngx_socket_t) -1) {
        (void) ngx_close_socket(*fd);
        *fd = (ngx_socket_t) -1;
    }
}


/* in a worker, now and then: forgets generations that are gone */

void
ngx_zltunnel_ipc_tidy(void)
{
    ngx_uint_t                 i, j;
    ngx_zltunnel_ipc_young_t  *young;

    if (ngx_zltunnel_ipc_nsets == 1 && ngx_zltunnel_ipc_nyoung == 0) {
        return;
    }

    if (!ngx_queue_empty(&ngx_zltunnel_ipc_out)) {

        /* what is queued may be for one of them */

        return;
    }

    ngx_zltunnel_ipc_prune((ngx_cycle_t *) ngx_cycle);

    young = ngx_zltunnel_ipc_young;

    for (i = 0, j = 0; i < ngx_zltunnel_ipc_nyoung; i++) {

        if (ngx_zltunnel_ipc_in_use((ngx_cycle_t *) ngx_cycle,
                                    young[i].generation))
        {
            young[j++] = young[i];

        } else {
            (void) ngx_close_socket(young[i].fd);
        }
    }

    ngx_zltunnel_ipc_nyoung = j;
}


static ngx_uint_t
ngx_zltunnel_ipc_in_use(ngx_cycle_t *cycle, ngx_uint_t generation)
{
    ngx_uint_t                  i, j;
    ngx_zltunnel_conf_t        *conf;
    ngx_zltunnel_sh_worker_t   *w;
    ngx_zltunnel_registry_t   **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        for (j = 0; j < registry[i]->sh->nslots; j++) {
            w = ngx_zltunnel_slot(registry[i]->sh, j);

            if (w->generation == generation
                && ngx_zltunnel_worker_slot_alive(w))
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_zltunnel_ipc_init_process(ngx_cycle_t *cycle,
    const ngx_zltunnel_ipc_pt *handlers, void (*exiting)(void))
{
    ngx_uint_t               i, k;
    ngx_connection_t        *c;
    ngx_zltunnel_ipc_set_t  *set;

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

    ngx_zltunnel_ipc_fd = (ngx_socket_t) -1;

    for (i = 0; i < ngx_zltunnel_ipc_nsets; i++) {
        set = &ngx_zltunnel_ipc_sets[i];

        for (k = 0; k < set->n; k++) {

            if (set->generation == ngx_zltunnel_ipc_generation
                && k == ngx_worker)
            {
                ngx_zltunnel_ipc_fd = set->pairs[k][0];
                continue;
            }

            if (ngx_process == NGX_PROCESS_WORKER) {
                ngx_zltunnel_ipc_close(&set->pairs[k][0]);
            }
        }
    }

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
ngx_zltunnel_ipc_exit(void)
{
    ngx_queue_t              *q;
    ngx_zltunnel_ipc_item_t  *item;

    while (!ngx_queue_empty(&ngx_zltunnel_ipc_out)) {
        q = ngx_queue_head(&ngx_zltunnel_ipc_out);
        ngx_queue_remove(q);

        item = ngx_queue_data(q, ngx_zltunnel_ipc_item_t, queue);
        (void) ngx_zltunnel_ipc_write(item->to, &item->msg, item->data,
                                      item->fd);
    }
}


static ngx_socket_t
ngx_zltunnel_ipc_sender(ngx_uint_t generation, ngx_uint_t worker)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_zltunnel_ipc_nsets; i++) {

        if (ngx_zltunnel_ipc_sets[i].generation == generation
            && worker < ngx_zltunnel_ipc_sets[i].n)
        {
            return ngx_zltunnel_ipc_sets[i].pairs[worker][1];
        }
    }

    for (i = 0; i < ngx_zltunnel_ipc_nyoung; i++) {

        if (ngx_zltunnel_ipc_young[i].generation == generation
            && ngx_zltunnel_ipc_young[i].worker == worker)
        {
            return ngx_zltunnel_ipc_young[i].fd;
        }
    }

    return (ngx_socket_t) -1;
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

        if (w->pid == 0 || w->generation == ngx_zltunnel_ipc_generation) {
            continue;
        }

        fd = dup(ngx_zltunnel_ipc_sender(ngx_zltunnel_ipc_generation,
                                         ngx_worker));
        if (fd == -1) {
            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                          "dup() of a zltunnel worker's socket failed");
            return;
        }

        (void) ngx_zltunnel_ipc_send(registry, i, &msg, NULL, fd);
    }
}


static void
ngx_zltunnel_ipc_met(ngx_zltunnel_ipc_t *msg, ngx_socket_t fd)
{
    ngx_zltunnel_ipc_young_t  *young;

    /* a worker of the same number and generation has the same socket */

    if (fd == (ngx_socket_t) -1) {
        return;
    }

    if (ngx_zltunnel_ipc_sender(msg->generation, msg->worker)
        != (ngx_socket_t) -1)
    {
        (void) ngx_close_socket(fd);
        return;
    }

    young = realloc(ngx_zltunnel_ipc_young,
                    (ngx_zltunnel_ipc_nyoung + 1)
                    * sizeof(ngx_zltunnel_ipc_young_t));
    if (young == NULL) {
        (void) ngx_close_socket(fd);
        return;
    }

    ngx_zltunnel_ipc_young = young;

    young += ngx_zltunnel_ipc_nyoung++;

    young->generation = msg->generation;
    young->worker = msg->worker;
    young->fd = fd;
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
            to = ngx_zltunnel_ipc_sender(w.generation, w.worker);

            if (to == (ngx_socket_t) -1) {

                /* its HELLO may be waiting to be read */

                ngx_zltunnel_ipc_poll();
                to = ngx_zltunnel_ipc_sender(w.generation, w.worker);
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
    msg->generation = ngx_zltunnel_ipc_generation;
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

        rc = ngx_zltunnel_ipc_write(to, msg, data, fd);

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

    rc = ngx_zltunnel_ipc_enqueue(&ngx_zltunnel_ipc_out, to, msg, data, fd);

    if (rc == NGX_OK) {
        ngx_zltunnel_ipc_nout++;

        if (!ngx_zltunnel_ipc_out_event.timer_set) {
            ngx_add_timer(&ngx_zltunnel_ipc_out_event,
                          NGX_ZLTUNNEL_IPC_RETRY);
        }
    }

    return rc;
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


/* NGX_OK and NGX_ERROR: fd is closed here */

static ngx_int_t
ngx_zltunnel_ipc_write(ngx_socket_t to, ngx_zltunnel_ipc_t *msg, u_char *data,
    ngx_socket_t fd)
{
    ssize_t         n;
    ngx_err_t       err;
    struct iovec    iov[2];
    struct msghdr   hdr;

    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(int))];
    } cmsg;

    ngx_memzero(&hdr, sizeof(struct msghdr));

    iov[0].iov_base = (char *) msg;
    iov[0].iov_len = sizeof(ngx_zltunnel_ipc_t);
    iov[1].iov_base = (char *) data;
    iov[1].iov_len = msg->data_len;

    hdr.msg_iov = iov;
    hdr.msg_iovlen = msg->data_len ? 2 : 1;

    if (fd != (ngx_socket_t) -1) {
        ngx_memzero(&cmsg, sizeof(cmsg));

        hdr.msg_control = &cmsg;
        hdr.msg_controllen = sizeof(cmsg);

        cmsg.cm.cmsg_len = CMSG_LEN(sizeof(int));
        cmsg.cm.cmsg_level = SOL_SOCKET;
        cmsg.cm.cmsg_type = SCM_RIGHTS;

        ngx_memcpy(CMSG_DATA(&cmsg.cm), &fd, sizeof(int));
    }

    do {
        n = sendmsg(to, &hdr, MSG_NOSIGNAL|MSG_DONTWAIT);
        err = ngx_errno;
    } while (n == -1 && err == NGX_EINTR);

    /* too many descriptors in flight pass, too */

    if (n == -1 && (err == NGX_EAGAIN || err == ETOOMANYREFS
                    || err == ENOBUFS))
    {
        return NGX_AGAIN;
    }

    /* it may be gone, and the sweep not have seen that */

    if (n == -1 && err != NGX_EPIPE && err != NGX_ECONNRESET) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err,
                      "sendmsg() to a zltunnel worker failed");
    }

    if (fd != (ngx_socket_t) -1) {
        (void) ngx_close_socket(fd);
    }

    return (n == -1) ? NGX_ERROR : NGX_OK;
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


static void
ngx_zltunnel_ipc_retry(ngx_event_t *ev)
{
    ngx_queue_t              *q;
    ngx_zltunnel_ipc_item_t  *item;

    while (!ngx_queue_empty(&ngx_zltunnel_ipc_out)) {
        q = ngx_queue_head(&ngx_zltunnel_ipc_out);
        item = ngx_queue_data(q, ngx_zltunnel_ipc_item_t, queue);

        if (ngx_zltunnel_ipc_write(item->to, &item->msg, item->data, item->fd)
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

    static u_char  data[NGX_ZLTUNNEL_IPC_DATA];

    if (ngx_zltunnel_ipc_connection == NULL
        || ngx_zltunnel_ipc_pause_event.timer_set)
    {
        return;
    }

    while (ngx_zltunnel_ipc_read(&msg, data, &fd) == NGX_OK) {

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
            ngx_zltunnel_ipc_met(&msg, fd);
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

    to = ngx_zltunnel_ipc_sender(ngx_zltunnel_ipc_generation, ngx_worker);

    if (ngx_zltunnel_ipc_write(to, msg, data, fd) == NGX_AGAIN
        && ngx_zltunnel_ipc_enqueue(&ngx_zltunnel_ipc_out, to, msg, data, fd)
           == NGX_OK)
    {
        ngx_zltunnel_ipc_nout++;

        if (!ngx_zltunnel_ipc_out_event.timer_set) {
            ngx_add_timer(&ngx_zltunnel_ipc_out_event,
                          NGX_ZLTUNNEL_IPC_RETRY);
        }
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


static ngx_int_t
ngx_zltunnel_ipc_read(ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ssize_t         n;
    ngx_err_t       err;
    struct iovec    iov[2];
    struct msghdr   hdr;

    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(int))];
    } cmsg;

    for ( ;; ) {
        ngx_memzero(&hdr, sizeof(struct msghdr));
        ngx_memzero(&cmsg, sizeof(cmsg));

        iov[0].iov_base = (char *) msg;
        iov[0].iov_len = sizeof(ngx_zltunnel_ipc_t);
        iov[1].iov_base = (char *) data;
        iov[1].iov_len = NGX_ZLTUNNEL_IPC_DATA;

        hdr.msg_iov = iov;
        hdr.msg_iovlen = 2;
        hdr.msg_control = &cmsg;
        hdr.msg_controllen = sizeof(cmsg);

        n = recvmsg(ngx_zltunnel_ipc_fd, &hdr, MSG_DONTWAIT|MSG_CMSG_CLOEXEC);

        if (n == -1) {
            err = ngx_errno;

            if (err == NGX_EINTR) {
                continue;
            }

            if (err != NGX_EAGAIN) {
                ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, err,
                              "recvmsg() of a zltunnel worker failed");
            }

            return NGX_AGAIN;
        }

        if (n == 0) {
            return NGX_AGAIN;
        }

        *fd = (ngx_socket_t) -1;

        if (hdr.msg_controllen >= sizeof(struct cmsghdr)
            && cmsg.cm.cmsg_level == SOL_SOCKET
            && cmsg.cm.cmsg_type == SCM_RIGHTS)
        {
            ngx_memcpy(fd, CMSG_DATA(&cmsg.cm), sizeof(int));
        }

        if (zlt_ipc_check(msg, n) != ZLT_OK) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "zltunnel worker message of %z bytes", n);

            if (*fd != (ngx_socket_t) -1) {
                (void) ngx_close_socket(*fd);
            }

            continue;
        }

        if (hdr.msg_flags & MSG_CTRUNC) {

            /* no descriptor was free here: the dial goes another way */

            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                          "no descriptor for a zltunnel channel from "
                          "another worker");

            msg->type = NGX_ZLTUNNEL_IPC_NONE;
        }

        return NGX_OK;
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
