
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel-agent connect: all on the command line or in the environment, but
 * for the token.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "cmd_page.h"
#include "config.h"
#include "log.h"


#define ZLT_CONNECT_SERVICE  "ZLTUNNEL_SERVICE"


static int zlt_cmd_connect_options(zlt_conf_t *conf, zlt_conf_t *options,
    int argc, char **argv, int *code);
static int zlt_cmd_connect_configure(zlt_conf_t *conf,
    const zlt_conf_t *options);
static int zlt_cmd_connect_service(zlt_conf_t *conf, const char *from,
    const char *value);
static int zlt_cmd_connect_host(zlt_conf_t *conf, const char *value);
static int zlt_cmd_connect_checks(int c);
static int zlt_cmd_connect_check(zlt_conf_t *conf, int c, const char *value);
static int zlt_cmd_connect_again(zlt_conf_t *conf, const zlt_service_conf_t *s,
    const char *option, const char *value);
static int zlt_cmd_connect_fits(const zlt_conf_t *conf);


static const zlt_cmd_option_t  zlt_connect_options[] = {
    { "service", 's', "SPEC",
      "NAME:[HOST:]PORT[:REMOTE_PORT][/udp], or a PORT, which is the name as "
      "well; may be given several times.  Also NAME:unix:/PATH, and /private "
      "(no port), /internal, /proxy-v1 or /proxy-v2 (PROXY protocol) at the "
      "end; both ports may be ranges of one length, FIRST-LAST" },
    { "host", 'H', "NAME",
      "of the --service before it: a name under which it is reached by HTTP, "
      "or TLS; may be given several times.  What has no dot is below the "
      "server's domain, auto is one that the server makes up.  There is no "
      "port then, unless one is asked for" },
    { "check", 'C', "tcp|http:/PATH",
      "of the --service before it, as all below: it is checked, by a "
      "connection, or by a request for that path" },
    { "check-interval", 'I', "T", "the time between two checks (default: 10s)" },
    { "check-timeout", 'T', "T",
      "the time in which a check is answered, or has failed (default: 5s)" },
    { "check-fails", 'F', "N",
      "checks in a row that fail, by which it is down (default: 3)" },
    { "on-fail", 'O', "keep|refuse",
      "its port stays open while it is down, or refuses connections (default: "
      "keep)" },
    { "token", 't', "", NULL },
    { "help", 'h', NULL, NULL },
    { "version", 'V', NULL, NULL },
    { NULL, 0, NULL, NULL }
};


static const zlt_cmd_page_t  zlt_connect_page = {
    "connect --server URL --service SPEC... [OPTION]...",
    NULL,
    zlt_connect_options,
    ZLT_KEY_CONNECT,
    "The token is in a file or in the variable ZLTUNNEL_TOKEN, never an "
    "option.  The\nvariable ZLTUNNEL_SERVICE has SPECs with blanks between "
    "them.\n",
    "  zltunnel-agent connect --server wss://tunnel.example.com \\\n"
    "      --token-file token --service 3000\n"
    "  zltunnel-agent connect --server wss://tunnel.example.com \\\n"
    "      --token-file token --service web:8080 --service ssh:22:2222 \\\n"
    "      --service dns:53:53/udp\n"
    "  zltunnel-agent connect --server wss://tunnel.example.com \\\n"
    "      --token-file token --service web:8080 --host blog\n"
};


int
zlt_cmd_connect(int argc, char **argv)
{
    int            rc, code;
    zlt_conf_t     options;
    zlt_config_t   config;

    zlt_conf_init(&options);
    zlt_config_init(&config);

    code = -1;

    rc = zlt_cmd_connect_options(&config.agent, &options, argc, argv, &code);

    if (rc == 0 && code == -1) {
        rc = zlt_cmd_connect_configure(&config.agent, &options);
    }

    zlt_conf_free(&options);

    return zlt_cmd_process("connect", &config, rc, code);
}


/* Services into *conf, keys into *options: 0, with the exit code in *code if
   all is done, or -1 after a complaint. */

static int
zlt_cmd_connect_options(zlt_conf_t *conf, zlt_conf_t *options, int argc,
    char **argv, int *code)
{
    int            c, rc;
    struct option  list[ZLT_CMD_PAGE_OPTIONS];

    if (zlt_cmd_options(argc, argv, &zlt_connect_page, list) == -1) {
        return -1;
    }

    while ((c = getopt_long(argc, argv, ":hVs:k", list, NULL)) != -1) {

        *code = zlt_cmd_common(c, argv, &zlt_connect_page, list);

        if (*code != -1) {
            return *code == ZLT_EXIT_OK ? 0 : -1;
        }

        rc = (c == 's') ? zlt_cmd_connect_service(conf, "--service", optarg)
             : (c == 'H') ? zlt_cmd_connect_host(conf, optarg)
             : zlt_cmd_connect_checks(c) ? zlt_cmd_connect_check(conf, c, optarg)
                                  : zlt_cmd_page_key(options, c, optarg);

        if (rc == -1) {
            return -1;
        }
    }

    return zlt_cmd_connect_fits(conf) == -1 ? -1 : zlt_cmd_rest(argc, argv);
}


/* "--on-fail" may stand before "--check". */

static int
zlt_cmd_connect_fits(const zlt_conf_t *conf)
{
    unsigned     i;
    const char  *why;

    for (i = 0; i < conf->nservices; i++) {
        if (zlt_option_check_fits(&conf->services[i], &why) == -1) {
            zlt_log_complain("--service \"%s\": %s", conf->services[i].name,
                             why);
            return -1;
        }
    }

    return 0;
}


/* What the environment says, and the options above it. */

static int
zlt_cmd_connect_configure(zlt_conf_t *conf, const zlt_conf_t *options)
{
    char  error[ZLT_CONF_ERROR_SIZE];

    if (zlt_cmd_page_env(&zlt_connect_page, conf) == -1
        || (conf->nservices == 0 && zlt_cmd_connect_env(conf) == -1))
    {
        return -1;
    }

    if (zlt_conf_override(conf, options) == -1) {
        zlt_log_complain("out of memory");
        return -1;
    }

    if (zlt_conf_check(conf, error) == -1) {
        zlt_log_complain("%s", error);
        return -1;
    }

    return 0;
}


int
zlt_cmd_connect_env(zlt_conf_t *conf)
{
    int          rc;
    char        *copy, *value, *rest;
    const char  *env;

    env = getenv(ZLT_CONNECT_SERVICE);

    if (env == NULL) {
        return 0;
    }

    copy = strdup(env);

    if (copy == NULL) {
        zlt_log_complain("out of memory");
        return -1;
    }

    rc = 0;

    for (value = strtok_r(copy, " \t\n", &rest); value && rc == 0;
         value = strtok_r(NULL, " \t\n", &rest))
    {
        rc = zlt_cmd_connect_service(conf, ZLT_CONNECT_SERVICE, value);
    }

    free(copy);

    return rc;
}


int
zlt_cmd_connect_has_env(void)
{
    const char  *env;

    env = getenv(ZLT_CONNECT_SERVICE);

    return env && *env;
}


static int
zlt_cmd_connect_service(zlt_conf_t *conf, const char *from, const char *value)
{
    char                 error[ZLT_CONF_ERROR_SIZE];
    const char          *why;
    zlt_service_conf_t   service;

    memset(&service, 0, sizeof(zlt_service_conf_t));
    zlt_key_defaults(ZLT_KEY_OF_SERVICE, &service);

    if (zlt_option_service(value, &service, &why) == -1) {
        zlt_log_complain("%s \"%s\": %s", from, value, why);
        return -1;
    }

    if (zlt_conf_add_service(conf, &service, error) == -1) {
        zlt_log_complain("%s \"%s\": %s", from, value, error);
        return -1;
    }

    return 0;
}


/* Of the last service, which is put into the list anew. */

static int
zlt_cmd_connect_host(zlt_conf_t *conf, const char *value)
{
    const char          *why;
    zlt_service_conf_t   service;

    if (conf->nservices == 0) {
        zlt_log_complain("--host \"%s\" stands behind the --service that it is "
                         "for", value);
        return -1;
    }

    service = conf->services[conf->nservices - 1];

    if (zlt_option_host_add(value, &service, &why) == -1) {
        zlt_log_complain("--host %s", why);
        return -1;
    }

    return zlt_cmd_connect_again(conf, &service, "host", value);
}


/* What is a key of a service in the file. */

static int
zlt_cmd_connect_checks(int c)
{
    return c == 'C' || c == 'I' || c == 'T' || c == 'F' || c == 'O';
}


static int
zlt_cmd_connect_check(zlt_conf_t *conf, int c, const char *value)
{
    size_t                   i;
    char                     error[ZLT_CONF_ERROR_SIZE], key[32];
    zlt_service_conf_t       service;
    const zlt_cmd_option_t  *o;

    for (o = zlt_connect_options; o->c != c; o++) {
        /* void */
    }

    if (conf->nservices == 0) {
        zlt_log_complain("--%s \"%s\" stands behind the --service that it is "
                         "for", o->name, value);
        return -1;
    }

    for (i = 0; i < sizeof(key) - 1 && o->name[i]; i++) {
        key[i] = (char) (o->name[i] == '-' ? '_' : o->name[i]);
    }

    key[i] = '\0';

    service = conf->services[conf->nservices - 1];

    if (zlt_key_set(zlt_key_find(ZLT_KEY_SERVICE, key), &service, value,
                    error)
        == -1)
    {
        zlt_log_complain("--%s: %s", o->name, error);
        return -1;
    }

    conf->services[conf->nservices - 1] = service;

    return 0;
}


static int
zlt_cmd_connect_again(zlt_conf_t *conf, const zlt_service_conf_t *s,
    const char *option, const char *value)
{
    char         error[ZLT_CONF_ERROR_SIZE];
    const char  *why;

    if (zlt_option_service_check(s, &why) == -1) {
        zlt_log_complain("--%s \"%s\" of \"%s\": %s", option, value, s->name,
                         why);
        return -1;
    }

    conf->nservices--;

    if (zlt_conf_add_service(conf, s, error) == -1) {
        zlt_log_complain("--%s \"%s\": %s", option, value, error);
        return -1;
    }

    return 0;
}
