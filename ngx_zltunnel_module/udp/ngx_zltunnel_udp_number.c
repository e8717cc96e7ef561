
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The numbers of UDP sessions on their carrier's channel: a hash that grows.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_udp_number.h"
#include "ngx_zltunnel_carrier.h"
#include "ngx_zltunnel_udp_session.h"


#define NGX_ZLTUNNEL_UDP_NUMBERS  0xffffffff  /* of one channel */


static ngx_int_t ngx_zltunnel_udp_number_grow(ngx_zltunnel_carrier_t *carrier);


void
ngx_zltunnel_udp_number_give(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp)
{
    ngx_uint_t  i;

    if (carrier->nsessions > carrier->nnumbers
        && ngx_zltunnel_udp_number_grow(carrier) != NGX_OK)
    {
        /* longer chains, unless it is the first */

        if (carrier->nnumbers == 0) {
            return;
        }
    }

    if (carrier->number == NGX_ZLTUNNEL_UDP_NUMBERS) {

        /* none is used twice: they begin anew on another channel */

        ngx_zltunnel_datagrams_out_fail(&carrier->frames);
        return;
    }

    udp->number = ++carrier->number;

    i = udp->number & (carrier->nnumbers - 1);
    udp->next = carrier->numbers[i];
    carrier->numbers[i] = udp;
}


static ngx_int_t
ngx_zltunnel_udp_number_grow(ngx_zltunnel_carrier_t *carrier)
{
    ngx_uint_t            i, n, k;
    ngx_zltunnel_udp_t   *udp, *next, **numbers;

    n = carrier->nnumbers ? carrier->nnumbers * 2 : 16;

    numbers = ngx_calloc(n * sizeof(ngx_zltunnel_udp_t *), ngx_cycle->log);
    if (numbers == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < carrier->nnumbers; i++) {

        for (udp = carrier->numbers[i]; udp; udp = next) {
            next = udp->next;

            k = udp->number & (n - 1);
            udp->next = numbers[k];
            numbers[k] = udp;
        }
    }

    if (carrier->numbers) {
        ngx_free(carrier->numbers);
    }

    carrier->numbers = numbers;
    carrier->nnumbers = n;

    return NGX_OK;
}


void
ngx_zltunnel_udp_number_take(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp)
{
    ngx_zltunnel_udp_t  **p;

    p = &carrier->numbers[udp->number & (carrier->nnumbers - 1)];

    while (*p != udp) {
        p = &(*p)->next;
    }

    *p = udp->next;
    udp->next = NULL;
    udp->number = 0;
}


ngx_zltunnel_udp_t *
ngx_zltunnel_udp_number_find(ngx_zltunnel_carrier_t *carrier, uint32_t number)
{
    ngx_zltunnel_udp_t  *udp;

    if (carrier->nnumbers == 0) {
        return NULL;
    }

    for (udp = carrier->numbers[number & (carrier->nnumbers - 1)];
         udp;
         udp = udp->next)
    {
        if (udp->number == number) {
            return udp;
        }
    }

    return NULL;
}
