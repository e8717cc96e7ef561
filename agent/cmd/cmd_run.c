
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent run, and check: with a configuration file. */


#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "cmd_page.h"
#include "cmd_probe.h"
#include "config.h"
#include "ctl.h"
#include "link.h"
#include "log.h"
#include "tls.h"


#define ZLT_CMD_RUN_SYSTEM  "/etc/zltunnel/agent.conf"
#define ZLT_CMD_RUN_USER    "zltunnel/agent.conf"

/* in place of the file's name */
#define ZLT_CMD_RUN_ENV     "the environment"

#define ZLT_CMD_RUN_FILES                                                     \
    "Without -c it is ~/.config/" ZLT_CMD_RUN_USER ", or "                     \
    ZLT_CMD_RUN_SYSTEM "; for\nroot the other way round.  Where there is "  \
    "none, services are in the variable\nZLTUNNEL_SERVICE, as \"connect\" "   \
    "takes it.\n\n"


static int zlt_cmd_run_read(int argc, char **argv,
    const zlt_cmd_page_t *page, const char **file, int *connect,
    zlt_config_t *config, zlt_conf_t *with);
static int zlt_cmd_run_options(int argc, char **argv,
    const zlt_cmd_page_t *page, const char **file, int *connect,
    zlt_conf_t *options);
static int zlt_cmd_run_env(zlt_config_t *config, const zlt_conf_t *with);
static void zlt_cmd_run_which(void);
static int zlt_cmd_run_user(char *file);
static int zlt_cmd_run_check_link(zlt_conf_t *conf, const char *file,
    char *error);
static void zlt_cmd_run_check_tell(const zlt_config_t *config,
    const char *file);


static const zlt_cmd_option_t  zlt_cmd_run_extra[] = {
    { "config", 'c', "FILE",
      "the configuration file, also -c FILE (default: as below)" },
    { "token", 't', "", NULL },
    { "help", 'h', NULL, NULL },
    { "version", 'V', NULL, NULL },
    { NULL, 0, NULL, NULL }
};

static const zlt_cmd_page_t  zlt_cmd_run_page = {
    "run [-c FILE] [OPTION]...",
    NULL,
    zlt_cmd_run_extra,
    ZLT_KEY_RUN,
    ZLT_CMD_RUN_FILES
    "An option stands above the variable, a variable above the key of [agent] "
    "in the\nfile.  SIGHUP reads the file again, SIGTERM ends after the open "
    "connections.\n",
    "  zltunnel-agent run -c agent.conf --log-level debug\n"
    "  ZLTUNNEL_SERVER=wss://tunnel.example.com zltunnel-agent run\n"
};

static const zlt_cmd_option_t  zlt_cmd_run_check_extra[] = {
    { "config", 'c', "FILE",
      "the configuration file, also -c FILE (default: as below)" },
    { "connect", 'C', NULL,
      "try the way to each server, without a tunnel, step by step" },
    { "token", 't', "", NULL },
    { "help", 'h', NULL, NULL },
    { "version", 'V', NULL, NULL },
    { NULL, 0, NULL, NULL }
};

static const zlt_cmd_page_t  zlt_cmd_run_check_page = {
    "check [-c FILE] [--connect] [OPTION]...",
    "  OPTION                    of \"run\", and variables: as they count "
    "there",
    zlt_cmd_run_check_extra,
    0,
    ZLT_CMD_RUN_FILES
    "Exit code: 0 if it is all right, 2 if the file is not, 1 if a step to a "
    "server\nhas failed.\n",
    "  zltunnel-agent check -c agent.conf\n"
    "  zltunnel-agent check --connect\n"
};

/* what "check" takes, of which it does not tell all */

static const zlt_cmd_page_t  zlt_cmd_run_check_list = {
    NULL, NULL, zlt_cmd_run_check_extra, ZLT_KEY_RUN, NULL, NULL
};


/* -1, or the exit code if that is all. */

static int
zlt_cmd_run_read(int argc, char **argv, const zlt_cmd_page_t *page,
    const char **file, int *connect, zlt_config_t *config, zlt_conf_t *with)
{
    int         code;
    char        error[ZLT_CONF_ERROR_SIZE];
    zlt_conf_t  options;

    zlt_conf_init(&options);

    code = zlt_cmd_run_options(argc, argv, page, file, connect, &options);

    if (code == -1 && zlt_cmd_page_env(&zlt_cmd_run_page, with) == -1) {
        code = ZLT_EXIT_USAGE;
    }

    if (code == -1 && zlt_conf_override(with, &options) == -1) {
        zlt_log_complain("out of memory");
        code = ZLT_EXIT_FAILED;
    }

    zlt_conf_free(&options);

    if (code != -1) {
        return code;
    }

    if (*file == NULL && !zlt_cmd_connect_has_env()) {
        zlt_cmd_run_which();
        return ZLT_EXIT_USAGE;
    }

    if (*file == NULL) {
        return zlt_cmd_run_env(config, with);
    }

    if (zlt_conf_file_read(config, *file, with, error) == -1) {
        zlt_log_complain("%s", error);
        return ZLT_EXIT_USAGE;
    }

    return -1;
}


/* What the file would say is in the environment and in options: -1, or the
   exit code after a complaint. */

static int
zlt_cmd_run_env(zlt_config_t *config, const zlt_conf_t *with)
{
    char  error[ZLT_CONF_ERROR_SIZE];

    if (zlt_cmd_connect_env(&config->agent) == -1) {
        return ZLT_EXIT_USAGE;
    }

    if (zlt_conf_override(&config->agent, with) == -1) {
        zlt_log_complain("out of memory");
        return ZLT_EXIT_FAILED;
    }

    if (zlt_conf_check(&config->agent, error) == -1) {
        zlt_log_complain("%s", error);
        return ZLT_EXIT_USAGE;
    }

    if (zlt_config_links(config) == -1) {
        zlt_log_complain("out of memory");
        return ZLT_EXIT_FAILED;
    }

    return -1;
}


static int
zlt_cmd_run_options(int argc, char **argv, const zlt_cmd_page_t *page,
    const char **file, int *connect, zlt_conf_t *options)
{
    int            c, code;
    struct option  list[ZLT_CMD_PAGE_OPTIONS];

    *file = NULL;
    *connect = 0;

    if (zlt_cmd_options(argc, argv, page == &zlt_cmd_run_page
                                    ? page : &zlt_cmd_run_check_list, list)
        == -1)
    {
        return ZLT_EXIT_USAGE;
    }

    while ((c = getopt_long(argc, argv, ":c:hVk", list, NULL)) != -1) {

        code = zlt_cmd_common(c, argv, page, list);

        if (code != -1) {
            return code;
        }

        switch (c) {

        case 'c':
            *file = optarg;
            break;

        case 'C':
            *connect = 1;
            break;

        default:
            if (zlt_cmd_page_key(options, c, optarg) == -1) {
                return ZLT_EXIT_USAGE;
            }
        }
    }

    if (optind < argc) {
        zlt_log_complain("\"%s\" is not an option; is it the file?  -c %s",
                         argv[optind], argv[optind]);
        return ZLT_EXIT_USAGE;
    }

    if (*file == NULL) {
        *file = zlt_cmd_run_file();
    }

    return -1;
}


const char *
zlt_cmd_run_file(void)
{
    int          i, user;
    const char  *files[2];

    static char  own[PATH_MAX];

    user = zlt_cmd_run_user(own);

    files[0] = ZLT_CMD_RUN_SYSTEM;
    files[1] = user ? own : NULL;

    if (geteuid() != 0) {
        files[0] = files[1];
        files[1] = ZLT_CMD_RUN_SYSTEM;
    }

    /* one that is there counts, even if it cannot be read */

    for (i = 0; i < 2; i++) {
        if (files[i] && access(files[i], F_OK) == 0) {
            return files[i];
        }
    }

    return NULL;
}


static void
zlt_cmd_run_which(void)
{
    int   user;
    char  own[PATH_MAX];

    user = zlt_cmd_run_user(own);

    zlt_log_complain("which file?  There is neither %s nor %s; -c FILE, or "
                     "ZLTUNNEL_SERVER and ZLTUNNEL_SERVICE without one",
                     ZLT_CMD_RUN_SYSTEM,
                     user ? own : "one of the user's, whose HOME is not set");
}


/* 0 if there is no place for it; file has PATH_MAX bytes. */

static int
zlt_cmd_run_user(char *file)
{
    int          n;
    const char  *dir;

    dir = getenv("XDG_CONFIG_HOME");

    if (dir && *dir == '/') {
        n = snprintf(file, PATH_MAX, "%s/" ZLT_CMD_RUN_USER, dir);

    } else {
        dir = getenv("HOME");

        if (dir == NULL || *dir == '\0') {
            return 0;
        }

        n = snprintf(file, PATH_MAX, "%s/.config/" ZLT_CMD_RUN_USER, dir);
    }

    return n < PATH_MAX;
}


int
zlt_cmd_run_can(void)
{
    return zlt_cmd_run_file() || zlt_cmd_connect_has_env();
}


int
zlt_cmd_run(int argc, char **argv)
{
    int            code, connect;
    zlt_conf_t     with;
    const char    *file;
    zlt_config_t   config;

    zlt_conf_init(&with);
    zlt_config_init(&config);

    code = zlt_cmd_run_read(argc, argv, &zlt_cmd_run_page, &file, &connect,
                            &config, &with);

    if (code == -1) {
        code = zlt_process_run(&config, file, &with, &zlt_ctl_process);

    } else {
        zlt_config_free(&config);
    }

    zlt_conf_free(&with);

    return code;
}


int
zlt_cmd_run_check(int argc, char **argv)
{
    int            code, connect;
    char           error[ZLT_CONF_ERROR_SIZE];
    unsigned       i;
    zlt_conf_t     with;
    const char    *file;
    zlt_config_t   config;

    zlt_conf_init(&with);
    zlt_config_init(&config);

    code = zlt_cmd_run_read(argc, argv, &zlt_cmd_run_check_page, &file,
                            &connect, &config, &with);

    if (file == NULL) {
        file = ZLT_CMD_RUN_ENV;
    }

    for (i = 0; i < config.nlinks && code == -1; i++) {

        if (zlt_cmd_run_check_link(config.links[i], file, error) == -1) {
            zlt_log_complain(strcmp(config.links[i]->name, ZLT_CONF_AGENT) == 0
                             ? "%s: %.0s%s" : "%s: the tunnel \"%s\": %s",
                             file, config.links[i]->name, error);
            code = ZLT_EXIT_USAGE;
        }
    }

    if (code == -1) {
        zlt_cmd_run_check_tell(&config, file);
        code = connect ? zlt_cmd_probe(&config) : ZLT_EXIT_OK;
    }

    zlt_config_free(&config);
    zlt_conf_free(&with);

    return code;
}


/* What its files say: 0 or -1. */

static int
zlt_cmd_run_check_link(zlt_conf_t *conf, const char *file, char *error)
{
    unsigned      i;
    zlt_tls_t    *tls;
    zlt_token_t   token;

    /* the variable is that of whoever runs the agent, not ours */

    if (conf->token_file) {
        if (zlt_token_read(&token, conf->token_file, error) == -1) {
            return -1;
        }

        if (zlt_token_is_hash(&token)) {
            zlt_log_complain("%s: warning: the 64 digits in %s look like the "
                             "hash of a token, which is for the server", file,
                             conf->token_file);
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

        (void) printf("%s: OK, %u service%s for %s%s%s%s\n", file,
                      config->agent.nservices,
                      config->agent.nservices == 1 ? "" : "s",
                      config->agent.server,
                      via->kind ? " through " : "",
                      via->kind ? via->name : "",
                      config->agent.nservers == 1 ? ""
                      : config->agent.mode == ZLT_CONF_ALL
                      ? " and others" : ", others in reserve");

    } else {
        (void) printf("%s: OK, %u tunnel%s\n", file, config->ntunnels,
                      config->ntunnels == 1 ? "" : "s");
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
