
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_budget.h"


ngx_uint_t
ngx_zltunnel_budget_spent(ngx_zltunnel_budget_t *budget)
{
    return budget->bytes >= NGX_ZLTUNNEL_BUDGET_BYTES
           || budget->messages >= NGX_ZLTUNNEL_BUDGET_MESSAGES;
}


void
ngx_zltunnel_budget_post(ngx_event_t *ev)
{
    ngx_post_event(ev, &ngx_posted_next_events);
}
