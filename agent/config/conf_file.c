
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The configuration file, by libinih.
 *
 * The library as it is packaged tells the handler no line numbers, calls
 * nothing for a section without keys, cuts long section names and splits
 * long lines.  All of that is mended in the reader that hands it the lines:
 * it counts them, keeps the names of sections to itself, and refuses what the
 * library would mutilate.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <ini.h>

#include "conf_access.h"
#include "conf_file.h"
#include "conf_node.h"
#include "parse.h"


#define ZLT_CONF_LINE_MAX  (INI_MAX_LINE - 3)
#define ZLT_CONF_LINE      1024        /* .. of a section, its comment too */


static char *zlt_conf_file_reader(char *buf, int size, void *stream);
static void zlt_conf_file_uncomment(char *line);
static int zlt_conf_file_begin(zlt_conf_file_t *f, const char *line);
static int zlt_conf_file_end(zlt_conf_file_t *f);
static int zlt_conf_file_handler(void *user, const char *section,
    const char *key, const char *value);
static int zlt_conf_file_repeated(zlt_conf_file_t *f, const char *key);
static int zlt_conf_file_agent_key(zlt_conf_file_t *f, const char *key,
    const char *value, char *error);
static int zlt_conf_file_service_begin(zlt_conf_file_t *f, const char *name);
static int zlt_conf_file_service_key(zlt_conf_file_t *f, const char *key,
    const char *value, char *error);
static int zlt_conf_file_service_end(zlt_conf_file_t *f);
static int zlt_conf_file_complete(zlt_conf_file_t *f);


static const zlt_conf_section_t  zlt_conf_file_agent = {
    "agent", 0, NULL, zlt_conf_file_agent_key, NULL
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
    if (f == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    f->name = file;
    f->config = config;
    f->error = error;
    f->file = fopen(file, "re");

    if (f->file == NULL) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%.200s: %s", file,
                        strerror(errno));
        free(f);
        return -1;
    }

    rc = ini_parse_stream(zlt_conf_file_reader, f, zlt_conf_file_handler, f);

    if (rc == 0 && ferror(f->file)) {
        (void) zlt_conf_file_fail(f, f->line, "the file cannot be read");
    }

    if (rc > 0) {
        (void) zlt_conf_file_fail(f, (unsigned) rc,
                                  "expected \"key = value\" or \"[section]\"");
    }

    if (rc < 0) {
        (void) zlt_conf_file_fail(f, f->line, "the file cannot be parsed");
    }

    if (!f->failed) {
        (void) zlt_conf_file_end(f);
    }

    if (!f->failed) {
        (void) zlt_conf_file_complete(f);
    }

    rc = f->failed ? -1 : 0;

    (void) fclose(f->file);
    free(f);

    return rc;
}


int
zlt_conf_file_fail(zlt_conf_file_t *f, unsigned line, const char *fmt, ...)
{
    int      n;
    va_list  ap;

    if (f->failed) {
        return -1;
    }

    f->failed = 1;

    n = line ? snprintf(f->error, ZLT_CONF_ERROR_SIZE, "%.150s:%u: ", f->name,
                        line)
             : snprintf(f->error, ZLT_CONF_ERROR_SIZE, "%.150s: ", f->name);

    va_start(ap, fmt);
    (void) vsnprintf(f->error + n, ZLT_CONF_ERROR_SIZE - (size_t) n, fmt, ap);
    va_end(ap);

    return -1;
}


/* Feeds libinih; nothing more after the first error. */

static char *
zlt_conf_file_reader(char *buf, int size, void *stream)
{
    char              line[ZLT_CONF_LINE];
    size_t            len;
    const char       *p;
    zlt_conf_file_t  *f;

    (void) size;

    f = stream;

    if (f->failed || fgets(line, sizeof(line), f->file) == NULL) {
        return NULL;
    }

    f->line++;

    p = line;

    if (f->line == 1 && strncmp(p, "\xef\xbb\xbf", 3) == 0) {
        p += 3;
    }

    p += strspn(p, " \t");

    len = strcspn(line, "\n");

    if (len > (*p == '[' ? sizeof(line) - 2 : ZLT_CONF_LINE_MAX)) {
        (void) zlt_conf_file_fail(f, f->line, "the line is longer than %d "
                                  "bytes", ZLT_CONF_LINE_MAX);
        return NULL;
    }

    zlt_conf_file_uncomment(line);

    if (*p == '[') {
        /* the library need not know which one */
        return zlt_conf_file_begin(f, p) == 0 ? strcpy(buf, "[]\n") : NULL;
    }

    return strcpy(buf, line);
}


/* ";" after a blank begins a comment to libinih, and "#" to us as well. */

static void
zlt_conf_file_uncomment(char *line)
{
    char  *hash;

    for (hash = strchr(line, '#'); hash; hash = strchr(hash + 1, '#')) {
        if (hash > line && (hash[-1] == ' ' || hash[-1] == '\t')) {
            (void) strcpy(hash, "\n");
            return;
        }
    }
}


static int
zlt_conf_file_begin(zlt_conf_file_t *f, const char *line)
{
    size_t                     len;
    const char                *end, *name;
    unsigned                   i, bit;
    const zlt_conf_section_t  *s;

    if (zlt_conf_file_end(f) == -1) {
        return -1;
    }

    f->kind = NULL;

    end = strchr(line, ']');

    if (end == NULL) {
        return zlt_conf_file_fail(f, f->line, "\"]\" is missing");
    }

    len = (size_t) (end - line - 1);

    if (len > ZLT_CONF_SECTION_MAX) {
        return zlt_conf_file_fail(f, f->line, "the section's name is longer "
                                  "than a service name may be");
    }

    memcpy(f->section, line + 1, len);
    f->section[len] = '\0';
    f->section_line = f->line;
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
        return zlt_conf_file_fail(f, f->line, "unknown section: there are "
                                  "[agent], [service NAME], [node], [nodes], "
                                  "[tunnel NAME], [access NAME] and [access]");
    }

    bit = 1u << i;

    if (!s->named && (f->seen & bit)) {
        return zlt_conf_file_fail(f, f->line, "[%s] is there twice", s->name);
    }

    f->seen |= bit;
    f->kind = s;

    return s->begin ? s->begin(f, name) : 0;
}


/* A section is complete with the next one, or at the end. */

static int
zlt_conf_file_end(zlt_conf_file_t *f)
{
    return f->kind && f->kind->end ? f->kind->end(f) : 0;
}


static int
zlt_conf_file_handler(void *user, const char *section, const char *key,
    const char *value)
{
    char              why[ZLT_CONF_ERROR_SIZE];
    zlt_conf_file_t  *f;

    (void) section;

    f = user;

    if (f->failed) {
        return 0;
    }

    if (f->kind == NULL) {
        (void) zlt_conf_file_fail(f, f->line, "a key before the first "
                                  "section");
        return 0;
    }

    if (zlt_conf_file_repeated(f, key)) {
        (void) zlt_conf_file_fail(f, f->line, "\"%.100s\" is there twice, or "
                                  "goes on in another line", key);
        return 0;
    }

    if (f->kind->key(f, key, value, why) == -1) {
        (void) zlt_conf_file_fail(f, f->line, "%s", why);
        return 0;
    }

    return 1;
}


/* Also where a continuation line, which few keys have, comes in. */

static int
zlt_conf_file_repeated(zlt_conf_file_t *f, const char *key)
{
    unsigned  i;

    if (strcmp(key, "server") == 0 || strcmp(key, "names") == 0
        || strcmp(key, "allow") == 0)
    {
        return 0;
    }

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
        return zlt_conf_file_fail(f, f->line, "%s", why);
    }

    return 0;
}


static int
zlt_conf_file_service_end(zlt_conf_file_t *f)
{
    char         why[ZLT_CONF_ERROR_SIZE];
    const char  *text;

    if (!f->service.has_local) {
        return zlt_conf_file_fail(f, f->section_line, "the service has no "
                                  "\"local\"");
    }

    if (zlt_option_service_check(&f->service, &text) == -1) {
        return zlt_conf_file_fail(f, f->section_line, "%s", text);
    }

    if (zlt_conf_add_service(&f->config->agent, &f->service, why) == -1) {
        return zlt_conf_file_fail(f, f->section_line, "%s", why);
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
    char           why[ZLT_CONF_ERROR_SIZE];
    zlt_config_t  *config;

    config = f->config;

    /* [agent] may be there for the tunnels' sake alone */

    if (config->agent.nservers || config->agent.nservices
        || config->ntunnels == 0)
    {
        if (zlt_conf_check(&config->agent, why) == -1) {
            return zlt_conf_file_fail(f, 0, "%s", why);
        }
    }

    if (zlt_conf_node_paths(&config->agent, f->name) == -1) {
        return zlt_conf_file_fail(f, 0, "out of memory");
    }

    if (zlt_conf_node_tunnels(f) == -1) {
        return -1;
    }

    if (zlt_config_links(config) == -1) {
        return zlt_conf_file_fail(f, 0, "out of memory");
    }

    return 0;
}
