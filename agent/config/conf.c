
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The keys of [agent] and [tunnel NAME]: one table for the file and the
 * command line.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "conf.h"
#include "log.h"
#include "option_access.h"
#include "option_service.h"
#include "parse.h"
#include "transport.h"


typedef enum {
    ZLT_CONF_STRING = 0,
    ZLT_CONF_SERVER,
    ZLT_CONF_MODE,
    ZLT_CONF_TIME,
    ZLT_CONF_NUMBER,
    ZLT_CONF_BOOL,
    ZLT_CONF_LEVEL,
    ZLT_CONF_TRANSPORT
} zlt_conf_kind_e;


typedef struct {
    const char       *key;
    zlt_conf_kind_e   kind;
    size_t            offset;
    uint32_t          least;
    uint32_t          most;
    const char       *allowed;
} zlt_conf_key_t;


static const zlt_conf_key_t  zlt_conf_keys[] = {

    { "server", ZLT_CONF_SERVER, 0, 0, 0, NULL },

    { "mode", ZLT_CONF_MODE, offsetof(zlt_conf_t, mode), 0, ZLT_CONF_ALL,
      "standby or all" },

    { "control", ZLT_CONF_STRING, offsetof(zlt_conf_t, control), 0, 0, NULL },

    { "token_file", ZLT_CONF_STRING, offsetof(zlt_conf_t, token_file),
      0, 0, NULL },

    { "ca_file", ZLT_CONF_STRING, offsetof(zlt_conf_t, ca_file), 0, 0, NULL },

    { "cert", ZLT_CONF_STRING, offsetof(zlt_conf_t, cert), 0, 0, NULL },

    { "key", ZLT_CONF_STRING, offsetof(zlt_conf_t, key), 0, 0, NULL },

    { "proxy", ZLT_CONF_STRING, offsetof(zlt_conf_t, proxy), 0, 0, NULL },

    { "proxy_file", ZLT_CONF_STRING, offsetof(zlt_conf_t, proxy_file),
      0, 0, NULL },

    { "insecure", ZLT_CONF_BOOL, offsetof(zlt_conf_t, insecure), 0, 1,
      "yes or no" },

    { "log_level", ZLT_CONF_LEVEL, offsetof(zlt_conf_t, log_level), 0, 0,
      "error, warn, info or debug" },

    { "transport", ZLT_CONF_TRANSPORT, offsetof(zlt_conf_t, transport), 0, 0,
      "auto, raw or websocket" },

    { "reconnect_interval", ZLT_CONF_TIME,
      offsetof(zlt_conf_t, reconnect_interval), 100, 3600000,
      "a time from 100ms to 1h" },

    { "max_reconnect_interval", ZLT_CONF_TIME,
      offsetof(zlt_conf_t, max_reconnect_interval), 100, 86400000,
      "a time from 100ms to 1d" },

    { "connect_timeout", ZLT_CONF_TIME,
      offsetof(zlt_conf_t, connect_timeout), 1000, 600000,
      "a time from 1s to 10m" },

    { "shutdown_timeout", ZLT_CONF_TIME,
      offsetof(zlt_conf_t, shutdown_timeout), 0, 86400000,
      "a time up to 1d" },

    { "udp_timeout", ZLT_CONF_TIME, offsetof(zlt_conf_t, udp_timeout),
      1000, 86400000, "a time from 1s to 1d" },

    { "max_udp_sessions", ZLT_CONF_NUMBER,
      offsetof(zlt_conf_t, max_udp_sessions), 1, 1000000,
      "a number from 1 to 1000000" },

    { "min_idle", ZLT_CONF_NUMBER, offsetof(zlt_conf_t, min_idle), 0, 65535,
      "a number from 0 to 65535" },

    { "max_idle", ZLT_CONF_NUMBER, offsetof(zlt_conf_t, max_idle), 0, 65535,
      "a number from 0 to 65535" },

    { NULL, ZLT_CONF_STRING, 0, 0, 0, NULL }
};


static const char *const  zlt_conf_pairs[][2] = {
    { "ca_file", "insecure" },
    { "cert", "key" },
    { "proxy", "proxy_file" }
};


static int zlt_conf_add_server(zlt_conf_t *conf, const char *value,
    char *error);
static uint32_t zlt_conf_bit(const char *key);
static int zlt_conf_string(zlt_conf_t *conf, const zlt_conf_key_t *k,
    const char *value);
static int zlt_conf_value(const zlt_conf_key_t *k, const char *value,
    uint32_t *n);


void
zlt_conf_init(zlt_conf_t *conf)
{
    memset(conf, 0, sizeof(zlt_conf_t));

    conf->reconnect_interval = 5000;
    conf->max_reconnect_interval = 60000;
    conf->connect_timeout = 10000;
    conf->shutdown_timeout = 30000;
    conf->udp_timeout = 60000;
    conf->max_udp_sessions = 4096;
    conf->min_idle = ZLT_CONF_UNSET;
    conf->max_idle = ZLT_CONF_UNSET;
    conf->log_level = ZLT_LOG_INFO;
}


void
zlt_conf_free(zlt_conf_t *conf)
{
    char                  **string;
    unsigned                i;
    const zlt_conf_key_t   *k;

    for (k = zlt_conf_keys; k->key; k++) {
        if (k->kind != ZLT_CONF_STRING) {
            continue;
        }

        string = (char **) (void *) ((char *) conf + k->offset);

        if (*string) {
            /* a proxy's password may be in it */
            OPENSSL_cleanse(*string, strlen(*string));
            free(*string);
        }
    }

    for (i = 0; i < conf->nservers; i++) {
        free(conf->servers[i].text);
    }

    free(conf->servers);
    free(conf->services);
    free(conf->accesses);
    zlt_allow_free(&conf->allow);

    zlt_proxy_wipe(&conf->via);

    memset(conf, 0, sizeof(zlt_conf_t));
}


int
zlt_conf_set(zlt_conf_t *conf, const char *key, const char *value,
    char *error)
{
    int                    rc;
    uint32_t               n;
    const zlt_conf_key_t  *k;

    for (k = zlt_conf_keys; k->key; k++) {
        if (strcmp(k->key, key) == 0) {
            break;
        }
    }

    if (k->key == NULL) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "unknown key \"%.100s\"",
                        key);
        return -1;
    }

    if (*value == '\0') {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is empty", key);
        return -1;
    }

    conf->set |= (uint32_t) 1 << (k - zlt_conf_keys);

    if (k->kind == ZLT_CONF_SERVER) {
        return zlt_conf_add_server(conf, value, error);
    }

    if (k->kind == ZLT_CONF_STRING) {
        rc = zlt_conf_string(conf, k, value);

        if (rc == -1) {
            (void) strcpy(error, "out of memory");
        }

        return rc;
    }

    if (zlt_conf_value(k, value, &n) == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                        "\"%s\" is \"%.100s\", but must be %s", key, value,
                        k->allowed);
        return -1;
    }

    memcpy((char *) conf + k->offset, &n, sizeof(uint32_t));

    return 0;
}


/* The first is the current one. */

static int
zlt_conf_add_server(zlt_conf_t *conf, const char *value, char *error)
{
    unsigned            i;
    const char         *why;
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


static uint32_t
zlt_conf_bit(const char *key)
{
    const zlt_conf_key_t  *k;

    for (k = zlt_conf_keys; k->key && strcmp(k->key, key) != 0; k++) {
        /* void */
    }

    return (uint32_t) 1 << (k - zlt_conf_keys);
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


static int
zlt_conf_string(zlt_conf_t *conf, const zlt_conf_key_t *k, const char *value)
{
    char  *copy, **string;

    copy = strdup(value);

    if (copy == NULL) {
        return -1;
    }

    string = (char **) (void *) ((char *) conf + k->offset);
    free(*string);
    *string = copy;

    return 0;
}


int
zlt_conf_inherit(zlt_conf_t *conf, const zlt_conf_t *from)
{
    char                  *value, why[ZLT_CONF_ERROR_SIZE];
    unsigned               i;
    uint32_t               set, pair;
    const zlt_conf_key_t  *k;

    /* two keys that answer one question are taken as a whole */

    set = conf->set;

    for (i = 0; i < sizeof(zlt_conf_pairs) / sizeof(zlt_conf_pairs[0]); i++) {
        pair = zlt_conf_bit(zlt_conf_pairs[i][0])
               | zlt_conf_bit(zlt_conf_pairs[i][1]);

        if (conf->set & pair) {
            set |= pair;
        }
    }

    for (k = zlt_conf_keys; k->key; k++) {

        if (set & ((uint32_t) 1 << (k - zlt_conf_keys))) {
            continue;
        }

        switch (k->kind) {

        case ZLT_CONF_SERVER:
            for (i = 0; i < from->nservers; i++) {
                if (zlt_conf_add_server(conf, from->servers[i].text, why)
                    == -1)
                {
                    return -1;
                }
            }

            break;

        case ZLT_CONF_STRING:
            value = *(char **) (void *) ((char *) from + k->offset);

            if (value && zlt_conf_string(conf, k, value) == -1) {
                return -1;
            }

            break;

        default:
            memcpy((char *) conf + k->offset, (char *) from + k->offset,
                   sizeof(uint32_t));
        }
    }

    return 0;
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


static int
zlt_conf_value(const zlt_conf_key_t *k, const char *value, uint32_t *n)
{
    int              rc, on;
    zlt_log_level_e  level;
    zlt_transport_e  transport;

    switch (k->kind) {

    case ZLT_CONF_TIME:
        rc = zlt_parse_time(value, n);
        break;

    case ZLT_CONF_NUMBER:
        rc = zlt_parse_number(value, k->most, n);
        break;

    case ZLT_CONF_BOOL:
        on = 0;
        rc = zlt_parse_bool(value, &on);
        *n = (uint32_t) on;
        break;

    case ZLT_CONF_MODE:
        *n = (*value == 'a') ? ZLT_CONF_ALL : ZLT_CONF_STANDBY;
        return strcmp(value, *n == ZLT_CONF_ALL ? "all" : "standby") ? -1 : 0;

    case ZLT_CONF_LEVEL:
        level = ZLT_LOG_INFO;
        rc = zlt_log_level_parse(value, &level);
        *n = (uint32_t) level;
        return rc;

    case ZLT_CONF_TRANSPORT:
        transport = ZLT_TRANSPORT_AUTO;
        rc = zlt_transport_parse(value, &transport);
        *n = (uint32_t) transport;
        return rc;

    default:
        return -1;
    }

    if (rc == -1 || *n < k->least || *n > k->most) {
        return -1;
    }

    return 0;
}


int
zlt_conf_add_service(zlt_conf_t *conf, const zlt_service_conf_t *s,
    char *error)
{
    unsigned             i;
    zlt_service_conf_t  *services;

    for (i = 0; i < conf->nservices; i++) {
        if (strcmp(conf->services[i].name, s->name) == 0) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                            "the service \"%.200s\" is there twice", s->name);
            return -1;
        }
    }

    if (conf->nservices == ZLT_CONF_MAX_SERVICES) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                        "more than %d services", ZLT_CONF_MAX_SERVICES);
        return -1;
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
zlt_conf_check(const zlt_conf_t *conf, char *error)
{
    uint32_t  trust;
    unsigned  i, tls, is_unix;

    if (conf->server == NULL) {
        (void) strcpy(error, "\"server\" is missing");
        return -1;
    }

    if (conf->nservices == 0 && conf->naccesses == 0) {
        (void) strcpy(error, "no service is given");
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
