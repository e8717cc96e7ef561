
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_util.h"

#include "zlt_types.h"
#include "zlt_util.h"

#include <openssl/rand.h>


#define NGX_ZLTUNNEL_COMPLAINTS  16


ngx_rbtree_node_t *
ngx_zltunnel_id_lookup(ngx_rbtree_t *tree, u_char *id, size_t offset)
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
ngx_zltunnel_complain(ngx_log_t *log, const char *fmt, const char *arg)
{
    ngx_uint_t  i;

    static struct {
        const char  *fmt;
        time_t       last;
        ngx_uint_t   count;
    } said[NGX_ZLTUNNEL_COMPLAINTS];

    for (i = 0; i < NGX_ZLTUNNEL_COMPLAINTS - 1; i++) {

        if (said[i].fmt == NULL) {
            said[i].fmt = fmt;
        }

        if (said[i].fmt == fmt) {
            break;
        }
    }

    /* the last one is shared by whatever finds no place */

    said[i].count++;

    if (said[i].last && ngx_time() - said[i].last < 60) {
        return;
    }

    said[i].last = ngx_time();

    if (said[i].count > 1) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "the next complaint was suppressed %ui times",
                      said[i].count - 1);
    }

    said[i].count = 0;

    ngx_log_error(NGX_LOG_WARN, log, 0, fmt, arg);
}


size_t
ngx_zltunnel_printable(u_char *dst, size_t size, const u_char *src, size_t len)
{
    u_char      *p, *last;
    ngx_uint_t   utf8;
    size_t       i;

    static const u_char  hex[] = "0123456789abcdef";

    p = dst;
    last = dst + size;
    utf8 = zlt_utf8_valid(src, len);

    for (i = 0; i < len; i++) {

        if ((src[i] >= 0x20 && src[i] < 0x7f && src[i] != '\\')
            || (src[i] >= 0x80 && utf8))
        {
            if (p == last) {
                break;
            }

            *p++ = src[i];
            continue;
        }

        if (last - p < 4) {
            break;
        }

        *p++ = '\\';
        *p++ = 'x';
        *p++ = hex[src[i] >> 4];
        *p++ = hex[src[i] & 0xf];
    }

    /* not within a character */

    while (i < len && p > dst && (src[i] & 0xc0) == 0x80
           && (p[-1] & 0x80))
    {
        p--;
        i--;
    }

    return p - dst;
}


void
ngx_zltunnel_random(u_char *dst, size_t len)
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


ngx_uint_t
ngx_zltunnel_client_local(ngx_connection_t *c)
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
