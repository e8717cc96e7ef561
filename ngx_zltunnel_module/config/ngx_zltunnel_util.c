
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_util.h"


#include <openssl/rand.h>


ngx_rbtree_node_t *
ngx_zltunnel_util_id_lookup(ngx_rbtree_t *tree, u_char *id, size_t offset)
{
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;

    key = ngx_zltunnel_id_key(id);
    node = tree->root;

    while (node != tree->sentinel) {

        if (key == node->key
            && ngx_memcmp((u_char *) node + offset, id, ZLT_ID_SIZE) == 0)
        {
            return node;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


void
ngx_zltunnel_util_random(u_char *dst, size_t len)
{
    static u_char      pool[1024];
    static size_t      left;
    static ngx_pid_t   pid;

    /* each call of OpenSSL costs a system call, and a dial needs few bytes */

    if (pid != ngx_pid) {
        pid = ngx_pid;
        left = 0;
    }

    if (len > sizeof(pool)) {
        len = sizeof(pool);
    }

    if (len > left) {

        if (RAND_bytes(pool, sizeof(pool)) != 1) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "RAND_bytes() failed");
            ngx_abort();
        }

        left = sizeof(pool);
    }

    left -= len;

    ngx_memcpy(dst, pool + left, len);
    ngx_explicit_memzero(pool + left, len);
}


u_char *
ngx_zltunnel_util_time(u_char *text, time_t seconds)
{
    u_char      *p;
    ngx_uint_t   i;

    static const struct {
        time_t       seconds;
        const char  *unit;
    } units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } };

    p = text;

    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {

        if (seconds >= units[i].seconds || (p == text && i == 3)) {
            p = ngx_sprintf(p, "%T%s", seconds / units[i].seconds,
                            units[i].unit);
            seconds %= units[i].seconds;
        }
    }

    *p = '\0';

    return text;
}


ngx_uint_t
ngx_zltunnel_util_client_local(ngx_connection_t *c)
{
    struct sockaddr_in  *sin;

    if (c->sockaddr->sa_family == AF_UNIX) {
        return 1;
    }

    if (c->sockaddr->sa_family == AF_INET) {
        sin = (struct sockaddr_in *) c->sockaddr;

        if (ntohl(sin->sin_addr.s_addr) >> 24 == 127) {
            return 1;
        }
    }

#if (NGX_HAVE_INET6)
    if (c->sockaddr->sa_family == AF_INET6) {
        struct sockaddr_in6  *sin6 = (struct sockaddr_in6 *) c->sockaddr;

        if (IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr)) {
            return 1;
        }
    }
#endif

    if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK) {
        return 0;
    }

    return ngx_cmp_sockaddr(c->sockaddr, c->socklen, c->local_sockaddr,
                            c->local_socklen, 0)
           == NGX_OK;
}
