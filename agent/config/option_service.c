
/*
 * Copyright (C) zltunnel authors
 */

/* A service, as users write it. */


#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "option_check.h"
#include "option_host.h"
#include "option_range.h"
#include "option_service.h"
#include "parse.h"
#include "zlt_name.h"


static int zlt_option_service_suffixes(char *text, zlt_service_conf_t *s,
    const char **error);
static char *zlt_option_service_colon(char *text);
static int zlt_option_service_misplaced(const char *text, const char **error);
static int zlt_option_service_bare6(const char *local);


int
zlt_option_service_name(const char *text, zlt_service_conf_t *s,
    const char **error)
{
    if (!zlt_name_valid((const uint8_t *) text, strlen(text))) {
        *error = strpbrk(text, "\"'")
                 ? "names are written without quotes"
                 : "a service name is 1 to 255 bytes: letters of any script, "
                   "digits, \"-\", \"_\", \".\"";
        return -1;
    }

    (void) strcpy(s->name, text);

    return 0;
}


/* The first colon that is not within brackets. */

static char *
zlt_option_service_colon(char *text)
{
    char  *end;

    if (*text == '[') {
        end = strchr(text, ']');

        if (end) {
            text = end;
        }
    }

    return strchr(text, ':');
}


int
zlt_option_service(const char *text, zlt_service_conf_t *s,
    const char **error)
{
    int      rc;
    char     name[ZLT_MAX_NAME + 2];
    char    *copy, *local, *colon, *last;
    size_t   len;

    copy = strdup(text);
    if (copy == NULL) {
        *error = "out of memory";
        return -1;
    }

    rc = -1;

    if (zlt_option_service_misplaced(copy, error)) {
        goto done;
    }

    local = strchr(copy, ':');

    if (local) {
        *local++ = '\0';
        (void) snprintf(name, sizeof(name), "%s", copy);

    } else {
        /* a port alone is its own name */

        len = strspn(copy, "0123456789");

        if (len == 0 || (copy[len] != '\0' && copy[len] != '/')) {
            *error = "expected NAME:[HOST:]PORT[:REMOTE_PORT][/udp], for one "
                     "web:3000, or a port";
            goto done;
        }

        local = copy;
        (void) snprintf(name, sizeof(name), "%.*s", (int) len, copy);
    }

    if (zlt_option_service_name(name, s, error) == -1
        || zlt_option_service_suffixes(local, s, error) == -1)
    {
        goto done;
    }

    /*
     * What is left is LOCAL or LOCAL:REMOTE_PORT.  LOCAL is "PORT" if all of
     * it up to the first colon are digits, or a range; a host name is not.
     */

    last = NULL;

    if (strncmp(local, "unix:", 5) == 0) {
        last = strrchr(local + 5, ':');

        if (last && !zlt_parse_digits(last + 1)) {
            last = NULL;
        }

    } else {
        if (zlt_option_service_bare6(local)) {
            *error = "an IPv6 address needs brackets: web:[::1]:80";
            goto done;
        }

        colon = zlt_option_service_colon(local);

        if (colon) {
            *colon = '\0';

            if (zlt_parse_digits(local) || zlt_option_range_is(local)) {
                last = colon;

            } else {
                last = strchr(colon + 1, ':');
            }

            *colon = ':';
        }
    }

    if (last) {
        *last = '\0';

        if (strcmp(last + 1, "0") == 0) {
            s->any_port = 1;

        } else if (zlt_option_range_ports(last + 1, &s->remote_port,
                                          &s->remote_ports, error)
                   == -1)
        {
            if (*error == NULL) {
                *error = "the remote port is not a number from 1 to 65535";
            }

            goto done;
        }
    }

    if (zlt_option_service_local(local, s, error) == -1
        || zlt_option_service_check(s, error) == -1)
    {
        goto done;
    }

    rc = 0;

done:

    free(copy);

    return rc;
}


/* 1 if there is an address where the name should be, or a URL. */

static int
zlt_option_service_misplaced(const char *text, const char **error)
{
    char            name[INET6_ADDRSTRLEN];
    size_t          len;
    struct in_addr  in;

    if (strstr(text, "://") && strstr(text, ":unix:") == NULL) {
        *error = "a service is at HOST:PORT, not at a URL: web:localhost:80";
        return 1;
    }

    len = strcspn(text, ":");

    if (text[len] == '\0' || len >= sizeof(name)) {
        return 0;
    }

    memcpy(name, text, len);
    name[len] = '\0';

    if (*text == '[' || strcasecmp(name, "localhost") == 0
        || inet_pton(AF_INET, name, &in) == 1)
    {
        *error = "this is an address, and a name comes before it: "
                 "web:localhost:3000";
        return 1;
    }

    return 0;
}


/* HOST:PORT:REMOTE_PORT has two colons at most, and none side by side. */

static int
zlt_option_service_bare6(const char *local)
{
    unsigned  colons;

    if (*local == '[') {
        return 0;
    }

    if (strstr(local, "::")) {
        return 1;
    }

    for (colons = 0; *local; local++) {
        colons += (*local == ':');
    }

    return colons > 2;
}


/* Takes "/udp" and its like off the end of text. */

static int
zlt_option_service_suffixes(char *text, zlt_service_conf_t *s,
    const char **error)
{
    char  *slash;

    while ((slash = strrchr(text, '/')) != NULL) {

        if (strcmp(slash, "/udp") == 0) {
            s->protocol = ZLT_PROTO_UDP;

        } else if (strcmp(slash, "/tcp") == 0) {
            s->protocol = ZLT_PROTO_TCP;

        } else if (strcmp(slash, "/private") == 0) {
            s->flags |= ZLT_R_PRIVATE;

        } else if (strcmp(slash, "/internal") == 0) {
            s->flags |= ZLT_R_INTERNAL;

        } else if (strncmp(slash, "/proxy-", 7) == 0
                   && zlt_option_service_pp(slash + 7, &s->proxy_protocol)
                      == 0)
        {
            /* void */

        } else {
            break;
        }

        *slash = '\0';
    }

    if (slash && strncmp(text, "unix:", 5) != 0) {
        *error = "after \"/\" only udp, tcp, private, internal, proxy-v1 and "
                 "proxy-v2 are known";
        return -1;
    }

    return 0;
}


int
zlt_option_service_local(const char *text, zlt_service_conf_t *s,
    const char **error)
{
    char         host[ZLT_OPTION_HOST_MAX + 3];
    char        *end;
    size_t       len;
    const char  *colon, *port;

    s->has_local = 1;
    s->is_unix = 0;
    s->bare = 0;

    if (strncmp(text, "unix:", 5) == 0) {

        if (text[5] != '/') {
            *error = "the path after \"unix:\" must be absolute";
            return -1;
        }

        if (strlen(text + 5) >= sizeof(((struct sockaddr_un *) 0)->sun_path)) {
            *error = "the path after \"unix:\" is too long";
            return -1;
        }

        (void) strcpy(s->host, text + 5);
        (void) strcpy(s->local, text);
        s->port = 0;
        s->ports = 0;
        s->is_unix = 1;

        return 0;
    }

    if (strstr(text, "://")) {
        *error = "a service is at HOST:PORT, not at a URL: localhost:80";
        return -1;
    }

    colon = strrchr(text, ':');

    if (colon == NULL || (*text == '[' && text[strlen(text) - 1] == ']')) {
        port = text;
        s->bare = 1;
        (void) strcpy(host, "127.0.0.1");

    } else {
        port = colon + 1;
        len = (size_t) (colon - text);

        if (len == 0 || len > ZLT_OPTION_HOST_MAX) {
            *error = "the local host is missing or too long";
            return -1;
        }

        memcpy(host, text, len);
        host[len] = '\0';
    }

    if (zlt_option_range_ports(port, &s->port, &s->ports, error) == -1) {

        if (*error == NULL) {
            *error = "the local port is not a number from 1 to 65535";
        }

        return -1;
    }

    if (host[0] == '[') {
        end = strchr(host, ']');

        if (end == NULL || end[1] != '\0') {
            *error = "the local host has unbalanced brackets";
            return -1;
        }

        *end = '\0';
        (void) strcpy(s->host, host + 1);

    } else if (strchr(host, ':')) {
        *error = zlt_option_service_bare6(text)
                 ? "an IPv6 address needs brackets: [::1]:80"
                 : "there is more in it than HOST:PORT";
        return -1;

    } else {
        (void) strcpy(s->host, host);
    }

    if (s->host[0] == '\0' || strpbrk(s->host, " \t/\\\"'")) {
        *error = "the local host is not a name or an address";
        return -1;
    }

    zlt_option_range_local(s);

    return 0;
}


int
zlt_option_service_check(const zlt_service_conf_t *s, const char **error)
{
    if (s->is_unix && s->protocol == ZLT_PROTO_UDP) {
        *error = "a UDP service cannot be a UNIX socket";
        return -1;
    }

    if (s->proxy_protocol && s->protocol == ZLT_PROTO_UDP) {
        *error = "the PROXY protocol is for TCP services only";
        return -1;
    }

    if ((s->flags & ZLT_R_PRIVATE) && (s->remote_port || s->preferred_port)) {
        *error = "a private service has no remote port";
        return -1;
    }

    if (zlt_option_check_fits(s, error) == -1
        || zlt_option_host_check(s, error) == -1)
    {
        return -1;
    }

    return zlt_option_range_check(s, error);
}


int
zlt_option_service_pp(const char *text, uint8_t *version)
{
    if (strcmp(text, "v1") == 0) {
        *version = 1;
        return 0;
    }

    if (strcmp(text, "v2") == 0) {
        *version = 2;
        return 0;
    }

    if (strcmp(text, "no") == 0) {
        *version = 0;
        return 0;
    }

    return -1;
}


int
zlt_option_service_allow(const char *text, zlt_service_conf_t *s,
    const char **error)
{
    size_t   n;
    char    *p;

    p = s->allow_access;

    for ( ;; ) {
        text += strspn(text, " \t");
        n = strcspn(text, ", \t");

        if (n == 0 || (size_t) (p - s->allow_access) + n + 1
                      > ZLT_OPTION_ALLOW_MAX)
        {
            *error = "expected names of tokens with commas between them, "
                     "of 199 bytes at most";
            return -1;
        }

        memcpy(p, text, n);
        p += n;
        text += n;
        text += strspn(text, " \t");

        if (*text == '\0') {
            *p = '\0';
            return 0;
        }

        if (*text++ != ',') {
            *error = "a comma is missing";
            return -1;
        }

        *p++ = ',';
    }
}
