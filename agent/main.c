
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent: the commands, and what holds for all of them. */


#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <sys/prctl.h>

#include "cmd.h"
#include "log.h"
#include "near.h"
#include "out.h"


static int zlt_main_run(int argc, char **argv);
static int zlt_main_is(const char *word, const char *name);
static int zlt_main_command(int argc, char **argv);
static void zlt_main_process(void);
static void zlt_main_help(FILE *out);


/* in the order in which they are met */

static const zlt_cmd_t  zlt_commands[] = {
    { "connect", "publish services, with options on the command line",
      zlt_cmd_connect },
    { "run",     "the same with a configuration file", zlt_cmd_run },
    { "check",   "check a configuration file", zlt_cmd_run_check },
    { "http",    "publish a web server, and tell its URL", zlt_cmd_http },
    { "access",  "reach services that others publish", zlt_cmd_access },
    { "token",   "make a new token", zlt_cmd_token },
    { "init",    "write a first configuration, of the agent or of nginx",
      zlt_cmd_init },
    { "status",  "tell the state of a running agent", zlt_cmd_ctl },
    { "start",   "start one of its tunnels", zlt_cmd_ctl },
    { "stop",    "stop one of its tunnels, or of its access sessions",
      zlt_cmd_ctl },
    { "reload",  "let it read its configuration again", zlt_cmd_ctl },
    { "sessions", "tell its access sessions", zlt_cmd_ctl },
    { "renew",   "renew one of them", zlt_cmd_ctl },
    { "keys",    NULL, zlt_cmd_keys },
    { NULL, NULL, NULL }
};


int
main(int argc, char **argv)
{
    int  code;

    if (zlt_out_open() == -1) {
        /* there may be nowhere to say so */
        return ZLT_EXIT_FAILED;
    }

    zlt_main_process();
    zlt_log_init();

    code = zlt_main_run(argc, argv);

    /* what could not be read may be right, and be read the next time */

    return code == ZLT_EXIT_USAGE && zlt_log_starved() ? ZLT_EXIT_FAILED
                                                       : code;
}


static int
zlt_main_run(int argc, char **argv)
{
    char        *name;
    char        *words[] = { NULL, NULL, NULL };
    static char  run[] = "run", help[] = "--help";

    if (argc < 2) {

        if (zlt_cmd_run_can()) {
            words[0] = run;
            return zlt_cmd_run(1, words);
        }

        zlt_main_help(stderr);
        return ZLT_EXIT_USAGE;
    }

    name = argv[1];

    if (strncmp(name, "-c", 2) == 0 || zlt_main_is(name, "--config")
        || strncmp(name, "--config=", 9) == 0)
    {
        return zlt_cmd_run(argc, argv);
    }

    if (zlt_main_is(name, "help") && argc > 2) {
        words[0] = argv[2];
        words[1] = help;
        return zlt_main_command(2, words);
    }

    if (zlt_main_is(name, "help") || zlt_main_is(name, "--help")
        || zlt_main_is(name, "-h"))
    {
        zlt_main_help(stdout);
        return ZLT_EXIT_OK;
    }

    if (zlt_main_is(name, "version") || zlt_main_is(name, "--version")
        || zlt_main_is(name, "-V") || zlt_main_is(name, "-v"))
    {
        zlt_cmd_version();
        return ZLT_EXIT_OK;
    }

    return zlt_main_command(argc - 1, argv + 1);
}


static int
zlt_main_is(const char *word, const char *name)
{
    return strcmp(word, name) == 0;
}


static int
zlt_main_command(int argc, char **argv)
{
    zlt_near_t        near;
    const zlt_cmd_t  *command;

    zlt_near_init(&near, argv[0]);

    for (command = zlt_commands; command->name; command++) {

        if (zlt_main_is(argv[0], command->name)) {
            return command->run(argc, argv);
        }

        zlt_near_try(&near, command->name);
    }

    if (near.best) {
        zlt_log_complain("there is no command \"%s\"; did you mean \"%s\"?",
                         argv[0], near.best);

    } else {
        zlt_log_complain("there is no command \"%s\"; see --help", argv[0]);
    }

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
                   "Without a COMMAND it is \"run\", if -c names a file, "
                   "or there is one where \"run\"\nlooks for it, or "
                   "ZLTUNNEL_SERVICE is set.  \"zltunnel-agent help "
                   "COMMAND\" tells\nits options.\n\n"
                   "Examples:\n"
                   "  zltunnel-agent init --server wss://tunnel.example.com "
                   "--service web:3000\n"
                   "  zltunnel-agent connect --server "
                   "wss://tunnel.example.com \\\n"
                   "      --token-file token --service 3000\n"
                   "  zltunnel-agent http 3000\n"
                   "  zltunnel-agent run -c /etc/zltunnel/agent.conf\n");
}
