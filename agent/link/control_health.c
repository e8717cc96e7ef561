
/*
 * Copyright (C) zltunnel authors
 */

/* What the server is told of services that are checked. */


#include <string.h>

#include "control_health.h"
#include "control_state.h"
#include "control_ws.h"
#include "service.h"


static unsigned zlt_control_health_of(const zlt_service_t *s);


static unsigned
zlt_control_health_of(const zlt_service_t *s)
{
    if (!s->health.down) {
        return ZLT_H_UP;
    }

    return s->conf.on_fail == ZLT_ON_FAIL_REFUSE ? ZLT_H_REFUSE : ZLT_H_DOWN;
}


int
zlt_control_health_put(zlt_control_t *c, zlt_service_t *s, zlt_msg_t *m)
{
    s->health.told = ZLT_H_UP;

    if (!(c->features & ZLT_F_HEALTH)) {
        return 0;
    }

    m->health = (uint8_t) zlt_control_health_of(s);
    s->health.told = m->health;

    if (m->health) {
        m->reason.data = (const uint8_t *) s->health.why;
        m->reason.len = strlen(s->health.why);
    }

    return m->health != ZLT_H_UP;
}


int
zlt_control_health_due(const zlt_control_t *c, const zlt_service_t *s)
{
    return (c->features & ZLT_F_HEALTH) && s->state == ZLT_SERVICE_UP
           && s->nids && s->health.told != zlt_control_health_of(s);
}


void
zlt_control_health_send(zlt_control_t *c, zlt_service_t *s)
{
    zlt_msg_t  m;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_HEALTH;
    m.service_id = s->ids[0];

    (void) zlt_control_health_put(c, s, &m);

    zlt_control_ws_send(c, &m);
}
