
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent access: services of others, at addresses of this machine. */


#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "config.h"
#include "ctl.h"
#include "log.h"
#include "parse.h"
#include "token.h"


/* what holds for all names on the command line */

typedef struct {
    zlt_access_conf_t    common;
    const char          *local;        /* NULL: not given */
    const char          *control;
} zlt_access_options_t;


static int zlt_cmd_access_option(zlt_conf_t *conf, zlt_access_options_t *o,
    int c, const char *value);
static int zlt_cmd_access_time(const char *option, const char *value,
    uint32_t *seconds);
static int zlt_cmd_access_names(zlt_conf_t *conf, zlt_access_options_t *o,
    int argc, char **argv);


static const char  zlt_access_help[] =
    "Usage: zltunnel-agent access NAME... --server URL [OPTION]...\n"
    "\n"
    "  NAME[/udp][:LOCAL_PORT]   a service that an agent of that server has\n"
    "  --server URL              wss://host[:port][/path], or ws://\n"
    "  --local-port N            for one NAME: the port on 127.0.0.1; 0, or\n"
    "                            none: any that is free\n"
    "  --local [ADDR:]PORT, --local unix:/PATH\n"
    "                            for one NAME: another address, or a socket\n"
    "  --ttl T                   how long, 1h; 0: without end, where the "
    "token\n"
    "                            allows it\n"
    "  --grace T                 how long connections may go on after that, 0\n"
    "  --udp                     UDP, for every NAME\n"
    "  --to HOST:PORT            where to, if NAME leads to many places\n"
    "  --token-file FILE         holds the token; else the variable\n"
    "                            " ZLT_TOKEN_ENV " does\n"
    "  --ca-file FILE            trust these certificates, not the system's\n"
    "  --insecure                do not verify the server's certificate\n"
    "  --cert FILE, --key FILE, --proxy URL, --proxy-file FILE, --transport "
    "WAY\n"
    "                            as for \"connect\"\n"
    "  --log-level LEVEL         error, warn, info (default) or debug\n"
    "  --connect-timeout T       10s, for the server, and for each "
    "connection\n"
    "  --reconnect-interval T, --max-reconnect-interval T\n"
    "                            5s, 60s\n"
    "  --udp-timeout T           60s, after which a quiet UDP client is "
    "forgotten\n"
    "  --control PATH            the socket for \"sessions\", \"renew\" and "
    "\"stop\"\n"
    "  --help, --version\n"
    "\n"
    "It ends with the last of its sessions, or at SIGINT and SIGTERM.\n";


static const struct option  zlt_access_long[] = {
    { "server",          required_argument, NULL, 1 },
    { "token-file",      required_argument, NULL, 2 },
    { "ca-file",         required_argument, NULL, 3 },
    { "log-level",       required_argument, NULL, 4 },
    { "connect-timeout", required_argument, NULL, 5 },
    { "udp-timeout",     required_argument, NULL, 6 },
    { "reconnect-interval", required_argument, NULL, 7 },
    { "max-reconnect-interval", required_argument, NULL, 8 },
    { "transport",       required_argument, NULL, 9 },
    { "proxy",           required_argument, NULL, 10 },
    { "proxy-file",      required_argument, NULL, 11 },
    { "cert",            required_argument, NULL, 12 },
    { "key",             required_argument, NULL, 13 },
    { "local-port",      required_argument, NULL, 'p' },
    { "local",           required_argument, NULL, 'l' },
    { "ttl",             required_argument, NULL, 'T' },
    { "grace",           required_argument, NULL, 'g' },
    { "control",         required_argument, NULL, 'c' },
    { "to",              required_argument, NULL, 'o' },
    { "udp",             no_argument,       NULL, 'u' },
    { "insecure",        no_argument,       NULL, 'k' },
    { "token",           optional_argument, NULL, 't' },
    { "help",            no_argument,       NULL, 'h' },
    { "version",         no_argument,       NULL, 'V' },
    { NULL, 0, NULL, 0 }
};


/* the keys that options 1 to 13 stand for */

static const char *const  zlt_access_keys[] = {
    NULL, "server", "token_file", "ca_file", "log_level", "connect_timeout",
    "udp_timeout", "reconnect_interval", "max_reconnect_interval",
    "transport", "proxy", "proxy_file", "cert", "key"
};


int
zlt_cmd_access(int argc, char **argv)
{
    int                    c;
    char                   error[ZLT_CONF_ERROR_SIZE];
    zlt_config_t           config;
    zlt_access_options_t   o;

    zlt_config_init(&config);
    config.agent.visitor = 1;

    memset(&o, 0, sizeof(zlt_access_options_t));
    zlt_option_access_init(&o.common);

    opterr = 0;

    while ((c = getopt_long(argc, argv, ":hVk", zlt_access_long, NULL))
           != -1)
    {
        switch (c) {

        case 'h':
            (void) fputs(zlt_access_help, stdout);
            zlt_config_free(&config);
            return ZLT_EXIT_OK;

        case 'V':
            zlt_cmd_version();
            zlt_config_free(&config);
            return ZLT_EXIT_OK;

        case '?':
        case ':':
            zlt_cmd_option(c, argv);
            goto usage;

        default:
            if (zlt_cmd_access_option(&config.agent, &o, c, optarg) == -1) {
                goto usage;
            }
        }
    }

    if (zlt_cmd_access_names(&config.agent, &o, argc - optind, argv + optind)
        == -1)
    {
        goto usage;
    }

    if (zlt_conf_check(&config.agent, error) == -1) {
        zlt_log_complain("%s", error);
        goto usage;
    }

    if (zlt_config_links(&config) == -1) {
        zlt_log_complain("out of memory");
        zlt_config_free(&config);
        return ZLT_EXIT_FAILED;
    }

    return zlt_process_run(&config, NULL, o.control, &zlt_ctl_process);

usage:

    (void) fputs("\"zltunnel-agent access --help\" tells the options\n",
                 stderr);
    zlt_config_free(&config);

    return ZLT_EXIT_USAGE;
}


static int
zlt_cmd_access_option(zlt_conf_t *conf, zlt_access_options_t *o, int c,
    const char *value)
{
    char         error[ZLT_CONF_ERROR_SIZE];
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

    case 'c':
        o->control = value;
        return 0;

    case 'u':
        o->common.protocol = ZLT_PROTO_UDP;
        return 0;

    case 'k':
        return zlt_conf_set(conf, "insecure", "yes", error);

    case 't':
        zlt_log_complain("there is no --token, since every user of this "
                         "machine could see it: use --token-file, or "
                         ZLT_TOKEN_ENV);
        return -1;
    }

    if (zlt_conf_set(conf, zlt_access_keys[c], value, error) == -1) {
        zlt_log_complain("%s", error);
        return -1;
    }

    return 0;
}


static int
zlt_cmd_access_time(const char *option, const char *value, uint32_t *seconds)
{
    if (zlt_parse_seconds(value, seconds) == -1) {
        zlt_log_complain("--%s \"%s\": expected a time like 90s, 30m, 8h or "
                         "1d", option, value);
        return -1;
    }

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

    for (i = 0; i < argc; i++) {
        x = o->common;

        if (zlt_option_access(argv[i], &x, &why) == -1
            || zlt_option_access_check(&x, &why) == -1)
        {
            zlt_log_complain("\"%s\": %s", argv[i], why);
            return -1;
        }

        if (zlt_conf_access_add(conf, &x, error) == -1) {
            zlt_log_complain("%s", error);
            return -1;
        }
    }

    return 0;
}
