
/*
 * Copyright (C) zltunnel authors
 */

/* Private to conf_*.c: a configuration file that is being read. */


#ifndef ZLT_CONF_FILE_H_INCLUDED
#define ZLT_CONF_FILE_H_INCLUDED


#include <stdio.h>

#include "config.h"
#include "types.h"


#define ZLT_CONF_SECTION_MAX  (8 + ZLT_MAX_NAME)   /* "service NAME" */
#define ZLT_CONF_KEYS_MAX     40


typedef struct zlt_conf_file_s     zlt_conf_file_t;
typedef struct zlt_conf_section_s  zlt_conf_section_t;


/*
 * A kind of section.  begin and end return 0, or -1 after zlt_conf_file_fail();
 * key returns 0, or -1 with a text in error.
 */

struct zlt_conf_section_s {
    const char   *name;
    unsigned      named:1;     /* [service NAME] */
    int         (*begin)(zlt_conf_file_t *f, const char *name);
    int         (*key)(zlt_conf_file_t *f, const char *key,
                       const char *value, char *error);
    int         (*end)(zlt_conf_file_t *f);
};


struct zlt_conf_file_s {
    FILE                       *file;
    const char                 *name;
    zlt_config_t               *config;
    char                       *error;
    unsigned                    line;
    unsigned                    failed:1;

    /* of the section */
    const zlt_conf_section_t   *kind;      /* NULL: before the first */
    char                        section[ZLT_CONF_SECTION_MAX + 1];
    unsigned                    section_line;
    char                        keys[ZLT_CONF_KEYS_MAX][24];
    unsigned                    nkeys;
    unsigned                    seen;      /* kinds, a bit each */

    zlt_service_conf_t          service;
    zlt_access_conf_t           access;
};


/* conf_file.c */

/* "file:line: text"; the first complaint counts.  Returns -1. */
int zlt_conf_file_fail(zlt_conf_file_t *f, unsigned line, const char *fmt, ...)
    zlt_printf_like(3, 4);

/* The values that [service] and [tunnel] have in common. */
int zlt_conf_file_protocol(const char *value, uint8_t *protocol, char *error);
int zlt_conf_file_port(const char *key, const char *value, uint16_t *port,
    char *error);
int zlt_conf_file_pp(const char *value, uint8_t *version, char *error);


/* conf_access.c: [access NAME], and [access], which describes the open
   service */

/* conf_node.c */


#endif /* ZLT_CONF_FILE_H_INCLUDED */
