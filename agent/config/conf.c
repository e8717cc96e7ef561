
/*
 * Copyright (C) zltunnel authors
 */

/* What [agent] and [tunnel NAME] say, and the command line. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "conf.h"
#include "key.h"
#include "option_access.h"
#include "option_host.h"
#include "option_range.h"
#include "option_service.h"
#include "transport.h"


static const char *const  zlt_conf_pairs[][2] = {
    { "ca_file", "insecure" },
    { "cert", "key" },
    { "proxy", "proxy_file" }
};


static const zlt_key_t *zlt_conf_next(const zlt_key_t *k);
static uint32_t zlt_conf_bit(const char *key);
static uint32_t zlt_conf_set_bit(const zlt_key_t *k);
static uint32_t zlt_conf_answered(uint32_t set);
static char **zlt_conf_string(const zlt_conf_t *conf, const zlt_key_t *k);
static int zlt_conf_copy_key(zlt_conf_t *conf, const zlt_conf_t *from,
    const zlt_key_t *k);
static void zlt_conf_unset(zlt_conf_t *conf, const zlt_key_t *k);


void
zlt_conf_init(zlt_conf_t *conf)
{
    memset(conf, 0, sizeof(zlt_conf_t));

    zlt_key_defaults(ZLT_KEY_OF_LINK, conf);

    conf->min_idle = ZLT_CONF_UNSET;
    conf->max_idle = ZLT_CONF_UNSET;
}


void
zlt_conf_free(zlt_conf_t *conf)
{
    const zlt_key_t  *k;

    for (k = zlt_conf_next(NULL); k; k = zlt_conf_next(k)) {
        zlt_conf_unset(conf, k);
    }

    free(conf->services);
    free(conf->accesses);
    zlt_allow_free(&conf->allow);

    zlt_proxy_wipe(&conf->via);

    memset(conf, 0, sizeof(zlt_conf_t));
}


/* The key of [agent] behind *k (NULL: the first); NULL if there is none. */

static const zlt_key_t *
zlt_conf_next(const zlt_key_t *k)
{
    k = k ? k + 1 : zlt_key_table;

    while (k->name && !(k->sections & ZLT_KEY_AGENT)) {
        k++;
    }

    return k->name ? k : NULL;
}


/* Gives back what was allocated for it. */

static void
zlt_conf_unset(zlt_conf_t *conf, const zlt_key_t *k)
{
    char     **string;
    unsigned   i;

    string = zlt_conf_string(conf, k);

    if (string && *string) {
        /* a proxy's password may be in it */
        OPENSSL_cleanse(*string, strlen(*string));
        free(*string);
        *string = NULL;
    }

    if (k == zlt_key_agent("server")) {

        for (i = 0; i < conf->nservers; i++) {
            free(conf->servers[i].text);
        }

        free(conf->servers);

        conf->servers = NULL;
        conf->nservers = 0;
        conf->server = NULL;
    }
}


static char **
zlt_conf_string(const zlt_conf_t *conf, const zlt_key_t *k)
{
    if (k->form != ZLT_KEY_STRING && k->form != ZLT_KEY_PATH) {
        return NULL;
    }

    return (char **) (void *) ((char *) (uintptr_t) conf + k->offset);
}


int
zlt_conf_set(zlt_conf_t *conf, const zlt_key_t *k, const char *value,
    char *error)
{
    if (zlt_key_set(k, conf, value, error) == -1) {
        return -1;
    }

    conf->set |= zlt_conf_set_bit(k);

    return 0;
}


/* The first is the current one. */

int
zlt_conf_server_add(zlt_conf_t *conf, const char *value, char *error)
{
    unsigned            i;
    const char         *why, *scheme;
    zlt_server_conf_t  *s;

    for (i = 0; i < conf->nservers; i++) {
        if (strcmp(conf->servers[i].text, value) == 0) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                            "the server \"%.200s\" is there twice", value);
            return -1;
        }
    }

    if (conf->nservers == ZLT_CONF_MAX_SERVERS) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "more than %d servers",
                        ZLT_CONF_MAX_SERVERS);
        return -1;
    }

    s = realloc(conf->servers,
                (conf->nservers + 1) * sizeof(zlt_server_conf_t));

    if (s == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    conf->servers = s;
    s += conf->nservers;

    scheme = strpbrk(value, " \t,");

    if (scheme && strstr(scheme, "://")) {
        (void) strcpy(error, "\"server\" has two URLs: each server has a line, "
                             "or an option, of its own");
        return -1;
    }

    if (zlt_url_parse(&s->url, value, &why) == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"server\" %s", why);
        return -1;
    }

    s->text = strdup(value);

    if (s->text == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    conf->nservers++;

    zlt_conf_use(conf, 0);

    return 0;
}


/* The keys of [agent] are the first of the table. */

static uint32_t
zlt_conf_set_bit(const zlt_key_t *k)
{
    return (k->sections & ZLT_KEY_AGENT) ? (uint32_t) 1 << (k - zlt_key_table)
                                         : 0;
}


static uint32_t
zlt_conf_bit(const char *key)
{
    return zlt_conf_set_bit(zlt_key_agent(key));
}


void
zlt_conf_use(zlt_conf_t *conf, unsigned server)
{
    conf->current = server;
    conf->server = conf->servers[server].text;
    conf->url = conf->servers[server].url;
}


void
zlt_conf_only(zlt_conf_t *conf, unsigned server)
{
    unsigned           i;
    zlt_server_conf_t  only;

    only = conf->servers[server];

    for (i = 0; i < conf->nservers; i++) {
        if (i != server) {
            free(conf->servers[i].text);
        }
    }

    conf->servers[0] = only;
    conf->nservers = 1;

    zlt_conf_use(conf, 0);
}


/* The keys of the set, and those that answer the same question. */

static uint32_t
zlt_conf_answered(uint32_t set)
{
    unsigned  i;
    uint32_t  pair, answered;

    answered = set;

    for (i = 0; i < sizeof(zlt_conf_pairs) / sizeof(zlt_conf_pairs[0]); i++) {
        pair = zlt_conf_bit(zlt_conf_pairs[i][0])
               | zlt_conf_bit(zlt_conf_pairs[i][1]);

        if (set & pair) {
            answered |= pair;
        }
    }

    return answered;
}


int
zlt_conf_inherit(zlt_conf_t *conf, const zlt_conf_t *from)
{
    uint32_t          answered;
    const zlt_key_t  *k;

    answered = zlt_conf_answered(conf->set);

    for (k = zlt_conf_next(NULL); k; k = zlt_conf_next(k)) {

        if (!(answered & zlt_conf_set_bit(k))
            && zlt_conf_copy_key(conf, from, k) == -1)
        {
            return -1;
        }
    }

    return 0;
}


int
zlt_conf_override(zlt_conf_t *conf, const zlt_conf_t *with)
{
    uint32_t          answered;
    zlt_conf_t        defaults;
    const zlt_key_t  *k;

    zlt_conf_init(&defaults);

    answered = zlt_conf_answered(with->set);

    for (k = zlt_conf_next(NULL); k; k = zlt_conf_next(k)) {

        if (!(answered & zlt_conf_set_bit(k))) {
            continue;
        }

        zlt_conf_unset(conf, k);

        if (zlt_conf_copy_key(conf, (with->set & zlt_conf_set_bit(k))
                              ? with : &defaults, k) == -1)
        {
            return -1;
        }
    }

    conf->set = (conf->set & ~answered) | with->set;

    return 0;
}


static int
zlt_conf_copy_key(zlt_conf_t *conf, const zlt_conf_t *from,
    const zlt_key_t *k)
{
    char        why[ZLT_CONF_ERROR_SIZE], **to, **value;
    unsigned    i;

    if (k == zlt_key_agent("server")) {

        for (i = 0; i < from->nservers; i++) {
            if (zlt_conf_server_add(conf, from->servers[i].text, why) == -1) {
                return -1;
            }
        }

        return 0;
    }

    to = zlt_conf_string(conf, k);

    if (to == NULL) {
        memcpy((char *) conf + k->offset, (const char *) from + k->offset,
               k->size);
        return 0;
    }

    value = zlt_conf_string(from, k);

    if (*value == NULL) {
        return 0;
    }

    *to = strdup(*value);

    return *to ? 0 : -1;
}


zlt_conf_t *
zlt_conf_copy(const zlt_conf_t *conf)
{
    char         why[ZLT_CONF_ERROR_SIZE];
    unsigned     i;
    zlt_conf_t  *copy;

    copy = calloc(1, sizeof(zlt_conf_t));
    if (copy == NULL) {
        return NULL;
    }

    (void) strcpy(copy->name, conf->name);
    (void) strcpy(copy->to, conf->to);

    if (zlt_conf_inherit(copy, conf) == -1) {
        goto failed;
    }

    copy->set = conf->set;

    for (i = 0; i < conf->nservices; i++) {
        if (zlt_conf_add_service(copy, &conf->services[i], why) == -1) {
            goto failed;
        }
    }

    for (i = 0; i < conf->naccesses; i++) {
        if (zlt_conf_access_add(copy, &conf->accesses[i], why) == -1) {
            goto failed;
        }
    }

    if (zlt_allow_copy(&copy->allow, &conf->allow) == -1) {
        goto failed;
    }

    copy->visitor = conf->visitor;
    copy->sole = conf->sole;

    return copy;

failed:

    zlt_conf_destroy(copy);

    return NULL;
}


void
zlt_conf_destroy(zlt_conf_t *conf)
{
    if (conf) {
        zlt_conf_free(conf);
        free(conf);
    }
}


int
zlt_conf_add_service(zlt_conf_t *conf, const zlt_service_conf_t *s,
    char *error)
{
    unsigned             i, n, port;
    const char          *host;
    zlt_service_conf_t  *services, *other;

    n = zlt_option_range_count(s);

    for (i = 0; i < conf->nservices; i++) {
        other = &conf->services[i];
        n += zlt_option_range_count(other);

        if (strcmp(other->name, s->name) == 0) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                            "the service \"%.200s\" is there twice", s->name);
            return -1;
        }

        if (zlt_option_range_has(other, s->name)
            || zlt_option_range_has(s, other->name))
        {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "the services "
                            "\"%.200s\" and \"%.200s\" are at odds: the "
                            "range of the one has a port of the other's name",
                            other->name, s->name);
            return -1;
        }
    }

    if (n > ZLT_CONF_MAX_SERVICES) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                        "more than %d services, each port of a range being "
                        "one", ZLT_CONF_MAX_SERVICES);
        return -1;
    }

    for (i = 0; i < conf->nservices; i++) {
        other = &conf->services[i];
        port = zlt_option_range_shared(other, s);

        if (port) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "the services "
                            "\"%.200s\" and \"%.200s\" have the same remote "
                            "port %u", other->name, s->name, port);
            return -1;
        }

        host = zlt_option_host_shared(other, s);

        if (host) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "the services "
                            "\"%.120s\" and \"%.120s\" have the same host "
                            "\"%.*s\"", other->name, s->name,
                            (int) strcspn(host, ","), host);
            return -1;
        }
    }

    services = realloc(conf->services,
                       (conf->nservices + 1) * sizeof(zlt_service_conf_t));

    if (services == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    services[conf->nservices++] = *s;
    conf->services = services;

    return 0;
}


int
zlt_conf_is_set(const zlt_conf_t *conf, const char *key)
{
    return (conf->set & zlt_conf_bit(key)) != 0;
}


int
zlt_conf_check(const zlt_conf_t *conf, char *error)
{
    uint32_t  trust;
    unsigned  i, tls, is_unix;

    if (conf->server == NULL) {
        (void) strcpy(error, "\"server\" is missing: --server wss://HOST, or "
                             "ZLTUNNEL_SERVER, or \"server = wss://HOST\" in "
                             "the file");
        return -1;
    }

    if (conf->nservices == 0 && conf->naccesses == 0) {
        (void) strcpy(error, "no service is given: --service web:8080, "
                             "or a [service NAME] section");
        return -1;
    }

    if (conf->max_reconnect_interval < conf->reconnect_interval) {
        (void) strcpy(error, "\"max_reconnect_interval\" is less than "
                             "\"reconnect_interval\"");
        return -1;
    }

    if (conf->min_idle != ZLT_CONF_UNSET && conf->max_idle != ZLT_CONF_UNSET
        && conf->min_idle > conf->max_idle)
    {
        (void) strcpy(error, "\"min_idle\" is more than \"max_idle\"");
        return -1;
    }

    if (conf->proxy && conf->proxy_file) {
        (void) strcpy(error, "\"proxy\" has no effect beside "
                             "\"proxy_file\"");
        return -1;
    }

    tls = 0;
    is_unix = 1;

    for (i = 0; i < conf->nservers; i++) {
        tls |= conf->servers[i].url.tls;
        is_unix &= conf->servers[i].url.is_unix;
    }

    /* what comes from [agent] may be for other links */

    if (is_unix && (conf->set & (zlt_conf_bit("proxy")
                                 | zlt_conf_bit("proxy_file"))))
    {
        (void) strcpy(error, "no proxy leads to a socket of this machine "
                             "(ws+unix:)");
        return -1;
    }

    trust = zlt_conf_bit("ca_file") | zlt_conf_bit("cert")
            | (conf->insecure ? zlt_conf_bit("insecure") : 0);

    if (!tls && (conf->set & trust)) {
        (void) strcpy(error, "\"ca_file\", \"cert\" and \"insecure\" are for "
                             "wss:// only");
        return -1;
    }

    if (conf->key && conf->cert == NULL) {
        (void) strcpy(error, "\"key\" has no effect without \"cert\"");
        return -1;
    }

    if (conf->insecure && conf->ca_file) {
        (void) strcpy(error, "\"ca_file\" has no effect beside "
                             "\"insecure\"");
        return -1;
    }

    return 0;
}


uint32_t
zlt_conf_transport(const zlt_conf_t *conf)
{
    if (conf->url.is_unix && conf->transport == ZLT_TRANSPORT_AUTO) {

        /* UNIX sockets know no resets, which are messages there */

        return ZLT_TRANSPORT_WEBSOCKET;
    }

    return conf->transport;
}
