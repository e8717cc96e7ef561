
/*
 * Copyright (C) zltunnel authors
 */

/* "status --ready": for whoever waits for an agent, or watches over it. */


#include <string.h>
#include <uv.h>

#include "cmd_ready.h"
#include "ctl_client.h"
#include "exit.h"
#include "log.h"


#define ZLT_CMD_READY_TIME  100        /* ms, between two questions */


static int zlt_cmd_ready_ask(const char *path, const char *const *words,
    unsigned n, int last);


int
zlt_cmd_ready(const char *path, const char *const *words, unsigned n,
    uint32_t wait)
{
    int       last;
    uint64_t  until;

    until = uv_hrtime() / 1000000 + wait;

    for ( ;; ) {
        last = (uv_hrtime() / 1000000 + ZLT_CMD_READY_TIME > until);

        if (zlt_cmd_ready_ask(path, words, n, last) == 0) {
            return ZLT_EXIT_OK;
        }

        if (last) {
            return ZLT_EXIT_FAILED;
        }

        uv_sleep(ZLT_CMD_READY_TIME);
    }
}


/* 0, or -1: the last time with a line for each that is not ready. */

static int
zlt_cmd_ready_ask(const char *path, const char *const *words, unsigned n,
    int last)
{
    int          rc;
    char         error[ZLT_CTL_ERROR];
    char        *line, *rest;
    zlt_text_t   text;

    memset(&text, 0, sizeof(zlt_text_t));

    if (zlt_ctl_client_try(path, words, n, &text, error) != ZLT_EXIT_OK) {
        rc = -1;

        if (last) {
            zlt_log_complain("%s", error);
        }

    } else {
        rc = text.len ? -1 : 0;
        zlt_text_append(&text, "", 1);

        for (line = last && !text.failed ? strtok_r(text.data, "\n", &rest)
                                         : NULL;
             line;
             line = strtok_r(NULL, "\n", &rest))
        {
            zlt_log_complain("%s", line);
        }
    }

    zlt_text_free(&text);

    return rc;
}
