
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent status, start, stop, reload: what a running agent is asked. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "cmd_page.h"
#include "cmd_ready.h"
#include "ctl_client.h"
#include "log.h"
#include "parse.h"


typedef struct {
    const char      *name;
    int              least;        /* arguments */
    int              most;
    int              json;         /* has --json */
    int              ttl;          /* has --ttl */
    zlt_cmd_page_t   page;
} zlt_cmd_ctl_usage_t;


static int zlt_cmd_ctl_run(int argc, char **argv,
    const zlt_cmd_ctl_usage_t *u);


#define ZLT_CMD_CTL_COMMON                                                    \
    { "control", 's', "PATH", "the agent's control socket" },                 \
    { "help", 'h', NULL, NULL },                                              \
    { "version", 'V', NULL, NULL },                                           \
    { NULL, 0, NULL, NULL }

/* what a command has not is taken, and refused by name */

static const zlt_cmd_option_t  zlt_cmd_ctl_plain[] = {
    { "json", 'j', NULL, NULL },
    { "ttl", 'T', "T", NULL },
    ZLT_CMD_CTL_COMMON
};

static const zlt_cmd_option_t  zlt_cmd_ctl_json[] = {
    { "json", 'j', NULL, "for machines" },
    { "ttl", 'T', "T", NULL },
    ZLT_CMD_CTL_COMMON
};

static const zlt_cmd_option_t  zlt_cmd_ctl_status[] = {
    { "json", 'j', NULL, "for machines" },
    { "ready", 'r', NULL,
      "exits with 0 if the tunnels are connected and the services registered "
      "and not down, or that one; with 1 if not, and says what is not" },
    { "wait", 'w', "T", "of --ready: so long at most, until it is" },
    { "ttl", 'T', "T", NULL },
    ZLT_CMD_CTL_COMMON
};

static const zlt_cmd_option_t  zlt_cmd_ctl_ttl[] = {
    { "json", 'j', NULL, NULL },
    { "ttl", 'T', "T", "how long from now" },
    ZLT_CMD_CTL_COMMON
};


static const zlt_cmd_ctl_usage_t  zlt_cmd_ctl_usages[] = {
    { "status", 0, 1, 1, 0,
      { "status [NAME] [--json|--ready [--wait T]] [--control PATH]",
        "The state of the running agent's tunnels.\n",
        zlt_cmd_ctl_status, 0, NULL,
        "  zltunnel-agent status\n"
        "  zltunnel-agent status agent --json\n"
        "  zltunnel-agent status web --ready --wait 30s\n" } },

    { "start", 1, 1, 0, 0,
      { "start NAME [--control PATH]",
        "Starts a tunnel that was stopped.\n",
        zlt_cmd_ctl_plain, 0, NULL,
        "  zltunnel-agent start agent\n" } },

    { "stop", 1, 1, 0, 0,
      { "stop NAME|ID [--control PATH]",
        "Stops an access session, of which \"sessions\" tells the ID, at "
        "once.\n"
        "Stops a tunnel: its ports close, connections that run are finished, "
        "for\n"
        "shutdown_timeout.  It stays stopped until it is started, or the "
        "agent is.\n",
        zlt_cmd_ctl_plain, 0, NULL,
        "  zltunnel-agent stop agent\n" } },

    { "reload", 0, 0, 0, 0,
      { "reload [--control PATH]",
        "Reads the configuration again, as SIGHUP does, and tells what is "
        "wrong with it.\n",
        zlt_cmd_ctl_plain, 0, NULL,
        "  zltunnel-agent check -c FILE && zltunnel-agent reload\n" } },

    { "sessions", 0, 0, 1, 0,
      { "sessions [--json] [--control PATH]",
        "The access sessions of the running agent.\n",
        zlt_cmd_ctl_json, 0, NULL,
        "  zltunnel-agent sessions\n" } },

    { "renew", 1, 1, 0, 1,
      { "renew ID [--ttl T] [--control PATH]",
        "Renews an access session: it ends so long from now, or after the "
        "time that it\nwas opened for.  The first 8 digits of its ID are "
        "enough.\n",
        zlt_cmd_ctl_ttl, 0, NULL,
        "  zltunnel-agent renew 0123abcd --ttl 2h\n" } },

    { NULL, 0, 0, 0, 0, { NULL, NULL, NULL, 0, NULL, NULL } }
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
    int             c, rc, code, json, ready;
    uint32_t        wait;
    unsigned        n;
    zlt_text_t      text;
    const char     *path, *ttl, *words[ZLT_CTL_WORDS];
    struct option   options[ZLT_CMD_PAGE_OPTIONS];

    path = NULL;
    ttl = NULL;
    json = 0;
    ready = 0;
    wait = 0;

    if (zlt_cmd_options(argc, argv, &u->page, options) == -1) {
        return ZLT_EXIT_USAGE;
    }

    while ((c = getopt_long(argc, argv, ":hV", options, NULL)) != -1) {

        code = zlt_cmd_common(c, argv, &u->page, options);

        if (code != -1) {
            return code;
        }

        if (c == 's') {
            path = optarg;

        } else if (c == 'r') {
            ready = 1;

        } else if (c == 'w') {
            if (zlt_parse_time(optarg, &wait) == -1 || wait == 0) {
                zlt_log_complain("--wait \"%s\" is not a time like 30s or 2m",
                                 optarg);
                return ZLT_EXIT_USAGE;
            }

        } else if (c == 'T' && u->ttl
                   && optarg[0] && !strpbrk(optarg, " \t\r\n"))
        {
            ttl = optarg;
            zlt_cmd_unit("ttl", ttl);

        } else if (c == 'T') {
            zlt_log_complain(u->ttl
                             ? "--ttl \"%s\" is not a time"
                             : "--ttl \"%s\": only \"renew\" has it", optarg);
            return ZLT_EXIT_USAGE;

        } else if (u->json) {
            json = 1;

        } else {
            zlt_log_complain("\"%s\" has no --json", u->name);
            return ZLT_EXIT_USAGE;
        }
    }

    if (path == NULL) {
        path = getenv("ZLTUNNEL_CONTROL");
        path = path && *path ? path : NULL;
    }

    if (argc - optind < u->least || argc - optind > u->most) {
        zlt_log_complain("usage: zltunnel-agent %s", u->page.usage);
        return ZLT_EXIT_USAGE;
    }

    if ((json && ready) || (wait && !ready)) {
        zlt_log_complain(wait && !ready ? "--wait needs --ready"
                         : "--ready prints nothing that --json could be of");
        return ZLT_EXIT_USAGE;
    }

    n = 0;
    words[n++] = u->name;

    if (u->json) {
        words[n++] = json ? "json" : ready ? "ready" : "text";
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

    if (ready) {
        return zlt_cmd_ready(path, words, n, wait);
    }

    memset(&text, 0, sizeof(zlt_text_t));

    rc = zlt_ctl_client_call(path, words, n, &text);

    if (rc == ZLT_EXIT_OK && text.len) {
        (void) fwrite(text.data, 1, text.len, stdout);
    }

    zlt_text_free(&text);

    return rc;
}
