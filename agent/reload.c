
/*
 * Copyright (C) zltunnel authors
 */

/*
 * SIGHUP.  All of the new configuration is read and checked before anything
 * is done; then services that are gone are unregistered, new ones
 * registered, and the rest is not touched.  Only another server or proxy, or
 * other trust, needs a new session.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "reload.h"


static void zlt_reload_services(zlt_agent_t *a, zlt_conf_t *conf);
static int zlt_reload_same(const zlt_service_conf_t *a,
    const zlt_service_conf_t *b);
static void zlt_reload_remove(zlt_agent_t *a, zlt_service_t *s);
static int zlt_reload_server(const zlt_conf_t *a, const zlt_conf_t *b);
static int zlt_reload_differ(const char *a, const char *b);


void
zlt_agent_reload(zlt_agent_t *a)
{
    int           server, moved;
    char          error[ZLT_CONF_ERROR_SIZE];
    zlt_tls_t    *tls;
    zlt_conf_t   *conf;
    zlt_token_t  *token;

    if (a->conf_file == NULL) {
        zlt_log_info("SIGHUP: there is no configuration file to read again");
        return;
    }

    conf = calloc(1, sizeof(zlt_conf_t));
    token = calloc(1, sizeof(zlt_token_t));
    tls = NULL;

    if (conf == NULL || token == NULL) {
        (void) strcpy(error, "out of memory");
        goto failed;
    }

    zlt_conf_init(conf);

    if (zlt_conf_read(conf, a->conf_file, error) == -1
        || zlt_token_read(token, conf->token_file, error) == -1
        || zlt_via_choose(&conf->via, &conf->url, conf->proxy,
                          conf->proxy_file, error)
           == -1)
    {
        goto failed;
    }

    server = zlt_reload_server(a->conf, conf);

    if (conf->url.tls) {
        /* always, since the files may have changed within */

        tls = zlt_tls_create(conf, error);

        if (tls == NULL) {
            goto failed;
        }
    }

    /* from here on nothing fails */

    zlt_log_set_level((zlt_log_level_e) conf->log_level);

    zlt_tls_destroy(a->tls);
    a->tls = tls;

    moved = token->len != a->token.len
            || CRYPTO_memcmp(token->text, a->token.text, token->len) != 0;

    a->token = *token;
    zlt_token_wipe(token);
    free(token);

    if (conf->transport != a->conf->transport) {
        zlt_transport_init(&a->transport, (zlt_transport_e) conf->transport);
    }

    zlt_reload_services(a, conf);

    zlt_conf_free(a->conf);
    *a->conf = *conf;
    free(conf);

    zlt_log_info("the configuration was read again");

    if (server) {
        zlt_agent_restart(a);

    } else if (moved) {
        zlt_agent_move(a);

    } else if (a->session == NULL) {
        /* it may be what the failure was about */
        zlt_agent_retry(a);
    }

    return;

failed:

    if (conf) {
        zlt_conf_free(conf);
        free(conf);
    }

    if (token) {
        zlt_token_wipe(token);
        free(token);
    }

    zlt_log_error("the configuration is not changed: %s", error);
}


static void
zlt_reload_services(zlt_agent_t *a, zlt_conf_t *conf)
{
    unsigned             i;
    zlt_list_t          *link, *next;
    zlt_service_t       *s;
    zlt_service_conf_t  *c;

    zlt_list_each_safe(link, next, &a->services) {
        s = zlt_list_data(link, zlt_service_t, link);

        c = NULL;

        for (i = 0; i < conf->nservices; i++) {
            if (strcmp(conf->services[i].name, s->conf.name) == 0) {
                c = &conf->services[i];
                break;
            }
        }

        if (c == NULL || !zlt_reload_same(c, &s->conf)) {
            zlt_reload_remove(a, s);
            continue;
        }

        if (strcmp(c->local, s->conf.local) != 0) {

            /* the port need not be closed for that */

            zlt_log_info("the service \"%s\" leads to %s now", c->name,
                         c->local);
            zlt_service_move(s, c);
            zlt_udp_service_end(s);
        }
    }

    for (i = 0; i < conf->nservices; i++) {
        c = &conf->services[i];

        if (zlt_service_find(&a->services, c->name)) {
            continue;
        }

        s = zlt_service_create(&a->services, c);

        if (s == NULL) {
            zlt_log_error("out of memory");
            return;
        }

        zlt_log_info("the service \"%s\" is new", c->name);

        if (a->session && zlt_session_is_up(a->session)) {
            zlt_session_register(a->session, s);
        }
    }
}


/* 1 if the server need not be told */

static int
zlt_reload_same(const zlt_service_conf_t *a, const zlt_service_conf_t *b)
{
    return a->protocol == b->protocol && a->flags == b->flags
           && a->remote_port == b->remote_port
           && a->preferred_port == b->preferred_port;
}


static void
zlt_reload_remove(zlt_agent_t *a, zlt_service_t *s)
{
    zlt_log_info("the service \"%s\" is removed or changed", s->conf.name);

    if (a->session && zlt_session_is_up(a->session)) {
        zlt_session_unregister(a->session, s);
    }

    zlt_udp_service_end(s);
    zlt_udp_service_log(s);
    zlt_service_remove(s);
}


static int
zlt_reload_server(const zlt_conf_t *a, const zlt_conf_t *b)
{
    return strcmp(a->server, b->server) != 0
           || !zlt_via_same(&a->via, &b->via)
           || a->insecure != b->insecure
           || zlt_reload_differ(a->ca_file, b->ca_file)
           || zlt_reload_differ(a->cert, b->cert)
           || zlt_reload_differ(a->key, b->key);
}


static int
zlt_reload_differ(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return a != b;
    }

    return strcmp(a, b) != 0;
}
