
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent connect: all on the command line, but for the token. */


#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "config.h"
#include "ctl.h"
#include "log.h"
#include "token.h"


static int zlt_cmd_connect_option(zlt_conf_t *conf, int c, const char *value);


static const char  zlt_connect_help[] =
    "Usage: zltunnel-agent connect --server URL --service SPEC... "
    "[OPTION]...\n"
    "\n"
    "  --server URL              wss://host[:port][/path], or ws://, or\n"
    "                            ws+unix:/socket[:/path]; the path is\n"
    "                            " ZLT_URL_DEFAULT_PATH " if there is none.  "
    "More\n"
    "                            than once: stand-bys\n"
    "  --mode MODE               standby (default), or all: at each server\n"
    "  --service SPEC            NAME:[HOST:]PORT[:REMOTE_PORT][/udp]; may be "
    "given\n"
    "                            several times.  Also NAME:unix:/PATH, and\n"
    "                            /private (no port), /internal, /proxy-v1 or\n"
    "                            /proxy-v2 (PROXY protocol) at the end\n"
    "  --token-file FILE         holds the token; else the variable\n"
    "                            " ZLT_TOKEN_ENV " does\n"
    "  --ca-file FILE            trust these certificates, not the system's\n"
    "  --cert FILE, --key FILE   our certificate, where the server wants one, "
    "and\n"
    "                            its key, which may be in the same file\n"
    "  --proxy URL               http://host:port, socks5:// or socks5h://,\n"
    "                            or none; else https_proxy (ws://: http_proxy) "
    "or\n"
    "                            all_proxy says which, and no_proxy for whom "
    "not\n"
    "  --proxy-file FILE         the same from a file: for a URL with a "
    "password\n"
    "  --insecure                do not verify the server's certificate\n"
    "  --transport WAY           of data channels: auto (default), raw or "
    "websocket\n"
    "  --log-level LEVEL         error, warn, info (default) or debug\n"
    "  --reconnect-interval T    5s\n"
    "  --max-reconnect-interval T\n"
    "                            60s\n"
    "  --connect-timeout T       10s, for the server and for services\n"
    "  --shutdown-timeout T      30s, for connections that are open at the "
    "end\n"
    "  --udp-timeout T           60s, after which a quiet UDP session ends\n"
    "  --max-udp-sessions N      4096, of a service\n"
    "  --min-idle N, --max-idle N\n"
    "                            idle data channels, within the server's "
    "bounds\n"
    "  --control PATH            the control socket, or \"none\"\n"
    "  --help, --version\n";


static const struct option  zlt_connect_options[] = {
    { "server",                 required_argument, NULL, 1 },
    { "token-file",             required_argument, NULL, 2 },
    { "ca-file",                required_argument, NULL, 3 },
    { "log-level",              required_argument, NULL, 4 },
    { "reconnect-interval",     required_argument, NULL, 5 },
    { "max-reconnect-interval", required_argument, NULL, 6 },
    { "connect-timeout",        required_argument, NULL, 7 },
    { "shutdown-timeout",       required_argument, NULL, 8 },
    { "min-idle",               required_argument, NULL, 9 },
    { "max-idle",               required_argument, NULL, 10 },
    { "udp-timeout",            required_argument, NULL, 11 },
    { "max-udp-sessions",       required_argument, NULL, 12 },
    { "proxy",                  required_argument, NULL, 13 },
    { "proxy-file",             required_argument, NULL, 14 },
    { "cert",                   required_argument, NULL, 15 },
    { "key",                    required_argument, NULL, 16 },
    { "mode",                   required_argument, NULL, 17 },
    { "control",                required_argument, NULL, 18 },
    { "transport",              required_argument, NULL, 19 },
    { "service",                required_argument, NULL, 's' },
    { "insecure",               no_argument,       NULL, 'k' },
    { "token",                  optional_argument, NULL, 't' },
    { "help",                   no_argument,       NULL, 'h' },
    { "version",                no_argument,       NULL, 'V' },
    { NULL, 0, NULL, 0 }
};


/* the keys that options 1 to 19 stand for */

static const char *const  zlt_connect_keys[] = {
    NULL, "server", "token_file", "ca_file", "log_level",
    "reconnect_interval", "max_reconnect_interval", "connect_timeout",
    "shutdown_timeout", "min_idle", "max_idle", "udp_timeout",
    "max_udp_sessions", "proxy", "proxy_file", "cert", "key", "mode",
    "control", "transport"
};


int
zlt_cmd_connect(int argc, char **argv)
{
    int            c;
    char           error[ZLT_CONF_ERROR_SIZE];
    zlt_config_t   config;

    zlt_config_init(&config);

    opterr = 0;

    while ((c = getopt_long(argc, argv, ":hVs:k", zlt_connect_options, NULL))
           != -1)
    {
        switch (c) {

        case 'h':
            (void) fputs(zlt_connect_help, stdout);
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
            if (zlt_cmd_connect_option(&config.agent, c, optarg) == -1) {
                goto usage;
            }
        }
    }

    if (optind < argc) {
        zlt_log_complain("\"%s\" is not an option", argv[optind]);
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

    return zlt_process_run(&config, NULL, NULL, &zlt_ctl_process);

usage:

    (void) fputs("\"zltunnel-agent connect --help\" tells the options\n",
                 stderr);
    zlt_config_free(&config);

    return ZLT_EXIT_USAGE;
}


static int
zlt_cmd_connect_option(zlt_conf_t *conf, int c, const char *value)
{
    char                 error[ZLT_CONF_ERROR_SIZE];
    const char          *why;
    zlt_service_conf_t   service;

    switch (c) {

    case 's':
        if (zlt_option_service(value, &service, &why) == -1) {
            zlt_log_complain("--service \"%s\": %s", value, why);
            return -1;
        }

        if (zlt_conf_add_service(conf, &service, error) == -1) {
            zlt_log_complain("--service \"%s\": %s", value, error);
            return -1;
        }

        return 0;

    case 'k':
        return zlt_conf_set(conf, "insecure", "yes", error);

    case 't':
        zlt_log_complain("there is no --token, since every user of this "
                         "machine could see it: use --token-file, or "
                         ZLT_TOKEN_ENV);
        return -1;
    }

    if (zlt_conf_set(conf, zlt_connect_keys[c], value, error) == -1) {
        zlt_log_complain("%s", error);
        return -1;
    }

    return 0;
}
