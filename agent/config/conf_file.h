
/*
 * Copyright (C) zltunnel authors
 */

/* Private to conf_*.c: a configuration file that is being read. */


#ifndef ZLT_CONF_FILE_H_INCLUDED
#define ZLT_CONF_FILE_H_INCLUDED


#include <stdio.h>
#include <sys/types.h>

#include "config.h"
#include "key.h"
#include "types.h"


#define ZLT_CONF_SECTION_MAX  (8 + ZLT_MAX_NAME)   /* "service NAME" */


typedef struct zlt_conf_file_s     zlt_conf_file_t;
typedef struct zlt_conf_section_s  zlt_conf_section_t;


/*
 * A kind of section.  begin and end return 0, or -1 after zlt_conf_file_fail().
 */

struct zlt_conf_section_s {
    const char   *name;
    unsigned      named:1;     /* [service NAME] */
    unsigned      bit;         /* of its keys, ZLT_KEY_* */
    int         (*begin)(zlt_conf_file_t *f, const char *name);
    int         (*end)(zlt_conf_file_t *f);
};


/* one of the files */

typedef struct {
    char                       *name;
    unsigned                    depth;     /* of "include", 0: the first */
    dev_t                       dev;
    ino_t                       ino;
} zlt_conf_include_t;


struct zlt_conf_file_s {
    zlt_config_t               *config;
    char                       *error;
    unsigned                    failed:1;

    zlt_conf_include_t         *files;     /* as they are read */
    unsigned                    nfiles;
    unsigned                    agent;     /* the one with [agent] */
    zlt_conf_place_t            at;        /* where the reader is */

    /* of the section */
    const zlt_conf_section_t   *kind;      /* NULL: before the first */
    char                        section[ZLT_CONF_SECTION_MAX + 1];
    zlt_conf_place_t            section_at;
    uint64_t                    keys;      /* that were there, a bit each */
    unsigned                    seen;      /* kinds, a bit each */

    zlt_service_conf_t          service;
    zlt_access_conf_t           access;
};


/* conf_file.c */

/* "file:line: text"; the first complaint counts.  Returns -1. */
int zlt_conf_file_fail(zlt_conf_file_t *f, zlt_conf_place_t at,
    const char *fmt, ...) zlt_printf_like(3, 4);


#endif /* ZLT_CONF_FILE_H_INCLUDED */
