
/*
 * Copyright (C) zltunnel authors
 */

/* All access sessions of a link. */


#include <string.h>

#include "access.h"
#include "access_listen.h"
#include "clock.h"
#include "conf.h"
#include "log.h"
#include "visit.h"
#include "visit_udp.h"


static int zlt_access_all_same(const zlt_access_conf_t *a,
    const zlt_access_conf_t *b);


int
zlt_access_all_create(zlt_owner_t *o, char *error)
{
    unsigned  i;

    for (i = 0; i < o->conf->naccesses; i++) {
        if (zlt_access_create(o, &o->conf->accesses[i], error) == NULL) {
            return -1;
        }
    }

    return 0;
}


void
zlt_access_all_done(zlt_owner_t *o)
{
    zlt_list_t  *link, *next;

    zlt_list_each_safe(link, next, &o->accesses) {
        zlt_access_free(zlt_list_data(link, zlt_access_t, link));
    }
}


void
zlt_access_all_up(zlt_owner_t *o)
{
    zlt_list_t    *link, *next;
    zlt_access_t  *x;

    zlt_list_each_safe(link, next, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (x->state == ZLT_ACCESS_WAITS) {

            if (x->door != ZLT_ACCESS_SHUT) {
                x->again_at = 0;
            }

            zlt_access_try(x, zlt_io_now());
        }

        if (o->access_ops->offered(o) == ZLT_ACCESS_NOT_NOW) {
            /* it broke meanwhile */
            return;
        }
    }
}


void
zlt_access_all_down(zlt_owner_t *o)
{
    zlt_list_t    *link;
    zlt_access_t  *x;

    zlt_list_each(link, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (x->state == ZLT_ACCESS_ASKED || x->state == ZLT_ACCESS_RUNS) {
            x->state = ZLT_ACCESS_WAITS;
        }
    }
}


void
zlt_access_all_stop(zlt_owner_t *o)
{
    zlt_list_t    *link, *next;
    zlt_access_t  *x;

    zlt_list_each_safe(link, next, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (o->conf->visitor || x->nvisits == 0) {
            (void) zlt_access_stop(x, "the agent ends");

        } else {
            /* it goes with the tunnel, after its connections */
            zlt_access_listen_stop(x);
        }
    }
}


void
zlt_access_all_tick(zlt_owner_t *o)
{
    uint64_t       now, boot;
    zlt_list_t    *link, *next;
    zlt_access_t  *x;

    now = zlt_io_now();
    boot = zlt_clock_boot();

    zlt_list_each_safe(link, next, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        if (x->state == ZLT_ACCESS_ENDED) {
            continue;
        }

        zlt_access_expiry_tick(x, boot);

        if (x->state == ZLT_ACCESS_WAITS) {
            zlt_access_try(x, now);
        }

        if (x->state != ZLT_ACCESS_ENDED) {
            zlt_access_listen_resume(x);

            if (zlt_access_runs(x)) {
                zlt_visit_go(x);
            }

            if (x->udp) {
                zlt_visit_udp_tick(x->udp);
            }
        }
    }
}


/* Those that have changed, or ended, begin anew; the others are not touched. */

void
zlt_access_all_reload(zlt_owner_t *o, const zlt_conf_t *conf)
{
    char                      error[ZLT_CONF_ERROR_SIZE];
    unsigned                  i;
    zlt_list_t               *link, *next;
    zlt_access_t             *x;
    const zlt_access_conf_t  *c;

    zlt_list_each_safe(link, next, &o->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);
        c = NULL;

        for (i = 0; i < conf->naccesses; i++) {
            if (zlt_access_all_same(&conf->accesses[i], &x->conf)) {
                c = &conf->accesses[i];
            }
        }

        if (c == NULL || x->state == ZLT_ACCESS_ENDED) {
            (void) zlt_access_stop(x, "it is no longer configured so");
            zlt_access_free(x);

        } else if (x->again_at == ZLT_ACCESS_REFUSED) {
            x->again_at = 0;
        }
    }

    for (i = 0; i < conf->naccesses; i++) {
        c = &conf->accesses[i];
        x = NULL;

        zlt_list_each(link, &o->accesses) {
            x = zlt_list_data(link, zlt_access_t, link);

            if (strcmp(x->conf.name, c->name) == 0) {
                break;
            }
        }

        if (link == &o->accesses) {
            x = zlt_access_create(o, c, error);

            if (x) {
                zlt_access_try(x, zlt_io_now());

            } else {
                zlt_log_link(o->label, ZLT_LOG_ERROR, "%s", error);
            }
        }
    }
}


void
zlt_access_all_move(zlt_owner_t *from, zlt_owner_t *to)
{
    uint64_t       now;
    zlt_list_t    *link, *next;
    zlt_access_t  *x;

    now = zlt_io_now();

    zlt_list_each_safe(link, next, &from->accesses) {
        x = zlt_list_data(link, zlt_access_t, link);

        from->access_ops->forget(x);
        zlt_visit_leave(x);

        zlt_list_remove(&x->link);
        zlt_list_append(&to->accesses, &x->link);
        x->owner = to;

        if (x->udp) {
            zlt_visit_udp_leave(x->udp);
        }

        if (x->state == ZLT_ACCESS_ASKED || x->state == ZLT_ACCESS_RUNS) {
            x->state = ZLT_ACCESS_WAITS;
        }

        x->has_id = 0;
        x->again_at = 0;

        if (x->state == ZLT_ACCESS_WAITS) {
            zlt_access_try(x, now);
        }
    }
}


static int
zlt_access_all_same(const zlt_access_conf_t *a, const zlt_access_conf_t *b)
{
    return strcmp(a->name, b->name) == 0
           && zlt_key_change(ZLT_KEY_OF_ACCESS, ZLT_KEY_OPENED, a, b) == NULL;
}
