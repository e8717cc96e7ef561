
/*
 * Copyright (C) zltunnel authors
 */

/*
 * SIGHUP, and "reload".  All of the new configuration is read and checked
 * before anything is done; then links that are gone end, new ones start, and
 * of the others only what has changed is touched: services that are gone are
 * unregistered, new ones registered.  Only another server or proxy, or other
 * trust, needs a new control channel.
 *
 * What has changed, and what that means, comes from the table of keys; a key
 * that needs more than the table can say is thought of here.
 * t/agent/reload-keys.t knows all of them.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "access_all.h"
#include "config.h"
#include "link.h"
#include "log.h"
#include "process.h"
#include "reload.h"
#include "service.h"
#include "spread.h"
#include "tls.h"
#include "udp_service.h"
#include "via.h"


/* a link of the new configuration, ready to be put into place */

typedef struct {
    zlt_link_t       *link;            /* that is there already, or NULL */
    zlt_token_t       token;
    zlt_tls_t        *tls;
    int               stays;           /* at its server */
} zlt_reload_link_t;


static int zlt_reload_prepare(zlt_process_t *p, zlt_config_t *config,
    zlt_reload_link_t *links, char *error);
static zlt_link_t *zlt_reload_find(zlt_process_t *p, const zlt_conf_t *conf,
    const zlt_reload_link_t *links, unsigned n);
static void zlt_reload_apply(zlt_process_t *p, zlt_config_t *config,
    zlt_reload_link_t *links);
static void zlt_reload_gone(zlt_process_t *p, zlt_config_t *config);
static void zlt_reload_link(zlt_link_t *l, zlt_conf_t *conf,
    zlt_reload_link_t *r);
static void zlt_reload_services(zlt_link_t *l, zlt_conf_t *conf);
static void zlt_reload_lead(zlt_link_t *l, zlt_range_t *r,
    const zlt_service_conf_t *c);
static void zlt_reload_lead_tell(const zlt_link_t *l, const zlt_range_t *r,
    const zlt_service_conf_t *c);
static int zlt_reload_lead_ports(zlt_link_t *l, zlt_range_t *r);
static int zlt_reload_same(const zlt_service_conf_t *a,
    const zlt_service_conf_t *b);
static void zlt_reload_remove(zlt_link_t *l, zlt_range_t *r);
static void zlt_reload_remove_service(zlt_link_t *l, zlt_service_t *s);
static int zlt_reload_stays(const zlt_conf_t *a, zlt_conf_t *b);


int
zlt_reload(zlt_process_t *p, char *error)
{
    unsigned            i;
    zlt_config_t       *config;
    zlt_reload_link_t  *links;

    if (p->conf_file == NULL) {
        (void) strcpy(error, "there is no configuration file to read again");
        zlt_log_info("%s", error);
        return -1;
    }

    links = NULL;
    config = calloc(1, sizeof(zlt_config_t));

    if (config == NULL) {
        (void) strcpy(error, "out of memory");
        goto failed;
    }

    zlt_config_init(config);

    if (zlt_conf_file_read(config, p->conf_file, p->with, error) == -1) {
        goto failed;
    }

    if (zlt_spread_reload(p, config) == -1) {
        (void) strcpy(error, "out of memory");
        goto failed;
    }

    links = calloc(config->nlinks + 1, sizeof(zlt_reload_link_t));

    if (links == NULL) {
        (void) strcpy(error, "out of memory");
        goto failed;
    }

    if (zlt_reload_prepare(p, config, links, error) == -1) {
        goto failed;
    }

    zlt_reload_apply(p, config, links);

    for (i = 0; i < config->nlinks; i++) {
        zlt_token_wipe(&links[i].token);
    }

    free(links);

    zlt_config_free(p->config);
    *p->config = *config;
    free(config);

    zlt_spread_reloaded(p);

    zlt_log_info("the configuration was read again");
    zlt_process_notify(p);

    return 0;

failed:

    if (config) {
        zlt_config_free(config);
        free(config);
    }

    free(links);

    zlt_log_error("the configuration is not changed: %s", error);

    return -1;
}


/* All that may fail: files, memory.  0, or -1 with nothing left behind. */

static int
zlt_reload_prepare(zlt_process_t *p, zlt_config_t *config,
    zlt_reload_link_t *links, char *error)
{
    unsigned            i;
    zlt_conf_t         *conf;
    zlt_reload_link_t  *r;

    for (i = 0; i < config->nlinks; i++) {
        r = &links[i];
        conf = config->links[i];

        r->link = zlt_reload_find(p, conf, links, i);

        if (r->link) {
            r->stays = zlt_reload_stays(r->link->owner.conf, conf);
        }

        /* TLS always, since the files may have changed within */

        if (zlt_process_prepare(conf, &r->token, &r->tls, error) == -1) {
            goto failed;
        }

        if (r->link) {
            if (!zlt_proxy_same(&r->link->owner.conf->via, &conf->via)) {
                r->stays = 0;
            }

            continue;
        }

        r->link = zlt_link_create(&zlt_process_link_ops, p, &p->loop, conf,
                                  &r->token, r->tls);

        if (r->link == NULL) {
            (void) strcpy(error, "out of memory");
            i++;
            goto failed;
        }

        config->links[i] = NULL;
    }

    /* the last, since nothing undoes it */

    if (p->ctl_ops->reload(p, &config->agent, error) == -1) {
        goto failed;
    }

    return 0;

failed:

    while (i--) {
        r = &links[i];

        if (config->links[i] == NULL) {
            zlt_link_destroy(r->link);

        } else {
            zlt_tls_destroy(r->tls);
        }

        zlt_token_wipe(&r->token);
    }

    return -1;
}


/* One that is none of the first n. */

static zlt_link_t *
zlt_reload_find(zlt_process_t *p, const zlt_conf_t *conf,
    const zlt_reload_link_t *links, unsigned n)
{
    unsigned     i;
    zlt_list_t  *link;
    zlt_link_t  *l;

    zlt_list_each(link, &p->links) {
        l = zlt_list_data(link, zlt_link_t, node);

        for (i = 0; i < n && links[i].link != l; i++) { /* void */ }

        if (i == n && zlt_config_same(l->owner.conf, conf)) {
            return l;
        }
    }

    return NULL;
}


/* From here on nothing fails. */

static void
zlt_reload_apply(zlt_process_t *p, zlt_config_t *config,
    zlt_reload_link_t *links)
{
    unsigned          i;
    zlt_link_t       *l;
    const zlt_key_t  *k;

    zlt_log_set_level((zlt_log_level_e) config->agent.log_level);
    zlt_log_set_json((int) config->agent.log_format);
    zlt_log_set_where(config->agent.log);

    k = zlt_key_change(ZLT_KEY_OF_LINK, ZLT_KEY_RESTART, &p->config->agent,
                       &config->agent);

    if (k) {
        zlt_log_warn("another \"%s\" counts when the agent is started the "
                     "next time", k->name);
    }

    zlt_reload_gone(p, config);

    for (i = 0; i < config->nlinks; i++) {
        l = links[i].link;

        /* the order is that of the file */

        zlt_list_remove(&l->node);
        zlt_list_append(&p->links, &l->node);

        if (config->links[i]) {
            zlt_reload_link(l, config->links[i], &links[i]);
            config->links[i] = NULL;
            continue;
        }

        zlt_log_info("the tunnel \"%s\" is new", l->owner.conf->name);
        zlt_spread_join(p, l);
        zlt_link_warn(l, 0);

        if (!zlt_spread_waits(l)) {
            zlt_link_start(l);
        }
    }
}


static void
zlt_reload_gone(zlt_process_t *p, zlt_config_t *config)
{
    unsigned     i;
    zlt_list_t  *link, *next;
    zlt_link_t  *l;

    zlt_list_each_safe(link, next, &p->links) {
        l = zlt_list_data(link, zlt_link_t, node);

        for (i = 0; i < config->nlinks; i++) {
            if (config->links[i]
                && zlt_config_same(l->owner.conf, config->links[i]))
            {
                break;
            }
        }

        if (i < config->nlinks) {
            continue;
        }

        zlt_log_info("the tunnel \"%s\" is removed", l->owner.conf->name);

        zlt_process_remove(p, l, "the tunnel is removed");
    }
}


/* Takes conf over, and what *l has. */

static void
zlt_reload_link(zlt_link_t *l, zlt_conf_t *conf, zlt_reload_link_t *r)
{
    int  moved;

    zlt_tls_destroy(l->owner.tls);
    l->owner.tls = r->tls;

    moved = r->token.len != l->token.len
            || CRYPTO_memcmp(r->token.text, l->token.text, r->token.len) != 0;

    if (conf->transport != l->owner.conf->transport) {
        zlt_transport_init(&l->owner.transport, zlt_conf_transport(conf),
                           l->owner.label);
    }

    zlt_reload_services(l, conf);
    zlt_link_health_start(l);
    zlt_access_all_reload(&l->owner, conf);

    /* in its place, since what is being dialled points into it */

    zlt_conf_free(l->owner.conf);
    *l->owner.conf = *conf;
    free(conf);

    zlt_link_token(l, &r->token);

    if (l->owner.pool) {
        zlt_pool_reload(l->owner.pool);
    }

    if (l->control && zlt_control_is_up(l->control)
        && !zlt_control_registers(l->control))
    {
        /* services may be gone that made it what it is */
        zlt_link_control_registered(l);
    }

    if (!r->stays) {
        zlt_link_warn(l, 0);
        zlt_link_control_restart(l);

    } else if (moved) {
        zlt_link_control_move(l);

    } else if (l->control == NULL) {
        /* it may be what the failure was about */
        zlt_link_control_retry(l);
    }
}


static void
zlt_reload_services(zlt_link_t *l, zlt_conf_t *conf)
{
    unsigned             i;
    zlt_list_t          *link, *next;
    zlt_range_t         *r;
    zlt_service_conf_t  *c;

    zlt_list_each_safe(link, next, &l->owner.ranges) {
        r = zlt_list_data(link, zlt_range_t, link);

        c = NULL;

        for (i = 0; i < conf->nservices; i++) {
            if (strcmp(conf->services[i].name, r->conf.name) == 0) {
                c = &conf->services[i];
                break;
            }
        }

        if (c == NULL || !zlt_reload_same(c, &r->conf)) {
            zlt_reload_remove(l, r);
            continue;
        }

        if (c->flags & ZLT_R_OPEN) {
            zlt_allow_move(&zlt_range_first(r)->allow, &conf->allow);
            continue;
        }

        /* the port need not be closed for what is left */

        zlt_reload_lead(l, r, c);
    }

    for (i = 0; i < conf->nservices; i++) {
        c = &conf->services[i];

        if (zlt_range_find(&l->owner.ranges, c->name)) {
            continue;
        }

        r = zlt_range_create(&l->owner.ranges, &l->owner.services, c);

        if (r == NULL) {
            zlt_log_link(l->owner.label, ZLT_LOG_ERROR, "out of memory");
            return;
        }

        if (c->flags & ZLT_R_OPEN) {
            zlt_allow_move(&zlt_range_first(r)->allow, &conf->allow);
        }

        zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the service \"%s\" is new",
                     c->name);

        if (l->control && zlt_control_is_up(l->control)) {
            zlt_control_register(l->control, r);
        }
    }
}


/* What the server is not told counts for connections to come; of a range, what
   is in the new one too keeps its port. */

static void
zlt_reload_lead(zlt_link_t *l, zlt_range_t *r, const zlt_service_conf_t *c)
{
    int                  i, changed;
    zlt_list_t          *link, *next;
    zlt_service_t       *s;
    zlt_service_conf_t   one;

    zlt_reload_lead_tell(l, r, c);

    r->conf = *c;
    changed = 0;

    zlt_list_each_safe(link, next, &r->services) {
        s = zlt_list_data(link, zlt_service_t, peer);

        i = zlt_option_range_index(c, &s->conf);

        if (i == -1) {
            zlt_reload_remove_service(l, s);
            changed = 1;
            continue;
        }

        zlt_option_range_service(c, (unsigned) i, &one);

        if (!zlt_option_check_same(&one, &s->conf)) {
            zlt_check_stop(s);
        }

        if (strcmp(one.local, s->conf.local) == 0
            && one.bare == s->conf.bare)
        {
            s->conf = one;
            continue;
        }

        zlt_service_move(s, &one);
        zlt_udp_service_end(s);
    }

    changed |= zlt_reload_lead_ports(l, r);

    if (changed && l->control && zlt_control_is_up(l->control)) {
        zlt_control_register(l->control, r);
    }
}


static void
zlt_reload_lead_tell(const zlt_link_t *l, const zlt_range_t *r,
    const zlt_service_conf_t *c)
{
    if (c->proxy_protocol != r->conf.proxy_protocol) {
        zlt_log_link(l->owner.label, ZLT_LOG_INFO, c->proxy_protocol
                     ? "the service \"%s\" gets the header of the PROXY "
                     "protocol v%u now"
                     : "the service \"%s\" gets no header of the PROXY "
                     "protocol now", c->name, (unsigned) c->proxy_protocol);
    }

    if (c->on_fail != r->conf.on_fail) {
        zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the port of the service "
                     "\"%s\" %s while it is down", c->name,
                     c->on_fail ? "refuses connections now"
                                : "stays open now");
    }

    if (strcmp(c->local, r->conf.local) != 0 || c->bare != r->conf.bare) {
        zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the service \"%s\" leads "
                     "to %s now", c->name, c->local);
    }
}


/* Adds the ports that are new: 1 if there are any. */

static int
zlt_reload_lead_ports(zlt_link_t *l, zlt_range_t *r)
{
    int                  added;
    unsigned             i;
    zlt_list_t          *link;
    unsigned char        there[ZLT_OPTION_RANGE_MAX];
    zlt_service_conf_t   one;

    memset(there, 0, sizeof(there));
    added = 0;

    zlt_list_each(link, &r->services) {
        there[zlt_option_range_index(&r->conf,
                        &zlt_list_data(link, zlt_service_t, peer)->conf)] = 1;
    }

    for (i = 0; i < zlt_option_range_count(&r->conf); i++) {

        if (there[i]) {
            continue;
        }

        zlt_option_range_service(&r->conf, i, &one);

        if (zlt_range_add(r, &l->owner.services, &one) == NULL) {
            zlt_log_link(l->owner.label, ZLT_LOG_ERROR, "out of memory");
            break;
        }

        added = 1;
    }

    return added;
}


/* 1 if the server need not be told of more than ports of a range.  What is
   behind the name, an address or many places, is no key. */

static int
zlt_reload_same(const zlt_service_conf_t *a, const zlt_service_conf_t *b)
{
    return ((a->flags ^ b->flags) & ZLT_R_OPEN) == 0
           && zlt_key_change(ZLT_KEY_OF_SERVICE, ZLT_KEY_REGISTER, a, b)
              == NULL;
}


static void
zlt_reload_remove(zlt_link_t *l, zlt_range_t *r)
{
    zlt_list_t  *link, *next;

    zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the service \"%s\" is removed "
                 "or changed", r->conf.name);

    zlt_list_each_safe(link, next, &r->services) {
        zlt_reload_remove_service(l, zlt_list_data(link, zlt_service_t, peer));
    }

    zlt_range_remove(r);
}


static void
zlt_reload_remove_service(zlt_link_t *l, zlt_service_t *s)
{
    if (l->control && zlt_control_is_up(l->control)) {
        zlt_control_register_end(l->control, s);
    }

    zlt_udp_service_end(s);
    zlt_udp_service_log(&l->owner, s);
    zlt_link_state_fold(l, s);
    zlt_service_remove(s);
}


/* 1 if it may stay where it is; *b is made to say so */

static int
zlt_reload_stays(const zlt_conf_t *a, zlt_conf_t *b)
{
    unsigned  i;

    if (zlt_key_change(ZLT_KEY_OF_LINK, ZLT_KEY_RECONNECT, a, b)) {
        return 0;
    }

    for (i = 0; i < b->nservers; i++) {
        if (strcmp(a->server, b->servers[i].text) == 0) {
            zlt_conf_use(b, i);
            return 1;
        }
    }

    return 0;
}
