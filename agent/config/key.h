
/*
 * Copyright (C) zltunnel authors
 */

/*
 * All that can be configured: one table of keys, key_table.c.
 *
 * A key stands in sections of the file; those of [agent] are options of the
 * commands and variables of the environment as well.  From the table come the
 * parsing of all three, the help, what a reload finds changed, the manual's
 * list ("zltunnel-agent keys") and the completion of shells.
 */


#ifndef ZLT_KEY_H_INCLUDED
#define ZLT_KEY_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


/* sections, a bit each */

#define ZLT_KEY_AGENT      0x01
#define ZLT_KEY_TUNNEL     0x02            /* [tunnel NAME] */
#define ZLT_KEY_SERVICE    0x04            /* [service NAME] */
#define ZLT_KEY_ACCESS     0x08            /* [access NAME] */
#define ZLT_KEY_OPEN       0x10            /* [access] */
#define ZLT_KEY_NODE       0x20
#define ZLT_KEY_NODES      0x40

/* "many": how its values stand in a variable of the environment, and whether a
   line of the file can be continued with more of them */

#define ZLT_KEY_WORDS      1               /* with blanks between them; yes */
#define ZLT_KEY_LINES      2               /* a line each; no */

/* commands that have it for an option, a bit each */

#define ZLT_KEY_CONNECT    0x01
#define ZLT_KEY_VISIT      0x02            /* "access" */
#define ZLT_KEY_RUN        0x04


/* what its value is written into */

typedef enum {
    ZLT_KEY_OF_LINK = 0,                   /* zlt_conf_t */
    ZLT_KEY_OF_SERVICE,                    /* zlt_service_conf_t */
    ZLT_KEY_OF_ACCESS,                     /* zlt_access_conf_t */
    ZLT_KEY_OF_TUNNEL,                     /* zlt_tunnel_conf_t */
    ZLT_KEY_OF_CONFIG                      /* zlt_config_t */
} zlt_key_of_e;


typedef enum {
    ZLT_KEY_STRING = 0,                    /* char *, a copy */
    ZLT_KEY_PATH,                          /* the same, of a file */
    ZLT_KEY_TIME,                          /* uint32_t, ms */
    ZLT_KEY_SECONDS,                       /* uint32_t */
    ZLT_KEY_NUMBER,                        /* uint32_t */
    ZLT_KEY_PORT,                          /* uint16_t, not 0 */
    ZLT_KEY_BOOL,                          /* uint32_t */
    ZLT_KEY_FLAG,                          /* a bit, "least", of a uint8_t */
    ZLT_KEY_CHOICE,                        /* uint32_t or uint8_t: which one */
    ZLT_KEY_TEXT                           /* char[], or anything else: by a
                                              function */
} zlt_key_form_e;


/* what a reload does when it has changed */

typedef enum {
    ZLT_KEY_AT_ONCE = 0,
    ZLT_KEY_NEXT,                          /* for what comes next */
    ZLT_KEY_REGISTER,                      /* the service, anew */
    ZLT_KEY_OPENED,                        /* the access session, anew */
    ZLT_KEY_TOKEN,                         /* another control channel */
    ZLT_KEY_WAY,                           /* the session anew, if what it
                                              leads to is another */
    ZLT_KEY_RECONNECT,                     /* the session, anew */
    ZLT_KEY_TUNNELS,                       /* which begin here */
    ZLT_KEY_RESTART                        /* nothing, before a restart */
} zlt_key_reload_e;


typedef struct zlt_key_s  zlt_key_t;

struct zlt_key_s {
    const char         *name;
    uint8_t             sections;
    uint8_t             commands;
    uint8_t             many;              /* may be repeated: ZLT_KEY_WORDS, .. */
    uint8_t             of;                /* zlt_key_of_e */
    uint8_t             form;              /* zlt_key_form_e */
    uint8_t             reload;            /* zlt_key_reload_e */

    size_t              offset;            /* of the value */
    size_t              size;
    uint32_t            least;
    uint32_t            most;
    const char         *choices;           /* "raw|websocket" */

    /* 0, or -1 with a text in error (ZLT_CONF_ERROR_SIZE bytes) */
    int               (*set)(const zlt_key_t *k, void *base,
                             const char *value, char *error);
    /* NULL: what is at offset is compared */
    int               (*same)(const void *a, const void *b);

    const char         *arg;               /* the value's name in the help */
    const char         *fallback;          /* its value if it is not given */
    const char         *without;           /* .. in words; NULL: nothing */
    const char         *help;
};


#define ZLT_KEY_BOUNDS_SIZE  128
#define ZLT_KEY_ENV_SIZE     48
#define ZLT_KEY_HINT_SIZE    128


/* The table, up to a key without a name. */
extern const zlt_key_t  zlt_key_table[];


/* The key of one of these sections; NULL if there is none. */
const zlt_key_t *zlt_key_find(unsigned sections, const char *name);

/* The key of [agent], which must be there. */
const zlt_key_t *zlt_key_agent(const char *name);

/* Writes a value into *base: 0, or -1 with a text in error
   (ZLT_CONF_ERROR_SIZE bytes). */
int zlt_key_set(const zlt_key_t *k, void *base, const char *value,
    char *error);

/* Of all keys of "of", those that have a value for the case that none is
   given. */
void zlt_key_defaults(zlt_key_of_e of, void *base);

/* The first of these keys, with this effect, in which *a and *b differ; NULL
   if there is none. */
const zlt_key_t *zlt_key_change(zlt_key_of_e of, zlt_key_reload_e reload,
    const void *a, const void *b);

/* "a time from 1s to 1d"; buf has ZLT_KEY_BOUNDS_SIZE bytes; returns it, or
   NULL if there are no bounds. */
const char *zlt_key_bounds(const zlt_key_t *k, char *buf);

/* "ZLTUNNEL_MAX_IDLE"; buf has ZLT_KEY_ENV_SIZE bytes; returns it. */
const char *zlt_key_env(const zlt_key_t *k, char *buf);

/* What a reload does, in words. */
const char *zlt_key_effect(const zlt_key_t *k);

/* What may have been meant by a key that the section does not have, as the end
   of a sentence; buf has ZLT_KEY_HINT_SIZE bytes; returns it, "" if nothing is
   known. */
const char *zlt_key_hint(unsigned section, const char *name, char *buf);

/* "[service NAME]" for a section's bit */
const char *zlt_key_section(unsigned section);


#endif /* ZLT_KEY_H_INCLUDED */
