
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent status, start, stop, reload: what a running agent is asked. */


#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "ctl_client.h"
#include "log.h"


typedef struct {
    const char  *name;
    const char  *usage;
    const char  *help;
    int          least;        /* arguments */
    int          most;
    int          json;         /* has --json */
    int          ttl;          /* has --ttl */
} zlt_cmd_ctl_usage_t;


static int zlt_cmd_ctl_run(int argc, char **argv,
    const zlt_cmd_ctl_usage_t *u);


static const zlt_cmd_ctl_usage_t  zlt_cmd_ctl_usages[] = {
    { "status", "status [NAME] [--json]",
      "The state of the running agent's tunnels.", 0, 1, 1, 0 },

    { "start", "start NAME",
      "Starts a tunnel that was stopped.", 1, 1, 0, 0 },

    { "stop", "stop NAME|ID",
      "Stops an access session, of which \"sessions\" tells the ID, at once.\n"
      "Stops a tunnel: its ports close, connections that run are finished, "
      "for\n"
      "shutdown_timeout.  It stays stopped until it is started, or the agent "
      "is.", 1, 1, 0, 0 },

    { "reload", "reload",
      "Reads the configuration again, as SIGHUP does, and tells what is wrong "
      "with it.", 0, 0, 0, 0 },

    { "sessions", "sessions [--json]",
      "The access sessions of the running agent.", 0, 0, 1, 0 },

    { "renew", "renew ID [--ttl T]",
      "Renews an access session: it ends so long from now, or after the time "
      "that it\nwas opened for.  The first 8 digits of its ID are enough.",
      1, 1, 0, 1 },

    { NULL, NULL, NULL, 0, 0, 0, 0 }
};


static const struct option  zlt_cmd_ctl_options[] = {
    { "json",    no_argument,       NULL, 'j' },
    { "ttl",     required_argument, NULL, 'T' },
    { "control", required_argument, NULL, 's' },
    { "help",    no_argument,       NULL, 'h' },
    { "version", no_argument,       NULL, 'V' },
    { NULL, 0, NULL, 0 }
};


int
zlt_cmd_ctl(int argc, char **argv)
{
    const zlt_cmd_ctl_usage_t  *u;

    for (u = zlt_cmd_ctl_usages; u->name; u++) {
        if (strcmp(u->name, argv[0]) == 0) {
            return zlt_cmd_ctl_run(argc, argv, u);
        }
    }

    return ZLT_EXIT_USAGE;
}


static int
zlt_cmd_ctl_run(int argc, char **argv, const zlt_cmd_ctl_usage_t *u)
{
    int          c, rc, json;
    unsigned     n;
    zlt_text_t   text;
    const char  *path, *ttl, *words[ZLT_CTL_WORDS];

    path = NULL;
    ttl = NULL;
    json = 0;
    opterr = 0;

    while ((c = getopt_long(argc, argv, ":hV", zlt_cmd_ctl_options, NULL))
           != -1)
    {

        if (c == 'h') {
            (void) printf("Usage: zltunnel-agent %s [--control PATH]\n\n"
                          "%s\n\n"
                          "  --control PATH            the agent's control "
                          "socket\n%s"
                          "  --help, --version\n", u->usage, u->help,
                          u->json ? "  --json                    for "
                                    "machines\n" : "");
            return ZLT_EXIT_OK;
        }

        if (c == 'V') {
            zlt_cmd_version();
            return ZLT_EXIT_OK;
        }

        if (c == 's') {
            path = optarg;

        } else if (c == 'T' && u->ttl
                   && optarg[0] && !strpbrk(optarg, " \t\r\n"))
        {
            ttl = optarg;

        } else if (c == 'T') {
            zlt_log_complain(u->ttl
                             ? "--ttl \"%s\" is not a time"
                             : "--ttl \"%s\": only \"renew\" has it", optarg);
            return ZLT_EXIT_USAGE;

        } else if (c == 'j' && u->json) {
            json = 1;

        } else if (c == 'j') {
            zlt_log_complain("\"%s\" has no --json", u->name);
            return ZLT_EXIT_USAGE;

        } else {
            zlt_cmd_option(c, argv);
            return ZLT_EXIT_USAGE;
        }
    }

    if (path == NULL) {
        path = getenv("ZLTUNNEL_CONTROL");
        path = path && *path ? path : NULL;
    }

    if (argc - optind < u->least || argc - optind > u->most) {
        zlt_log_complain("usage: zltunnel-agent %s", u->usage);
        return ZLT_EXIT_USAGE;
    }

    n = 0;
    words[n++] = u->name;

    if (u->json) {
        words[n++] = json ? "json" : "text";
    }

    while (optind < argc) {

        if (argv[optind][0] == '\0' || strpbrk(argv[optind], " \t\r\n")) {
            zlt_log_complain("\"%s\" is not a name", argv[optind]);
            return ZLT_EXIT_USAGE;
        }

        words[n++] = argv[optind++];
    }

    if (ttl) {
        words[n++] = ttl;
    }

    memset(&text, 0, sizeof(zlt_text_t));

    rc = zlt_ctl_client_call(path, words, n, &text);

    if (rc == ZLT_EXIT_OK && text.len) {
        (void) fwrite(text.data, 1, text.len, stdout);
    }

    zlt_text_free(&text);

    return rc;
}
