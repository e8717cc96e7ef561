
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent run, and check: with a configuration file. */


#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "config.h"
#include "ctl.h"
#include "link.h"
#include "log.h"
#include "tls.h"


/* what zlt_cmd_run_file() returns if the command is over */
#define ZLT_RUN_OVER  0
#define ZLT_RUN_GO    1


static int zlt_cmd_run_file(int argc, char **argv, const char *help,
    const char **file, const char **control, int *code);
static int zlt_cmd_run_check_link(zlt_conf_t *conf, char *error);
static void zlt_cmd_run_check_tell(const zlt_config_t *config,
    const char *file);


static const char  zlt_cmd_run_help[] =
    "Usage: zltunnel-agent run -c FILE\n"
    "\n"
    "  -c, --config FILE         the configuration file\n"
    "  --control PATH            the control socket, or \"none\"\n"
    "  --help, --version\n"
    "\n"
    "SIGHUP reads the file again, SIGTERM ends after the open connections.\n";

static const char  zlt_cmd_run_check_help[] =
    "Usage: zltunnel-agent check -c FILE\n"
    "\n"
    "  -c, --config FILE         the configuration file\n"
    "  --help, --version\n"
    "\n"
    "Exit code: 0 if it is all right, 2 if it is not.\n";


static const struct option  zlt_cmd_run_options[] = {
    { "config",  required_argument, NULL, 'c' },
    { "control", required_argument, NULL, 's' },
    { "help",    no_argument,       NULL, 'h' },
    { "version", no_argument,       NULL, 'V' },
    { NULL, 0, NULL, 0 }
};


static int
zlt_cmd_run_file(int argc, char **argv, const char *help, const char **file,
    const char **control, int *code)
{
    int  c;

    *file = NULL;
    *control = NULL;
    *code = ZLT_EXIT_OK;

    opterr = 0;

    while ((c = getopt_long(argc, argv, ":c:hV", zlt_cmd_run_options, NULL))
           != -1)
    {
        switch (c) {

        case 'c':
            *file = optarg;
            break;

        case 's':
            *control = optarg;
            break;

        case 'h':
            (void) fputs(help, stdout);
            return ZLT_RUN_OVER;

        case 'V':
            zlt_cmd_version();
            return ZLT_RUN_OVER;

        default:
            zlt_cmd_option(c, argv);
            *code = ZLT_EXIT_USAGE;
            return ZLT_RUN_OVER;
        }
    }

    if (optind < argc) {
        zlt_log_complain("\"%s\" is not an option", argv[optind]);
        *code = ZLT_EXIT_USAGE;
        return ZLT_RUN_OVER;
    }

    if (*file == NULL) {
        zlt_log_complain("which file? -c FILE");
        *code = ZLT_EXIT_USAGE;
        return ZLT_RUN_OVER;
    }

    return ZLT_RUN_GO;
}


int
zlt_cmd_run(int argc, char **argv)
{
    int            code;
    char           error[ZLT_CONF_ERROR_SIZE];
    const char    *file, *control;
    zlt_config_t   config;

    if (zlt_cmd_run_file(argc, argv, zlt_cmd_run_help, &file, &control, &code)
        == ZLT_RUN_OVER)
    {
        return code;
    }

    zlt_config_init(&config);

    if (zlt_conf_file_read(&config, file, error) == -1) {
        zlt_log_complain("%s", error);
        zlt_config_free(&config);
        return ZLT_EXIT_USAGE;
    }

    return zlt_process_run(&config, file, control, &zlt_ctl_process);
}


int
zlt_cmd_run_check(int argc, char **argv)
{
    int            code;
    char           error[ZLT_CONF_ERROR_SIZE];
    unsigned       i;
    const char    *file, *control;
    zlt_config_t   config;

    if (zlt_cmd_run_file(argc, argv, zlt_cmd_run_check_help, &file, &control,
                         &code)
        == ZLT_RUN_OVER)
    {
        return code;
    }

    zlt_config_init(&config);

    if (zlt_conf_file_read(&config, file, error) == -1) {
        zlt_log_complain("%s", error);
        zlt_config_free(&config);
        return ZLT_EXIT_USAGE;
    }

    for (i = 0; i < config.nlinks; i++) {
        if (zlt_cmd_run_check_link(config.links[i], error) == -1) {
            zlt_log_complain(strcmp(config.links[i]->name, ZLT_CONF_AGENT) == 0
                             ? "%s: %.0s%s" : "%s: the tunnel \"%s\": %s",
                             file, config.links[i]->name, error);
            zlt_config_free(&config);
            return ZLT_EXIT_USAGE;
        }
    }

    zlt_cmd_run_check_tell(&config, file);
    zlt_config_free(&config);

    return ZLT_EXIT_OK;
}


/* What its files say: 0 or -1. */

static int
zlt_cmd_run_check_link(zlt_conf_t *conf, char *error)
{
    unsigned      i;
    zlt_tls_t    *tls;
    zlt_token_t   token;

    /* the variable is that of whoever runs the agent, not ours */

    if (conf->token_file) {
        if (zlt_token_read(&token, conf->token_file, error) == -1) {
            return -1;
        }

        zlt_token_wipe(&token);
    }

    /* the first server last, as the one that is shown */

    for (i = conf->nservers; i--; /* void */ ) {
        zlt_conf_use(conf, i);

        if (zlt_link_way(conf, &tls, error) == -1) {
            return -1;
        }

        zlt_tls_destroy(tls);
    }

    return 0;
}


static void
zlt_cmd_run_check_tell(const zlt_config_t *config, const char *file)
{
    unsigned                  i;
    const zlt_proxy_t        *via;
    const zlt_tunnel_conf_t  *t;

    if (config->agent.nservers) {
        via = &config->links[0]->via;

        (void) printf("%s: OK, %u services for %s%s%s%s\n", file,
                      config->agent.nservices, config->agent.server,
                      via->kind ? " through " : "",
                      via->kind ? via->name : "",
                      config->agent.nservers == 1 ? ""
                      : config->agent.mode == ZLT_CONF_ALL
                      ? " and others" : ", others in reserve");

    } else {
        (void) printf("%s: OK, %u tunnels\n", file, config->ntunnels);
    }

    for (i = 0; i < config->ntunnels; i++) {
        t = &config->tunnels[i];

        if (zlt_config_begins(config, t)) {
            (void) printf("the tunnel \"%s\" begins here, to %s%s%s\n",
                          t->conf.name, t->to, t->to[0] ? " at " : "",
                          t->conf.server);

        } else if (zlt_config_expects(config, t)) {
            (void) printf("the tunnel \"%s\" is expected from %s\n",
                          t->conf.name, t->from);
        }
    }
}
