
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: the table of keys.  What it says to be the default is what holds
 * without the key; bounds are told in the words that are parsed; nothing of it
 * is too long for those who print it; what has changed is seen by its form.
 */


#include <stdlib.h>

#include "tap.h"
#include "config.h"
#include "key.h"
#include "log.h"
#include "transport.h"


static void
rows(void)
{
    char              bounds[ZLT_KEY_BOUNDS_SIZE], env[ZLT_KEY_ENV_SIZE];
    unsigned          n;
    const zlt_key_t  *k, *other;

    n = 0;

    for (k = zlt_key_table; k->name; k++, n++) {
        tap_note("%s", k->name);

        check(k->sections && k->help && strlen(k->help) < 200);
        check(strlen(k->name) < 24);
        check(strlen(zlt_key_env(k, env)) == 9 + strlen(k->name));
        check(strlen(zlt_key_effect(k)) > 5);
        check(!(k->fallback && k->without));
        check(k->set || k->size);
        check(k->arg || k->form == ZLT_KEY_BOOL || k->form == ZLT_KEY_FLAG);
        check((k->form == ZLT_KEY_CHOICE) == (k->choices != NULL));
        check((zlt_key_bounds(k, bounds) == NULL)
              == (k->form == ZLT_KEY_TEXT || k->form == ZLT_KEY_STRING
                  || k->form == ZLT_KEY_PATH));

        /* once in a section, and the same for options and variables */

        for (other = zlt_key_table; other < k; other++) {
            check(strcmp(k->name, other->name) != 0
                  || !(k->sections & other->sections));
        }

        if (k->sections & ZLT_KEY_AGENT) {
            /* zlt_conf_t's "set" has a bit for each */
            check(n < 32 && k->of == ZLT_KEY_OF_LINK && k->commands);

        } else {
            check(k->commands == 0);
        }
    }

    check(n < 64);
    check(zlt_key_find(ZLT_KEY_SERVICE, "server") == NULL);
    check(zlt_key_find(ZLT_KEY_NODE, "name")
          != zlt_key_find(ZLT_KEY_OPEN, "name"));
}


/* What the objects begin with is what the table says. */

static void
defaults(void)
{
    char                error[ZLT_CONF_ERROR_SIZE];
    zlt_conf_t          conf, set;
    const zlt_key_t    *k;
    zlt_access_conf_t   access, again;
    zlt_service_conf_t  service;
    zlt_tunnel_conf_t   tunnel;

    zlt_conf_init(&conf);
    zlt_conf_init(&set);
    zlt_option_access_init(&access);
    memset(&service, 0, sizeof(service));
    zlt_key_defaults(ZLT_KEY_OF_SERVICE, &service);
    memset(&tunnel, 0, sizeof(tunnel));

    for (k = zlt_key_table; k->name; k++) {

        if (k->fallback == NULL) {
            continue;
        }

        tap_note("%s", k->name);

        if (k->of == ZLT_KEY_OF_LINK) {
            check(zlt_conf_set(&set, k, k->fallback, error) == 0);
            check(memcmp((char *) &set + k->offset,
                         (char *) &conf + k->offset, k->size) == 0);

        } else if (k->of == ZLT_KEY_OF_ACCESS) {
            again = access;
            check(zlt_key_set(k, &again, k->fallback, error) == 0);
            check(zlt_key_change(ZLT_KEY_OF_ACCESS, ZLT_KEY_OPENED, &access,
                                 &again) == NULL);

        } else if (k->of == ZLT_KEY_OF_SERVICE) {
            zlt_service_conf_t  s = service;

            check(zlt_key_set(k, &s, k->fallback, error) == 0);
            check(k->set || memcmp(&s, &service, sizeof(s)) == 0);

        } else {
            check(zlt_key_set(k, &tunnel, k->fallback, error) == 0);
            check(k->set || tunnel.is_public == 0);
        }
    }

    check(conf.connect_timeout == 10000 && conf.max_udp_sessions == 4096
          && conf.max_idle == ZLT_CONF_UNSET);
    check(service.check_interval == 10000 && service.check_timeout == 5000
          && service.check_fails == 3 && service.check[0] == '\0');

    zlt_conf_free(&conf);
    zlt_conf_free(&set);
}


static void
values(void)
{
    char                error[ZLT_CONF_ERROR_SIZE];
    unsigned            i;
    zlt_conf_t          conf;
    const zlt_key_t    *k;

    static const struct {
        const char  *key;
        const char  *value;
        const char  *error;    /* NULL: it is taken */
    } list[] = {
        { "mode", "all", NULL },
        { "mode", "al", "\"mode\" is \"al\", but must be standby or all" },
        { "mode", "all|standby",
          "\"mode\" is \"all|standby\", but must be standby or all" },
        { "log_level", "debug", NULL },
        { "log_level", "loud",
          "\"log_level\" is \"loud\", but must be error, warn, info or "
          "debug" },
        { "insecure", "Yes", NULL },
        { "insecure", "maybe",
          "\"insecure\" is \"maybe\", but must be yes or no" },
        { "reconnect_interval", "100ms", NULL },
        { "reconnect_interval", "99ms",
          "\"reconnect_interval\" is \"99ms\", but must be a time from 100ms "
          "to 1h" },
        { "connect_timeout", "11m",
          "\"connect_timeout\" is \"11m\", but must be a time from 1s to "
          "10m" },
        { "shutdown_timeout", "0", NULL },
        { "shutdown_timeout", "2d",
          "\"shutdown_timeout\" is \"2d\", but must be a time up to 1d" },
        { "max_idle", "65536",
          "\"max_idle\" is \"65536\", but must be a number from 0 to 65535" },
        { "token_file", "", "\"token_file\" is empty" },
        { "server", "ws://h/", NULL }
    };

    zlt_conf_init(&conf);

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s = %s", list[i].key, list[i].value);
        error[0] = '\0';
        k = zlt_key_agent(list[i].key);

        check(zlt_conf_set(&conf, k, list[i].value, error)
              == (list[i].error ? -1 : 0));
        check(strcmp(error, list[i].error ? list[i].error : "") == 0);
    }

    zlt_conf_free(&conf);
}


/* What is chosen is the number that the program has for it. */

static void
choices(void)
{
    char         error[ZLT_CONF_ERROR_SIZE];
    unsigned     i;
    zlt_conf_t   conf;

    static const struct {
        const char  *key;
        const char  *value;
        size_t       offset;
        uint32_t     number;
    } list[] = {
        { "mode", "standby", offsetof(zlt_conf_t, mode), ZLT_CONF_STANDBY },
        { "mode", "all", offsetof(zlt_conf_t, mode), ZLT_CONF_ALL },
        { "transport", "auto", offsetof(zlt_conf_t, transport),
          ZLT_TRANSPORT_AUTO },
        { "transport", "raw", offsetof(zlt_conf_t, transport),
          ZLT_TRANSPORT_RAW },
        { "transport", "websocket", offsetof(zlt_conf_t, transport),
          ZLT_TRANSPORT_WEBSOCKET },
        { "log_level", "error", offsetof(zlt_conf_t, log_level),
          ZLT_LOG_ERROR },
        { "log_level", "warn", offsetof(zlt_conf_t, log_level), ZLT_LOG_WARN },
        { "log_level", "info", offsetof(zlt_conf_t, log_level), ZLT_LOG_INFO },
        { "log_level", "debug", offsetof(zlt_conf_t, log_level),
          ZLT_LOG_DEBUG }
    };

    zlt_conf_init(&conf);

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s = %s", list[i].key, list[i].value);

        check(zlt_conf_set(&conf, zlt_key_agent(list[i].key), list[i].value,
                           error) == 0);
        check(memcmp((char *) &conf + list[i].offset, &list[i].number, 4)
              == 0);
    }

    zlt_conf_free(&conf);
}


/* Options stand above variables, and both above the file. */

static void
layers(void)
{
    char        error[ZLT_CONF_ERROR_SIZE];
    zlt_conf_t  file, with;

#define set(conf, key, value)                                                 \
    check(zlt_conf_set(conf, zlt_key_agent(key), value, error) == 0)

    zlt_conf_init(&file);
    zlt_conf_init(&with);

    set(&file, "server", "ws://file/");
    set(&file, "server", "ws://file/2");
    set(&file, "ca_file", "/file");
    set(&file, "connect_timeout", "20s");
    set(&file, "udp_timeout", "20s");

    set(&with, "server", "wss://with/");
    set(&with, "insecure", "yes");
    set(&with, "udp_timeout", "30s");
    set(&with, "token_file", "/with");

    check(zlt_key_change(ZLT_KEY_OF_LINK, ZLT_KEY_RECONNECT, &file, &file)
          == NULL);
    check(zlt_key_change(ZLT_KEY_OF_LINK, ZLT_KEY_RECONNECT, &file, &with)
          == zlt_key_agent("ca_file"));

    check(zlt_conf_override(&file, &with) == 0);

    check(file.nservers == 1 && strcmp(file.server, "wss://with/") == 0);
    check(file.connect_timeout == 20000 && file.udp_timeout == 30000);
    check(strcmp(file.token_file, "/with") == 0);

    /* either says whom to trust, so both cannot be */
    check(file.insecure && file.ca_file == NULL);

    check(zlt_key_change(ZLT_KEY_OF_LINK, ZLT_KEY_RECONNECT, &file, &with)
          == NULL);

    zlt_conf_free(&file);
    zlt_conf_free(&with);
}


int
main(void)
{
    tap_run(rows, "rows");
    tap_run(defaults, "defaults");
    tap_run(values, "values");
    tap_run(choices, "choices");
    tap_run(layers, "layers");

    return tap_done();
}
