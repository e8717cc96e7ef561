
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Sums by token, or by token and service.
 *
 * A tunnel at a time is copied and added to a list, in which a token or service
 * may stand several times: several agents may have one token.  The list is
 * sorted then, and what stands beside its like is joined.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_metrics_sum.h"
#include "ngx_zltunnel_past.h"


static ngx_int_t ngx_zltunnel_metrics_sum_tunnel(ngx_zltunnel_status_t *st,
    ngx_list_t *list, ngx_zltunnel_metrics_e by);
static ngx_int_t ngx_zltunnel_metrics_sum_kept(ngx_zltunnel_status_t *st,
    ngx_list_t *list, ngx_zltunnel_metrics_e by);
static ngx_int_t ngx_zltunnel_metrics_sum_token(ngx_zltunnel_status_t *st,
    ngx_zltunnel_metrics_e by, u_char *name, size_t len, ngx_str_t *token);
static ngx_int_t ngx_zltunnel_metrics_sum_name(ngx_zltunnel_status_t *st,
    ngx_zltunnel_metrics_sum_t *sum, ngx_zltunnel_status_service_t *service);
static void ngx_zltunnel_metrics_sum_service(ngx_zltunnel_status_t *st,
    ngx_zltunnel_metrics_sum_t *sum, ngx_zltunnel_status_service_t *service);
static ngx_zltunnel_metrics_sum_t *ngx_zltunnel_metrics_sum_push(
    ngx_list_t *list, ngx_zltunnel_metrics_kind_e kind, ngx_str_t *token);
static ngx_uint_t ngx_zltunnel_metrics_sum_join(
    ngx_zltunnel_metrics_sum_t **sums, ngx_uint_t n);
static void ngx_zltunnel_metrics_sum_add(ngx_zltunnel_metrics_sum_t *to,
    ngx_zltunnel_metrics_sum_t *sum);
static int ngx_zltunnel_metrics_sum_cmp(const void *one, const void *two);


ngx_zltunnel_metrics_sum_t **
ngx_zltunnel_metrics_sum_all(ngx_zltunnel_status_t *st, ngx_zltunnel_metrics_e by,
    ngx_uint_t *n)
{
    ngx_int_t                     rc;
    ngx_list_t                    list;
    ngx_uint_t                    i, j, count;
    ngx_list_part_t              *part;
    ngx_zltunnel_metrics_sum_t   *sum, **sums;

    if (ngx_list_init(&list, st->pool, 16, sizeof(ngx_zltunnel_metrics_sum_t))
        != NGX_OK)
    {
        return NULL;
    }

    for (i = 0; i < st->nids; i++) {

        rc = ngx_zltunnel_status_copy_tunnel(st, st->ids[i].id);

        if (rc == NGX_OK) {
            rc = ngx_zltunnel_metrics_sum_tunnel(st, &list, by);

            /* keys are not to lie about in the memory of requests */

            ngx_explicit_memzero(&st->tunnel,
                                 sizeof(ngx_zltunnel_sh_tunnel_t));
        }

        if (rc == NGX_ERROR) {
            return NULL;
        }
    }

    if (ngx_zltunnel_metrics_sum_kept(st, &list, by) != NGX_OK) {
        return NULL;
    }

    count = 0;

    for (part = &list.part; part; part = part->next) {
        count += part->nelts;
    }

    sums = ngx_palloc(st->pool, (count + 1) * sizeof(*sums));
    if (sums == NULL) {
        return NULL;
    }

    j = 0;

    for (part = &list.part; part; part = part->next) {
        sum = part->elts;

        for (i = 0; i < part->nelts; i++) {
            sums[j++] = &sum[i];
        }
    }

    ngx_qsort(sums, count, sizeof(*sums), ngx_zltunnel_metrics_sum_cmp);

    *n = ngx_zltunnel_metrics_sum_join(sums, count);

    return sums;
}


static ngx_int_t
ngx_zltunnel_metrics_sum_tunnel(ngx_zltunnel_status_t *st, ngx_list_t *list,
    ngx_zltunnel_metrics_e by)
{
    ngx_str_t                       token;
    ngx_uint_t                      i;
    ngx_zltunnel_sh_tunnel_t       *tunnel;
    ngx_zltunnel_metrics_sum_t     *sum, *sums[NGX_ZLTUNNEL_METRICS_KINDS];
    ngx_zltunnel_metrics_kind_e     kind;
    ngx_zltunnel_status_service_t  *service;

    tunnel = &st->tunnel;

    if (ngx_zltunnel_metrics_sum_token(st, by, tunnel->name, tunnel->name_len,
                                       &token)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    sum = ngx_zltunnel_metrics_sum_push(list, NGX_ZLTUNNEL_METRICS_TUNNELS,
                                        &token);
    if (sum == NULL) {
        return NGX_ERROR;
    }

    sum->n = (tunnel->remote == NULL);
    sum->away = (tunnel->state != NGX_ZLTUNNEL_LIVE);
    sum->draining = (!sum->away && tunnel->draining);
    sum->pending = tunnel->npending;
    sum->idle = tunnel->nidle;
    sum->accesses = tunnel->naccesses;
    sum->visits = tunnel->visits;

    ngx_memzero(sums, sizeof(sums));

    for (i = 0; i < st->nservices; i++) {
        service = &st->services[i];
        kind = service->udp ? NGX_ZLTUNNEL_METRICS_UDP
                            : NGX_ZLTUNNEL_METRICS_TCP;

        /* those of a tunnel are one, where their names are not asked for */

        if (sums[kind] == NULL || by == NGX_ZLTUNNEL_METRICS_SERVICE) {
            sums[kind] = ngx_zltunnel_metrics_sum_push(list, kind, &token);

            if (sums[kind] == NULL) {
                return NGX_ERROR;
            }
        }

        if (by == NGX_ZLTUNNEL_METRICS_SERVICE
            && ngx_zltunnel_metrics_sum_name(st, sums[kind], service)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_zltunnel_metrics_sum_service(st, sums[kind], service);
    }

    return NGX_OK;
}


/* tunnels that the administrator has ended, and whose agents wait */

static ngx_int_t
ngx_zltunnel_metrics_sum_kept(ngx_zltunnel_status_t *st, ngx_list_t *list,
    ngx_zltunnel_metrics_e by)
{
    ngx_str_t                    token;
    ngx_uint_t                   i, n;
    ngx_zltunnel_sh_past_t      *past;
    ngx_zltunnel_metrics_sum_t  *sum;

    past = ngx_zltunnel_past_copy(st->registry, st->pool, &n);
    if (past == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (!past[i].kept) {
            continue;
        }

        if (ngx_zltunnel_metrics_sum_token(st, by, past[i].name,
                                           past[i].name_len, &token)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        sum = ngx_zltunnel_metrics_sum_push(list, NGX_ZLTUNNEL_METRICS_TUNNELS,
                                            &token);
        if (sum == NULL) {
            return NGX_ERROR;
        }

        sum->kept = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_metrics_sum_token(ngx_zltunnel_status_t *st,
    ngx_zltunnel_metrics_e by, u_char *name, size_t len, ngx_str_t *token)
{
    ngx_str_null(token);

    if (by == NGX_ZLTUNNEL_METRICS_TOTAL) {
        return NGX_OK;
    }

    token->data = ngx_pnalloc(st->pool, len + 1);
    if (token->data == NULL) {
        return NGX_ERROR;
    }

    token->len = len;
    ngx_memcpy(token->data, name, len);

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_metrics_sum_name(ngx_zltunnel_status_t *st,
    ngx_zltunnel_metrics_sum_t *sum, ngx_zltunnel_status_service_t *service)
{
    sum->service.len = service->name_len;
    sum->service.data = ngx_pnalloc(st->pool, service->name_len + 1);

    if (sum->service.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(sum->service.data, service->name, service->name_len);

    return NGX_OK;
}


static void
ngx_zltunnel_metrics_sum_service(ngx_zltunnel_status_t *st,
    ngx_zltunnel_metrics_sum_t *sum, ngx_zltunnel_status_service_t *service)
{
    ngx_uint_t  i;

    sum->n++;
    sum->up += ngx_zltunnel_status_copy_up(st, service);
    sum->changed = ngx_max(sum->changed, (ngx_uint_t) service->ill_since);
    sum->active += service->active;
    sum->total += service->total;

    for (i = 0; i < 2; i++) {
        sum->bytes[i] += service->bytes[i];
        sum->datagrams[i] += service->datagrams[i];
    }

    for (i = 0; i < NGX_ZLTUNNEL_DROPS; i++) {
        sum->dropped[i] += service->dropped[i];
    }
}


static ngx_zltunnel_metrics_sum_t *
ngx_zltunnel_metrics_sum_push(ngx_list_t *list,
    ngx_zltunnel_metrics_kind_e kind, ngx_str_t *token)
{
    ngx_zltunnel_metrics_sum_t  *sum;

    sum = ngx_list_push(list);

    if (sum) {
        ngx_memzero(sum, sizeof(ngx_zltunnel_metrics_sum_t));
        sum->kind = kind;
        sum->token = *token;
    }

    return sum;
}


static ngx_uint_t
ngx_zltunnel_metrics_sum_join(ngx_zltunnel_metrics_sum_t **sums, ngx_uint_t n)
{
    ngx_uint_t  i, last;

    if (n == 0) {
        return 0;
    }

    last = 0;

    for (i = 1; i < n; i++) {

        if (ngx_zltunnel_metrics_sum_cmp(&sums[last], &sums[i]) == 0) {
            ngx_zltunnel_metrics_sum_add(sums[last], sums[i]);

        } else {
            sums[++last] = sums[i];
        }
    }

    return last + 1;
}


static void
ngx_zltunnel_metrics_sum_add(ngx_zltunnel_metrics_sum_t *to,
    ngx_zltunnel_metrics_sum_t *sum)
{
    ngx_uint_t  i;

    to->n += sum->n;
    to->away += sum->away;
    to->draining += sum->draining;
    to->kept += sum->kept;
    to->up += sum->up;
    to->changed = ngx_max(to->changed, sum->changed);
    to->pending += sum->pending;
    to->idle += sum->idle;
    to->accesses += sum->accesses;
    to->visits += sum->visits;
    to->active += sum->active;
    to->total += sum->total;

    for (i = 0; i < 2; i++) {
        to->bytes[i] += sum->bytes[i];
        to->datagrams[i] += sum->datagrams[i];
    }

    for (i = 0; i < NGX_ZLTUNNEL_DROPS; i++) {
        to->dropped[i] += sum->dropped[i];
    }
}


static int
ngx_zltunnel_metrics_sum_cmp(const void *one, const void *two)
{
    int                          rc;
    ngx_zltunnel_metrics_sum_t  *a, *b;

    a = *(ngx_zltunnel_metrics_sum_t **) one;
    b = *(ngx_zltunnel_metrics_sum_t **) two;

    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }

    rc = ngx_zltunnel_metrics_sum_order(&a->token, &b->token);

    return rc ? rc : ngx_zltunnel_metrics_sum_order(&a->service, &b->service);
}


int
ngx_zltunnel_metrics_sum_order(const ngx_str_t *one, const ngx_str_t *two)
{
    int  rc;

    rc = ngx_memcmp(one->data, two->data, ngx_min(one->len, two->len));

    return rc ? rc : (one->len > two->len) - (one->len < two->len);
}
