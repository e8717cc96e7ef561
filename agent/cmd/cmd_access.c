
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent access: services of others, at addresses of this machine. */


#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "cmd_page.h"
#include "config.h"
#include "ctl.h"
#include "log.h"
#include "parse.h"


/* what holds for all names on the command line */

typedef struct {
    zlt_access_conf_t    common;
    const char          *local;        /* NULL: not given */
    unsigned             stdio;
} zlt_access_options_t;


static int zlt_cmd_access_option(zlt_conf_t *conf, zlt_access_options_t *o,
    int c, const char *value);
static void zlt_cmd_access_stdio(zlt_conf_t *conf);
static int zlt_cmd_access_time(const char *option, const char *value,
    uint32_t *seconds);
static int zlt_cmd_access_names(zlt_conf_t *conf, zlt_access_options_t *o,
    int argc, char **argv);


static const zlt_cmd_option_t  zlt_access_options[] = {
    { "local-port", 'p', "N",
      "for one NAME: the port on 127.0.0.1; 0, or none: any that is free" },
    { "local", 'l', "[ADDR:]PORT|unix:/PATH",
      "for one NAME: another address, or a socket" },
    { "stdio", 'S', NULL,
      "for one NAME: one connection, at stdin and stdout" },
    { "ttl", 'T', "T",
      "how long, 1h; 0: without end, where the token allows it" },
    { "grace", 'g', "T", "how long connections may go on after that, 0" },
    { "udp", 'u', NULL, "UDP, for every NAME" },
    { "to", 'o', "HOST:PORT", "where to, if NAME leads to many places" },
    { "token", 't', "", NULL },
    { "help", 'h', NULL, NULL },
    { "version", 'V', NULL, NULL },
    { NULL, 0, NULL, NULL }
};


static const zlt_cmd_page_t  zlt_access_page = {
    "access NAME... --server URL [OPTION]...",
    "  NAME[/udp][:LOCAL_PORT]   a service that an agent of that server has",
    zlt_access_options,
    ZLT_KEY_VISIT,
    "It ends with the last of its sessions, or at SIGINT and SIGTERM.\n"
    "With --stdio it is a ProxyCommand of ssh.\n",
    "  zltunnel-agent access db:5432 --server wss://tunnel.example.com \\\n"
    "      --token-file token --ttl 8h\n"
    "  zltunnel-agent access office --to 10.0.0.5:8080 --local-port 8080 \\\n"
    "      --server wss://tunnel.example.com --token-file token\n"
    "  zltunnel-agent access ssh --stdio --server wss://tunnel.example.com \\\n"
    "      --token-file token\n"
};


int
zlt_cmd_access(int argc, char **argv)
{
    int                    c, code;
    char                   error[ZLT_CONF_ERROR_SIZE];
    zlt_conf_t             options;
    zlt_config_t           config;
    zlt_access_options_t   o;
    struct option          list[ZLT_CMD_PAGE_OPTIONS];

    zlt_conf_init(&options);
    zlt_config_init(&config);
    config.agent.visitor = 1;

    memset(&o, 0, sizeof(zlt_access_options_t));
    zlt_option_access_init(&o.common);

    code = ZLT_EXIT_USAGE;

    if (zlt_cmd_options(argc, argv, &zlt_access_page, list) == -1) {
        goto done;
    }

    while ((c = getopt_long(argc, argv, ":hVk", list, NULL)) != -1) {

        code = zlt_cmd_common(c, argv, &zlt_access_page, list);

        if (code != -1) {
            goto done;
        }

        code = ZLT_EXIT_USAGE;

        if (zlt_cmd_access_option(&options, &o, c, optarg) == -1) {
            goto done;
        }
    }

    if (zlt_cmd_page_env(&zlt_access_page, &config.agent) == -1) {
        goto done;
    }

    if (zlt_conf_override(&config.agent, &options) == -1) {
        zlt_log_complain("out of memory");
        code = ZLT_EXIT_FAILED;
        goto done;
    }

    if (zlt_cmd_access_names(&config.agent, &o, argc - optind, argv + optind)
        == -1)
    {
        goto done;
    }

    if (o.stdio) {
        zlt_cmd_access_stdio(&config.agent);
    }

    if (zlt_conf_check(&config.agent, error) == -1) {
        zlt_log_complain("%s", error);
        goto done;
    }

    if (zlt_config_links(&config) == -1) {
        zlt_log_complain("out of memory");
        code = ZLT_EXIT_FAILED;
        goto done;
    }

    zlt_conf_free(&options);

    return zlt_process_run(&config, NULL, NULL, &zlt_ctl_process);

done:

    if (code == ZLT_EXIT_USAGE) {
        (void) fputs("\"zltunnel-agent access --help\" tells the options\n",
                     stderr);
    }

    zlt_conf_free(&options);
    zlt_config_free(&config);

    return code;
}


static int
zlt_cmd_access_option(zlt_conf_t *conf, zlt_access_options_t *o, int c,
    const char *value)
{
    const char  *why;

    switch (c) {

    case 'p':
    case 'l':
        if (o->local) {
            zlt_log_complain("where, twice? --local and --local-port");
            return -1;
        }

        o->local = value;

        if (zlt_option_access_local(value, &o->common, &why) == -1) {
            zlt_log_complain("--local%s \"%s\": %s", c == 'p' ? "-port" : "",
                             value, why);
            return -1;
        }

        return 0;

    case 'T':
        return zlt_cmd_access_time("ttl", value, &o->common.ttl);

    case 'g':
        return zlt_cmd_access_time("grace", value, &o->common.grace);

    case 'o':
        if (zlt_option_access_target(value, &o->common, &why) == -1) {
            zlt_log_complain("--to \"%s\": %s", value, why);
            return -1;
        }

        return 0;

    case 'S':
        o->stdio = 1;
        return 0;

    case 'u':
        o->common.protocol = ZLT_PROTO_UDP;
        return 0;

    default:
        return zlt_cmd_page_key(conf, c, value);
    }
}


/* What is said goes to the terminal of whoever has typed "ssh". */

static void
zlt_cmd_access_stdio(zlt_conf_t *conf)
{
    conf->visitor = ZLT_CONF_STDIO;

    if (!zlt_conf_is_set(conf, "log_level")) {
        conf->log_level = ZLT_LOG_WARN;
    }
}


static int
zlt_cmd_access_time(const char *option, const char *value, uint32_t *seconds)
{
    if (zlt_parse_seconds(value, seconds) == -1) {
        zlt_log_complain("--%s \"%s\": expected a time like 90s, 30m, 8h or "
                         "1d", option, value);
        return -1;
    }

    zlt_cmd_unit(option, value);

    return 0;
}


static int
zlt_cmd_access_names(zlt_conf_t *conf, zlt_access_options_t *o, int argc,
    char **argv)
{
    int                 i;
    char                error[ZLT_CONF_ERROR_SIZE];
    const char         *why;
    zlt_access_conf_t   x;

    if (argc == 0) {
        zlt_log_complain("access to what? NAME");
        return -1;
    }

    if (argc > 1 && o->local) {
        zlt_log_complain("--local and --local-port are for one NAME; with "
                         "more of them: NAME:LOCAL_PORT");
        return -1;
    }

    if (o->stdio && (argc > 1 || o->local)) {
        zlt_log_complain("--stdio is for one NAME, and takes the place of "
                         "--local and --local-port");
        return -1;
    }

    for (i = 0; i < argc; i++) {
        x = o->common;

        if (zlt_option_access(argv[i], &x, &why) == -1
            || zlt_option_access_check(&x, &why) == -1)
        {
            zlt_log_complain("\"%s\": %s", argv[i], why);
            return -1;
        }

        if (o->stdio && (x.has_local || x.protocol == ZLT_PROTO_UDP)) {
            zlt_log_complain("\"%s\": --stdio is for a TCP service, and takes "
                             "no local port", argv[i]);
            return -1;
        }

        if (zlt_conf_access_add(conf, &x, error) == -1) {
            zlt_log_complain("%s", error);
            return -1;
        }
    }

    return 0;
}
