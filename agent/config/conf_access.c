
/*
 * Copyright (C) zltunnel authors
 */

/* The sections of on-demand access: [access NAME] and [access]. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_access.h"


static int zlt_conf_access_begin(zlt_conf_file_t *f, const char *name);
static int zlt_conf_access_end(zlt_conf_file_t *f);
static int zlt_conf_access_open_begin(zlt_conf_file_t *f, const char *name);
static int zlt_conf_access_open_end(zlt_conf_file_t *f);


const zlt_conf_section_t  zlt_conf_access_section = {
    "access", 1, ZLT_KEY_ACCESS, zlt_conf_access_begin, zlt_conf_access_end
};

const zlt_conf_section_t  zlt_conf_access_open = {
    "access", 0, ZLT_KEY_OPEN, zlt_conf_access_open_begin,
    zlt_conf_access_open_end
};


int
zlt_conf_access_add(zlt_conf_t *conf, const zlt_access_conf_t *a, char *error)
{
    unsigned            i;
    zlt_access_conf_t  *accesses;

    for (i = 0; i < conf->naccesses; i++) {
        if (strcmp(conf->accesses[i].name, a->name) == 0) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                            "access to \"%.200s\" is there twice", a->name);
            return -1;
        }
    }

    if (conf->naccesses == ZLT_CONF_MAX_ACCESS) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE,
                        "more than %d access sessions", ZLT_CONF_MAX_ACCESS);
        return -1;
    }

    accesses = realloc(conf->accesses,
                       (conf->naccesses + 1) * sizeof(zlt_access_conf_t));

    if (accesses == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    accesses[conf->naccesses++] = *a;
    conf->accesses = accesses;

    return 0;
}


static int
zlt_conf_access_begin(zlt_conf_file_t *f, const char *name)
{
    const char  *why;

    zlt_option_access_init(&f->access);

    if (zlt_option_access_name(name, &f->access, &why) == -1) {
        return zlt_conf_file_fail(f, f->at, "%s", why);
    }

    return 0;
}


static int
zlt_conf_access_end(zlt_conf_file_t *f)
{
    char         error[ZLT_CONF_ERROR_SIZE];
    const char  *why;

    if (zlt_option_access_check(&f->access, &why) == -1) {
        return zlt_conf_file_fail(f, f->section_at, "%s", why);
    }

    if (zlt_conf_access_add(&f->config->agent, &f->access, error) == -1) {
        return zlt_conf_file_fail(f, f->section_at, "%s", error);
    }

    return 0;
}


static int
zlt_conf_access_open_begin(zlt_conf_file_t *f, const char *name)
{
    (void) name;

    memset(&f->service, 0, sizeof(zlt_service_conf_t));

    (void) strcpy(f->service.name, "access");
    (void) strcpy(f->service.local, "[access]");

    f->service.flags = ZLT_R_PRIVATE|ZLT_R_OPEN;

    return 0;
}


/* It leads where "allow" says, and nowhere without it. */

static int
zlt_conf_access_open_end(zlt_conf_file_t *f)
{
    char  error[ZLT_CONF_ERROR_SIZE];

    if (f->config->agent.allow.nrules == 0) {
        return zlt_conf_file_fail(f, f->section_at,
                                  "[access] has no \"allow\"");
    }

    if (zlt_conf_add_service(&f->config->agent, &f->service, error) == -1) {
        return zlt_conf_file_fail(f, f->section_at, "%s", error);
    }

    return 0;
}
