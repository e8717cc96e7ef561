
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The configuration file: its sections and their keys, in all files that make
 * it.
 */


#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf_access.h"
#include "conf_file.h"
#include "conf_include.h"
#include "conf_node.h"
#include "ini.h"
#include "parse.h"


static int zlt_conf_file_one(zlt_conf_file_t *f);
static int zlt_conf_file_begin(zlt_conf_file_t *f, const char *section);
static int zlt_conf_file_end(zlt_conf_file_t *f);
static int zlt_conf_file_key(zlt_conf_file_t *f, const char *key,
    const char *value, int more);
static int zlt_conf_file_repeated(zlt_conf_file_t *f, const char *key);
static int zlt_conf_file_agent_begin(zlt_conf_file_t *f, const char *name);
static int zlt_conf_file_agent_key(zlt_conf_file_t *f, const char *key,
    const char *value, char *error);
static int zlt_conf_file_service_begin(zlt_conf_file_t *f, const char *name);
static int zlt_conf_file_service_key(zlt_conf_file_t *f, const char *key,
    const char *value, char *error);
static int zlt_conf_file_service_end(zlt_conf_file_t *f);
static int zlt_conf_file_complete(zlt_conf_file_t *f);


static const zlt_conf_section_t  zlt_conf_file_agent = {
    "agent", 0, zlt_conf_file_agent_begin, zlt_conf_file_agent_key, NULL
};

static const zlt_conf_section_t  zlt_conf_file_service = {
    "service", 1, zlt_conf_file_service_begin, zlt_conf_file_service_key,
    zlt_conf_file_service_end
};


static const zlt_conf_section_t *const  zlt_conf_file_sections[] = {
    &zlt_conf_file_agent,
    &zlt_conf_file_service,
    &zlt_conf_node_section,
    &zlt_conf_node_list,
    &zlt_conf_node_tunnel,
    &zlt_conf_access_section,
    &zlt_conf_access_open,
    NULL
};


int
zlt_conf_file_read(zlt_config_t *config, const char *file, char *error)
{
    int               rc;
    zlt_conf_file_t  *f;

    f = calloc(1, sizeof(zlt_conf_file_t));

    if (f == NULL || zlt_conf_include_first(f, file) == -1) {
        (void) strcpy(error, "out of memory");
        rc = -1;
        goto done;
    }

    f->config = config;
    f->error = error;

    /* one that includes others makes the list longer */

    rc = 0;

    for (f->at.file = 0; f->at.file < f->nfiles && rc == 0; f->at.file++) {
        rc = zlt_conf_file_one(f);
    }

    if (rc == 0) {
        rc = zlt_conf_file_complete(f);
    }

done:

    if (f) {
        zlt_conf_include_free(f);
        free(f);
    }

    return rc;
}


static int
zlt_conf_file_one(zlt_conf_file_t *f)
{
    int          rc;
    zlt_ini_e    what;
    zlt_ini_t    ini;
    const char  *why;

    f->kind = NULL;
    f->at.line = 0;

    if (zlt_ini_open(&ini, f->files[f->at.file].name, &why) == -1) {
        return zlt_conf_file_fail(f, f->at, "%s", why);
    }

    do {
        what = zlt_ini_next(&ini);
        f->at.line = ini.line;

        switch (what) {

        case ZLT_INI_SECTION:
            rc = zlt_conf_file_begin(f, ini.value);
            break;

        case ZLT_INI_KEY:
        case ZLT_INI_MORE:
            rc = zlt_conf_file_key(f, ini.key, ini.value,
                                   what == ZLT_INI_MORE);
            break;

        case ZLT_INI_ERROR:
            rc = zlt_conf_file_fail(f, f->at, "%s", ini.error);
            break;

        default: /* ZLT_INI_END */
            rc = zlt_conf_file_end(f);
        }

    } while (rc == 0 && what != ZLT_INI_END);

    zlt_ini_close(&ini);

    return rc;
}


int
zlt_conf_file_fail(zlt_conf_file_t *f, zlt_conf_place_t at, const char *fmt,
    ...)
{
    int          n;
    va_list      ap;
    const char  *name;

    if (f->failed) {
        return -1;
    }

    f->failed = 1;
    name = f->files[at.file].name;

    n = at.line ? snprintf(f->error, ZLT_CONF_ERROR_SIZE, "%.150s:%u: ", name,
                           at.line)
                : snprintf(f->error, ZLT_CONF_ERROR_SIZE, "%.150s: ", name);

    va_start(ap, fmt);
    (void) vsnprintf(f->error + n, ZLT_CONF_ERROR_SIZE - (size_t) n, fmt, ap);
    va_end(ap);

    return -1;
}


static int
zlt_conf_file_begin(zlt_conf_file_t *f, const char *section)
{
    size_t                     len;
    const char                *name;
    unsigned                   i, bit;
    const zlt_conf_section_t  *s;

    if (zlt_conf_file_end(f) == -1) {
        return -1;
    }

    f->kind = NULL;

    if (strlen(section) > ZLT_CONF_SECTION_MAX) {
        return zlt_conf_file_fail(f, f->at, "the section's name is longer "
                                  "than a service name may be");
    }

    (void) strcpy(f->section, section);
    f->section_at = f->at;
    f->nkeys = 0;

    len = strcspn(f->section, " \t");
    name = f->section + len + strspn(f->section + len, " \t");

    for (i = 0; (s = zlt_conf_file_sections[i]) != NULL; i++) {
        if (strncmp(s->name, f->section, len) == 0 && s->name[len] == '\0'
            && s->named == (*name != '\0'))
        {
            break;
        }
    }

    if (s == NULL) {
        return zlt_conf_file_fail(f, f->at, "unknown section: there are "
                                  "[agent], [service NAME], [node], [nodes], "
                                  "[tunnel NAME], [access NAME] and [access]");
    }

    bit = 1u << i;

    if (!s->named && (f->seen & bit)) {
        return zlt_conf_file_fail(f, f->at, "[%s] is there twice", s->name);
    }

    f->seen |= bit;
    f->kind = s;

    return s->begin ? s->begin(f, name) : 0;
}


/* A section is complete with the next one, or with its file. */

static int
zlt_conf_file_end(zlt_conf_file_t *f)
{
    return f->kind && f->kind->end ? f->kind->end(f) : 0;
}


/* "more": in a line that goes on with the key before. */

static int
zlt_conf_file_key(zlt_conf_file_t *f, const char *key, const char *value,
    int more)
{
    int   many;
    char  why[ZLT_CONF_ERROR_SIZE];

    many = strcmp(key, "server") == 0 || strcmp(key, "names") == 0
           || strcmp(key, "allow") == 0 || strcmp(key, "include") == 0;

    if (more && !many) {
        return zlt_conf_file_fail(f, f->at, "a line that begins with a blank "
                                  "continues the one before, but \"%.100s\" "
                                  "has one value in one line", key);
    }

    if (strcmp(key, "include") == 0) {
        return zlt_conf_include_pattern(f, value, why) == 0
               ? 0 : zlt_conf_file_fail(f, f->at, "%s", why);
    }

    if (f->kind == NULL) {
        return zlt_conf_file_fail(f, f->at, "a key before the first section");
    }

    if (!many && zlt_conf_file_repeated(f, key)) {
        return zlt_conf_file_fail(f, f->at, "\"%.100s\" is there twice", key);
    }

    return f->kind->key(f, key, value, why) == 0
           ? 0 : zlt_conf_file_fail(f, f->at, "%s", why);
}


static int
zlt_conf_file_repeated(zlt_conf_file_t *f, const char *key)
{
    unsigned  i;

    for (i = 0; i < f->nkeys; i++) {
        if (strcmp(f->keys[i], key) == 0) {
            return 1;
        }
    }

    if (f->nkeys < ZLT_CONF_KEYS_MAX) {
        (void) snprintf(f->keys[f->nkeys++], sizeof(f->keys[0]), "%.23s",
                        key);
    }

    return 0;
}


static int
zlt_conf_file_agent_begin(zlt_conf_file_t *f, const char *name)
{
    (void) name;

    f->agent = f->at.file;

    return 0;
}


static int
zlt_conf_file_agent_key(zlt_conf_file_t *f, const char *key, const char *value,
    char *error)
{
    return zlt_conf_set(&f->config->agent, key, value, error);
}


static int
zlt_conf_file_service_begin(zlt_conf_file_t *f, const char *name)
{
    const char  *why;

    memset(&f->service, 0, sizeof(zlt_service_conf_t));

    if (zlt_option_service_name(name, &f->service, &why) == -1) {
        return zlt_conf_file_fail(f, f->at, "%s", why);
    }

    return 0;
}


static int
zlt_conf_file_service_end(zlt_conf_file_t *f)
{
    char         why[ZLT_CONF_ERROR_SIZE];
    const char  *text;

    if (!f->service.has_local) {
        return zlt_conf_file_fail(f, f->section_at, "the service has no "
                                  "\"local\"");
    }

    if (zlt_option_service_check(&f->service, &text) == -1) {
        return zlt_conf_file_fail(f, f->section_at, "%s", text);
    }

    if (zlt_conf_add_service(&f->config->agent, &f->service, why) == -1) {
        return zlt_conf_file_fail(f, f->section_at, "%s", why);
    }

    return 0;
}


int
zlt_conf_file_protocol(const char *value, uint8_t *protocol, char *error)
{
    if (strcmp(value, "tcp") != 0 && strcmp(value, "udp") != 0) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"protocol\" is "
                        "\"%.100s\", but must be tcp or udp", value);
        return -1;
    }

    *protocol = (*value == 'u') ? ZLT_PROTO_UDP : ZLT_PROTO_TCP;

    return 0;
}


int
zlt_conf_file_port(const char *key, const char *value, uint16_t *port,
    char *error)
{
    if (zlt_parse_port(value, port) == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is \"%.100s\", "
                        "but must be a number from 1 to 65535", key, value);
        return -1;
    }

    return 0;
}


int
zlt_conf_file_pp(const char *value, uint8_t *version, char *error)
{
    if (zlt_option_service_pp(value, version) == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"proxy_protocol\" is "
                        "\"%.100s\", but must be v1, v2 or no", value);
        return -1;
    }

    return 0;
}


static int
zlt_conf_file_service_key(zlt_conf_file_t *f, const char *key,
    const char *value, char *error)
{
    int                  on;
    uint16_t            *port;
    const char          *why;
    zlt_service_conf_t  *s;

    s = &f->service;

    if (strcmp(key, "protocol") == 0) {
        return zlt_conf_file_protocol(value, &s->protocol, error);
    }

    if (strcmp(key, "local") == 0) {

        if (zlt_option_service_local(value, s, &why) == -1) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"local\" is "
                            "\"%.150s\": %s", value, why);
            return -1;
        }

        return 0;
    }

    if (strcmp(key, "remote_port") == 0 || strcmp(key, "preferred_port") == 0)
    {
        port = (*key == 'r') ? &s->remote_port : &s->preferred_port;

        return zlt_conf_file_port(key, value, port, error);
    }

    if (strcmp(key, "private") == 0 || strcmp(key, "internal") == 0) {

        if (zlt_parse_bool(value, &on) == -1) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is "
                            "\"%.100s\", but must be yes or no", key, value);
            return -1;
        }

        if (on) {
            s->flags |= (*key == 'p') ? ZLT_R_PRIVATE : ZLT_R_INTERNAL;
        }

        return 0;
    }

    if (strcmp(key, "proxy_protocol") == 0) {
        return zlt_conf_file_pp(value, &s->proxy_protocol, error);
    }

    if (strcmp(key, "allow_access") == 0) {

        if (zlt_option_service_allow(value, s, &why) == -1) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"allow_access\" is "
                            "\"%.150s\": %s", value, why);
            return -1;
        }

        return 0;
    }

    (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                    "unknown key \"%.100s\" in a service", key);

    return -1;
}


/* What must be there, and what does not go together. */

static int
zlt_conf_file_complete(zlt_conf_file_t *f)
{
    char               why[ZLT_CONF_ERROR_SIZE];
    zlt_config_t      *config;
    zlt_conf_place_t   whole;

    config = f->config;

    whole.file = f->agent;
    whole.line = 0;

    /* [agent] may be there for the tunnels' sake alone */

    if (config->agent.nservers || config->agent.nservices
        || config->ntunnels == 0)
    {
        if (zlt_conf_check(&config->agent, why) == -1) {
            return zlt_conf_file_fail(f, whole, "%s", why);
        }
    }

    if (zlt_conf_node_paths(&config->agent, f->files[f->agent].name) == -1) {
        return zlt_conf_file_fail(f, whole, "out of memory");
    }

    if (zlt_conf_node_tunnels(f) == -1) {
        return -1;
    }

    if (zlt_config_links(config) == -1) {
        return zlt_conf_file_fail(f, whole, "out of memory");
    }

    return 0;
}
