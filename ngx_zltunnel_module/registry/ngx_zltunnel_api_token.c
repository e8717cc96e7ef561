
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Tokens as the API shows them: by name, with what their tunnels have in use.
 * Several lines of the file may have one name.  Nothing of a token itself, nor
 * of its hash, is told.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_api_token.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_grant.h"
#include "ngx_zltunnel_kept.h"
#include "ngx_zltunnel_metrics_sum.h"
#include "ngx_zltunnel_zone.h"


/* the sums of a kind that have not been passed yet: both they and the tokens
   are in the order of names */

typedef struct {
    ngx_zltunnel_metrics_sum_t  **sums;
    ngx_uint_t                    n;
} ngx_zltunnel_api_token_sums_t;


static ngx_uint_t ngx_zltunnel_api_token_sort(ngx_zltunnel_status_t *st,
    ngx_zltunnel_token_t ***sorted);
static int ngx_zltunnel_api_token_cmp(const void *one, const void *two);
static ngx_uint_t ngx_zltunnel_api_token_write(ngx_zltunnel_status_t *st,
    ngx_zltunnel_token_t **tokens, ngx_uint_t n,
    ngx_zltunnel_api_token_sums_t *kinds);
static time_t ngx_zltunnel_api_token_kept(ngx_zltunnel_registry_t *registry,
    ngx_str_t *name);
static void ngx_zltunnel_api_token_use(ngx_zltunnel_status_t *st,
    ngx_str_t *name, ngx_zltunnel_api_token_sums_t *kinds);
static ngx_zltunnel_metrics_sum_t *ngx_zltunnel_api_token_sum(
    ngx_zltunnel_api_token_sums_t *kind, ngx_str_t *name);


ngx_int_t
ngx_zltunnel_api_token_list(ngx_zltunnel_status_t *st)
{
    ngx_uint_t                      i, n, nsums, kind;
    ngx_zltunnel_token_t          **tokens;
    ngx_zltunnel_metrics_sum_t    **sums;
    ngx_zltunnel_api_token_sums_t   kinds[NGX_ZLTUNNEL_METRICS_KINDS];

    if (st->registry->tokens == NULL) {
        return NGX_OK;
    }

    ngx_zltunnel_grant_sync(st->registry);

    sums = ngx_zltunnel_metrics_sum_all(st, NGX_ZLTUNNEL_METRICS_TOKEN, &nsums);
    n = ngx_zltunnel_api_token_sort(st, &tokens);

    if (sums == NULL || tokens == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(kinds, sizeof(kinds));

    for (i = 0; i < nsums; i++) {
        kind = sums[i]->kind;

        if (kinds[kind].n++ == 0) {
            kinds[kind].sums = &sums[i];
        }
    }

    for (i = 0; i < n; /* void */ ) {
        i += ngx_zltunnel_api_token_write(st, &tokens[i], n - i, kinds);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_zltunnel_api_token_sort(ngx_zltunnel_status_t *st,
    ngx_zltunnel_token_t ***sorted)
{
    ngx_uint_t               i, n;
    ngx_zltunnel_token_t    *token, **tokens;
    ngx_zltunnel_granted_t  *granted;

    token = st->registry->tokens->tokens.elts;
    n = st->registry->tokens->tokens.nelts;

    for (granted = ngx_zltunnel_granted_next(st->registry, NULL);
         granted;
         granted = ngx_zltunnel_granted_next(st->registry, granted))
    {
        n++;
    }

    tokens = ngx_palloc(st->pool, (n + 1) * sizeof(ngx_zltunnel_token_t *));
    *sorted = tokens;

    if (tokens == NULL) {
        return 0;
    }

    for (i = 0; i < st->registry->tokens->tokens.nelts; i++) {
        tokens[i] = &token[i];
    }

    for (granted = ngx_zltunnel_granted_next(st->registry, NULL);
         granted;
         granted = ngx_zltunnel_granted_next(st->registry, granted))
    {
        tokens[i++] = granted->set->tokens.elts;
    }

    ngx_qsort(tokens, n, sizeof(ngx_zltunnel_token_t *),
              ngx_zltunnel_api_token_cmp);

    return n;
}


static int
ngx_zltunnel_api_token_cmp(const void *one, const void *two)
{
    return ngx_zltunnel_metrics_sum_order(
                               &(*(ngx_zltunnel_token_t **) one)->name,
                               &(*(ngx_zltunnel_token_t **) two)->name);
}


/* the first of tokens, and those behind it that have its name: how many they
   are */

static ngx_uint_t
ngx_zltunnel_api_token_write(ngx_zltunnel_status_t *st,
    ngx_zltunnel_token_t **tokens, ngx_uint_t n,
    ngx_zltunnel_api_token_sums_t *kinds)
{
    time_t                expires;
    ngx_str_t            *name;
    uint64_t              rate;
    ngx_uint_t            i, sessions, ever, fast;
    ngx_zltunnel_json_t  *j;

    j = &st->json;
    name = &tokens[0]->name;
    expires = 0;
    sessions = 0;
    ever = 0;
    rate = 0;
    fast = 0;

    for (i = 0;
         i < n && ngx_zltunnel_metrics_sum_order(&tokens[i]->name, name) == 0;
         i++)
    {
        sessions = ngx_max(sessions, tokens[i]->sessions);
        rate = ngx_max(rate, tokens[i]->rate);
        fast |= (tokens[i]->rate == 0);
        expires = ngx_max(expires, tokens[i]->expires);
        ever |= (tokens[i]->expires == 0);
    }

    ngx_zltunnel_json_open(j, NULL, '{');
    ngx_zltunnel_json_string(j, "name", name->data, name->len);
    ngx_zltunnel_json_number(j, "lines", i);
    ngx_zltunnel_json_time(j, "expires", ever ? 0 : expires);
    ngx_zltunnel_json_number(j, "sessions", sessions);

    if (fast) {
        ngx_zltunnel_json_null(j, "rate");

    } else {
        ngx_zltunnel_json_number(j, "rate", rate);
    }

    ngx_zltunnel_json_time(j, "kept_out",
                           ngx_zltunnel_api_token_kept(st->registry, name));

    ngx_zltunnel_api_token_use(st, name, kinds);

    ngx_zltunnel_json_close(j, '}');

    return i;
}


static time_t
ngx_zltunnel_api_token_kept(ngx_zltunnel_registry_t *registry,
    ngx_str_t *name)
{
    time_t  until;

    ngx_zltunnel_zone_lock_read(registry);
    until = ngx_zltunnel_kept_until(registry->sh, name);
    ngx_zltunnel_zone_unlock(registry);

    return until;
}


static void
ngx_zltunnel_api_token_use(ngx_zltunnel_status_t *st, ngx_str_t *name,
    ngx_zltunnel_api_token_sums_t *kinds)
{
    uint64_t                     total, bytes[2];
    ngx_uint_t                   kind, services, active;
    ngx_zltunnel_json_t         *j;
    ngx_zltunnel_metrics_sum_t  *sum;

    j = &st->json;

    sum = ngx_zltunnel_api_token_sum(&kinds[NGX_ZLTUNNEL_METRICS_TUNNELS],
                                     name);

    ngx_zltunnel_json_number(j, "tunnels", sum ? sum->n : 0);
    ngx_zltunnel_json_number(j, "connected", sum ? sum->n - sum->away : 0);
    ngx_zltunnel_json_number(j, "access", sum ? sum->accesses : 0);

    services = 0;
    active = 0;
    total = 0;
    bytes[0] = 0;
    bytes[1] = 0;

    for (kind = NGX_ZLTUNNEL_METRICS_TCP;
         kind < NGX_ZLTUNNEL_METRICS_KINDS;
         kind++)
    {
        sum = ngx_zltunnel_api_token_sum(&kinds[kind], name);

        if (sum) {
            services += sum->n;
            active += sum->active;
            total += sum->total;
            bytes[0] += sum->bytes[0];
            bytes[1] += sum->bytes[1];
        }
    }

    ngx_zltunnel_json_number(j, "services", services);
    ngx_zltunnel_json_number(j, "active", active);
    ngx_zltunnel_json_number(j, "total", total);
    ngx_zltunnel_json_number(j, "bytes_in", bytes[0]);
    ngx_zltunnel_json_number(j, "bytes_out", bytes[1]);
}


/* NULL: no tunnel has it */

static ngx_zltunnel_metrics_sum_t *
ngx_zltunnel_api_token_sum(ngx_zltunnel_api_token_sums_t *kind,
    ngx_str_t *name)
{
    int  order;

    while (kind->n) {

        order = ngx_zltunnel_metrics_sum_order(&kind->sums[0]->token, name);

        if (order == 0) {
            return kind->sums[0];
        }

        if (order > 0) {
            break;
        }

        kind->sums++;
        kind->n--;
    }

    return NULL;
}
