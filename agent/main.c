
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent: the commands, and what holds for all of them. */


#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <sys/prctl.h>

#include "cmd.h"
#include "log.h"
#include "out.h"


static void zlt_main_process(void);
static void zlt_main_help(FILE *out);


static const zlt_cmd_t  zlt_commands[] = {
    { "connect", "connect to a server, options on the command line",
      zlt_cmd_connect },
    { "access",  "reach services that others publish", zlt_cmd_access },
    { "run",     "the same with a configuration file", zlt_cmd_run },
    { "check",   "check a configuration file", zlt_cmd_run_check },
    { "token",   "make a new token", zlt_cmd_token },
    { "status",  "tell the state of a running agent", zlt_cmd_ctl },
    { "start",   "start one of its tunnels", zlt_cmd_ctl },
    { "stop",    "stop one of its tunnels, or of its access sessions",
      zlt_cmd_ctl },
    { "sessions", "tell its access sessions", zlt_cmd_ctl },
    { "renew",   "renew one of them", zlt_cmd_ctl },
    { "reload",  "let it read its configuration again", zlt_cmd_ctl },
    { "keys",    NULL, zlt_cmd_keys },
    { NULL, NULL, NULL }
};


int
main(int argc, char **argv)
{
    const zlt_cmd_t  *command;

    if (zlt_out_open() == -1) {
        /* there may be nowhere to say so */
        return ZLT_EXIT_FAILED;
    }

    zlt_main_process();
    zlt_log_init();

    if (argc < 2) {
        zlt_main_help(stderr);
        return ZLT_EXIT_USAGE;
    }

    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0
        || strcmp(argv[1], "help") == 0)
    {
        zlt_main_help(stdout);
        return ZLT_EXIT_OK;
    }

    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        zlt_cmd_version();
        return ZLT_EXIT_OK;
    }

    for (command = zlt_commands; command->name; command++) {
        if (strcmp(command->name, argv[1]) == 0) {
            return command->run(argc - 1, argv + 1);
        }
    }

    zlt_log_complain("there is no command \"%s\"; see --help", argv[1]);

    return ZLT_EXIT_USAGE;
}


static void
zlt_main_process(void)
{
    struct rlimit  rl;

    /* splice() and OpenSSL write without MSG_NOSIGNAL */

    (void) signal(SIGPIPE, SIG_IGN);

    /* no core with a token in it, and no peeking by processes of the user */
    (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &rl);
    }
}


static void
zlt_main_help(FILE *out)
{
    const zlt_cmd_t  *command;

    (void) fprintf(out, "Usage: zltunnel-agent COMMAND [OPTION]...\n\n"
                   "Publishes local services through nginx with zltunnel."
                   "\n\nCommands:\n");

    for (command = zlt_commands; command->name; command++) {
        if (command->summary) {
            (void) fprintf(out, "  %-10s %s\n", command->name,
                           command->summary);
        }
    }

    (void) fprintf(out, "\n  --help, --version\n\n"
                   "\"zltunnel-agent COMMAND --help\" tells the options.\n");
}
