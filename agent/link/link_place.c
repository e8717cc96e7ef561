
/*
 * Copyright (C) zltunnel authors
 */

/* Which of several a link of a server is. */


#include <stdio.h>
#include <string.h>

#include "conf.h"
#include "link.h"
#include "link_place.h"
#include "owner.h"
#include "zlt_hex.h"


void
zlt_link_place_pin(zlt_link_t *l, const zlt_addr_t *addr)
{
    if (l->pin.len && zlt_addr_same(&l->pin, addr)) {
        return;
    }

    l->pin = *addr;

    /* what was known is of another way */

    l->rtt = 0;
    l->srtt = 0;

    zlt_transport_init(&l->owner.transport, zlt_conf_transport(l->owner.conf),
                       l->owner.label);
}


void
zlt_link_place_unpin(zlt_link_t *l)
{
    l->pin.len = 0;
}


void
zlt_link_place_label(char *label, const zlt_conf_t *conf, const char *which)
{
    label[0] = '\0';

    if (strcmp(conf->name, ZLT_CONF_AGENT) != 0) {
        (void) snprintf(label, ZLT_OWNER_LABEL, "%s: ", conf->name);
    }

    if (conf->mode == ZLT_CONF_ALL) {
        (void) snprintf(label, ZLT_OWNER_LABEL, "%.49s at %.110s%s%.80s%s: ",
                        conf->name, conf->url.authority,
                        which ? " (" : "", which ? which : "",
                        which ? ")" : "");
    }
}


void
zlt_link_place_name(zlt_link_t *l, int many)
{
    char  text[ZLT_LINK_PLACE_TEXT];

    (void) zlt_link_place_text(l, text);

    zlt_link_place_label(l->owner.label, l->owner.conf,
                         many && text[0] ? text : NULL);
}


const char *
zlt_link_place_text(const zlt_link_t *l, char *text)
{
    char    node[ZLT_LINK_PLACE_NODE];
    size_t  len;

    text[0] = '\0';

    if (l->pin.len) {
        (void) (l->owner.conf->url.record[0] ? zlt_addr_text(text, &l->pin)
                                             : zlt_addr_host(text, &l->pin));
    }

    if (l->has_node && l->nodes > 1) {
        len = strlen(text);

        (void) snprintf(text + len, ZLT_LINK_PLACE_TEXT - len, "%s%.8s",
                        len ? " " : "", zlt_link_place_node(l, node));
    }

    return text;
}


const char *
zlt_link_place_node(const zlt_link_t *l, char *buf)
{
    buf[0] = '\0';

    if (l->has_node) {
        zlt_hex_encode(buf, l->node_id, ZLT_ID_SIZE);
        buf[2 * ZLT_ID_SIZE] = '\0';
    }

    return buf;
}


const char *
zlt_link_place_address(const zlt_link_t *l, char *buf)
{
    const zlt_addr_t  *addr;

    addr = l->pin.len ? &l->pin : &l->owner.param.way.addr;
    buf[0] = '\0';

    return addr->len ? zlt_addr_text(buf, addr) : buf;
}
