
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The UDP clients of this worker, by their address, the socket, and the address
 * of ours that they have sent to.
 *
 * Anybody may choose the addresses in it, and so the hash has a secret.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_client.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_udp_connection.h"


static ngx_int_t ngx_zltunnel_clients_grow(void);
static void ngx_zltunnel_client_remove(void *data);


ngx_uint_t                       ngx_zltunnel_client_count;

static ngx_zltunnel_client_t   **ngx_zltunnel_clients;
static ngx_uint_t                ngx_zltunnel_clients_size;
static uint64_t                  ngx_zltunnel_clients_secret[2];


void
ngx_zltunnel_client_init(void)
{
    ngx_zltunnel_util_random((u_char *) ngx_zltunnel_clients_secret,
                             sizeof(ngx_zltunnel_clients_secret));

    ngx_zltunnel_clients_secret[0] |= 1;
    ngx_zltunnel_clients_secret[1] |= 1;
}


void
ngx_zltunnel_client_cleanup(void)
{
    if (ngx_zltunnel_clients) {
        ngx_free(ngx_zltunnel_clients);
        ngx_zltunnel_clients = NULL;
        ngx_zltunnel_clients_size = 0;
    }
}


void
ngx_zltunnel_client_key(ngx_zltunnel_client_key_t *key, ngx_listening_t *ls,
    struct sockaddr *sa, struct sockaddr *local)
{
    uint64_t              port;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_memzero(key, sizeof(ngx_zltunnel_client_key_t));

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

uint64_t
ngx_zltunnel_client_hash(ngx_zltunnel_client_key_t *key)
{
    uint64_t    h;
    ngx_uint_t  i;

    h = ngx_zltunnel_clients_secret[1];

    for (i = 0; i < 5; i++) {
        h = (h ^ key->word[i]) * ngx_zltunnel_clients_secret[0];
        h ^= h >> 29;
    }

    return h;
}


ngx_zltunnel_client_t *
ngx_zltunnel_client_find(ngx_zltunnel_client_key_t *key, uint64_t hash)
{
    ngx_zltunnel_client_t  *client;

    if (ngx_zltunnel_clients == NULL) {
        return NULL;
    }

    for (client = ngx_zltunnel_clients[hash & (ngx_zltunnel_clients_size - 1)];
         client;
         client = client->next)
    {
        if (client->hash == hash
            && ngx_memcmp(&client->key, key, sizeof(ngx_zltunnel_client_key_t))
               == 0)
        {
            return client;
        }
    }

    return NULL;
}


ngx_int_t
ngx_zltunnel_client_insert(ngx_connection_t *c, ngx_zltunnel_client_key_t *key,
    uint64_t hash)
{
    ngx_pool_cleanup_t          *cln;
    ngx_zltunnel_client_t   *client, **p;

    if (ngx_zltunnel_client_count >= ngx_zltunnel_clients_size
        && ngx_zltunnel_clients_grow() != NGX_OK)
    {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_zltunnel_client_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    client = cln->data;
    cln->handler = ngx_zltunnel_client_remove;

    client->hash = hash;
    client->key = *key;
    client->connection = c;
    client->udp = NULL;

    p = &ngx_zltunnel_clients[hash & (ngx_zltunnel_clients_size - 1)];

    client->next = *p;
    *p = client;

    ngx_zltunnel_client_count++;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_clients_grow(void)
{
    ngx_uint_t                   i, n;
    ngx_zltunnel_client_t   *client, *next, **clients, **p;

    n = ngx_zltunnel_clients_size ? 2 * ngx_zltunnel_clients_size : 64;

    clients = ngx_calloc(n * sizeof(ngx_zltunnel_client_t *),
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
ngx_zltunnel_client_remove(void *data)
{
    ngx_zltunnel_client_t *client = data;

    ngx_zltunnel_client_t  **p;

    ngx_zltunnel_udp_connection_forget(client->connection);

    if (ngx_zltunnel_clients == NULL) {
        return;
    }

    p = &ngx_zltunnel_clients[client->hash & (ngx_zltunnel_clients_size - 1)];

    while (*p != client) {
        p = &(*p)->next;
    }

    *p = client->next;

    ngx_zltunnel_client_count--;
}


void
ngx_zltunnel_client_attach(ngx_connection_t *c, ngx_zltunnel_udp_t *udp)
{
    ngx_zltunnel_client_key_t      key;
    ngx_zltunnel_client_t  *client;

    /* not there if nginx itself reads the socket */

    ngx_zltunnel_client_key(&key, c->listening, c->sockaddr,
                            c->local_sockaddr);

    client = ngx_zltunnel_client_find(&key, ngx_zltunnel_client_hash(&key));

    if (client && client->connection == c) {
        client->udp = udp;
    }
}
