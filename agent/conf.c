
/*
 * Copyright (C) zltunnel authors
 */

/* The keys of [agent]: one table for the file and the command line. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "conf.h"


typedef enum {
    ZLT_CONF_STRING = 0,
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

    { "server", ZLT_CONF_STRING, offsetof(zlt_conf_t, server), 0, 0, NULL },

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
    free(conf->server);
    free(conf->token_file);
    free(conf->ca_file);
    free(conf->cert);
    free(conf->key);
    free(conf->proxy_file);
    free(conf->services);

    if (conf->proxy) {
        /* a password may be in it */
        OPENSSL_cleanse(conf->proxy, strlen(conf->proxy));
        free(conf->proxy);
    }

    zlt_via_wipe(&conf->via);

    memset(conf, 0, sizeof(zlt_conf_t));
}


int
zlt_conf_set(zlt_conf_t *conf, const char *key, const char *value,
    char *error)
{
    char                  *copy, **string;
    uint32_t               n;
    const char            *why;
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

    if (k->offset == offsetof(zlt_conf_t, server)
        && zlt_url_parse(&conf->url, value, &why) == -1)
    {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"server\" %s", why);
        return -1;
    }

    if (k->kind == ZLT_CONF_STRING) {
        copy = strdup(value);

        if (copy == NULL) {
            (void) strcpy(error, "out of memory");
            return -1;
        }

        string = (char **) (void *) ((char *) conf + k->offset);
        free(*string);
        *string = copy;

        return 0;
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


static int
zlt_conf_value(const zlt_conf_key_t *k, const char *value, uint32_t *n)
{
    int              rc, on;
    zlt_log_level_e  level;
    zlt_transport_e  transport;

    switch (k->kind) {

    case ZLT_CONF_TIME:
        rc = zlt_option_time(value, n);
        break;

    case ZLT_CONF_NUMBER:
        rc = zlt_option_number(value, k->most, n);
        break;

    case ZLT_CONF_BOOL:
        on = 0;
        rc = zlt_option_bool(value, &on);
        *n = (uint32_t) on;
        break;

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
zlt_conf_check(zlt_conf_t *conf, char *error)
{
    if (conf->server == NULL) {
        (void) strcpy(error, "\"server\" is missing");
        return -1;
    }

    if (conf->nservices == 0) {
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

    if (conf->url.is_unix && (conf->proxy || conf->proxy_file)) {
        (void) strcpy(error, "no proxy leads to a socket of this machine "
                             "(ws+unix:)");
        return -1;
    }

    if (!conf->url.tls && (conf->insecure || conf->ca_file || conf->cert)) {
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
