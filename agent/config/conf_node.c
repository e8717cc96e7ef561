
/*
 * Copyright (C) zltunnel authors
 */

/*
 * [node], [nodes] and [tunnel NAME]: tunnels between nodes.
 *
 * A tunnel says at which node it begins and at which it ends, so that all
 * nodes can have the same file.  Its keys are those of a link, with [agent]'s
 * for defaults, and those of its one service.
 */


#include <stdlib.h>
#include <string.h>

#include "conf_node.h"
#include "zlt_name.h"


#define ZLT_CONF_NAMES  ", \t"


static int zlt_conf_node_tunnel_begin(zlt_conf_file_t *f, const char *name);
static int zlt_conf_node_tunnel_end(zlt_conf_file_t *f);
static int zlt_conf_node_tunnel_ends(zlt_conf_file_t *f, zlt_tunnel_conf_t *t);
static int zlt_conf_node_tunnel_known(zlt_conf_file_t *f, zlt_conf_place_t at,
    const char *node);
static int zlt_conf_node_tunnel_link(zlt_conf_file_t *f, zlt_tunnel_conf_t *t);
static int zlt_conf_node_path(char **path, const char *file);


const zlt_conf_section_t  zlt_conf_node_section = {
    "node", 0, ZLT_KEY_NODE, NULL, NULL
};

const zlt_conf_section_t  zlt_conf_node_list = {
    "nodes", 0, ZLT_KEY_NODES, NULL, NULL
};

const zlt_conf_section_t  zlt_conf_node_tunnel = {
    "tunnel", 1, ZLT_KEY_TUNNEL, zlt_conf_node_tunnel_begin,
    zlt_conf_node_tunnel_end
};


int
zlt_conf_node_name(const char *key, const char *value, char *name,
    char *error)
{
    size_t  len;

    len = strlen(value);

    if (len > ZLT_CONF_NODE_MAX
        || !zlt_name_valid((const uint8_t *) value, len))
    {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is \"%.100s\", "
                        "but a node's name is 1 to %d letters, digits, "
                        "\"-\", \"_\", \".\"", key, value, ZLT_CONF_NODE_MAX);
        return -1;
    }

    (void) strcpy(name, value);

    return 0;
}


int
zlt_conf_node_names(zlt_config_t *c, const char *key, const char *value,
    char *error)
{
    char  *copy, *name, *rest;

    if (c->nodes == NULL) {
        c->nodes = calloc(ZLT_CONFIG_MAX_NODES, sizeof(c->nodes[0]));
    }

    copy = strdup(value);

    if (copy == NULL || c->nodes == NULL) {
        (void) strcpy(error, "out of memory");
        free(copy);
        return -1;
    }

    for (name = strtok_r(copy, ZLT_CONF_NAMES, &rest); name;
         name = strtok_r(NULL, ZLT_CONF_NAMES, &rest))
    {
        if (c->nnodes == ZLT_CONFIG_MAX_NODES) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "more than %d nodes",
                            ZLT_CONFIG_MAX_NODES);
            free(copy);
            return -1;
        }

        if (zlt_conf_node_name(key, name, c->nodes[c->nnodes], error) == -1) {
            free(copy);
            return -1;
        }

        c->nnodes++;
    }

    free(copy);

    return 0;
}


void
zlt_conf_node_place(zlt_conf_file_t *f, const zlt_key_t *k)
{
    zlt_config_t       *c;
    zlt_tunnel_conf_t  *t;

    c = f->config;

    if (f->kind->bit == ZLT_KEY_NODE) {
        c->node_at = f->at;
        return;
    }

    if (f->kind->bit == ZLT_KEY_TUNNEL) {
        t = &c->tunnels[c->ntunnels - 1];

        if (strcmp(k->name, "from") == 0) {
            t->from_at = f->at;

        } else if (strcmp(k->name, "to") == 0) {
            t->to_at = f->at;
        }
    }
}


static int
zlt_conf_node_tunnel_begin(zlt_conf_file_t *f, const char *name)
{
    unsigned            i;
    const char         *why;
    zlt_config_t       *c;
    zlt_tunnel_conf_t  *t;

    c = f->config;

    memset(&f->service, 0, sizeof(zlt_service_conf_t));
    zlt_key_defaults(ZLT_KEY_OF_SERVICE, &f->service);
    f->service.flags = ZLT_R_INTERNAL;

    if (zlt_option_service_name(name, &f->service, &why) == -1) {
        return zlt_conf_file_fail(f, f->at, "a tunnel's name is 1 to 255 "
                                  "letters, digits, \"-\", \"_\", \".\"");
    }

    if (strcmp(name, ZLT_CONF_AGENT) == 0) {
        return zlt_conf_file_fail(f, f->at, "a tunnel cannot be called "
                                  "\"%s\", as that of [agent] is", name);
    }

    for (i = 0; i < c->ntunnels; i++) {
        t = &c->tunnels[i];

        if (strcmp(t->conf.name, name) == 0) {
            return zlt_conf_file_fail(f, f->at, t->at.file == f->at.file
                                      ? "the tunnel \"%s\" is there twice, "
                                      "before in line %u"
                                      : "the tunnel \"%s\" is there twice, "
                                      "before in line %u of %s", name,
                                      t->at.line, f->files[t->at.file].name);
        }
    }

    if (c->ntunnels == ZLT_CONFIG_MAX_TUNNELS) {
        return zlt_conf_file_fail(f, f->at, "more than %d tunnels",
                                  ZLT_CONFIG_MAX_TUNNELS);
    }

    t = realloc(c->tunnels, (c->ntunnels + 1) * sizeof(zlt_tunnel_conf_t));

    if (t == NULL) {
        return zlt_conf_file_fail(f, f->at, "out of memory");
    }

    c->tunnels = t;
    t += c->ntunnels++;

    memset(t, 0, sizeof(zlt_tunnel_conf_t));
    zlt_conf_init(&t->conf);

    (void) strcpy(t->conf.name, name);
    (void) strcpy(t->host, "127.0.0.1");
    t->at = f->at;

    return 0;
}


static int
zlt_conf_node_tunnel_end(zlt_conf_file_t *f)
{
    char                local[ZLT_OPTION_LOCAL_MAX], why[ZLT_CONF_ERROR_SIZE];
    const char         *text;
    zlt_tunnel_conf_t  *t;
    zlt_service_conf_t *s;

    s = &f->service;
    t = &f->config->tunnels[f->config->ntunnels - 1];

    if (t->port == 0) {
        return zlt_conf_file_fail(f, t->at, "the tunnel has no "
                                  "\"local_port\"");
    }

    (void) snprintf(local, sizeof(local),
                    strchr(t->host, ':') && t->host[0] != '['
                    ? "[%s]:%u" : "%s:%u", t->host, (unsigned) t->port);

    s->flags = t->is_public ? 0 : ZLT_R_INTERNAL;

    if (zlt_option_service_local(local, s, &text) == -1
        || zlt_option_service_check(s, &text) == -1)
    {
        return zlt_conf_file_fail(f, t->at, "%s", text);
    }

    if (t->conf.nservers == 0) {
        return zlt_conf_file_fail(f, t->at, "the tunnel has no \"server\"");
    }

    if (zlt_conf_add_service(&t->conf, s, why) == -1) {
        return zlt_conf_file_fail(f, t->at, "%s", why);
    }

    (void) strcpy(t->conf.to, t->to);

    return 0;
}


int
zlt_conf_node_tunnels(zlt_conf_file_t *f)
{
    unsigned            i, here;
    zlt_config_t       *c;
    zlt_tunnel_conf_t  *t;

    c = f->config;
    here = c->agent.nservers;

    if (c->node[0] && c->nodes
        && zlt_conf_node_tunnel_known(f, c->node_at, c->node) == -1)
    {
        return -1;
    }

    for (i = 0; i < c->ntunnels; i++) {
        t = &c->tunnels[i];

        if (zlt_conf_node_tunnel_ends(f, t) == -1
            || zlt_conf_node_tunnel_link(f, t) == -1)
        {
            return -1;
        }

        here |= zlt_config_begins(c, t) || zlt_config_expects(c, t);
    }

    if (!here) {
        return zlt_conf_file_fail(f, c->node_at, "no tunnel begins or ends "
                                  "at the node \"%s\": is that its name?",
                                  c->node);
    }

    return 0;
}


/* From where, to where. */

static int
zlt_conf_node_tunnel_ends(zlt_conf_file_t *f, zlt_tunnel_conf_t *t)
{
    const char  *missing;

    missing = (t->from[0] == '\0') ? "from" : (t->to[0] == '\0') ? "to" : NULL;

    if (f->config->node[0] == '\0') {

        if (t->from[0] || t->to[0]) {
            return zlt_conf_file_fail(f, t->at, "the tunnel is one between "
                                      "nodes, but which one is this?  [node] "
                                      "with \"name\" is missing");
        }

        return 0;
    }

    if (missing) {
        return zlt_conf_file_fail(f, t->at, "the tunnel has no \"%s\"",
                                  missing);
    }

    if (strcmp(t->from, t->to) == 0) {
        return zlt_conf_file_fail(f, t->to_at, "the tunnel ends where it "
                                  "begins, at \"%s\"", t->to);
    }

    if (f->config->nodes == NULL) {
        return 0;
    }

    if (zlt_conf_node_tunnel_known(f, t->from_at, t->from) == -1) {
        return -1;
    }

    return zlt_conf_node_tunnel_known(f, t->to_at, t->to);
}


static int
zlt_conf_node_tunnel_known(zlt_conf_file_t *f, zlt_conf_place_t at,
    const char *node)
{
    unsigned  i;

    for (i = 0; i < f->config->nnodes; i++) {
        if (strcmp(f->config->nodes[i], node) == 0) {
            return 0;
        }
    }

    return zlt_conf_file_fail(f, at, "there is no node \"%s\" in [nodes]",
                              node);
}


/* What it leaves to [agent]. */

static int
zlt_conf_node_tunnel_link(zlt_conf_file_t *f, zlt_tunnel_conf_t *t)
{
    char  why[ZLT_CONF_ERROR_SIZE];

    if (zlt_conf_node_paths(&t->conf, f->files[t->at.file].name) == -1
        || zlt_conf_inherit(&t->conf, &f->config->agent) == -1)
    {
        return zlt_conf_file_fail(f, t->at, "out of memory");
    }

    if (zlt_conf_check(&t->conf, why) == -1) {
        return zlt_conf_file_fail(f, t->at, "%s", why);
    }

    return 0;
}


int
zlt_conf_node_paths(zlt_conf_t *conf, const char *file)
{
    char             **path;
    const zlt_key_t   *k;

    if (strchr(file, '/') == NULL) {
        return 0;
    }

    for (k = zlt_key_table; k->name; k++) {

        if (k->of != ZLT_KEY_OF_LINK || k->form != ZLT_KEY_PATH) {
            continue;
        }

        path = (char **) (void *) ((char *) conf + k->offset);

        if (path == &conf->control && *path && strcmp(*path, "none") == 0) {
            continue;
        }

        if (zlt_conf_node_path(path, file) == -1) {
            return -1;
        }
    }

    return 0;
}


static int
zlt_conf_node_path(char **path, const char *file)
{
    char    *full;
    size_t   dir;

    if (*path == NULL || **path == '/') {
        return 0;
    }

    dir = (size_t) (strrchr(file, '/') - file) + 1;

    full = malloc(dir + strlen(*path) + 1);
    if (full == NULL) {
        return -1;
    }

    memcpy(full, file, dir);
    (void) strcpy(full + dir, *path);

    free(*path);
    *path = full;

    return 0;
}
