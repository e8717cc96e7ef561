
/*
 * Copyright (C) zltunnel authors
 */

/* A command's options and its help. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd_page.h"
#include "log.h"


#define ZLT_CMD_PAGE_LEFT   28         /* columns */
#define ZLT_CMD_PAGE_WIDTH  80
#define ZLT_CMD_PAGE_NAME   32
#define ZLT_CMD_PAGE_ROW    512


static const char *zlt_cmd_page_name(const zlt_key_t *k, char *buf);
static void zlt_cmd_page_row(const char *name, const char *arg,
    const char *help);
static void zlt_cmd_page_row_key(const zlt_key_t *k);
static int zlt_cmd_page_env_key(zlt_conf_t *conf, const zlt_key_t *k);


void
zlt_cmd_page_help(const zlt_cmd_page_t *page)
{
    const zlt_key_t         *k;
    const zlt_cmd_option_t  *o;

    (void) printf("Usage: zltunnel-agent %s\n\n", page->usage);

    if (page->about) {
        (void) printf("%s\n", page->about);
    }

    for (o = page->options; o->name; o++) {
        if (o->help) {
            zlt_cmd_page_row(o->name, o->arg, o->help);
        }
    }

    for (k = zlt_key_table; k->name; k++) {
        if (k->commands & page->keys) {
            zlt_cmd_page_row_key(k);
        }
    }

    (void) printf("  --help, --version\n");

    if (page->keys) {
        (void) printf("\nT is a time: 500ms, 5s, 2m, 1h, 1d.  Each option from "
                      "--server on is a\nvariable, too: ZLTUNNEL_LOG_LEVEL "
                      "for --log-level.\n");
    }

    if (page->end) {
        (void) printf("\n%s", page->end);
    }

    if (page->examples) {
        (void) printf("\nExamples:\n%s", page->examples);
    }
}


static void
zlt_cmd_page_row_key(const zlt_key_t *k)
{
    char         name[ZLT_CMD_PAGE_NAME], help[ZLT_CMD_PAGE_ROW];
    char         bounds[ZLT_KEY_BOUNDS_SIZE];
    const char  *fallback;

    bounds[0] = '\0';
    fallback = k->fallback ? k->fallback : k->without;

    if (k->form == ZLT_KEY_CHOICE) {
        (void) snprintf(help, sizeof(help), ": %.100s",
                        zlt_key_bounds(k, bounds));
        (void) strcpy(bounds, help);
    }

    if (k->form == ZLT_KEY_BOOL) {
        fallback = NULL;
    }

    (void) snprintf(help, sizeof(help), fallback ? "%s%s (default: %s)"
                                                 : "%s%s",
                    k->help, bounds, fallback);

    zlt_cmd_page_row(zlt_cmd_page_name(k, name), k->arg, help);
}


/* The option's name on the left, the help on the right, wrapped. */

static void
zlt_cmd_page_row(const char *name, const char *arg, const char *help)
{
    int     column;
    size_t  len;

    column = printf("  %s%s%s%s", name[0] == '-' || name[0] == 'N' ? "" : "--",
                    name, arg ? " " : "", arg ? arg : "");

    if (column >= ZLT_CMD_PAGE_LEFT) {
        (void) printf("\n");
        column = 0;
    }

    (void) printf("%*s", ZLT_CMD_PAGE_LEFT - column, "");
    column = ZLT_CMD_PAGE_LEFT;

    while (*help) {
        len = strcspn(help, " ");

        if (column + (int) len >= ZLT_CMD_PAGE_WIDTH) {
            (void) printf("\n%*s", ZLT_CMD_PAGE_LEFT, "");
            column = ZLT_CMD_PAGE_LEFT;
        }

        /* with the blanks behind, but for the end of a line */

        column += printf("%.*s", (int) len, help);
        help += len;
        len = strspn(help, " ");

        if (*help && column + (int) (len + strcspn(help + len, " "))
                     < ZLT_CMD_PAGE_WIDTH)
        {
            column += printf("%.*s", (int) len, help);

        } else if (*help) {
            column = ZLT_CMD_PAGE_WIDTH;
        }

        help += len;
    }

    (void) printf("\n");
}


static const char *
zlt_cmd_page_name(const zlt_key_t *k, char *buf)
{
    char  *p;

    (void) snprintf(buf, ZLT_CMD_PAGE_NAME, "%s", k->name);

    for (p = buf; *p; p++) {
        if (*p == '_') {
            *p = '-';
        }
    }

    return buf;
}


void
zlt_cmd_page_options(const zlt_cmd_page_t *page, struct option *options)
{
    const zlt_key_t         *k;
    const zlt_cmd_option_t  *o;

    /* getopt_long() keeps pointers to them */
    static char  names[ZLT_CMD_PAGE_OPTIONS][ZLT_CMD_PAGE_NAME];

    memset(options, 0, ZLT_CMD_PAGE_OPTIONS * sizeof(struct option));

    for (o = page->options; o->name; o++) {
        options->name = o->name;
        options->has_arg = o->arg == NULL ? no_argument
                           : *o->arg ? required_argument : optional_argument;
        options->val = o->c;
        options++;
    }

    for (k = zlt_key_table; k->name; k++) {
        if (k->commands & page->keys) {
            options->name = zlt_cmd_page_name(k, names[k - zlt_key_table]);
            options->has_arg = (k->form == ZLT_KEY_BOOL) ? no_argument
                                                         : required_argument;
            options->val = ZLT_CMD_PAGE_KEY + (int) (k - zlt_key_table);
            options++;
        }
    }
}


int
zlt_cmd_page_key(zlt_conf_t *conf, int c, const char *value)
{
    char              error[ZLT_CONF_ERROR_SIZE];
    const zlt_key_t  *k;

    k = (c == 'k') ? zlt_key_agent("insecure")
                   : &zlt_key_table[c - ZLT_CMD_PAGE_KEY];

    if (zlt_conf_set(conf, k, k->form == ZLT_KEY_BOOL ? "yes" : value, error)
        == -1)
    {
        zlt_log_complain("%s", error);
        return -1;
    }

    return 0;
}


int
zlt_cmd_page_env(const zlt_cmd_page_t *page, zlt_conf_t *conf)
{
    const zlt_key_t  *k;

    for (k = zlt_key_table; k->name; k++) {
        if ((k->commands & page->keys)
            && zlt_cmd_page_env_key(conf, k) == -1)
        {
            return -1;
        }
    }

    return 0;
}


/* One that is empty says nothing; of a key that may be repeated the values
   have blanks between them, or are a line each. */

static int
zlt_cmd_page_env_key(zlt_conf_t *conf, const zlt_key_t *k)
{
    int          rc;
    char         name[ZLT_KEY_ENV_SIZE], error[ZLT_CONF_ERROR_SIZE];
    char        *copy, *value, *rest;
    const char  *between;
    const char  *env;

    env = getenv(zlt_key_env(k, name));

    if (env == NULL || *env == '\0') {
        return 0;
    }

    copy = strdup(env);

    if (copy == NULL) {
        zlt_log_complain("out of memory");
        return -1;
    }

    rc = 0;

    if (!k->many) {
        rc = zlt_conf_set(conf, k, copy, error);

    } else {
        between = k->many == ZLT_KEY_WORDS ? " \t\n" : "\n";

        for (value = strtok_r(copy, between, &rest); value && rc == 0;
             value = strtok_r(NULL, between, &rest))
        {
            rc = zlt_conf_set(conf, k, value, error);
        }
    }

    if (rc == -1) {
        zlt_log_complain("%s: %s", name, error);
    }

    free(copy);

    return rc;
}
