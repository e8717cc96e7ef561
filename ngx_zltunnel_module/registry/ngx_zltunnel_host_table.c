
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The hash table of hosts' names, which requests look up.
 *
 * It grows by linear hashing (Litwin, 1980): each name that is added divides one
 * bucket, so nobody holds the lock while ten thousand names move.  Its buckets
 * are in segments, which stay where they are.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_host_table.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"


static ngx_zltunnel_sh_host_t **ngx_zltunnel_host_table_bucket(
    ngx_zltunnel_sh_hosts_t *hosts, uint64_t hash);
static ngx_int_t ngx_zltunnel_host_table_grow(
    ngx_zltunnel_registry_t *registry);


ngx_zltunnel_sh_host_t *
ngx_zltunnel_host_table_find(ngx_zltunnel_sh_t *sh, ngx_str_t *name)
{
    uint64_t                 hash;
    ngx_zltunnel_sh_host_t  *host;

    if (sh->hosts.nbuckets == 0) {
        return NULL;
    }

    hash = ngx_zltunnel_name_hash(name->data, name->len);

    for (host = *ngx_zltunnel_host_table_bucket(&sh->hosts, hash);
         host;
         host = host->next)
    {
        if (host->hash == hash && ngx_zltunnel_host_table_is(host, name)) {
            return host;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_zltunnel_host_table_is(ngx_zltunnel_sh_host_t *host, ngx_str_t *name)
{
    return host->len == name->len
           && ngx_memcmp(host->name, name->data, name->len) == 0;
}


ngx_int_t
ngx_zltunnel_host_table_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_host_t *host)
{
    ngx_zltunnel_sh_host_t   **bucket;
    ngx_zltunnel_sh_hosts_t   *hosts;

    hosts = &registry->sh->hosts;

    /* a table that cannot grow has longer chains */

    if (hosts->n >= hosts->nbuckets
        && ngx_zltunnel_host_table_grow(registry) != NGX_OK
        && hosts->nbuckets == 0)
    {
        return NGX_ERROR;
    }

    bucket = ngx_zltunnel_host_table_bucket(hosts, host->hash);
    host->next = *bucket;
    *bucket = host;

    hosts->n++;
    hosts->nwild += (host->name[0] == '*');

    return NGX_OK;
}


void
ngx_zltunnel_host_table_remove(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_host_t *host)
{
    ngx_zltunnel_sh_host_t  **p;

    for (p = ngx_zltunnel_host_table_bucket(&sh->hosts, host->hash);
         *p != host;
         p = &(*p)->next)
    {
        /* void */
    }

    *p = host->next;

    sh->hosts.n--;
    sh->hosts.nwild -= (host->name[0] == '*');
}


static ngx_zltunnel_sh_host_t **
ngx_zltunnel_host_table_bucket(ngx_zltunnel_sh_hosts_t *hosts, uint64_t hash)
{
    ngx_uint_t  i;

    i = (ngx_uint_t) hash & hosts->mask;

    if (i >= hosts->nbuckets) {

        /* that one has not been divided yet */

        i &= hosts->mask >> 1;
    }

    return &hosts->segments[i / NGX_ZLTUNNEL_HOST_SEGMENT]
                           [i % NGX_ZLTUNNEL_HOST_SEGMENT];
}


/* one bucket more, with about half of what is in the one that it divides */

static ngx_int_t
ngx_zltunnel_host_table_grow(ngx_zltunnel_registry_t *registry)
{
    size_t                    size;
    ngx_uint_t                n;
    ngx_zltunnel_sh_host_t   *host, **from, **to, **segment;
    ngx_zltunnel_sh_hosts_t  *hosts;

    hosts = &registry->sh->hosts;
    n = hosts->nbuckets;

    if (n % NGX_ZLTUNNEL_HOST_SEGMENT == 0) {

        if (n / NGX_ZLTUNNEL_HOST_SEGMENT == NGX_ZLTUNNEL_HOST_SEGMENTS) {
            return NGX_DECLINED;
        }

        size = NGX_ZLTUNNEL_HOST_SEGMENT * sizeof(ngx_zltunnel_sh_host_t *);

        segment = ngx_zltunnel_zone_alloc(registry, size);
        if (segment == NULL) {
            return NGX_ERROR;
        }

        hosts->segments[n / NGX_ZLTUNNEL_HOST_SEGMENT] = segment;
    }

    if (n > hosts->mask) {
        hosts->mask = 2 * hosts->mask + 1;
    }

    hosts->nbuckets = n + 1;

    if (n == 0) {
        return NGX_OK;
    }

    to = &hosts->segments[n / NGX_ZLTUNNEL_HOST_SEGMENT]
                         [n % NGX_ZLTUNNEL_HOST_SEGMENT];

    n &= hosts->mask >> 1;

    from = &hosts->segments[n / NGX_ZLTUNNEL_HOST_SEGMENT]
                           [n % NGX_ZLTUNNEL_HOST_SEGMENT];

    while (*from) {
        host = *from;

        if (ngx_zltunnel_host_table_bucket(hosts, host->hash) != to) {
            from = &host->next;
            continue;
        }

        *from = host->next;
        host->next = *to;
        *to = host;
    }

    return NGX_OK;
}
