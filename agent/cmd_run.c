
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent run, and check: with a configuration file. */


#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "command.h"


/* what zlt_run_file() returns if the command is over */
#define ZLT_RUN_OVER  0
#define ZLT_RUN_GO    1


static int zlt_run_file(int argc, char **argv, const char *help,
    const char **file, int *code);


static const char  zlt_run_help[] =
    "Usage: zltunnel-agent run -c FILE\n"
    "\n"
    "  -c, --config FILE         the configuration file\n"
    "  --help, --version\n"
    "\n"
    "SIGHUP reads the file again, SIGTERM ends after the open connections.\n";

static const char  zlt_check_help[] =
    "Usage: zltunnel-agent check -c FILE\n"
    "\n"
    "  -c, --config FILE         the configuration file\n"
    "  --help, --version\n"
    "\n"
    "Exit code: 0 if it is all right, 2 if it is not.\n";


static const struct option  zlt_run_options[] = {
    { "config",  required_argument, NULL, 'c' },
    { "help",    no_argument,       NULL, 'h' },
    { "version", no_argument,       NULL, 'V' },
    { NULL, 0, NULL, 0 }
};


static int
zlt_run_file(int argc, char **argv, const char *help, const char **file,
    int *code)
{
    int  c;

    *file = NULL;
    *code = ZLT_EXIT_OK;

    opterr = 0;

    while ((c = getopt_long(argc, argv, ":c:hV", zlt_run_options, NULL)) != -1)
    {
        switch (c) {

        case 'c':
            *file = optarg;
            break;

        case 'h':
            (void) fputs(help, stdout);
            return ZLT_RUN_OVER;

        case 'V':
            zlt_command_version();
            return ZLT_RUN_OVER;

        default:
            zlt_command_option(c, argv);
            *code = ZLT_EXIT_USAGE;
            return ZLT_RUN_OVER;
        }
    }

    if (optind < argc) {
        zlt_complain("\"%s\" is not an option", argv[optind]);
        *code = ZLT_EXIT_USAGE;
        return ZLT_RUN_OVER;
    }

    if (*file == NULL) {
        zlt_complain("which file? -c FILE");
        *code = ZLT_EXIT_USAGE;
        return ZLT_RUN_OVER;
    }

    return ZLT_RUN_GO;
}


int
zlt_command_run(int argc, char **argv)
{
    int          code;
    char         error[ZLT_CONF_ERROR_SIZE];
    const char  *file;
    zlt_conf_t   conf;

    if (zlt_run_file(argc, argv, zlt_run_help, &file, &code) == ZLT_RUN_OVER) {
        return code;
    }

    zlt_conf_init(&conf);

    if (zlt_conf_read(&conf, file, error) == -1) {
        zlt_complain("%s", error);
        zlt_conf_free(&conf);
        return ZLT_EXIT_USAGE;
    }

    return zlt_agent_run(&conf, file);
}


int
zlt_command_check(int argc, char **argv)
{
    int           code;
    char          error[ZLT_CONF_ERROR_SIZE];
    const char   *file;
    zlt_tls_t    *tls;
    zlt_conf_t    conf;
    zlt_token_t   token;

    if (zlt_run_file(argc, argv, zlt_check_help, &file, &code)
        == ZLT_RUN_OVER)
    {
        return code;
    }

    zlt_conf_init(&conf);

    if (zlt_conf_read(&conf, file, error) == -1) {
        zlt_complain("%s", error);
        zlt_conf_free(&conf);
        return ZLT_EXIT_USAGE;
    }

    /* the variable is that of whoever runs the agent, not ours */

    if (conf.token_file
        && zlt_token_read(&token, conf.token_file, error) == -1)
    {
        zlt_complain("%s: %s", file, error);
        zlt_conf_free(&conf);
        return ZLT_EXIT_USAGE;
    }

    zlt_token_wipe(&token);

    if (zlt_via_choose(&conf.via, &conf.url, conf.proxy, conf.proxy_file,
                       error)
        == -1)
    {
        zlt_complain("%s: %s", file, error);
        zlt_conf_free(&conf);
        return ZLT_EXIT_USAGE;
    }

    if (conf.url.tls) {
        tls = zlt_tls_create(&conf, error);

        if (tls == NULL) {
            zlt_complain("%s: %s", file, error);
            zlt_conf_free(&conf);
            return ZLT_EXIT_USAGE;
        }

        zlt_tls_destroy(tls);
    }

    (void) printf("%s: OK, %u services for %s%s%s\n", file, conf.nservices,
                  conf.server, conf.via.kind ? " through " : "",
                  conf.via.kind ? conf.via.name : "");

    zlt_conf_free(&conf);

    return ZLT_EXIT_OK;
}
