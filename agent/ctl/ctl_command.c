
/*
 * Copyright (C) zltunnel authors
 */

/* What can be asked of a running process. */


#include <stdio.h>
#include <string.h>

#include "config.h"
#include "ctl_access.h"
#include "ctl_command.h"
#include "ctl_status.h"
#include "link.h"
#include "log.h"
#include "process.h"


static void zlt_ctl_command_start(zlt_ctl_request_t *r);
static void zlt_ctl_command_stop(zlt_ctl_request_t *r);
static int zlt_ctl_command_unknown(zlt_ctl_request_t *r, const char *name);
static void zlt_ctl_command_reload(zlt_ctl_request_t *r);


static const zlt_ctl_command_t  zlt_ctl_commands[] = {
    { "status", 1, 2, zlt_ctl_status },        /* text|json [NAME] */
    { "start",  1, 1, zlt_ctl_command_start },  /* NAME */
    { "stop",   1, 1, zlt_ctl_command_stop },  /* NAME, or an access ID */
    { "reload", 0, 0, zlt_ctl_command_reload },
    { "sessions", 1, 1, zlt_ctl_access_sessions },    /* text|json */
    { "renew",  1, 2, zlt_ctl_access_renew },  /* ID [TTL] */
    { NULL, 0, 0, NULL }
};


void
zlt_ctl_command(zlt_ctl_request_t *r)
{
    const zlt_ctl_command_t  *c;

    if (r->nwords == 0) {
        zlt_ctl_fail(r, "the request is empty");
        return;
    }

    for (c = zlt_ctl_commands; c->name; c++) {
        if (strcmp(c->name, r->words[0]) == 0) {
            break;
        }
    }

    if (c->name == NULL) {
        zlt_ctl_fail(r, "there is no request \"%.100s\"", r->words[0]);
        return;
    }

    if (r->nwords - 1 < c->least || r->nwords - 1 > c->most) {
        zlt_ctl_fail(r, "\"%s\" has too %s words", c->name,
                     r->nwords - 1 < c->least ? "few" : "many");
        return;
    }

    c->run(r);
}


/* All links of that name: there are several with "mode = all". */

static void
zlt_ctl_command_start(zlt_ctl_request_t *r)
{
    zlt_link_t  *l;

    if (zlt_ctl_command_unknown(r, r->words[1])) {
        return;
    }

    l = NULL;

    while ((l = zlt_process_find(r->process, r->words[1], l)) != NULL) {
        if (l->owner.stopping) {
            zlt_log_link(l->owner.label, ZLT_LOG_INFO, "told to start");
            zlt_link_start(l);
        }
    }

    zlt_ctl_done(r);
}


static void
zlt_ctl_command_stop(zlt_ctl_request_t *r)
{
    zlt_link_t  *l;

    if (zlt_ctl_access_stop(r)) {
        return;
    }

    if (zlt_process_find(r->process, r->words[1], NULL) == NULL
        && (zlt_ctl_access_named(r, r->words[1])
            || zlt_ctl_command_unknown(r, r->words[1])))
    {
        return;
    }

    l = NULL;

    while ((l = zlt_process_find(r->process, r->words[1], l)) != NULL) {
        if (!l->owner.stopping) {
            zlt_log_link(l->owner.label, ZLT_LOG_INFO, "told to stop");
            zlt_link_stop(l, 1, r->process->config->agent.shutdown_timeout,
                          "stopped");
        }
    }

    zlt_ctl_done(r);
}


/* 1, with an answer, if no tunnel of that name begins here */

static int
zlt_ctl_command_unknown(zlt_ctl_request_t *r, const char *name)
{
    unsigned                  i;
    zlt_config_t             *config;
    const zlt_link_t         *l;
    const zlt_tunnel_conf_t  *t;

    if (zlt_process_find(r->process, name, NULL)) {
        return 0;
    }

    config = r->process->config;

    for (i = 0; i < config->ntunnels; i++) {
        t = &config->tunnels[i];

        if (strcmp(t->conf.name, name) == 0) {
            zlt_ctl_fail(r, "the tunnel \"%s\" begins at the node \"%s\"",
                         name, t->from);
            return 1;
        }
    }

    l = zlt_ctl_status_has(r->process, name);

    if (l) {
        zlt_ctl_fail(r, "\"%s\" is a service of the tunnel \"%s\", which "
                     "starts and stops as a whole; to end one service take it "
                     "out of the file, and \"reload\"", name,
                     l->owner.conf->name);
        return 1;
    }

    zlt_ctl_fail(r, "there is no tunnel \"%.100s\"", name);

    return 1;
}


static void
zlt_ctl_command_reload(zlt_ctl_request_t *r)
{
    char  error[ZLT_CONF_ERROR_SIZE];

    if (zlt_reload(r->process, error) == -1) {
        zlt_ctl_fail(r, "%s", error);
        return;
    }

    zlt_ctl_done(r);
}
