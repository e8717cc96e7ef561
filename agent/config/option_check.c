
/*
 * Copyright (C) zltunnel authors
 */

/* How a service is checked, as users write it. */


#include <string.h>

#include "option_check.h"


#define ZLT_OPTION_CHECK_HTTP  "http:"


int
zlt_option_check(const char *text, zlt_service_conf_t *s, const char **error)
{
    size_t       n;
    const char  *p;

    n = strlen(ZLT_OPTION_CHECK_HTTP);

    if (strncmp(text, ZLT_OPTION_CHECK_HTTP, n) == 0) {

        if (text[n] != '/' || text[n + 1] == '/') {
            *error = "after \"http:\" comes a path alone, for one "
                     "http:/healthz; where the service is says \"local\"";
            return -1;
        }

        for (p = text + n; *p; p++) {
            if (*p <= ' ' || *p >= 0x7f || *p == '#') {
                *error = "the path has a character that a request cannot "
                         "have: write it as %20 and the like";
                return -1;
            }
        }

    } else if (strcmp(text, "tcp") != 0) {
        *error = "it must be tcp, or http:/PATH with the path to be asked for";
        return -1;
    }

    if (strlen(text) > ZLT_OPTION_CHECK_MAX) {
        *error = "the path is too long: 255 bytes at most";
        return -1;
    }

    (void) strcpy(s->check, text);

    return 0;
}


int
zlt_option_check_fits(const zlt_service_conf_t *s, const char **error)
{
    if (s->check[0] && s->protocol == ZLT_PROTO_UDP) {
        *error = "a UDP service cannot be checked: leave \"check\" out";
        return -1;
    }

    if (s->on_fail && s->check[0] == '\0') {
        *error = "\"on_fail\" needs a \"check\" that can fail: add check = "
                 "tcp, or check = http:/PATH";
        return -1;
    }

    return 0;
}


const char *
zlt_option_check_path(const zlt_service_conf_t *s)
{
    return strchr(s->check, '/');
}


int
zlt_option_check_same(const zlt_service_conf_t *a,
    const zlt_service_conf_t *b)
{
    return strcmp(a->check, b->check) == 0
           && a->check_interval == b->check_interval
           && a->check_timeout == b->check_timeout
           && a->check_fails == b->check_fails
           && a->proxy_protocol == b->proxy_protocol
           && strcmp(a->local, b->local) == 0 && a->bare == b->bare;
}
