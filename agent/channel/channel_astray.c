
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Several nodes may be behind one address, and then chance decides which one a
 * connection meets, unless the balancer there looks at where it comes from.  A
 * node that has not got the tunnel says so, and who it is (421), and the channel
 * is tried again at once: that costs a round trip, and after enough of them the
 * right one is met.  So it is for a second while one binary takes a server over
 * from another one.
 *
 * There is a bound all the same, of tries and of time, for a server that never
 * says anything else.
 *
 * Where all channels come to one and the same other node, it is no chance: the
 * balancer leads there by now.  The link has to follow it, since no connection
 * can be made where it is.
 *
 * What is to be said of the balancer waits a little: a reload of nginx with
 * another zone makes another node of it, too, and the link is there soon.
 */


#include <string.h>

#include "channel_astray.h"
#include "conf.h"
#include "io.h"
#include "log.h"
#include "url.h"
#include "zlt_hex.h"


#define ZLT_CHANNEL_ASTRAY_TRIES  200      /* of one channel, in a row */
#define ZLT_CHANNEL_ASTRAY_LEFT   8        /* .. if the link is there by now */
#define ZLT_CHANNEL_ASTRAY_TELLS  3        /* .. after which it is told */
#define ZLT_CHANNEL_ASTRAY_WAITS  2000     /* ms, until then */
#define ZLT_CHANNEL_ASTRAY_AGAIN  3600000  /* ms, until it is told again */

/* all channels of the link, in a row, and for so long (ms) */

#define ZLT_CHANNEL_ASTRAY_LOST   30
#define ZLT_CHANNEL_ASTRAY_LASTS  3000


static unsigned zlt_channel_astray_most(const zlt_owner_t *o,
    const zlt_pool_param_t *param, const zlt_http_answer_t *answer);
static void zlt_channel_astray_count(zlt_astray_t *a, const uint8_t *node,
    uint64_t now);
static void zlt_channel_astray_tell(const zlt_owner_t *o);


int
zlt_channel_astray(const zlt_http_answer_t *answer)
{
    /* what stands before the server may know that status, too */

    return answer && answer->status == 421 && answer->workers;
}


int
zlt_channel_astray_again(zlt_channel_t *ch, const zlt_pool_param_t *param,
    const zlt_http_answer_t *answer)
{
    uint64_t      now;
    zlt_owner_t  *o;

    o = ch->owner;
    now = zlt_io_now();

    if (ch->astray == 0) {
        ch->astray_since = now;
    }

    if (param == NULL || !param->has_node || !answer->has_node
        || answer->beside
        || memcmp(param->node, answer->node, ZLT_ID_SIZE) == 0)
    {
        ch->strange = 0;

    } else {
        zlt_channel_astray_count(&o->astray, answer->node, now);

        if (ch->strange < ZLT_CHANNEL_ASTRAY_TELLS
            && ++ch->strange == ZLT_CHANNEL_ASTRAY_TELLS
            && o->astray.seen == 0)
        {
            memcpy(o->astray.other, answer->node, ZLT_ID_SIZE);
            o->astray.seen = now;
        }
    }

    if (ch->astray >= zlt_channel_astray_most(o, param, answer)
        || now - ch->astray_since > o->conf->connect_timeout)
    {
        return 0;
    }

    ch->astray++;

    return 1;
}


/* How many tries there are.  What an earlier tunnel of the link still wants may
   be out of reach: at a reload of nginx with another zone, new workers alone
   accept. */

static unsigned
zlt_channel_astray_most(const zlt_owner_t *o, const zlt_pool_param_t *param,
    const zlt_http_answer_t *answer)
{
    if (param && answer->has_node && o->has_param && o->param.has_node
        && memcmp(o->param.node, answer->node, ZLT_ID_SIZE) == 0
        && memcmp(o->param.tunnel_id, param->tunnel_id, ZLT_ID_SIZE) != 0)
    {
        return ZLT_CHANNEL_ASTRAY_LEFT;
    }

    return ZLT_CHANNEL_ASTRAY_TRIES;
}


static void
zlt_channel_astray_count(zlt_astray_t *a, const uint8_t *node, uint64_t now)
{
    if (a->n == 0 || memcmp(a->node, node, ZLT_ID_SIZE) != 0) {
        memcpy(a->node, node, ZLT_ID_SIZE);
        a->since = now;
        a->n = 0;
    }

    if (a->n < ZLT_CHANNEL_ASTRAY_LOST) {
        a->n++;
    }
}


void
zlt_channel_astray_home(zlt_channel_t *ch)
{
    ch->owner->astray.n = 0;
}


int
zlt_channel_astray_tick(zlt_owner_t *o)
{
    uint64_t       now;
    zlt_astray_t  *a;

    a = &o->astray;
    now = zlt_io_now();

    if (a->seen && now - a->seen >= ZLT_CHANNEL_ASTRAY_WAITS) {
        a->seen = 0;

        if (o->has_param && o->param.has_node
            && memcmp(o->param.node, a->other, ZLT_ID_SIZE) != 0
            && (a->told == 0 || now - a->told >= ZLT_CHANNEL_ASTRAY_AGAIN))
        {
            a->told = now;
            zlt_channel_astray_tell(o);
        }
    }

    if (a->n < ZLT_CHANNEL_ASTRAY_LOST
        || now - a->since < ZLT_CHANNEL_ASTRAY_LASTS)
    {
        return 0;
    }

    a->n = 0;

    return 1;
}


static void
zlt_channel_astray_tell(const zlt_owner_t *o)
{
    char  there[2 * ZLT_ID_SIZE], here[2 * ZLT_ID_SIZE], url[ZLT_URL_TEXT],
          addr[ZLT_ADDR_TEXT];

    zlt_hex_encode(there, o->astray.other, ZLT_ID_SIZE);
    zlt_hex_encode(here, o->param.node, ZLT_ID_SIZE);

    zlt_log_link(o->label, ZLT_LOG_WARN, "data channels come to another node "
                 "than the tunnel: at %s (%s) %d in a row met the node %.*s, "
                 "and the tunnel is at %.*s; what balances there should lead "
                 "all connections of one source address to one node, as "
                 "\"hash $remote_addr\" in nginx and \"balance source\" in "
                 "HAProxy do", zlt_url_text(url, &o->conf->url),
                 zlt_addr_text(addr, &o->param.way.addr),
                 ZLT_CHANNEL_ASTRAY_TELLS, (int) sizeof(there), there,
                 (int) sizeof(here), here);
}
