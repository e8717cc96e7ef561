
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
#include "near.h"
#include "zlt_name.h"


static int zlt_conf_file_one(zlt_conf_file_t *f);
static int zlt_conf_file_begin(zlt_conf_file_t *f, const char *section);
static int zlt_conf_file_foreign(zlt_conf_file_t *f, const char *word,
    const char *name);
static int zlt_conf_file_end(zlt_conf_file_t *f);
static int zlt_conf_file_key(zlt_conf_file_t *f, const char *name,
    const char *value, int more);
static int zlt_conf_file_had(zlt_conf_file_t *f, const char *name);
static int zlt_conf_file_unknown(zlt_conf_file_t *f, const char *name);
static int zlt_conf_file_set(zlt_conf_file_t *f, const zlt_key_t *k,
    const char *value, char *error);
static int zlt_conf_file_agent_begin(zlt_conf_file_t *f, const char *name);
static int zlt_conf_file_service_begin(zlt_conf_file_t *f, const char *name);
static int zlt_conf_file_service_end(zlt_conf_file_t *f);
static int zlt_conf_file_complete(zlt_conf_file_t *f,
    const zlt_conf_t *with);


static const zlt_conf_section_t  zlt_conf_file_agent = {
    "agent", 0, ZLT_KEY_AGENT, zlt_conf_file_agent_begin, NULL
};

static const zlt_conf_section_t  zlt_conf_file_service = {
    "service", 1, ZLT_KEY_SERVICE, zlt_conf_file_service_begin,
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
zlt_conf_file_read(zlt_config_t *config, const char *file,
    const zlt_conf_t *with, char *error)
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
        rc = zlt_conf_file_complete(f, with);
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
    f->keys = 0;

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
        f->section[len] = '\0';
        return zlt_conf_file_foreign(f, f->section, name);
    }

    bit = 1u << i;

    if (!s->named && (f->seen & bit)) {
        return zlt_conf_file_fail(f, f->at, "[%s] is there twice", s->name);
    }

    f->seen |= bit;
    f->kind = s;

    return s->begin ? s->begin(f, name) : 0;
}


/* There is no such section.  One word that is like none of theirs is a service
   for most people. */

static int
zlt_conf_file_foreign(zlt_conf_file_t *f, const char *word, const char *name)
{
    unsigned                   i, named;
    zlt_near_t                 near;
    const zlt_conf_section_t  *s;

    named = 0;
    zlt_near_init(&near, word);

    for (i = 0; (s = zlt_conf_file_sections[i]) != NULL; i++) {
        zlt_near_try(&near, s->name);
        named = (near.best == s->name) ? s->named : named;
    }

    if (near.best == NULL) {
        return *name || !zlt_name_valid((const uint8_t *) word, strlen(word))
               ? zlt_conf_file_fail(f, f->at, "unknown section: there are "
                                    "[agent], [service NAME], [node], "
                                    "[nodes], [tunnel NAME], [access NAME] "
                                    "and [access]")
               : zlt_conf_file_fail(f, f->at, "unknown section [%.60s]; did "
                                    "you mean [service %.60s]?", word, word);
    }

    if (near.distance == 0 && strcmp(near.best, word) == 0) {
        return named
               ? zlt_conf_file_fail(f, f->at, "[%s] needs a name: [%s NAME]%s",
                                    word, word,
                                    strcmp(word, "service") == 0
                                    ? ", as in [service web]" : "")
               : zlt_conf_file_fail(f, f->at, "[%s] has no name behind it",
                                    word);
    }

    return zlt_conf_file_fail(f, f->at, "unknown section [%.60s%s%.60s]; did "
                              "you mean [%s%s%.60s]?", word, *name ? " " : "",
                              name, near.best, named ? " " : "",
                              !named ? "" : *name ? name : "NAME");
}


/* A section is complete with the next one, or with its file. */

static int
zlt_conf_file_end(zlt_conf_file_t *f)
{
    return f->kind && f->kind->end ? f->kind->end(f) : 0;
}


/* "more": in a line that goes on with the key before. */

static int
zlt_conf_file_key(zlt_conf_file_t *f, const char *name, const char *value,
    int more)
{
    char              why[ZLT_CONF_ERROR_SIZE];
    const zlt_key_t  *k;

    if (strcmp(name, "include") == 0) {
        return zlt_conf_include_pattern(f, value, why) == 0
               ? 0 : zlt_conf_file_fail(f, f->at, "%s", why);
    }

    if (f->kind == NULL) {
        return zlt_conf_file_fail(f, f->at, "a key before the first section");
    }

    k = zlt_key_find(f->kind->bit, name);

    if (k == NULL) {
        return zlt_conf_file_unknown(f, name);
    }

    if (more && k->many != ZLT_KEY_WORDS) {
        return zlt_conf_file_fail(f, f->at, "a line that begins with a blank "
                                  "continues the one before, but \"%s\" has "
                                  "one value in one line", name);
    }

    if (!k->many && (f->keys & ((uint64_t) 1 << (k - zlt_key_table)))) {
        return zlt_conf_file_fail(f, f->at, "\"%s\" is there twice", name);
    }

    f->keys |= (uint64_t) 1 << (k - zlt_key_table);

    return zlt_conf_file_set(f, k, value, why) == 0
           ? 0 : zlt_conf_file_fail(f, f->at, "%s", why);
}


static int
zlt_conf_file_unknown(zlt_conf_file_t *f, const char *name)
{
    char  hint[ZLT_KEY_HINT_SIZE];

    if (f->kind->bit == ZLT_KEY_TUNNEL && zlt_key_find(ZLT_KEY_AGENT, name)) {
        return zlt_conf_file_fail(f, f->at, "\"%s\" is for all tunnels: it "
                                  "belongs into [agent]", name);
    }

    return zlt_conf_file_fail(f, f->at, "unknown key \"%.100s\" in %s%s",
                              name, zlt_key_section(f->kind->bit),
                              zlt_key_hint(f->kind->bit, name, hint));
}


/* 1 if that key was in the section */

static int
zlt_conf_file_had(zlt_conf_file_t *f, const char *name)
{
    const zlt_key_t  *k;

    k = zlt_key_find(f->kind->bit, name);

    return k && (f->keys & ((uint64_t) 1 << (k - zlt_key_table)));
}


/* Into what the section makes. */

static int
zlt_conf_file_set(zlt_conf_file_t *f, const zlt_key_t *k, const char *value,
    char *error)
{
    zlt_config_t       *c;
    zlt_tunnel_conf_t  *t;

    c = f->config;
    t = (f->kind->bit == ZLT_KEY_TUNNEL) ? &c->tunnels[c->ntunnels - 1] : NULL;

    switch (k->of) {

    case ZLT_KEY_OF_LINK:
        return zlt_conf_set(t ? &t->conf : &c->agent, k, value, error);

    case ZLT_KEY_OF_SERVICE:
        return zlt_key_set(k, &f->service, value, error);

    case ZLT_KEY_OF_ACCESS:
        return zlt_key_set(k, &f->access, value, error);

    case ZLT_KEY_OF_TUNNEL:
        zlt_conf_node_place(f, k);
        return zlt_key_set(k, t, value, error);

    default: /* ZLT_KEY_OF_CONFIG */
        zlt_conf_node_place(f, k);
        return zlt_key_set(k, c, value, error);
    }
}


static int
zlt_conf_file_agent_begin(zlt_conf_file_t *f, const char *name)
{
    (void) name;

    f->agent = f->at.file;

    return 0;
}


static int
zlt_conf_file_service_begin(zlt_conf_file_t *f, const char *name)
{
    const char  *why;

    memset(&f->service, 0, sizeof(zlt_service_conf_t));
    zlt_key_defaults(ZLT_KEY_OF_SERVICE, &f->service);

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

    if (zlt_conf_file_had(f, "remote_port")
        && zlt_conf_file_had(f, "remote_ports"))
    {
        return zlt_conf_file_fail(f, f->section_at, "the service has both "
                                  "\"remote_port\" and \"remote_ports\"");
    }

    if (zlt_option_service_check(&f->service, &text) == -1) {
        return zlt_conf_file_fail(f, f->section_at, "%s", text);
    }

    if (zlt_conf_add_service(&f->config->agent, &f->service, why) == -1) {
        return zlt_conf_file_fail(f, f->section_at, "%s", why);
    }

    return 0;
}


/* What must be there, and what does not go together. */

static int
zlt_conf_file_complete(zlt_conf_file_t *f, const zlt_conf_t *with)
{
    char               why[ZLT_CONF_ERROR_SIZE];
    zlt_config_t      *config;
    zlt_conf_place_t   whole;

    config = f->config;

    whole.file = f->agent;
    whole.line = 0;

    if (zlt_conf_node_paths(&config->agent, f->files[f->agent].name) == -1
        || (with && zlt_conf_override(&config->agent, with) == -1))
    {
        return zlt_conf_file_fail(f, whole, "out of memory");
    }

    /* [agent] may be there for the tunnels' sake alone */

    if (config->agent.nservers || config->agent.nservices
        || config->ntunnels == 0)
    {
        if (zlt_conf_check(&config->agent, why) == -1) {
            return zlt_conf_file_fail(f, whole, "%s", why);
        }
    }

    if (zlt_conf_node_tunnels(f) == -1) {
        return -1;
    }

    if (zlt_config_links(config) == -1) {
        return zlt_conf_file_fail(f, whole, "out of memory");
    }

    return 0;
}
