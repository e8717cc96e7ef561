
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent check --connect: the way to each server, step by step. */


#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "cmd.h"
#include "cmd_probe.h"
#include "io.h"
#include "link.h"
#include "resolve.h"
#include "tls.h"


static unsigned zlt_cmd_probe_link(uv_loop_t *loop, zlt_conf_t *conf);
static unsigned zlt_cmd_probe_each(uv_loop_t *loop, zlt_conf_t *conf,
    zlt_tls_t *tls, const zlt_token_t *token);
static void zlt_cmd_probe_tell(const char *step, zlt_probe_result_e result,
    const char *text);


int
zlt_cmd_probe(const zlt_config_t *config)
{
    unsigned   i, failed;
    uv_loop_t  loop;

    if (uv_loop_init(&loop) != 0 || zlt_io_init(&loop) == -1
        || zlt_resolve_init(&loop) == -1)
    {
        (void) printf("the event loop cannot be made\n");
        return ZLT_EXIT_FAILED;
    }

    failed = 0;

    for (i = 0; i < config->nlinks; i++) {
        failed += zlt_cmd_probe_link(&loop, config->links[i]);
    }

    (void) zlt_resolve_done();
    (void) uv_run(&loop, UV_RUN_NOWAIT);
    zlt_io_done();
    (void) uv_loop_close(&loop);

    return failed ? ZLT_EXIT_FAILED : ZLT_EXIT_OK;
}


/* At each of its servers; how many steps have failed. */

static unsigned
zlt_cmd_probe_link(uv_loop_t *loop, zlt_conf_t *conf)
{
    char          error[ZLT_CONF_ERROR_SIZE];
    unsigned      i, failed;
    zlt_tls_t    *tls;
    zlt_token_t   token;

    failed = 0;

    for (i = 0; i < conf->nservers; i++) {
        zlt_conf_use(conf, i);

        (void) printf("%s%s%s:\n",
                      strcmp(conf->name, ZLT_CONF_AGENT) == 0 ? ""
                                                              : conf->name,
                      strcmp(conf->name, ZLT_CONF_AGENT) == 0 ? "" : " at ",
                      conf->servers[i].text);

        tls = NULL;

        if (zlt_token_read(&token, conf->token_file, error) == -1) {
            zlt_cmd_probe_tell("token", ZLT_PROBE_FAILED, error);
            failed++;
            continue;
        }

        if (zlt_link_way(conf, &tls, error) == -1) {
            zlt_cmd_probe_tell("TLS", ZLT_PROBE_FAILED, error);
            failed++;

        } else if (conf->mode == ZLT_CONF_ALL
                   && !zlt_url_loopback(conf->url.host))
        {
            failed += zlt_cmd_probe_each(loop, conf, tls, &token);

        } else {
            failed += zlt_probe(loop, conf, tls, &token, NULL,
                                zlt_cmd_probe_tell);
        }

        zlt_tls_destroy(tls);
        zlt_token_wipe(&token);
    }

    return failed;
}


/* At each address, as there is a link to each. */

static unsigned
zlt_cmd_probe_each(uv_loop_t *loop, zlt_conf_t *conf, zlt_tls_t *tls,
    const zlt_token_t *token)
{
    char         text[ZLT_ADDR_TEXT];
    unsigned     i, failed;
    zlt_addrs_t  at, all;

    at.n = 0;

    failed = zlt_probe(loop, conf, tls, token, &at, zlt_cmd_probe_tell);
    all = at;

    for (i = 1; i < all.n; i++) {
        at.addrs[0] = all.addrs[i];
        at.n = 1;

        (void) printf("%s at %s:\n", conf->server,
                      zlt_addr_text(text, &at.addrs[0]));

        if (zlt_addr_has_route(&at.addrs[0])) {
            failed += zlt_probe(loop, conf, tls, token, &at,
                                zlt_cmd_probe_tell);
        } else {
            zlt_cmd_probe_tell("address", ZLT_PROBE_NO, "this machine has no "
                               "route there: it is left out");
        }
    }

    return failed;
}


static void
zlt_cmd_probe_tell(const char *step, zlt_probe_result_e result,
    const char *text)
{
    static const char *const  results[] = { "OK", "no", "FAILED" };

    (void) printf("    %-9s  %-6s  %s\n", step, results[result], text);
    (void) fflush(stdout);
}
