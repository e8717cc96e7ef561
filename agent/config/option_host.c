
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The names of hosts of a service.  They are kept in the form in which they are
 * compared, so that a reload sees no change where there is none; what is short
 * for a name below the server's domain is completed by the server.
 */


#include <stdio.h>
#include <string.h>

#include "option_host.h"
#include "zlt_host.h"


#define ZLT_OPTION_HOST_SHOWN  100     /* bytes of a name that is wrong */


static int zlt_option_host_one(const char *text, size_t len,
    zlt_service_conf_t *s, const char **error);
static const char *zlt_option_host_why(const char *text, size_t len);
static int zlt_option_host_has(const zlt_service_conf_t *s, zlt_str_t name);
static int zlt_option_host_fail(const char **error, const char *text,
    size_t len, const char *why);


int
zlt_option_host_add(const char *text, zlt_service_conf_t *s,
    const char **error)
{
    size_t  n, len;

    for ( ;; ) {
        text += strspn(text, " \t");
        len = strcspn(text, ",");
        n = len;

        while (n && (text[n - 1] == ' ' || text[n - 1] == '\t')) {
            n--;
        }

        if (zlt_option_host_one(text, n, s, error) == -1) {
            return -1;
        }

        if (text[len] == '\0') {
            return 0;
        }

        text += len + 1;
    }
}


static int
zlt_option_host_one(const char *text, size_t len, zlt_service_conf_t *s,
    const char **error)
{
    char       *p;
    size_t      n;
    uint8_t     name[ZLT_MAX_HOST];
    zlt_str_t   host;

    if (len == 0) {
        *error = "expected names of hosts with commas between them";
        return -1;
    }

    n = (strspn(text, "0123456789") >= len)
        ? zlt_host_short(name, (const uint8_t *) text, len)
        : zlt_host_name(name, (const uint8_t *) text, len);

    if (n == 0) {
        return zlt_option_host_fail(error, text, len,
                                    zlt_option_host_why(text, len));
    }

    host.data = name;
    host.len = n;

    if (zlt_option_host_has(s, host)) {
        return zlt_option_host_fail(error, text, len, "it is there twice");
    }

    if (strlen(s->hosts) + 1 + n > ZLT_OPTION_HOSTS_MAX
        || zlt_option_host_count(s) == ZLT_OPTION_HOSTS)
    {
        *error = "a service has at most 64 names of hosts, of 1023 bytes in "
                 "all: more of them need a service of their own";
        return -1;
    }

    p = s->hosts + strlen(s->hosts);

    if (p != s->hosts) {
        *p++ = ',';
    }

    memcpy(p, name, n);
    p[n] = '\0';

    return 0;
}


/* What is wrong, for those who have written something else. */

static const char *
zlt_option_host_why(const char *text, size_t len)
{
    size_t  i;

    if (memchr(text, '/', len)) {
        return "it is a name alone, not a URL: blog.example.com";
    }

    if (memchr(text, ':', len)) {
        return "it is a name alone, without a port: blog.example.com";
    }

    if (memchr(text, '_', len)) {
        return "a host's name has no \"_\", as no certificate has one";
    }

    for (i = 0; i < len; i++) {
        if ((unsigned char) text[i] >= 0x80) {
            return "names in other scripts are written as \"xn--...\"";
        }
    }

    if (len && strspn(text, "0123456789.") >= len) {
        return "it is a name, not an address";
    }

    if (memchr(text, '*', len)) {
        return "\"*\" stands at the beginning only, for all names below: "
               "*.example.com";
    }

    return "a host's name has labels of 1 to 63 letters, digits and \"-\", and "
           "253 bytes in all";
}


static int
zlt_option_host_fail(const char **error, const char *text, size_t len,
    const char *why)
{
    static char  buf[ZLT_OPTION_HOST_SHOWN + 160];

    (void) snprintf(buf, sizeof(buf), "\"%.*s\": %s",
                    len < ZLT_OPTION_HOST_SHOWN ? (int) len
                                                : ZLT_OPTION_HOST_SHOWN,
                    text, why);
    *error = buf;

    return -1;
}


int
zlt_option_host_next(const char **p, zlt_str_t *name)
{
    if (**p == '\0') {
        return 0;
    }

    name->data = (const uint8_t *) *p;
    name->len = strcspn(*p, ",");

    *p += name->len;
    *p += (**p == ',');

    return 1;
}


static int
zlt_option_host_has(const zlt_service_conf_t *s, zlt_str_t name)
{
    zlt_str_t    other;
    const char  *p;

    for (p = s->hosts; zlt_option_host_next(&p, &other); /* void */ ) {
        if (other.len == name.len
            && memcmp(other.data, name.data, name.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


const char *
zlt_option_host_shared(const zlt_service_conf_t *a,
    const zlt_service_conf_t *b)
{
    zlt_str_t    name;
    const char  *p;

    for (p = a->hosts; zlt_option_host_next(&p, &name); /* void */ ) {

        if (name.len == sizeof(ZLT_OPTION_HOST_AUTO) - 1
            && memcmp(name.data, ZLT_OPTION_HOST_AUTO, name.len) == 0)
        {
            /* one for each of them */
            continue;
        }

        if (zlt_option_host_has(b, name)) {
            return (const char *) name.data;
        }
    }

    return NULL;
}


unsigned
zlt_option_host_count(const zlt_service_conf_t *s)
{
    unsigned     n;
    zlt_str_t    name;
    const char  *p;

    n = 0;

    for (p = s->hosts; zlt_option_host_next(&p, &name); /* void */ ) {
        n++;
    }

    return n;
}


int
zlt_option_host_check(const zlt_service_conf_t *s, const char **error)
{
    if (s->hosts[0] == '\0') {
        return 0;
    }

    if (s->protocol == ZLT_PROTO_UDP) {
        *error = "a UDP service has no host: what asks for a host is HTTP or "
                 "TLS, over TCP";
        return -1;
    }

    if (s->ports || s->remote_ports) {
        *error = "a range of ports has no host: a service for each name";
        return -1;
    }

    return 0;
}


unsigned
zlt_option_host_flags(const zlt_service_conf_t *s)
{
    if (s->hosts[0] && s->remote_port == 0 && s->preferred_port == 0
        && !s->any_port && !(s->flags & ZLT_R_INTERNAL))
    {
        return s->flags | ZLT_R_PRIVATE;
    }

    return s->flags;
}
