
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The sockets of UDP clients: listening sockets, which all sessions share.
 *
 * nginx reads a datagram by a call of recvmsg() and passes it through its
 * event handlers.  Here many are read by one recvmmsg(), and those of known
 * clients go right to their sessions; only a new client takes nginx's way,
 * and gets a connection as ngx_event_recvmsg() would make it.  Answers are
 * sent by sendmmsg(), those of one size to one client as one message that the
 * kernel cuts (UDP_SEGMENT).
 *
 * The socket of an assigned port passes from service to service, and this
 * worker hears of it by a message, which may be late.  So the registry counts
 * such changes, and whatever was read while the count changed is dropped: a
 * datagram never reaches the wrong tenant.
 */


#include "ngx_zltunnel_udp.h"

#include <netinet/udp.h>


#define NGX_ZLTUNNEL_UDP_BATCH      64
#define NGX_ZLTUNNEL_UDP_TURNS      4       /* batches of one wake-up */

/* no two at the same place of a page, which would share lines of the cache */

#define NGX_ZLTUNNEL_UDP_SLOT       (65536 + 320)

#define NGX_ZLTUNNEL_UDP_IOVS       256
#define NGX_ZLTUNNEL_UDP_SEGMENTS   64      /* UDP_MAX_SEGMENTS */
#define NGX_ZLTUNNEL_UDP_SEND       65507   /* of one message */


/* where a datagram came from, and to which of our addresses */

typedef struct {
    uint64_t                     word[5];
} ngx_zltunnel_udp_key_t;


typedef struct ngx_zltunnel_udp_client_s  ngx_zltunnel_udp_client_t;

struct ngx_zltunnel_udp_client_s {
    ngx_zltunnel_udp_client_t   *next;
    uint64_t                     hash;
    ngx_zltunnel_udp_key_t       key;
    ngx_connection_t            *connection;
    ngx_zltunnel_udp_t          *udp;        /* NULL: in nginx's hands yet */
};


/* a listening socket of an assigned port */

typedef struct {
    ngx_zltunnel_listener_t     *listener;   /* NULL: of zltunnel_pass */
    uint64_t                     changes;    /* the registry's, when asked */
    u_char                       id[ZLT_ID_SIZE];     /* of its service */
    unsigned                     known:1;
} ngx_zltunnel_udp_socket_t;


/* an address of ours, and the size of segments */

typedef union {
    struct cmsghdr               cmsg;
    u_char                       space[CMSG_SPACE(sizeof(struct in6_pktinfo))
                                       + CMSG_SPACE(sizeof(uint16_t))];
} ngx_zltunnel_udp_control_t;


static ngx_uint_t ngx_zltunnel_udp_service(ngx_zltunnel_udp_socket_t *sock);
static void ngx_zltunnel_udp_datagram(ngx_listening_t *ls,
    ngx_zltunnel_udp_socket_t *sock, ngx_uint_t i);
static void ngx_zltunnel_udp_local(ngx_listening_t *ls, struct msghdr *msg,
    ngx_sockaddr_t *local);
static void ngx_zltunnel_udp_key(ngx_zltunnel_udp_key_t *key,
    ngx_listening_t *ls, struct sockaddr *sa, struct sockaddr *local);
static uint64_t ngx_zltunnel_udp_hash(ngx_zltunnel_udp_key_t *key);
static ngx_zltunnel_udp_client_t *ngx_zltunnel_udp_client(
    ngx_zltunnel_udp_key_t *key, uint64_t hash);
static ngx_int_t ngx_zltunnel_udp_insert(ngx_connection_t *c,
    ngx_zltunnel_udp_key_t *key, uint64_t hash);
static ngx_int_t ngx_zltunnel_udp_grow(void);
static void ngx_zltunnel_udp_remove(void *data);
static ngx_uint_t ngx_zltunnel_udp_refuse(ngx_listening_t *ls,
    ngx_zltunnel_udp_socket_t *sock);
static void ngx_zltunnel_udp_accept(ngx_listening_t *ls,
    ngx_zltunnel_udp_key_t *key, uint64_t hash, struct sockaddr *sa,
    socklen_t socklen, ngx_sockaddr_t *local, u_char *data, size_t len);
static ngx_int_t ngx_zltunnel_udp_connection(ngx_connection_t *c,
    ngx_listening_t *ls, struct sockaddr *sa, socklen_t socklen,
    ngx_sockaddr_t *local, u_char *data, size_t len);
static void ngx_zltunnel_udp_discard(ngx_connection_t *c);
static ssize_t ngx_zltunnel_udp_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static void ngx_zltunnel_udp_control(ngx_uint_t i, size_t segment);
static void ngx_zltunnel_udp_single(ngx_uint_t i);


/* what is being read */

static struct mmsghdr    ngx_zltunnel_in_msgs[NGX_ZLTUNNEL_UDP_BATCH];
static struct iovec      ngx_zltunnel_in_iovs[NGX_ZLTUNNEL_UDP_BATCH];
static ngx_sockaddr_t    ngx_zltunnel_in_addrs[NGX_ZLTUNNEL_UDP_BATCH];
static ngx_zltunnel_udp_control_t
                         ngx_zltunnel_in_control[NGX_ZLTUNNEL_UDP_BATCH];
static u_char           *ngx_zltunnel_in_data;

/* the datagram that nginx's handlers are about to read, and of whom */

static ngx_connection_t *ngx_zltunnel_in_connection;
static u_char           *ngx_zltunnel_in_pos;
static size_t            ngx_zltunnel_in_len;

/* what is to be sent */

static struct {
    ngx_uint_t           nmsgs;
    ngx_uint_t           niovs;
    struct mmsghdr       msgs[NGX_ZLTUNNEL_UDP_BATCH];
    ngx_zltunnel_udp_t  *udp[NGX_ZLTUNNEL_UDP_BATCH];
    size_t               segment[NGX_ZLTUNNEL_UDP_BATCH];
    size_t               total[NGX_ZLTUNNEL_UDP_BATCH];
    unsigned             closed[NGX_ZLTUNNEL_UDP_BATCH];
    struct iovec         iovs[NGX_ZLTUNNEL_UDP_IOVS];
    ngx_zltunnel_udp_control_t  control[NGX_ZLTUNNEL_UDP_BATCH];
} ngx_zltunnel_replies;

static ngx_uint_t        ngx_zltunnel_no_segments;

/* clients of this worker, on all of its sockets */

static ngx_zltunnel_udp_client_t  **ngx_zltunnel_clients;
static ngx_uint_t                   ngx_zltunnel_clients_size;
static ngx_uint_t                   ngx_zltunnel_nclients;
static uint64_t                     ngx_zltunnel_udp_secret[2];

static ngx_zltunnel_udp_socket_t   *ngx_zltunnel_udp_sockets;
static ngx_uint_t                   ngx_zltunnel_udp_nsockets;


ngx_int_t
ngx_zltunnel_udp_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t      i;
    struct msghdr  *msg;

    ngx_zltunnel_udp_nsockets = cycle->listening.nelts;
    ngx_zltunnel_udp_sockets = ngx_pcalloc(cycle->pool,
              ngx_zltunnel_udp_nsockets * sizeof(ngx_zltunnel_udp_socket_t));

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

    ngx_zltunnel_random((u_char *) ngx_zltunnel_udp_secret,
                        sizeof(ngx_zltunnel_udp_secret));

    ngx_zltunnel_udp_secret[0] |= 1;
    ngx_zltunnel_udp_secret[1] |= 1;

    return NGX_OK;
}


void
ngx_zltunnel_udp_arm(ngx_zltunnel_listener_t *listener)
{
    ngx_zltunnel_udp_socket_t  *sock;

    sock = &ngx_zltunnel_udp_sockets[listener->index];

    sock->listener = listener;
    sock->known = 0;
}


void
ngx_zltunnel_udp_cleanup(void)
{
    if (ngx_zltunnel_in_data) {
        ngx_free(ngx_zltunnel_in_data);
        ngx_zltunnel_in_data = NULL;
    }

    if (ngx_zltunnel_clients) {
        ngx_free(ngx_zltunnel_clients);
        ngx_zltunnel_clients = NULL;
        ngx_zltunnel_clients_size = 0;
    }
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

    sock = &ngx_zltunnel_udp_sockets[
                     ls - (ngx_listening_t *) ngx_cycle->listening.elts];

    for (turn = 0; turn < NGX_ZLTUNNEL_UDP_TURNS; turn++) {

        for (i = 0; i < NGX_ZLTUNNEL_UDP_BATCH; i++) {
            msg = &ngx_zltunnel_in_msgs[i].msg_hdr;
            msg->msg_namelen = sizeof(ngx_sockaddr_t);

            if (ls->wildcard) {
                msg->msg_control = &ngx_zltunnel_in_control[i];
                msg->msg_controllen = sizeof(ngx_zltunnel_udp_control_t);

            } else {
                msg->msg_control = NULL;
                msg->msg_controllen = 0;
            }
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

        ngx_zltunnel_carry_flush();

        if (n < NGX_ZLTUNNEL_UDP_BATCH) {
            break;
        }
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

    ngx_zltunnel_lock_read(registry);

    sock->changes = registry->sh->changes;

    service = ngx_zltunnel_service_by_port(registry->sh, listener->port, 1);

    if (service) {
        ngx_memcpy(id, service->id, ZLT_ID_SIZE);
    }

    ngx_zltunnel_unlock(registry);

    changed = sock->known && ngx_memcmp(id, sock->id, ZLT_ID_SIZE) != 0;

    ngx_memcpy(sock->id, id, ZLT_ID_SIZE);
    sock->known = 1;

    if (changed) {
        ngx_zltunnel_carriers_check(registry);
    }

    return changed || service == NULL;
}


static void
ngx_zltunnel_udp_datagram(ngx_listening_t *ls,
    ngx_zltunnel_udp_socket_t *sock, ngx_uint_t i)
{
    size_t                      len;
    u_char                     *data;
    uint64_t                    hash;
    socklen_t                   socklen;
    ngx_event_t                *rev;
    ngx_sockaddr_t              local;
    struct msghdr              *msg;
    struct sockaddr            *sa;
    ngx_zltunnel_udp_key_t      key;
    ngx_zltunnel_udp_client_t  *client;

    msg = &ngx_zltunnel_in_msgs[i].msg_hdr;
    len = ngx_zltunnel_in_msgs[i].msg_len;
    data = ngx_zltunnel_in_iovs[i].iov_base;

    sa = msg->msg_name;
    socklen = ngx_min(msg->msg_namelen, sizeof(ngx_sockaddr_t));

    if (socklen == 0 || (msg->msg_flags & (MSG_TRUNC|MSG_CTRUNC))) {
        return;
    }

    ngx_zltunnel_udp_local(ls, msg, &local);
    ngx_zltunnel_udp_key(&key, ls, sa, &local.sockaddr);

    hash = ngx_zltunnel_udp_hash(&key);
    client = ngx_zltunnel_udp_client(&key, hash);

    if (client == NULL) {

        if (!ngx_zltunnel_udp_refuse(ls, sock)) {
            ngx_zltunnel_udp_accept(ls, &key, hash, sa, socklen, &local, data,
                                    len);
        }

        return;
    }

    if (client->udp) {
        *client->udp->received += len;
        ngx_zltunnel_udp_send(client->udp, data, len);
        return;
    }

    /* a module of an earlier phase has it yet */

    rev = client->connection->read;

    ngx_zltunnel_in_connection = client->connection;
    ngx_zltunnel_in_pos = data;
    ngx_zltunnel_in_len = len;

    rev->ready = 1;
    rev->active = 0;

    rev->handler(rev);

    /* the event stays valid, whatever came of the connection */

    if (ngx_zltunnel_in_connection) {
        ngx_zltunnel_in_connection = NULL;
        rev->ready = 0;
        rev->active = 1;
    }
}


/* the address that a datagram was sent to */

static void
ngx_zltunnel_udp_local(ngx_listening_t *ls, struct msghdr *msg,
    ngx_sockaddr_t *local)
{
    struct cmsghdr      *cmsg;
    struct in_pktinfo    pkt;
#if (NGX_HAVE_INET6)
    struct in6_pktinfo   pkt6;
#endif

    ngx_memcpy(local, ls->sockaddr, ls->socklen);

    if (!ls->wildcard) {
        return;
    }

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {

        if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO
            && local->sockaddr.sa_family == AF_INET)
        {
            ngx_memcpy(&pkt, CMSG_DATA(cmsg), sizeof(struct in_pktinfo));
            local->sockaddr_in.sin_addr = pkt.ipi_addr;
            return;
        }

#if (NGX_HAVE_INET6)

        if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO
            && local->sockaddr.sa_family == AF_INET6)
        {
            ngx_memcpy(&pkt6, CMSG_DATA(cmsg), sizeof(struct in6_pktinfo));
            local->sockaddr_in6.sin6_addr = pkt6.ipi6_addr;
            return;
        }

#endif
    }
}


static void
ngx_zltunnel_udp_key(ngx_zltunnel_udp_key_t *key, ngx_listening_t *ls,
    struct sockaddr *sa, struct sockaddr *local)
{
    uint64_t              port;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_memzero(key, sizeof(ngx_zltunnel_udp_key_t));

#if (NGX_HAVE_INET6)

    if (sa->sa_family == AF_INET6) {
        sin6 = (struct sockaddr_in6 *) sa;

        ngx_memcpy(&key->word[1], &sin6->sin6_addr, 16);
        port = sin6->sin6_port | (uint64_t) sin6->sin6_scope_id << 16;

        if (ls->wildcard) {
            sin6 = (struct sockaddr_in6 *) local;
            ngx_memcpy(&key->word[3], &sin6->sin6_addr, 16);
        }

        key->word[0] = port ^ (uint64_t) (uintptr_t) ls << 16;
        return;
    }

#endif

    sin = (struct sockaddr_in *) sa;

    key->word[1] = sin->sin_addr.s_addr;
    port = sin->sin_port;

    if (ls->wildcard) {
        sin = (struct sockaddr_in *) local;
        key->word[3] = sin->sin_addr.s_addr;
    }

    key->word[0] = port ^ (uint64_t) (uintptr_t) ls << 16;
}


/* with a secret, so that nobody can choose addresses that collide */

static uint64_t
ngx_zltunnel_udp_hash(ngx_zltunnel_udp_key_t *key)
{
    uint64_t    h;
    ngx_uint_t  i;

    h = ngx_zltunnel_udp_secret[1];

    for (i = 0; i < 5; i++) {
        h = (h ^ key->word[i]) * ngx_zltunnel_udp_secret[0];
        h ^= h >> 29;
    }

    return h;
}


static ngx_zltunnel_udp_client_t *
ngx_zltunnel_udp_client(ngx_zltunnel_udp_key_t *key, uint64_t hash)
{
    ngx_zltunnel_udp_client_t  *client;

    if (ngx_zltunnel_clients == NULL) {
        return NULL;
    }

    for (client = ngx_zltunnel_clients[hash & (ngx_zltunnel_clients_size - 1)];
         client;
         client = client->next)
    {
        if (client->hash == hash
            && ngx_memcmp(&client->key, key, sizeof(ngx_zltunnel_udp_key_t))
               == 0)
        {
            return client;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_zltunnel_udp_insert(ngx_connection_t *c, ngx_zltunnel_udp_key_t *key,
    uint64_t hash)
{
    ngx_pool_cleanup_t          *cln;
    ngx_zltunnel_udp_client_t   *client, **p;

    if (ngx_zltunnel_nclients >= ngx_zltunnel_clients_size
        && ngx_zltunnel_udp_grow() != NGX_OK)
    {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_zltunnel_udp_client_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    client = cln->data;
    cln->handler = ngx_zltunnel_udp_remove;

    client->hash = hash;
    client->key = *key;
    client->connection = c;
    client->udp = NULL;

    p = &ngx_zltunnel_clients[hash & (ngx_zltunnel_clients_size - 1)];

    client->next = *p;
    *p = client;

    ngx_zltunnel_nclients++;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_udp_grow(void)
{
    ngx_uint_t                   i, n;
    ngx_zltunnel_udp_client_t   *client, *next, **clients, **p;

    n = ngx_zltunnel_clients_size ? 2 * ngx_zltunnel_clients_size : 64;

    clients = ngx_calloc(n * sizeof(ngx_zltunnel_udp_client_t *),
                         ngx_cycle->log);
    if (clients == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < ngx_zltunnel_clients_size; i++) {

        for (client = ngx_zltunnel_clients[i]; client; client = next) {
            next = client->next;
            p = &clients[client->hash & (n - 1)];

            client->next = *p;
            *p = client;
        }
    }

    if (ngx_zltunnel_clients) {
        ngx_free(ngx_zltunnel_clients);
    }

    ngx_zltunnel_clients = clients;
    ngx_zltunnel_clients_size = n;

    return NGX_OK;
}


static void
ngx_zltunnel_udp_remove(void *data)
{
    ngx_zltunnel_udp_client_t *client = data;

    ngx_zltunnel_udp_client_t  **p;

    if (ngx_zltunnel_in_connection == client->connection) {
        ngx_zltunnel_in_connection = NULL;
    }

    if (ngx_zltunnel_clients == NULL) {
        return;
    }

    p = &ngx_zltunnel_clients[client->hash & (ngx_zltunnel_clients_size - 1)];

    while (*p != client) {
        p = &(*p)->next;
    }

    *p = client->next;

    ngx_zltunnel_nclients--;
}


void
ngx_zltunnel_udp_attach(ngx_connection_t *c, ngx_zltunnel_udp_t *udp)
{
    ngx_zltunnel_udp_key_t      key;
    ngx_zltunnel_udp_client_t  *client;

    /* not there if nginx itself reads the socket */

    ngx_zltunnel_udp_key(&key, c->listening, c->sockaddr, c->local_sockaddr);

    client = ngx_zltunnel_udp_client(&key, ngx_zltunnel_udp_hash(&key));

    if (client && client->connection == c) {
        client->udp = udp;
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
    }

    /* a flood of all ports together leaves the others their connections */

    share = ngx_cycle->connection_n / 2;

    if (sock->listener) {
        share = ngx_cycle->connection_n
                * sock->listener->registry->max_channel_share / 100;
    }

    if (ngx_zltunnel_nclients < share
        && ngx_cycle->free_connection_n >= ngx_cycle->connection_n / 8)
    {
        return 0;
    }

    if (carrier) {
        ngx_zltunnel_carrier_drop(carrier, NULL, NGX_ZLTUNNEL_DROP_LIMIT);
    }

    ngx_zltunnel_complain(&ls->log, "UDP client refused: limit of %s",
                          "max_channel_share");

    return 1;
}


/* what ngx_event_recvmsg() does with the first datagram of a client */

static void
ngx_zltunnel_udp_accept(ngx_listening_t *ls, ngx_zltunnel_udp_key_t *key,
    uint64_t hash, struct sockaddr *sa, socklen_t socklen,
    ngx_sockaddr_t *local, u_char *data, size_t len)
{
    ngx_connection_t  *c;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_accepted, 1);
#endif

    ngx_accept_disabled = ngx_cycle->connection_n / 8
                          - ngx_cycle->free_connection_n;

    c = ngx_get_connection(ls->fd, &ls->log);
    if (c == NULL) {
        return;
    }

    c->shared = 1;
    c->type = SOCK_DGRAM;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    if (ngx_zltunnel_udp_connection(c, ls, sa, socklen, local, data, len)
        != NGX_OK
        || ngx_zltunnel_udp_insert(c, key, hash) != NGX_OK)
    {
        ngx_zltunnel_udp_discard(c);
        return;
    }

    c->log->data = NULL;
    c->log->handler = NULL;

    ls->handler(c);
}


static ngx_int_t
ngx_zltunnel_udp_connection(ngx_connection_t *c, ngx_listening_t *ls,
    struct sockaddr *sa, socklen_t socklen, ngx_sockaddr_t *local,
    u_char *data, size_t len)
{
    ngx_log_t  *log;

    c->pool = ngx_create_pool(ls->pool_size, &ls->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    log = ngx_palloc(c->pool, sizeof(ngx_log_t));
    c->sockaddr = ngx_palloc(c->pool, socklen);

    if (log == NULL || c->sockaddr == NULL) {
        return NGX_ERROR;
    }

    *log = ls->log;

    c->log = log;
    c->pool->log = log;

    ngx_memcpy(c->sockaddr, sa, socklen);
    c->socklen = socklen;
    c->listening = ls;

    c->local_sockaddr = ls->sockaddr;
    c->local_socklen = ls->socklen;

    if (ls->wildcard) {
        c->local_sockaddr = ngx_palloc(c->pool, ls->socklen);

        if (c->local_sockaddr == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(c->local_sockaddr, local, ls->socklen);
    }

    c->recv = ngx_zltunnel_udp_recv;
    c->send = ngx_udp_send;
    c->send_chain = ngx_udp_send_chain;
    ngx_zltunnel_need_flush_buf(c);

    c->buffer = ngx_create_temp_buf(c->pool, len);
    if (c->buffer == NULL) {
        return NGX_ERROR;
    }

    c->buffer->last = ngx_cpymem(c->buffer->last, data, len);

    if (ls->addr_ntop) {
        c->addr_text.data = ngx_pnalloc(c->pool, ls->addr_text_max_len);
        if (c->addr_text.data == NULL) {
            return NGX_ERROR;
        }

        c->addr_text.len = ngx_sock_ntop(c->sockaddr, c->socklen,
                                         c->addr_text.data,
                                         ls->addr_text_max_len, 0);
        if (c->addr_text.len == 0) {
            return NGX_ERROR;
        }
    }

    c->read->active = 1;
    c->write->ready = 1;

    c->read->log = log;
    c->write->log = log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_handled, 1);
#endif

    return NGX_OK;
}


static void
ngx_zltunnel_udp_discard(ngx_connection_t *c)
{
    ngx_free_connection(c);

    c->fd = (ngx_socket_t) -1;

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif
}


static ssize_t
ngx_zltunnel_udp_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t  n;

    if (ngx_zltunnel_in_connection != c) {
        return NGX_AGAIN;
    }

    n = ngx_min(ngx_zltunnel_in_len, size);

    ngx_memcpy(buf, ngx_zltunnel_in_pos, n);

    ngx_zltunnel_in_connection = NULL;

    c->read->ready = 0;
    c->read->active = 1;

    return n;
}


void
ngx_zltunnel_udp_reply(ngx_zltunnel_udp_t *udp, const u_char *data, size_t len)
{
    ngx_uint_t         i;
    struct iovec      *iov;
    struct msghdr     *msg;
    ngx_connection_t  *c;

    c = udp->connection;

    if (len > NGX_ZLTUNNEL_UDP_SEND && c->sockaddr->sa_family == AF_INET) {
        ngx_zltunnel_carrier_drop(udp->carrier, udp, NGX_ZLTUNNEL_DROP_SEND);
        return;
    }

    udp->active = ngx_current_msec;

    if (ngx_zltunnel_replies.nmsgs == NGX_ZLTUNNEL_UDP_BATCH
        || ngx_zltunnel_replies.niovs == NGX_ZLTUNNEL_UDP_IOVS
        || (ngx_zltunnel_replies.nmsgs
            && ngx_zltunnel_replies.udp[0]->connection->fd != c->fd))
    {
        ngx_zltunnel_udp_flush();
    }

    iov = &ngx_zltunnel_replies.iovs[ngx_zltunnel_replies.niovs++];
    iov->iov_base = (void *) data;
    iov->iov_len = len;

    /* one more segment of the last message, if it is like the others */

    i = ngx_zltunnel_replies.nmsgs;

    if (i && ngx_zltunnel_replies.udp[i - 1] == udp
        && !ngx_zltunnel_replies.closed[i - 1]
        && len && len <= ngx_zltunnel_replies.segment[i - 1]
        && ngx_zltunnel_replies.total[i - 1] + len <= NGX_ZLTUNNEL_UDP_SEND
        && !ngx_zltunnel_no_segments)
    {
        i--;
        msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;

        msg->msg_iovlen++;
        ngx_zltunnel_replies.total[i] += len;

        if (len < ngx_zltunnel_replies.segment[i]
            || msg->msg_iovlen == NGX_ZLTUNNEL_UDP_SEGMENTS)
        {
            ngx_zltunnel_replies.closed[i] = 1;
        }

    } else {
        msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;

        msg->msg_name = c->sockaddr;
        msg->msg_namelen = c->socklen;
        msg->msg_iov = iov;
        msg->msg_iovlen = 1;
        msg->msg_flags = 0;

        ngx_zltunnel_replies.udp[i] = udp;
        ngx_zltunnel_replies.segment[i] = len;
        ngx_zltunnel_replies.total[i] = len;
        ngx_zltunnel_replies.closed[i] = 0;
        ngx_zltunnel_replies.nmsgs++;
    }

    udp->datagrams[1]++;

    if (udp->responses > 0
        && udp->datagrams[1] >= udp->datagrams[0] * udp->responses)
    {
        ngx_zltunnel_udp_end(udp, NGX_ZLTUNNEL_UDP_DONE);
    }
}


void
ngx_zltunnel_udp_flush(void)
{
    int                         n;
    ngx_err_t                   err;
    ngx_fd_t                    fd;
    ngx_uint_t                  i, sent;
    struct msghdr              *msg;
    ngx_zltunnel_udp_t         *udp;
    ngx_zltunnel_sh_counter_t  *counter;

    if (ngx_zltunnel_replies.nmsgs == 0) {
        return;
    }

    fd = ngx_zltunnel_replies.udp[0]->connection->fd;

    for (i = 0; i < ngx_zltunnel_replies.nmsgs; i++) {
        msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;

        ngx_zltunnel_udp_control(i, msg->msg_iovlen > 1
                                    ? ngx_zltunnel_replies.segment[i] : 0);
    }

    for (i = 0; i < ngx_zltunnel_replies.nmsgs; i += sent) {

        n = sendmmsg(fd, ngx_zltunnel_replies.msgs + i,
                     ngx_zltunnel_replies.nmsgs - i, MSG_DONTWAIT);

        sent = (n > 0) ? n : 1;

        if (n <= 0) {
            err = ngx_socket_errno;

            if (err == NGX_EINTR) {
                sent = 0;
                continue;
            }

            if (err == EIO && ngx_zltunnel_replies.msgs[i].msg_hdr.msg_iovlen
                              > 1)
            {
                /* the device cannot cut messages */
                ngx_zltunnel_no_segments = 1;
            }

            ngx_zltunnel_udp_single(i);
            continue;
        }

        for (n = i; n < (int) (i + sent); n++) {
            udp = ngx_zltunnel_replies.udp[n];
            counter = udp->carrier->counter;

            counter->datagrams[1] +=
                              ngx_zltunnel_replies.msgs[n].msg_hdr.msg_iovlen;
            counter->bytes[1] += ngx_zltunnel_replies.total[n];
            udp->connection->sent += ngx_zltunnel_replies.total[n];
        }
    }

    ngx_zltunnel_replies.nmsgs = 0;
    ngx_zltunnel_replies.niovs = 0;
}


/* a message that was refused: each of its datagrams by itself, or none */

static void
ngx_zltunnel_udp_single(ngx_uint_t i)
{
    ngx_err_t                   err;
    ngx_uint_t                  k, niovs;
    struct iovec               *iov;
    struct msghdr              *msg;
    ngx_zltunnel_udp_t         *udp;
    ngx_zltunnel_sh_counter_t  *counter;

    err = ngx_socket_errno;
    udp = ngx_zltunnel_replies.udp[i];
    counter = udp->carrier->counter;
    msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;
    iov = msg->msg_iov;
    niovs = msg->msg_iovlen;

    ngx_zltunnel_udp_control(i, 0);

    for (k = 0; k < niovs; k++) {
        msg->msg_iov = &iov[k];
        msg->msg_iovlen = 1;

        if (niovs > 1) {

            if (sendmsg(udp->connection->fd, msg, MSG_DONTWAIT) != -1) {
                counter->datagrams[1]++;
                counter->bytes[1] += iov[k].iov_len;
                udp->connection->sent += iov[k].iov_len;
                continue;
            }

            err = ngx_socket_errno;
        }

        ngx_zltunnel_carrier_drop(udp->carrier, udp, NGX_ZLTUNNEL_DROP_SEND);

        if (err != NGX_EAGAIN) {
            ngx_log_error(NGX_LOG_INFO, udp->connection->log, err,
                          "sendmsg() of a datagram of %uz bytes failed",
                          iov[k].iov_len);
        }
    }
}


/* our address, where the socket has many, and UDP_SEGMENT */

static void
ngx_zltunnel_udp_control(ngx_uint_t i, size_t segment)
{
    u_char               *control;
    size_t                len;
    uint16_t              size;
    struct msghdr        *msg;
    ngx_connection_t     *c;
    struct cmsghdr       *cmsg;
    struct in_pktinfo     pkt;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct in6_pktinfo    pkt6;
    struct sockaddr_in6  *sin6;
#endif

    c = ngx_zltunnel_replies.udp[i]->connection;
    msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;

    control = ngx_zltunnel_replies.control[i].space;
    cmsg = &ngx_zltunnel_replies.control[i].cmsg;
    len = 0;

    if (c->listening->wildcard && c->local_sockaddr->sa_family == AF_INET) {
        sin = (struct sockaddr_in *) c->local_sockaddr;

        ngx_memzero(&pkt, sizeof(struct in_pktinfo));
        pkt.ipi_spec_dst = sin->sin_addr;

        cmsg->cmsg_level = IPPROTO_IP;
        cmsg->cmsg_type = IP_PKTINFO;
        cmsg->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
        ngx_memcpy(CMSG_DATA(cmsg), &pkt, sizeof(struct in_pktinfo));

        len = CMSG_SPACE(sizeof(struct in_pktinfo));
    }

#if (NGX_HAVE_INET6)

    if (c->listening->wildcard && c->local_sockaddr->sa_family == AF_INET6) {
        sin6 = (struct sockaddr_in6 *) c->local_sockaddr;

        ngx_memzero(&pkt6, sizeof(struct in6_pktinfo));
        pkt6.ipi6_addr = sin6->sin6_addr;

        cmsg->cmsg_level = IPPROTO_IPV6;
        cmsg->cmsg_type = IPV6_PKTINFO;
        cmsg->cmsg_len = CMSG_LEN(sizeof(struct in6_pktinfo));
        ngx_memcpy(CMSG_DATA(cmsg), &pkt6, sizeof(struct in6_pktinfo));

        len = CMSG_SPACE(sizeof(struct in6_pktinfo));
    }

#endif

    if (segment) {
        size = (uint16_t) segment;
        cmsg = (struct cmsghdr *) (control + len);

        cmsg->cmsg_level = IPPROTO_UDP;
        cmsg->cmsg_type = UDP_SEGMENT;
        cmsg->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        ngx_memcpy(CMSG_DATA(cmsg), &size, sizeof(uint16_t));

        len += CMSG_SPACE(sizeof(uint16_t));
    }

    msg->msg_control = len ? control : NULL;
    msg->msg_controllen = len;
}
