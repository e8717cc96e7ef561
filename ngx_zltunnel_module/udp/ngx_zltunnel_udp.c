
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The sockets of UDP clients: listening sockets, which all sessions share.
 *
 * nginx reads a datagram by a call of recvmsg() and passes it through its
 * event handlers.  Here many are read by one recvmmsg(), and those of known
 * clients go right to their sessions; only a new client takes nginx's way,
 * and gets a connection as ngx_event_recvmsg() would make it.  New clients
 * wait for that until the socket is empty, or there are too many of them: then
 * the socket waits.
 *
 * The socket of an assigned port passes from service to service, and this
 * worker hears of it by a message, which may be late.  So the registry counts
 * such changes, and whatever was read while the count changed is dropped: a
 * datagram never reaches the wrong tenant.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_udp.h"
#include "ngx_zltunnel_carrier.h"
#include "ngx_zltunnel_carry.h"
#include "ngx_zltunnel_client.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_newcomer.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_udp_connection.h"
#include "ngx_zltunnel_udp_session.h"
#include "ngx_zltunnel_udp_socket.h"


#define NGX_ZLTUNNEL_UDP_TURNS      4       /* batches of one wake-up */
#define NGX_ZLTUNNEL_UDP_EMPTYING   16      /* .. while newcomers wait */
#define NGX_ZLTUNNEL_UDP_SESSIONS   256     /* made in one turn */

/* no two at the same place of a page, which would share lines of the cache */

#define NGX_ZLTUNNEL_UDP_SLOT       (65536 + 320)


/* a listening socket */

typedef struct {
    ngx_zltunnel_listener_t     *listener;   /* of an assigned port, or NULL */
    uint64_t                     changes;    /* the registry's, when asked */
    u_char                       id[ZLT_ID_SIZE];     /* of its service */
    uint32_t                     drops;      /* the kernel's, so far */
    uint32_t                     lost;       /* .. that were not counted yet */
    unsigned                     known:1;
} ngx_zltunnel_udp_socket_t;


static ngx_zltunnel_udp_socket_t *ngx_zltunnel_udp_socket(
    ngx_listening_t *ls);
static ngx_uint_t ngx_zltunnel_udp_service(ngx_zltunnel_udp_socket_t *sock);
static void ngx_zltunnel_udp_datagram(ngx_listening_t *ls,
    ngx_zltunnel_udp_socket_t *sock, ngx_uint_t i);
static void ngx_zltunnel_udp_deliver(ngx_zltunnel_udp_socket_t *sock,
    ngx_zltunnel_client_t *client, u_char *data, size_t len);
static void ngx_zltunnel_udp_keep(ngx_listening_t *ls,
    ngx_zltunnel_udp_socket_t *sock, ngx_zltunnel_client_key_t *key,
    uint64_t hash, ngx_uint_t i, ngx_sockaddr_t *local);
static void ngx_zltunnel_udp_newcomers(ngx_event_t *ev);
static void ngx_zltunnel_udp_admit(ngx_zltunnel_newcomer_t *newcomer);
static ngx_uint_t ngx_zltunnel_udp_refuse(ngx_listening_t *ls,
    ngx_zltunnel_udp_socket_t *sock);
static void ngx_zltunnel_udp_accept(ngx_zltunnel_newcomer_t *newcomer);


/* what is being read */

static struct mmsghdr    ngx_zltunnel_in_msgs[NGX_ZLTUNNEL_UDP_BATCH];
static struct iovec      ngx_zltunnel_in_iovs[NGX_ZLTUNNEL_UDP_BATCH];
static ngx_sockaddr_t    ngx_zltunnel_in_addrs[NGX_ZLTUNNEL_UDP_BATCH];
static ngx_zltunnel_udp_control_t
                         ngx_zltunnel_in_control[NGX_ZLTUNNEL_UDP_BATCH];
static u_char           *ngx_zltunnel_in_data;

static ngx_zltunnel_udp_socket_t  *ngx_zltunnel_udp_sockets;

static ngx_event_t       ngx_zltunnel_newcomers_event;
static ngx_connection_t  ngx_zltunnel_newcomers_dummy;


ngx_int_t
ngx_zltunnel_udp_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    struct msghdr    *msg;
    ngx_listening_t  *ls;

    ngx_zltunnel_udp_sockets = ngx_pcalloc(cycle->pool,
              cycle->listening.nelts * sizeof(ngx_zltunnel_udp_socket_t));

    ngx_zltunnel_in_data = ngx_alloc(NGX_ZLTUNNEL_UDP_BATCH
                                     * NGX_ZLTUNNEL_UDP_SLOT, cycle->log);

    if (ngx_zltunnel_udp_sockets == NULL || ngx_zltunnel_in_data == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_ZLTUNNEL_UDP_BATCH; i++) {
        ngx_zltunnel_in_iovs[i].iov_base = ngx_zltunnel_in_data
                                           + i * NGX_ZLTUNNEL_UDP_SLOT;
        ngx_zltunnel_in_iovs[i].iov_len = 65536;

        msg = &ngx_zltunnel_in_msgs[i].msg_hdr;

        msg->msg_name = &ngx_zltunnel_in_addrs[i];
        msg->msg_iov = &ngx_zltunnel_in_iovs[i];
        msg->msg_iovlen = 1;
    }

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].type == SOCK_DGRAM && ls[i].fd != (ngx_socket_t) -1) {
            ngx_zltunnel_udp_sockets[i].drops =
                                   ngx_zltunnel_udp_socket_drops(ls[i].fd);
        }
    }

    ngx_zltunnel_newcomers_dummy.fd = (ngx_socket_t) -1;
    ngx_zltunnel_newcomers_event.handler = ngx_zltunnel_udp_newcomers;
    ngx_zltunnel_newcomers_event.data = &ngx_zltunnel_newcomers_dummy;
    ngx_zltunnel_newcomers_event.log = cycle->log;

    ngx_zltunnel_client_init();

    return NGX_OK;
}


void
ngx_zltunnel_udp_arm(ngx_zltunnel_listener_t *listener)
{
    ngx_zltunnel_udp_socket_t  *sock;

    sock = &ngx_zltunnel_udp_sockets[listener->index];

    sock->listener = listener;
    sock->known = 0;
    sock->lost = 0;
    sock->drops = ngx_zltunnel_udp_socket_drops(
                              ngx_zltunnel_listener_socket(listener)->fd);
}


void
ngx_zltunnel_udp_cleanup(void)
{
    if (ngx_zltunnel_in_data) {
        ngx_free(ngx_zltunnel_in_data);
        ngx_zltunnel_in_data = NULL;
    }

    ngx_zltunnel_newcomer_cleanup();
    ngx_zltunnel_client_cleanup();
}


static ngx_zltunnel_udp_socket_t *
ngx_zltunnel_udp_socket(ngx_listening_t *ls)
{
    return &ngx_zltunnel_udp_sockets[
                     ls - (ngx_listening_t *) ngx_cycle->listening.elts];
}


void
ngx_zltunnel_udp_receive(ngx_event_t *ev)
{
    int                         n;
    ngx_err_t                   err;
    ngx_int_t                   i;
    ngx_uint_t                  turn;
    struct msghdr              *msg;
    ngx_listening_t            *ls;
    ngx_connection_t           *lc;
    ngx_zltunnel_udp_socket_t  *sock;

    if (ev->timedout) {

        if (ngx_enable_accept_events((ngx_cycle_t *) ngx_cycle) != NGX_OK) {
            return;
        }

        ev->timedout = 0;
    }

    lc = ev->data;
    ls = lc->listening;
    ev->ready = 0;

    sock = ngx_zltunnel_udp_socket(ls);

    for (turn = 0; turn < NGX_ZLTUNNEL_UDP_EMPTYING; turn++) {

        if (ngx_zltunnel_newcomer_full()
            || (turn >= NGX_ZLTUNNEL_UDP_TURNS
                && ngx_zltunnel_newcomer_first() == NULL))
        {
            break;
        }

        for (i = 0; i < NGX_ZLTUNNEL_UDP_BATCH; i++) {
            msg = &ngx_zltunnel_in_msgs[i].msg_hdr;
            msg->msg_namelen = sizeof(ngx_sockaddr_t);
            msg->msg_control = &ngx_zltunnel_in_control[i];
            msg->msg_controllen = sizeof(ngx_zltunnel_udp_control_t);
        }

        n = recvmmsg(lc->fd, ngx_zltunnel_in_msgs, NGX_ZLTUNNEL_UDP_BATCH,
                     MSG_DONTWAIT, NULL);

        if (n == -1) {
            err = ngx_socket_errno;

            if (err != NGX_EAGAIN && err != NGX_EINTR) {
                ngx_log_error(NGX_LOG_ERR, ev->log, err,
                              "recvmmsg() failed");
            }

            break;
        }

        if (sock->listener && ngx_zltunnel_udp_service(sock)) {
            continue;
        }

        for (i = 0; i < n; i++) {
            ngx_zltunnel_udp_datagram(ls, sock, i);
        }

        ngx_zltunnel_datagrams_out_flush();

        if (n < NGX_ZLTUNNEL_UDP_BATCH) {
            break;
        }
    }

    if (ngx_zltunnel_newcomer_first()) {
        ngx_post_event(&ngx_zltunnel_newcomers_event, &ngx_posted_events);
    }
}


/* sessions for those that have come while the socket was read */

static void
ngx_zltunnel_udp_newcomers(ngx_event_t *ev)
{
    ngx_uint_t                n;
    ngx_zltunnel_newcomer_t  *newcomer;

    for (n = 0; n < NGX_ZLTUNNEL_UDP_SESSIONS; n++) {
        newcomer = ngx_zltunnel_newcomer_first();

        if (newcomer == NULL) {
            break;
        }

        ngx_zltunnel_newcomer_remove(newcomer);
        ngx_zltunnel_udp_admit(newcomer);
        ngx_zltunnel_newcomer_free(newcomer);
    }

    ngx_zltunnel_datagrams_out_flush();

    if (ngx_zltunnel_newcomer_first()) {

        /* the sockets are read before */

        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


static void
ngx_zltunnel_udp_admit(ngx_zltunnel_newcomer_t *newcomer)
{
    ngx_listening_t            *ls;
    ngx_zltunnel_client_t      *client;
    zlt_queue_item_t           *d;
    ngx_zltunnel_udp_socket_t  *sock;

    ls = newcomer->listening;
    sock = ngx_zltunnel_udp_socket(ls);

    if (sock->listener
        && (ngx_zltunnel_udp_service(sock)
            || ngx_memcmp(sock->id, newcomer->service_id, ZLT_ID_SIZE) != 0))
    {
        /* the port has changed hands */
        return;
    }

    if (ngx_zltunnel_udp_refuse(ls, sock)) {
        return;
    }

    ngx_zltunnel_udp_accept(newcomer);

    for (d = newcomer->first->next; d; d = d->next) {
        client = ngx_zltunnel_client_find(&newcomer->key, newcomer->hash);

        if (client == NULL) {
            break;
        }

        ngx_zltunnel_udp_deliver(sock, client, d->data, d->len);
    }
}


/*
 * Whose the port is.  1 if that has changed since it was asked last: what was
 * read meanwhile may be meant for either.
 */

static ngx_uint_t
ngx_zltunnel_udp_service(ngx_zltunnel_udp_socket_t *sock)
{
    u_char                      id[ZLT_ID_SIZE];
    ngx_uint_t                  changed;
    ngx_zltunnel_listener_t    *listener;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_service_t  *service;

    listener = sock->listener;
    registry = listener->registry;

    if (sock->known
        && *(volatile uint64_t *) &registry->sh->changes == sock->changes)
    {
        return 0;
    }

    ngx_memzero(id, ZLT_ID_SIZE);

    ngx_zltunnel_zone_lock_read(registry);

    sock->changes = registry->sh->changes;

    service = ngx_zltunnel_port_service(registry->sh, listener->port, 1);

    if (service) {
        ngx_memcpy(id, service->id, ZLT_ID_SIZE);
    }

    ngx_zltunnel_zone_unlock(registry);

    changed = sock->known && ngx_memcmp(id, sock->id, ZLT_ID_SIZE) != 0;

    ngx_memcpy(sock->id, id, ZLT_ID_SIZE);
    sock->known = 1;

    if (changed) {
        ngx_zltunnel_carrier_check(registry);
    }

    return changed || service == NULL;
}


static void
ngx_zltunnel_udp_datagram(ngx_listening_t *ls,
    ngx_zltunnel_udp_socket_t *sock, ngx_uint_t i)
{
    uint32_t                    drops;
    uint64_t                    hash;
    ngx_sockaddr_t              local;
    struct msghdr              *msg;
    ngx_zltunnel_client_t      *client;
    ngx_zltunnel_client_key_t   key;

    msg = &ngx_zltunnel_in_msgs[i].msg_hdr;

    if (msg->msg_namelen == 0 || (msg->msg_flags & (MSG_TRUNC|MSG_CTRUNC))) {
        return;
    }

    drops = sock->drops;

    ngx_zltunnel_udp_socket_told(ls, msg, &local, &drops);

    /* unless it was queued before the baseline was taken */

    if ((int32_t) (drops - sock->drops) > 0) {
        sock->lost += drops - sock->drops;
        sock->drops = drops;
    }

    ngx_zltunnel_client_key(&key, ls, msg->msg_name, &local.sockaddr);

    hash = ngx_zltunnel_client_hash(&key);
    client = ngx_zltunnel_client_find(&key, hash);

    if (client) {
        ngx_zltunnel_udp_deliver(sock, client,
                                 ngx_zltunnel_in_iovs[i].iov_base,
                                 ngx_zltunnel_in_msgs[i].msg_len);
        return;
    }

    ngx_zltunnel_udp_keep(ls, sock, &key, hash, i, &local);
}


/* of a client that is known */

static void
ngx_zltunnel_udp_deliver(ngx_zltunnel_udp_socket_t *sock,
    ngx_zltunnel_client_t *client, u_char *data, size_t len)
{
    if (client->udp) {

        if (sock->lost) {
            ngx_zltunnel_carrier_lose(client->udp->carrier, sock->lost);
            sock->lost = 0;
        }

        *client->udp->received += len;
        ngx_zltunnel_udp_session_send(client->udp, data, len);
        return;
    }

    /* a module of an earlier phase has it yet */

    ngx_zltunnel_udp_connection_event(client->connection, data, len);
}


/* of one that is not: it has to wait until the socket is empty */

static void
ngx_zltunnel_udp_keep(ngx_listening_t *ls, ngx_zltunnel_udp_socket_t *sock,
    ngx_zltunnel_client_key_t *key, uint64_t hash, ngx_uint_t i,
    ngx_sockaddr_t *local)
{
    struct msghdr            *msg;
    ngx_zltunnel_newcomer_t  *newcomer;

    newcomer = ngx_zltunnel_newcomer_find(key, hash);

    if (newcomer == NULL) {

        if (ngx_zltunnel_udp_refuse(ls, sock)) {
            return;
        }

        newcomer = ngx_zltunnel_newcomer_add(key, hash);

        if (newcomer == NULL) {
            return;
        }

        msg = &ngx_zltunnel_in_msgs[i].msg_hdr;

        newcomer->listening = ls;
        newcomer->local = *local;
        newcomer->socklen = ngx_min(msg->msg_namelen, sizeof(ngx_sockaddr_t));
        ngx_memcpy(&newcomer->addr, msg->msg_name, newcomer->socklen);
        ngx_memcpy(newcomer->service_id, sock->id, ZLT_ID_SIZE);
    }

    if (ngx_zltunnel_newcomer_put(newcomer, ngx_zltunnel_in_iovs[i].iov_base,
                                  ngx_zltunnel_in_msgs[i].msg_len)
        != NGX_OK
        && newcomer->first == NULL)
    {
        ngx_zltunnel_newcomer_remove(newcomer);
        ngx_zltunnel_newcomer_free(newcomer);
    }
}


/* limits that are to be kept before anything is allocated */

static ngx_uint_t
ngx_zltunnel_udp_refuse(ngx_listening_t *ls, ngx_zltunnel_udp_socket_t *sock)
{
    ngx_uint_t               share;
    ngx_zltunnel_carrier_t  *carrier;

    carrier = NULL;

    if (sock->listener) {
        carrier = ngx_zltunnel_carrier_find(sock->id);

        if (carrier && ngx_zltunnel_carrier_full(carrier)) {
            ngx_zltunnel_carrier_drop(carrier, NULL, NGX_ZLTUNNEL_DROP_LIMIT);
            return 1;
        }

        if (carrier && ngx_zltunnel_carrier_crowds(carrier)) {
            ngx_zltunnel_carrier_drop(carrier, NULL, NGX_ZLTUNNEL_DROP_LIMIT);

            ngx_zltunnel_log_complain(&ls->log,
                                      "UDP client refused: limit of %s",
                                      NGX_ZLTUNNEL_CARRIER_SHARE);
            return 1;
        }
    }

    /* a flood of all ports together leaves the others their connections */

    share = ngx_cycle->connection_n / 2;

    if (sock->listener) {
        share = ngx_cycle->connection_n
                * sock->listener->registry->max_channel_share / 100;
    }

    if (ngx_zltunnel_client_count < share
        && ngx_cycle->free_connection_n >= ngx_cycle->connection_n / 8)
    {
        return 0;
    }

    if (carrier) {
        ngx_zltunnel_carrier_drop(carrier, NULL, NGX_ZLTUNNEL_DROP_LIMIT);
    }

    ngx_zltunnel_log_complain(&ls->log, "UDP client refused: limit of %s",
                              "max_channel_share");

    return 1;
}


static void
ngx_zltunnel_udp_accept(ngx_zltunnel_newcomer_t *newcomer)
{
    ngx_listening_t            *ls;
    ngx_connection_t           *c;
    ngx_zltunnel_client_t      *client;
    ngx_zltunnel_udp_socket_t  *sock;

    ls = newcomer->listening;

    c = ngx_zltunnel_udp_connection_create(newcomer);
    if (c == NULL) {
        return;
    }

    c->log->data = NULL;
    c->log->handler = NULL;

    ls->handler(c);

    /* what the kernel had no room for was of this service, most likely */

    sock = ngx_zltunnel_udp_socket(ls);

    client = sock->lost ? ngx_zltunnel_client_find(&newcomer->key,
                                                   newcomer->hash)
                        : NULL;

    if (client && client->udp) {
        ngx_zltunnel_carrier_lose(client->udp->carrier, sock->lost);
        sock->lost = 0;
    }
}


/* the sessions are of carriers, which nobody above needs to know */

void
ngx_zltunnel_udp_check(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_carrier_check(registry);
}


void
ngx_zltunnel_udp_recheck(void)
{
    ngx_zltunnel_carrier_recheck();
}


void
ngx_zltunnel_udp_exit(void)
{
    ngx_zltunnel_newcomer_cleanup();
    ngx_zltunnel_carrier_exit();
}
