
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel-agent keys: the table of keys for programs, which make the manual
 * and the completion of shells from it.  A line for each section of a key,
 * with tabs between
 *
 *     section, key, commands, variable, value's name, form, choices, bounds,
 *     default, default in words, 1 if it may be repeated, what a reload does,
 *     help
 */


#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "conf.h"
#include "log.h"


static void zlt_cmd_keys_line(const zlt_key_t *k, unsigned section);
static const char *zlt_cmd_keys_text(const char *text);


int
zlt_cmd_keys(int argc, char **argv)
{
    unsigned          section;
    const zlt_key_t  *k;

    if (argc > 1) {
        zlt_log_complain("\"%s\" is not an option", argv[1]);
        return ZLT_EXIT_USAGE;
    }

    for (k = zlt_key_table; k->name; k++) {
        for (section = 1; section <= ZLT_KEY_NODES; section <<= 1) {
            if (k->sections & section) {
                zlt_cmd_keys_line(k, section);
            }
        }
    }

    return fflush(stdout) == 0 ? ZLT_EXIT_OK : ZLT_EXIT_FAILED;
}


static void
zlt_cmd_keys_line(const zlt_key_t *k, unsigned section)
{
    char      env[ZLT_KEY_ENV_SIZE], bounds[ZLT_KEY_BOUNDS_SIZE];
    unsigned  commands;

    static const char *const  forms[] = {
        "string", "path", "time", "time", "number", "port", "bool", "bool",
        "choice", "text"
    };

    commands = (section == ZLT_KEY_AGENT) ? k->commands : 0;

    (void) printf("%s\t%s\t%s%s%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
                  zlt_key_section(section), k->name,
                  commands & ZLT_KEY_CONNECT ? "connect " : "",
                  commands & ZLT_KEY_VISIT ? "access " : "",
                  commands & ZLT_KEY_RUN ? "run" : "",
                  commands ? zlt_key_env(k, env) : "",
                  zlt_cmd_keys_text(k->arg), forms[k->form],
                  zlt_cmd_keys_text(k->choices),
                  zlt_cmd_keys_text(zlt_key_bounds(k, bounds)),
                  zlt_cmd_keys_text(k->fallback),
                  zlt_cmd_keys_text(k->without), (int) k->many,
                  zlt_key_effect(k), k->help);
}


static const char *
zlt_cmd_keys_text(const char *text)
{
    return text ? text : "";
}
