
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A command's page: its usage, its options, its examples.  Of those options
 * that are keys of the configuration only the command's bit is told: names,
 * values and help are in the table of keys.
 */


#ifndef ZLT_CMD_PAGE_H_INCLUDED
#define ZLT_CMD_PAGE_H_INCLUDED


#include <getopt.h>

#include "conf.h"


#define ZLT_CMD_PAGE_OPTIONS  64

/* what getopt_long() returns for a key; others are below */
#define ZLT_CMD_PAGE_KEY      1000


/* an option that is no key */

typedef struct {
    const char   *name;
    int           c;           /* what getopt_long() returns */
    const char   *arg;         /* the value's name; NULL: it has none */
    const char   *help;        /* NULL: not shown */
} zlt_cmd_option_t;


typedef struct {
    const char              *usage;        /* "check [-c FILE]" */
    const char              *about;        /* lines; NULL: none */
    const zlt_cmd_option_t  *options;      /* up to one without a name */
    unsigned                 keys;         /* ZLT_KEY_CONNECT, 0: none */
    const char              *end;          /* what stands below the options;
                                              NULL: nothing */
    const char              *examples;     /* lines */
} zlt_cmd_page_t;


/* Prints it. */
void zlt_cmd_page_help(const zlt_cmd_page_t *page);

/* For getopt_long(); "options" has ZLT_CMD_PAGE_OPTIONS places. */
void zlt_cmd_page_options(const zlt_cmd_page_t *page, struct option *options);

/* Takes the value of an option that is a key, 'k' for --insecure: 0, or -1
   after a complaint. */
int zlt_cmd_page_key(zlt_conf_t *conf, int c, const char *value);

/* What the environment says of the page's keys: 0, or -1 after a complaint. */
int zlt_cmd_page_env(const zlt_cmd_page_t *page, zlt_conf_t *conf);


#endif /* ZLT_CMD_PAGE_H_INCLUDED */
