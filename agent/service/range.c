
/*
 * Copyright (C) zltunnel authors
 */

/* What one entry of the configuration has registered. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "service.h"


const char *const  zlt_range_states[] = {
    "down", "pending", "up", "refused"
};


zlt_range_t *
zlt_range_create(zlt_list_t *ranges, zlt_list_t *services,
    const zlt_service_conf_t *conf)
{
    unsigned             i;
    zlt_range_t         *r;
    zlt_service_conf_t   one;

    r = calloc(1, sizeof(zlt_range_t));
    if (r == NULL) {
        return NULL;
    }

    r->conf = *conf;

    zlt_list_init(&r->services);
    zlt_list_init(&r->down);
    zlt_list_append(ranges, &r->link);

    for (i = 0; i < zlt_option_range_count(conf); i++) {
        zlt_option_range_service(conf, i, &one);

        if (zlt_range_add(r, services, &one) == NULL) {
            zlt_range_remove(r);
            return NULL;
        }
    }

    return r;
}


zlt_service_t *
zlt_range_add(zlt_range_t *r, zlt_list_t *services,
    const zlt_service_conf_t *conf)
{
    zlt_service_t  *s;

    s = zlt_service_create(services, conf);

    if (s) {
        s->range = r;
        zlt_list_append(&r->services, &s->peer);
        zlt_list_append(&r->down, &s->down);
        r->counts[s->state]++;
    }

    return s;
}


void
zlt_range_leave(zlt_service_t *s)
{
    if (s->range) {
        s->range->counts[s->state]--;
        s->range = NULL;
    }

    zlt_list_remove(&s->peer);
    zlt_list_remove(&s->down);
}


void
zlt_range_remove(zlt_range_t *r)
{
    while (!zlt_list_empty(&r->services)) {
        zlt_service_remove(zlt_list_data(r->services.next, zlt_service_t,
                                         peer));
    }

    zlt_list_remove(&r->link);
    free(r->urls);
    free(r->urls_shown);
    free(r);
}


zlt_range_t *
zlt_range_find(zlt_list_t *ranges, const char *name)
{
    zlt_list_t   *link;
    zlt_range_t  *r;

    zlt_list_each(link, ranges) {
        r = zlt_list_data(link, zlt_range_t, link);

        if (strcmp(r->conf.name, name) == 0) {
            return r;
        }
    }

    return NULL;
}


void
zlt_range_set(zlt_service_t *s, zlt_service_state_e state)
{
    if (s->range && s->state != state) {
        s->range->counts[s->state]--;
        s->range->counts[state]++;

        if (state == ZLT_SERVICE_DOWN) {
            zlt_list_append(&s->range->down, &s->down);

        } else {
            zlt_list_remove(&s->down);
        }
    }

    s->state = state;
}


void
zlt_range_doubt(zlt_service_t *s)
{
    zlt_list_remove(&s->down);
    zlt_list_prepend(&s->range->down, &s->down);
}


zlt_service_t *
zlt_range_next(const zlt_range_t *r)
{
    return zlt_list_empty(&r->down)
           ? NULL : zlt_list_data(r->down.next, zlt_service_t, down);
}


zlt_service_t *
zlt_range_first(const zlt_range_t *r)
{
    return zlt_list_data(r->services.next, zlt_service_t, peer);
}


zlt_service_t *
zlt_range_failed(const zlt_range_t *r)
{
    zlt_list_t     *link;
    zlt_service_t  *s, *last;

    last = NULL;

    zlt_list_each(link, &r->services) {
        s = zlt_list_data(link, zlt_service_t, peer);

        if (s->failure[0] && (last == NULL || s->failed_at > last->failed_at))
        {
            last = s;
        }
    }

    return last;
}


zlt_service_t *
zlt_range_unhealthy(const zlt_range_t *r)
{
    zlt_list_t     *link;
    zlt_service_t  *s, *first;

    first = NULL;

    zlt_list_each(link, &r->services) {
        s = zlt_list_data(link, zlt_service_t, peer);

        if (s->health.down
            && (first == NULL || s->health.since_ms < first->health.since_ms))
        {
            first = s;
        }
    }

    return first;
}


int
zlt_range_is_up(const zlt_range_t *r)
{
    return r->counts[ZLT_SERVICE_UP] == zlt_option_range_count(&r->conf);
}


void
zlt_range_public(const zlt_range_t *r, char *text)
{
    int          len;
    const char  *colon;

    colon = strrchr(r->public_addr, ':');

    if (r->conf.remote_ports == 0 || colon == NULL) {
        (void) strcpy(text, r->public_addr);
        return;
    }

    /* the host of one is that of all */

    len = (int) (colon - r->public_addr);

    (void) snprintf(text, ZLT_SERVICE_PUBLIC, "%.*s:%u-%u",
                    len < 260 ? len : 260, r->public_addr,
                    (unsigned) r->conf.remote_port,
                    r->conf.remote_port + r->conf.remote_ports - 1u);
}
