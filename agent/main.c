
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

#include "command.h"
#include "log.h"
#include "version.h"


static void zlt_main_process(void);
static void zlt_main_help(FILE *out);


static const zlt_command_t  zlt_commands[] = {
    { "connect", "connect to a server, options on the command line",
      zlt_command_connect },
    { "access",  "reach services that others publish", zlt_command_access },
    { "run",     "the same with a configuration file", zlt_command_run },
    { "check",   "check a configuration file", zlt_command_check },
    { "token",   "make a new token", zlt_command_token },
    { "status",  "tell the state of a running agent", zlt_command_status },
    { "start",   "start one of its tunnels", zlt_command_start },
    { "stop",    "stop one of its tunnels, or of its access sessions",
      zlt_command_stop },
    { "sessions", "tell its access sessions", zlt_command_sessions },
    { "renew",   "renew one of them", zlt_command_renew },
    { "reload",  "let it read its configuration again", zlt_command_reload },
    { NULL, NULL, NULL }
};


int
main(int argc, char **argv)
{
    const zlt_command_t  *command;

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
        zlt_command_version();
        return ZLT_EXIT_OK;
    }

    for (command = zlt_commands; command->name; command++) {
        if (strcmp(command->name, argv[1]) == 0) {
            return command->run(argc - 1, argv + 1);
        }
    }

    zlt_complain("there is no command \"%s\"; see --help", argv[1]);

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
    const zlt_command_t  *command;

    (void) fprintf(out, "Usage: zltunnel-agent COMMAND [OPTION]...\n\n"
                   "Publishes local services through nginx with zltunnel."
                   "\n\nCommands:\n");

    for (command = zlt_commands; command->name; command++) {
        (void) fprintf(out, "  %-10s %s\n", command->name, command->summary);
    }

    (void) fprintf(out, "\n  --help, --version\n\n"
                   "\"zltunnel-agent COMMAND --help\" tells the options.\n");
}


void
zlt_command_version(void)
{
    (void) printf("zltunnel-agent " ZLT_AGENT_VERSION "\n");
}


void
zlt_command_option(int c, char **argv)
{
    int          len;
    const char  *option;

    option = argv[optind - 1];
    len = (int) strcspn(option, "=");

    if (option[0] != '-') {
        zlt_complain("\"-%c\" is not an option", optopt);
        return;
    }

    zlt_complain(c == ':' ? "\"%.*s\" needs a value"
                          : "\"%.*s\" is not an option", len, option);
}
