
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects what users write as values, services and access sessions among
 * them: what is accepted fits its fields, what is not has a complaint.
 *
 * The first byte of an input says which value it is.
 */


#include "fuzz.h"
#include "option_access.h"
#include "option_range.h"
#include "option_service.h"
#include "parse.h"


static void
option_range(const zlt_service_conf_t *s)
{
    unsigned             i, n;
    zlt_service_conf_t   one;

    n = zlt_option_range_count(s);
    must(n >= 1 && n <= ZLT_OPTION_RANGE_MAX);

    for (i = 0; i < n; i += (n > 2) ? n - 1 : 1) {
        zlt_option_range_service(s, i, &one);

        must(strlen(one.name) <= ZLT_MAX_NAME);
        must(strlen(one.local) < ZLT_OPTION_LOCAL_MAX);
        must(one.ports == 0 && one.remote_ports == 0);
        must(zlt_option_range_has(s, one.name));
        must(zlt_option_range_index(s, &one) == (int) i);
        must(zlt_option_range_index(&one, s) == 0);
    }
}


static void
option_service(unsigned which, const char *text)
{
    int                  rc;
    const char          *error;
    zlt_service_conf_t   s;

    memset(&s, 0, sizeof(s));
    s.protocol = ZLT_PROTO_TCP;
    error = NULL;

    switch (which) {

    case 0:
        rc = zlt_option_service(text, &s, &error);
        break;

    case 1:
        rc = zlt_option_service_local(text, &s, &error);
        break;

    case 2:
        rc = zlt_option_service_name(text, &s, &error);
        break;

    default:
        rc = zlt_option_service_allow(text, &s, &error);
    }

    must(rc == 0 || (rc == -1 && error && *error));

    if (rc == 0) {
        must(strlen(s.name) <= ZLT_MAX_NAME);
        must(strlen(s.host) <= ZLT_OPTION_HOST_MAX);
        must(strlen(s.local) < ZLT_OPTION_LOCAL_MAX);
        must(strlen(s.allow_access) <= ZLT_OPTION_ALLOW_MAX);
        must(which || (s.name[0] && s.has_local));

        rc = zlt_option_service_check(&s, &error);
        must(rc == 0 || (rc == -1 && error && *error));

        if (rc == 0 && which == 0) {
            option_range(&s);
        }
    }
}


static void
option_access(unsigned which, const char *text)
{
    int                 rc;
    const char         *error;
    zlt_access_conf_t   a;

    zlt_option_access_init(&a);
    error = NULL;

    switch (which) {

    case 0:
        rc = zlt_option_access(text, &a, &error);
        break;

    case 1:
        rc = zlt_option_access_name(text, &a, &error);
        break;

    case 2:
        rc = zlt_option_access_local(text, &a, &error);
        break;

    default:
        rc = zlt_option_access_target(text, &a, &error);
    }

    must(rc == 0 || (rc == -1 && error && *error));

    if (rc == 0) {
        must(strlen(a.name) <= ZLT_MAX_NAME);
        must(strlen(a.service) <= ZLT_MAX_NAME);
        must(strlen(a.host) <= ZLT_OPTION_HOST_MAX);
        must(strlen(a.target) <= ZLT_MAX_TARGET);

        rc = zlt_option_access_check(&a, &error);
        must(rc == 0 || (rc == -1 && error && *error));
    }
}


static void
option_value(const char *text)
{
    int       flag;
    uint8_t   version;
    uint16_t  port;
    uint32_t  n, ms, seconds;

    (void) zlt_parse_port(text, &port);
    (void) zlt_option_service_pp(text, &version);

    if (zlt_parse_bool(text, &flag) == 0) {
        must(flag == 0 || flag == 1);
    }

    if (zlt_parse_number(text, 1000, &n) == 0) {
        must(n <= 1000);
    }

    if (zlt_parse_time(text, &ms) == 0
        && zlt_parse_seconds(text, &seconds) == 0)
    {
        must(ms / 1000 == seconds);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char  *text;

    if (size == 0) {
        return 0;
    }

    text = fuzz_text(data + 1, size - 1);

    if (data[0] & 8) {
        option_value(text);

    } else if (data[0] & 4) {
        option_access(data[0] & 3, text);

    } else {
        option_service(data[0] & 3, text);
    }

    free(text);

    return 0;
}
