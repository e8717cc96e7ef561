
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The configuration file, by libinih.
 *
 * The library as it is packaged tells the handler no line numbers, calls
 * nothing for a section without keys, cuts long section names and splits
 * long lines.  All of that is mended in the reader that hands it the lines:
 * it counts them, and refuses what the library would mutilate.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ini.h>

#include "conf.h"


#define ZLT_CONF_LINE_MAX     (INI_MAX_LINE - 2)
#define ZLT_CONF_SECTION_MAX  49         /* libinih's */
#define ZLT_CONF_KEYS_MAX     32


typedef struct {
    FILE                *file;
    const char          *name;
    zlt_conf_t          *conf;
    char                *error;
    unsigned             line;
    unsigned             failed:1;

    /* of the section */
    char                 section[ZLT_CONF_SECTION_MAX + 1];
    unsigned             section_line;
    char                 keys[ZLT_CONF_KEYS_MAX][24];
    unsigned             nkeys;
    unsigned             in_service:1;
    unsigned             agent_seen:1;
    zlt_service_conf_t   service;
} zlt_conf_file_t;


static char *zlt_conf_reader(char *buf, int size, void *stream);
static int zlt_conf_section(zlt_conf_file_t *f, const char *line);
static int zlt_conf_section_end(zlt_conf_file_t *f);
static int zlt_conf_handler(void *user, const char *section, const char *key,
    const char *value);
static int zlt_conf_service_key(zlt_conf_file_t *f, const char *key,
    const char *value, char *error);
static int zlt_conf_fail(zlt_conf_file_t *f, unsigned line, const char *text);
static int zlt_conf_paths(zlt_conf_t *conf, const char *file);


int
zlt_conf_read(zlt_conf_t *conf, const char *file, char *error)
{
    int               rc;
    char              why[ZLT_CONF_ERROR_SIZE];
    zlt_conf_file_t  *f;

    f = calloc(1, sizeof(zlt_conf_file_t));
    if (f == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    f->name = file;
    f->conf = conf;
    f->error = error;
    f->file = fopen(file, "re");

    if (f->file == NULL) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%.200s: %s", file,
                        strerror(errno));
        free(f);
        return -1;
    }

    rc = ini_parse_stream(zlt_conf_reader, f, zlt_conf_handler, f);

    if (rc == 0 && !f->failed && ferror(f->file)) {
        (void) zlt_conf_fail(f, f->line, "the file cannot be read");
    }

    if (rc > 0 && !f->failed) {
        (void) zlt_conf_fail(f, (unsigned) rc,
                             "expected \"key = value\" or \"[section]\"");
    }

    if (rc < 0 && !f->failed) {
        (void) zlt_conf_fail(f, f->line, "the file cannot be parsed");
    }

    if (!f->failed) {
        (void) zlt_conf_section_end(f);
    }

    if (!f->failed && zlt_conf_check(conf, why) == -1) {
        f->failed = 1;
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%.150s: %.300s", file,
                        why);
    }

    if (!f->failed && zlt_conf_paths(conf, file) == -1) {
        f->failed = 1;
        (void) strcpy(error, "out of memory");
    }

    rc = f->failed ? -1 : 0;

    (void) fclose(f->file);
    free(f);

    return rc;
}


/* The first complaint counts. */

static int
zlt_conf_fail(zlt_conf_file_t *f, unsigned line, const char *text)
{
    if (!f->failed) {
        f->failed = 1;
        (void) snprintf(f->error, ZLT_CONF_ERROR_SIZE, "%.150s:%u: %.300s",
                        f->name, line, text);
    }

    return -1;
}


/* Feeds libinih; nothing more after the first error. */

static char *
zlt_conf_reader(char *buf, int size, void *stream)
{
    size_t            len;
    const char       *p;
    zlt_conf_file_t  *f;

    f = stream;

    if (f->failed || fgets(buf, size, f->file) == NULL) {
        return NULL;
    }

    f->line++;
    len = strlen(buf);

    if (len >= ZLT_CONF_LINE_MAX && buf[len - 1] != '\n') {
        (void) zlt_conf_fail(f, f->line, "the line is longer than 197 bytes");
        return NULL;
    }

    p = buf;

    if (f->line == 1 && strncmp(p, "\xef\xbb\xbf", 3) == 0) {
        p += 3;
    }

    p += strspn(p, " \t");

    if (*p == '[' && zlt_conf_section(f, p) == -1) {
        return NULL;
    }

    return buf;
}


static int
zlt_conf_section(zlt_conf_file_t *f, const char *line)
{
    size_t       len;
    const char  *end, *why, *name;

    if (zlt_conf_section_end(f) == -1) {
        return -1;
    }

    end = strchr(line, ']');

    if (end == NULL) {
        return zlt_conf_fail(f, f->line, "\"]\" is missing");
    }

    len = (size_t) (end - line - 1);

    if (len > ZLT_CONF_SECTION_MAX) {
        return zlt_conf_fail(f, f->line, "the section's name is longer than "
                             "49 bytes, \"service \" included");
    }

    memcpy(f->section, line + 1, len);
    f->section[len] = '\0';
    f->section_line = f->line;
    f->nkeys = 0;

    if (strcmp(f->section, "agent") == 0) {

        if (f->agent_seen) {
            return zlt_conf_fail(f, f->line, "[agent] is there twice");
        }

        f->agent_seen = 1;
        return 0;
    }

    if (strncmp(f->section, "service", 7) == 0
        && (f->section[7] == ' ' || f->section[7] == '\t'))
    {
        memset(&f->service, 0, sizeof(zlt_service_conf_t));
        f->in_service = 1;

        name = f->section + 7;
        name += strspn(name, " \t");

        if (zlt_option_name(name, &f->service, &why) == -1) {
            return zlt_conf_fail(f, f->line, why);
        }

        return 0;
    }

    return zlt_conf_fail(f, f->line, "unknown section: there are [agent] and "
                         "[service NAME]");
}


/* A service is complete with the next section, or at the end. */

static int
zlt_conf_section_end(zlt_conf_file_t *f)
{
    char         why[ZLT_CONF_ERROR_SIZE];
    const char  *text;

    if (!f->in_service) {
        return 0;
    }

    f->in_service = 0;

    if (!f->service.has_local) {
        return zlt_conf_fail(f, f->section_line, "the service has no "
                             "\"local\"");
    }

    if (zlt_option_service_check(&f->service, &text) == -1) {
        return zlt_conf_fail(f, f->section_line, text);
    }

    if (zlt_conf_add_service(f->conf, &f->service, why) == -1) {
        return zlt_conf_fail(f, f->section_line, why);
    }

    return 0;
}


static int
zlt_conf_handler(void *user, const char *section, const char *key,
    const char *value)
{
    int               rc;
    char              why[ZLT_CONF_ERROR_SIZE];
    unsigned          i;
    zlt_conf_file_t  *f;

    f = user;

    if (f->failed) {
        return 0;
    }

    if (*section == '\0') {
        (void) zlt_conf_fail(f, f->line, "a key before the first section");
        return 0;
    }

    /* also where a continuation line, which no key has, comes in */

    for (i = 0; i < f->nkeys; i++) {
        if (strcmp(f->keys[i], key) == 0) {
            (void) snprintf(why, sizeof(why), "\"%.100s\" is there twice, or "
                            "goes on in another line", key);
            (void) zlt_conf_fail(f, f->line, why);
            return 0;
        }
    }

    if (f->nkeys < ZLT_CONF_KEYS_MAX) {
        (void) snprintf(f->keys[f->nkeys++], sizeof(f->keys[0]), "%.23s",
                        key);
    }

    if (f->in_service) {
        rc = zlt_conf_service_key(f, key, value, why);

    } else {
        rc = zlt_conf_set(f->conf, key, value, why);
    }

    if (rc == -1) {
        (void) zlt_conf_fail(f, f->line, why);
        return 0;
    }

    return 1;
}


static int
zlt_conf_service_key(zlt_conf_file_t *f, const char *key, const char *value,
    char *error)
{
    int                  on;
    uint16_t            *port;
    const char          *why;
    zlt_service_conf_t  *s;

    s = &f->service;

    if (strcmp(key, "protocol") == 0) {

        if (strcmp(value, "tcp") != 0 && strcmp(value, "udp") != 0) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"protocol\" is "
                            "\"%.100s\", but must be tcp or udp", value);
            return -1;
        }

        s->protocol = (*value == 'u') ? ZLT_PROTO_UDP : ZLT_PROTO_TCP;

        return 0;
    }

    if (strcmp(key, "local") == 0) {

        if (zlt_option_local(value, s, &why) == -1) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"local\" is "
                            "\"%.150s\": %s", value, why);
            return -1;
        }

        return 0;
    }

    if (strcmp(key, "remote_port") == 0 || strcmp(key, "preferred_port") == 0)
    {
        port = (*key == 'r') ? &s->remote_port : &s->preferred_port;

        if (zlt_option_port(value, port) == -1) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is "
                            "\"%.100s\", but must be a number from 1 to "
                            "65535", key, value);
            return -1;
        }

        return 0;
    }

    if (strcmp(key, "private") == 0 || strcmp(key, "internal") == 0) {

        if (zlt_option_bool(value, &on) == -1) {
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

        if (zlt_option_proxy(value, &s->proxy_protocol) == -1) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"proxy_protocol\" "
                            "is \"%.100s\", but must be v1, v2 or no", value);
            return -1;
        }

        return 0;
    }

    (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                    "unknown key \"%.100s\" in a service", key);

    return -1;
}


/* Paths in a file are relative to where it is. */

static int
zlt_conf_paths(zlt_conf_t *conf, const char *file)
{
    char        *path, **paths[5];
    size_t       dir;
    unsigned     i;
    const char  *slash;

    slash = strrchr(file, '/');

    if (slash == NULL) {
        return 0;
    }

    dir = (size_t) (slash - file) + 1;

    paths[0] = &conf->token_file;
    paths[1] = &conf->ca_file;
    paths[2] = &conf->proxy_file;
    paths[3] = &conf->cert;
    paths[4] = &conf->key;

    for (i = 0; i < 5; i++) {

        if (*paths[i] == NULL || **paths[i] == '/') {
            continue;
        }

        path = malloc(dir + strlen(*paths[i]) + 1);
        if (path == NULL) {
            return -1;
        }

        memcpy(path, file, dir);
        (void) strcpy(path + dir, *paths[i]);

        free(*paths[i]);
        *paths[i] = path;
    }

    return 0;
}
