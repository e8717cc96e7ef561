
/*
 * Copyright (C) zltunnel authors
 */

/* From what the file says to the links of this process. */


#include <stdlib.h>
#include <string.h>

#include "config.h"


static int zlt_config_add(zlt_config_t *config, const zlt_conf_t *conf);


void
zlt_config_init(zlt_config_t *config)
{
    memset(config, 0, sizeof(zlt_config_t));

    zlt_conf_init(&config->agent);

    (void) strcpy(config->agent.name, ZLT_CONF_AGENT);
}


void
zlt_config_free(zlt_config_t *config)
{
    unsigned  i;

    for (i = 0; i < config->ntunnels; i++) {
        zlt_conf_free(&config->tunnels[i].conf);
    }

    for (i = 0; i < config->nlinks; i++) {
        zlt_conf_destroy(config->links[i]);
    }

    free(config->tunnels);
    free(config->nodes);
    free(config->links);
    zlt_conf_free(&config->agent);

    memset(config, 0, sizeof(zlt_config_t));
}


int
zlt_config_links(zlt_config_t *config)
{
    unsigned  i;

    if (config->agent.nservers
        && zlt_config_add(config, &config->agent) == -1)
    {
        return -1;
    }

    for (i = 0; i < config->ntunnels; i++) {

        if (zlt_config_begins(config, &config->tunnels[i])
            && zlt_config_add(config, &config->tunnels[i].conf) == -1)
        {
            return -1;
        }
    }

    return 0;
}


/* One link, or one at each server. */

static int
zlt_config_add(zlt_config_t *config, const zlt_conf_t *conf)
{
    unsigned     i, n;
    zlt_conf_t  *copy;

    n = (conf->mode == ZLT_CONF_ALL) ? conf->nservers : 1;

    for (i = 0; i < n; i++) {
        copy = zlt_conf_copy(conf);

        if (copy == NULL) {
            return -1;
        }

        if (conf->mode == ZLT_CONF_ALL) {
            zlt_conf_only(copy, i);

            /* a local address is there once */

            if (i) {
                copy->naccesses = 0;
            }
        }

        if (zlt_config_insert(config, config->nlinks, copy) == -1) {
            zlt_conf_destroy(copy);
            return -1;
        }
    }

    return 0;
}


int
zlt_config_insert(zlt_config_t *config, unsigned i, zlt_conf_t *conf)
{
    zlt_conf_t  **links;

    links = realloc(config->links,
                    (config->nlinks + 1) * sizeof(zlt_conf_t *));

    if (links == NULL) {
        return -1;
    }

    memmove(&links[i + 1], &links[i],
            (config->nlinks - i) * sizeof(zlt_conf_t *));

    links[i] = conf;
    config->nlinks++;
    config->links = links;

    return 0;
}


int
zlt_config_begins(const zlt_config_t *config, const zlt_tunnel_conf_t *t)
{
    return strcmp(t->from, config->node) == 0;
}


int
zlt_config_expects(const zlt_config_t *config, const zlt_tunnel_conf_t *t)
{
    return config->node[0] && strcmp(t->to, config->node) == 0;
}


const zlt_tunnel_conf_t *
zlt_config_expected(const zlt_config_t *config, const char *name,
    const zlt_tunnel_conf_t *after)
{
    const zlt_tunnel_conf_t  *t;

    for (t = after ? after + 1 : config->tunnels;
         t && t < config->tunnels + config->ntunnels; t++)
    {
        if (zlt_config_expects(config, t)
            && (name == NULL || strcmp(t->conf.name, name) == 0))
        {
            return t;
        }
    }

    return NULL;
}


int
zlt_config_same(const zlt_conf_t *a, const zlt_conf_t *b)
{
    if (strcmp(a->name, b->name) != 0 || a->mode != b->mode) {
        return 0;
    }

    return a->mode != ZLT_CONF_ALL || strcmp(a->server, b->server) == 0;
}
