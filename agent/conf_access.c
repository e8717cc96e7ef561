
/*
 * Copyright (C) zltunnel authors
 */

/* The sections of on-demand access: [access NAME] and [access]. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"


static int zlt_conf_protocol(uint8_t *protocol, const char *value,
    char *error);
static int zlt_conf_bad(char *error, const char *key, const char *value,
    const char *why);


int
zlt_conf_add_access(zlt_conf_t *conf, const zlt_access_conf_t *a, char *error)
{
    unsigned            i;
    zlt_access_conf_t  *accesses;

    for (i = 0; i < conf->naccesses; i++) {
        if (strcmp(conf->accesses[i].name, a->name) == 0) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                            "access to \"%.200s\" is there twice", a->name);
            return -1;
        }
    }

    if (conf->naccesses == ZLT_CONF_MAX_ACCESS) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                        "more than %d access sessions", ZLT_CONF_MAX_ACCESS);
        return -1;
    }

    accesses = realloc(conf->accesses,
                       (conf->naccesses + 1) * sizeof(zlt_access_conf_t));

    if (accesses == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    accesses[conf->naccesses++] = *a;
    conf->accesses = accesses;

    return 0;
}


int
zlt_conf_access_key(zlt_access_conf_t *a, const char *key, const char *value,
    char *error)
{
    int          rc;
    const char  *why;

    why = "expected a time like 90s, 30m, 8h or 1d, or 0";

    if (strcmp(key, "protocol") == 0) {
        return zlt_conf_protocol(&a->protocol, value, error);
    }

    if (strcmp(key, "local") == 0) {
        rc = zlt_option_access_local(value, a, &why);

    } else if (strcmp(key, "ttl") == 0) {
        rc = zlt_option_seconds(value, &a->ttl);

    } else if (strcmp(key, "grace") == 0) {
        rc = zlt_option_seconds(value, &a->grace);

    } else if (strcmp(key, "to") == 0) {
        rc = zlt_option_access_target(value, a, &why);

    } else if (strcmp(key, "service") == 0) {
        rc = zlt_name_valid((const uint8_t *) value, strlen(value)) ? 0 : -1;

        if (rc == 0) {
            (void) strcpy(a->service, value);

        } else {
            why = "it is not the name of a service";
        }

    } else {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                        "unknown key \"%.100s\" in [access NAME]", key);
        return -1;
    }

    return rc == 0 ? 0 : zlt_conf_bad(error, key, value, why);
}


int
zlt_conf_open_key(zlt_conf_t *conf, zlt_service_conf_t *s, const char *key,
    const char *value, char *error)
{
    char         text[ZLT_CONF_ERROR_SIZE / 2];
    size_t       rule;
    const char  *why;

    if (strcmp(key, "name") == 0) {
        return zlt_option_name(value, s, &why) == 0
               ? 0 : zlt_conf_bad(error, key, value, why);
    }

    if (strcmp(key, "protocol") == 0) {
        return zlt_conf_protocol(&s->protocol, value, error);
    }

    if (strcmp(key, "allow_access") == 0) {
        return zlt_option_allow_access(value, s, &why) == 0
               ? 0 : zlt_conf_bad(error, key, value, why);
    }

    if (strcmp(key, "allow") == 0) {

        if (zlt_allow_parse(&conf->allow, value, &why, &rule) == 0) {
            return 0;
        }

        (void) snprintf(text, sizeof(text), "%.100s", value + rule);
        text[strcspn(text, ",")] = '\0';

        return zlt_conf_bad(error, key, text, why);
    }

    (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                    "unknown key \"%.100s\" in [access]", key);

    return -1;
}


static int
zlt_conf_protocol(uint8_t *protocol, const char *value, char *error)
{
    if (strcmp(value, "tcp") == 0) {
        *protocol = ZLT_PROTO_TCP;
        return 0;
    }

    if (strcmp(value, "udp") == 0) {
        *protocol = ZLT_PROTO_UDP;
        return 0;
    }

    return zlt_conf_bad(error, "protocol", value, "it must be tcp or udp");
}


static int
zlt_conf_bad(char *error, const char *key, const char *value, const char *why)
{
    (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is \"%.150s\": %s",
                    key, value, why);

    return -1;
}
