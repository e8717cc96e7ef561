
/*
 * Copyright (C) zltunnel authors
 */

/* What the commands have in common. */


#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "ctl.h"
#include "log.h"
#include "near.h"
#include "token.h"
#include "version.h"


static void zlt_cmd_foreign(int c, char **argv, const struct option *options);
static int zlt_cmd_dashes(int argc, char **argv,
    const struct option *options);


void
zlt_cmd_version(void)
{
    (void) printf("zltunnel-agent " ZLT_AGENT_VERSION "\n");
}


int
zlt_cmd_options(int argc, char **argv, const zlt_cmd_page_t *page,
    struct option *options)
{
    opterr = 0;

    zlt_cmd_page_options(page, options);

    return zlt_cmd_dashes(argc, argv, options);
}


static int
zlt_cmd_dashes(int argc, char **argv, const struct option *options)
{
    int                   i;
    size_t                len;
    const struct option  *o;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {

        if (argv[i][0] != '-' || argv[i][1] == '-') {
            continue;
        }

        len = strcspn(argv[i] + 1, "=");

        for (o = options; o->name; o++) {
            if (len > 1 && strlen(o->name) == len
                && memcmp(o->name, argv[i] + 1, len) == 0)
            {
                zlt_log_complain("\"-%s\" is written with two dashes: "
                                 "\"--%s\"", o->name, o->name);
                return -1;
            }
        }
    }

    return 0;
}


int
zlt_cmd_common(int c, char **argv, const zlt_cmd_page_t *page,
    const struct option *options)
{
    switch (c) {

    case 'h':
        zlt_cmd_page_help(page);
        return ZLT_EXIT_OK;

    case 'V':
        zlt_cmd_version();
        return ZLT_EXIT_OK;

    case 't':
        zlt_log_complain("there is no --token, since every user of this "
                         "machine could see it: use --token-file, or "
                         ZLT_TOKEN_ENV);
        return ZLT_EXIT_USAGE;

    case '?':
    case ':':
        zlt_cmd_foreign(c, argv, options);
        return ZLT_EXIT_USAGE;

    default:
        return -1;
    }
}


static void
zlt_cmd_foreign(int c, char **argv, const struct option *options)
{
    int          len;
    char         name[32];
    zlt_near_t   near;
    const char  *option;

    option = argv[optind - 1];
    len = (int) strcspn(option, "=");

    if (option[0] != '-') {
        zlt_log_complain("\"-%c\" is not an option", optopt);
        return;
    }

    if (c == ':') {
        zlt_log_complain("\"%.*s\" needs a value", len, option);
        return;
    }

    if (option[1] == '-' && optopt) {
        zlt_log_complain("\"%.*s\" takes no value", len, option);
        return;
    }

    (void) snprintf(name, sizeof(name), "%.*s", len, option);
    zlt_near_init(&near, name + strspn(name, "-"));

    for ( /* void */ ; options->name; options++) {
        zlt_near_try(&near, options->name);
    }

    if (near.best) {
        zlt_log_complain("\"%.*s\" is not an option; did you mean \"--%s\"?",
                         len, option, near.best);

    } else {
        zlt_log_complain("\"%.*s\" is not an option", len, option);
    }
}


int
zlt_cmd_process(const char *name, zlt_config_t *config, int rc, int code)
{
    if (rc == -1) {
        (void) fprintf(stderr, "\"zltunnel-agent %s --help\" tells the "
                       "options\n", name);
        code = ZLT_EXIT_USAGE;

    } else if (code == -1 && zlt_config_links(config) == -1) {
        zlt_log_complain("out of memory");
        code = ZLT_EXIT_FAILED;
    }

    if (code != -1) {
        zlt_config_free(config);
        return code;
    }

    return zlt_process_run(config, NULL, NULL, &zlt_ctl_process);
}


int
zlt_cmd_rest(int argc, char **argv)
{
    if (optind == argc) {
        return 0;
    }

    zlt_log_complain("\"%s\" is not an option", argv[optind]);

    return -1;
}


void
zlt_cmd_unit(const char *option, const char *value)
{
    if (value[strspn(value, "0123456789")] == '\0'
        && value[strspn(value, "0")] != '\0')
    {
        zlt_log_complain("--%s %s is taken for %s s; a time has a unit: 90s, "
                         "30m, 8h, 1d", option, value, value);
    }
}
