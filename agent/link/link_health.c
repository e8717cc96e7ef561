
/*
 * Copyright (C) zltunnel authors
 */

/* What checks have found, for the log and for the server. */


#include "control_health.h"
#include "link.h"
#include "link_health.h"
#include "log.h"
#include "service.h"
#include "text.h"


/* A server counts what it is asked for, and ends a tunnel that asks for more
   than one thing a second in the long run. */

#define ZLT_LINK_HEALTH_BURST  64


static void zlt_link_health_tell(zlt_link_t *l, zlt_service_t *s);
static void zlt_link_health_changed(zlt_service_t *s, void *data);
static zlt_service_t *zlt_link_health_next(const zlt_link_t *l);


void
zlt_link_health_start(zlt_link_t *l)
{
    zlt_list_t     *link;
    zlt_service_t  *s;

    if (l->owner.stopping) {
        return;
    }

    zlt_list_each(link, &l->owner.services) {
        s = zlt_list_data(link, zlt_service_t, link);

        if (s->check) {
            zlt_link_health_tell(l, s);
            continue;
        }

        if (s->conf.check[0] == '\0') {

            if (s->health.down) {
                s->health.down = 0;
                zlt_link_health_changed(s, l);
            }

            s->health.known = 0;
            continue;
        }

        if (zlt_check_start(s, l->owner.loop, zlt_link_health_changed, l)
            == -1)
        {
            zlt_log_link(l->owner.label, ZLT_LOG_ERROR, "the service \"%s\" "
                         "is not checked: out of memory", s->conf.name);
        }
    }
}


void
zlt_link_health_stop(zlt_link_t *l)
{
    zlt_list_t  *link;

    zlt_list_each(link, &l->owner.services) {
        zlt_check_stop(zlt_list_data(link, zlt_service_t, link));
    }
}


static void
zlt_link_health_changed(zlt_service_t *s, void *data)
{
    char         time[ZLT_TEXT_UNIT];
    zlt_link_t  *l;

    l = data;

    if (s->health.down) {
        zlt_log_link(l->owner.label, ZLT_LOG_WARN, "the service \"%s\" is "
                     "down: %s", s->conf.name, s->health.why);

    } else if (s->conf.check[0]) {
        zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the service \"%s\" is up "
                     "again, after %s", s->conf.name,
                     zlt_text_time(time, s->health.was / 1000));

    } else {
        zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the service \"%s\" is "
                     "checked no more, and counts as up", s->conf.name);
    }

    zlt_link_health_tell(l, s);
}


static void
zlt_link_health_tell(zlt_link_t *l, zlt_service_t *s)
{
    if (l->control == NULL || !zlt_control_is_up(l->control)
        || !zlt_control_health_due(l->control, s))
    {
        return;
    }

    /* who comes while others wait is behind them: one that flaps is not to be
       all that is told of */

    if (l->health_queued || l->health_told == ZLT_LINK_HEALTH_BURST) {
        l->health_queued = 1;

        if (s->health.turn == 0) {
            s->health.turn = ++l->health_turn;
        }

        return;
    }

    l->health_told++;

    zlt_control_health_send(l->control, s);
}


void
zlt_link_health_tick(zlt_link_t *l)
{
    zlt_list_t     *link;
    zlt_service_t  *s;

    if (l->health_told) {
        l->health_told--;
    }

    if (l->health_due) {
        l->health_due = 0;

        zlt_list_each(link, &l->owner.services) {
            zlt_link_health_tell(l, zlt_list_data(link, zlt_service_t, link));
        }
    }

    while (l->health_queued && l->health_told < ZLT_LINK_HEALTH_BURST) {
        s = zlt_link_health_next(l);
        l->health_queued = 0;

        if (s == NULL) {
            return;
        }

        s->health.turn = 0;

        zlt_link_health_tell(l, s);

        l->health_queued = 1;
    }
}


/* Who has waited for the longest time; NULL: nobody waits. */

static zlt_service_t *
zlt_link_health_next(const zlt_link_t *l)
{
    zlt_list_t     *link;
    zlt_service_t  *s, *next;

    next = NULL;

    zlt_list_each(link, &l->owner.services) {
        s = zlt_list_data(link, zlt_service_t, link);

        if (s->health.turn
            && (next == NULL || s->health.turn < next->health.turn))
        {
            next = s;
        }
    }

    return next;
}
