
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The server tells rights as the token's line has them: "services=web-*,ssh
 * ports=80,8000-8010 protocols=tcp expires=...; 0 of 1 session in use".  What
 * is not in that text is allowed, but for hosts.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "option_host.h"
#include "option_range.h"
#include "probe_rights.h"
#include "zlt_host.h"


#define ZLT_PROBE_RIGHTS_NONE  "no services"
#define ZLT_PROBE_RIGHTS_TEXT  (2 * ZLT_MAX_NAME + 100)


static int zlt_probe_rights_service(const zlt_service_conf_t *s,
    const char *rights, char *why);
static const char *zlt_probe_rights_find(const char *rights, const char *key);
static int zlt_probe_rights_name(const char *list, const char *name);
static int zlt_probe_rights_port(const char *list, unsigned port);
static int zlt_probe_rights_hosts(const zlt_service_conf_t *s,
    const char *rights, char *why);
static int zlt_probe_rights_host(const char *list, zlt_str_t host);
static int zlt_probe_rights_may_be(zlt_str_t item, zlt_str_t host);
static int zlt_probe_rights_auto(zlt_str_t name);


unsigned
zlt_probe_rights(const zlt_conf_t *conf, const char *rights,
    zlt_probe_pt tell)
{
    char                 why[ZLT_PROBE_RIGHTS_TEXT];
    unsigned             i, n, failed;
    zlt_service_conf_t   s;

    /* a text that was cut off does not tell all */

    if (strstr(rights, " in use") == NULL) {
        return 0;
    }

    failed = 0;

    for (i = 0; i < conf->nservices; i++) {

        for (n = 0; n < zlt_option_range_count(&conf->services[i]); n++) {
            zlt_option_range_service(&conf->services[i], n, &s);

            if (zlt_probe_rights_service(&s, rights, why) == -1) {

                /* one port of a range stands for all of them */

                tell("service", ZLT_PROBE_FAILED, why);
                failed++;
                break;
            }
        }
    }

    return failed;
}


/* 0, or -1 with the reason. */

static int
zlt_probe_rights_service(const zlt_service_conf_t *s, const char *rights,
    char *why)
{
    const char  *list;

    list = zlt_probe_rights_find(rights, "services=");

    if (strncmp(rights, ZLT_PROBE_RIGHTS_NONE,
                sizeof(ZLT_PROBE_RIGHTS_NONE) - 1)
        == 0
        || (list && !zlt_probe_rights_name(list, s->name)))
    {
        (void) snprintf(why, ZLT_PROBE_RIGHTS_TEXT, "the token does not allow "
                        "\"%s\": no service of that name (services=)",
                        s->name);
        return -1;
    }

    list = zlt_probe_rights_find(rights, "protocols=");

    if (list && strncmp(list, s->protocol == ZLT_PROTO_UDP ? "udp" : "tcp", 3)
                != 0)
    {
        (void) snprintf(why, ZLT_PROBE_RIGHTS_TEXT, "the token does not allow "
                        "\"%s\": not %s (protocols=)", s->name,
                        s->protocol == ZLT_PROTO_UDP ? "UDP" : "TCP");
        return -1;
    }

    list = zlt_probe_rights_find(rights, "ports=");

    if (list && s->remote_port && !zlt_probe_rights_port(list, s->remote_port))
    {
        (void) snprintf(why, ZLT_PROBE_RIGHTS_TEXT, "the token does not allow "
                        "\"%s\": not the port %u (ports=)", s->name,
                        (unsigned) s->remote_port);
        return -1;
    }

    return zlt_probe_rights_hosts(s, rights, why);
}


/* Unlike the others this right is there only where it is written down. */

static int
zlt_probe_rights_hosts(const zlt_service_conf_t *s, const char *rights,
    char *why)
{
    unsigned     n;
    zlt_str_t    host;
    const char  *list, *p, *most;

    if (s->hosts[0] == '\0') {
        return 0;
    }

    list = zlt_probe_rights_find(rights, "hosts=");

    if (list == NULL) {
        (void) snprintf(why, ZLT_PROBE_RIGHTS_TEXT, "the token does not allow "
                        "\"%s\": no hosts (hosts=)", s->name);
        return -1;
    }

    for (p = s->hosts; zlt_option_host_next(&p, &host); /* void */ ) {
        if (!zlt_probe_rights_host(list, host)) {
            (void) snprintf(why, ZLT_PROBE_RIGHTS_TEXT, "the token does not "
                            "allow \"%s\": not the host \"%.*s\" (hosts=)",
                            s->name, (int) host.len, host.data);
            return -1;
        }
    }

    n = zlt_option_host_count(s);
    most = zlt_probe_rights_find(rights, "max_hosts=");

    if (most && n > strtoul(most, NULL, 10)) {
        (void) snprintf(why, ZLT_PROBE_RIGHTS_TEXT, "the token does not allow "
                        "\"%s\": not %u hosts (max_hosts=)", s->name, n);
        return -1;
    }

    return 0;
}


static int
zlt_probe_rights_host(const char *list, zlt_str_t host)
{
    zlt_str_t  item;

    for ( ;; ) {
        item.data = (const uint8_t *) list;
        item.len = strcspn(list, ", ;");

        if (zlt_probe_rights_may_be(item, host)) {
            return 1;
        }

        if (list[item.len] != ',') {
            return 0;
        }

        list += item.len + 1;
    }
}


/* The server's domain is not known here: what may be right with one of them is
   not told to be wrong. */

static int
zlt_probe_rights_may_be(zlt_str_t item, zlt_str_t host)
{
    int              wild, item_short, host_short;
    size_t           len;
    const zlt_str_t  *full, *label;

    if (zlt_host_covers(item.data, item.len, host.data, host.len)) {
        return 1;
    }

    wild = (item.len && item.data[0] == '*');
    item_short = (memchr(item.data, '.', item.len) == NULL);
    host_short = (memchr(host.data, '.', host.len) == NULL);

    if (item_short == host_short) {
        return 0;
    }

    if (zlt_probe_rights_auto(host)) {
        return wild;
    }

    if (zlt_probe_rights_auto(item)) {
        return 0;
    }

    if (wild) {
        return 1;
    }

    label = item_short ? &item : &host;
    full = item_short ? &host : &item;
    len = label->len;

    return full->len > len && full->data[len] == '.'
           && memcmp(full->data, label->data, len) == 0;
}


static int
zlt_probe_rights_auto(zlt_str_t name)
{
    return name.len == sizeof(ZLT_OPTION_HOST_AUTO) - 1
           && memcmp(name.data, ZLT_OPTION_HOST_AUTO, name.len) == 0;
}


/* The value of a parameter, at whose end are a blank or ";"; NULL: none. */

static const char *
zlt_probe_rights_find(const char *rights, const char *key)
{
    size_t  len;

    len = strlen(key);

    for ( ;; ) {

        if (strncmp(rights, key, len) == 0) {
            return rights + len;
        }

        rights += strcspn(rights, " ;");

        if (*rights != ' ') {
            return NULL;
        }

        rights++;
    }
}


static int
zlt_probe_rights_name(const char *list, const char *name)
{
    size_t  n;

    for ( ;; ) {
        n = strcspn(list, ", ;");

        if (n && list[n - 1] == '*' ? strncmp(list, name, n - 1) == 0
                                    : strlen(name) == n
                                      && memcmp(list, name, n) == 0)
        {
            return 1;
        }

        if (list[n] != ',') {
            return 0;
        }

        list += n + 1;
    }
}


static int
zlt_probe_rights_port(const char *list, unsigned port)
{
    char           *end;
    unsigned long   first, last;

    for ( ;; ) {
        first = strtoul(list, &end, 10);
        last = (*end == '-') ? strtoul(end + 1, &end, 10) : first;

        if (port >= first && port <= last) {
            return 1;
        }

        if (*end != ',') {
            return 0;
        }

        list = end + 1;
    }
}
