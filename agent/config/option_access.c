
/*
 * Copyright (C) zltunnel authors
 */

/* Values that users write, of access sessions. */


#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "option_access.h"
#include "parse.h"
#include "zlt_name.h"


static int zlt_option_access_local_port(const char *text, uint16_t *port);


void
zlt_option_access_init(zlt_access_conf_t *a)
{
    memset(a, 0, sizeof(zlt_access_conf_t));

    (void) strcpy(a->host, "127.0.0.1");
    a->ttl = ZLT_ACCESS_TTL;
}


int
zlt_option_access(const char *text, zlt_access_conf_t *a, const char **error)
{
    char         name[ZLT_MAX_NAME + 1];
    size_t       len;
    const char  *p;

    len = strcspn(text, "/:");

    if (len > ZLT_MAX_NAME) {
        len = ZLT_MAX_NAME;
    }

    memcpy(name, text, len);
    name[len] = '\0';

    if (zlt_option_access_name(name, a, error) == -1) {
        return -1;
    }

    p = text + len;

    if (strncmp(p, "/udp", 4) == 0 || strncmp(p, "/tcp", 4) == 0) {
        a->protocol = (p[1] == 'u') ? ZLT_PROTO_UDP : ZLT_PROTO_TCP;
        p += 4;
    }

    if (*p == '\0') {
        return 0;
    }

    if (*p != ':') {
        *error = "expected NAME[/udp][:LOCAL_PORT]";
        return -1;
    }

    if (zlt_option_access_local_port(p + 1, &a->port) == -1) {
        *error = strstr(p, "/udp") || strstr(p, "/tcp")
                 ? "the protocol comes before the port: NAME/udp:LOCAL_PORT"
                 : "the local port is not a number from 0 to 65535";
        return -1;
    }

    a->has_local = 1;

    return 0;
}


int
zlt_option_access_name(const char *text, zlt_access_conf_t *a,
    const char **error)
{
    if (!zlt_name_valid((const uint8_t *) text, strlen(text))) {
        *error = strpbrk(text, "\"'")
                 ? "names are written without quotes"
                 : "a service name is 1 to 255 bytes: letters of any script, "
                   "digits, \"-\", \"_\", \".\"";
        return -1;
    }

    (void) strcpy(a->name, text);
    (void) strcpy(a->service, text);

    return 0;
}


/* 0: any */

static int
zlt_option_access_local_port(const char *text, uint16_t *port)
{
    uint32_t  n;

    if (zlt_parse_number(text, 65535, &n) == -1) {
        return -1;
    }

    *port = (uint16_t) n;

    return 0;
}


int
zlt_option_access_local(const char *text, zlt_access_conf_t *a,
    const char **error)
{
    char             host[INET6_ADDRSTRLEN + 2];
    size_t           len;
    const char      *port, *colon;
    struct in6_addr  in6;

    a->has_local = 1;
    a->is_unix = 0;

    if (strncmp(text, "unix:", 5) == 0) {
        len = strlen(text + 5);

        if (text[5] != '/'
            || len >= sizeof(((struct sockaddr_un *) 0)->sun_path))
        {
            *error = "the path after \"unix:\" must be absolute, and of at "
                     "most 107 bytes";
            return -1;
        }

        (void) strcpy(a->host, text + 5);
        a->port = 0;
        a->is_unix = 1;

        return 0;
    }

    colon = strrchr(text, ':');
    port = colon ? colon + 1 : text;

    if (zlt_option_access_local_port(port, &a->port) == -1) {
        *error = "the local port is not a number from 0 to 65535";
        return -1;
    }

    if (colon == NULL) {
        (void) strcpy(a->host, "127.0.0.1");
        return 0;
    }

    len = (size_t) (colon - text);

    if (len >= sizeof(host)) {
        len = 0;
    }

    memcpy(host, text, len);
    host[len] = '\0';

    if (strcmp(host, "localhost") == 0) {
        (void) strcpy(host, "127.0.0.1");

    } else if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        memmove(host, host + 1, len - 1);

        if (inet_pton(AF_INET6, host, &in6) != 1) {
            len = 0;
        }

    } else if (inet_pton(AF_INET, host, &in6) != 1) {
        len = 0;
    }

    if (len == 0) {
        *error = "the local address is not one of IPv4, or of IPv6 in "
                 "brackets";
        return -1;
    }

    (void) strcpy(a->host, host);

    return 0;
}


int
zlt_option_access_target(const char *text, zlt_access_conf_t *a,
    const char **error)
{
    uint16_t   port;
    zlt_str_t  host;

    if (zlt_name_target((const uint8_t *) text, strlen(text), &host, &port)
        == -1)
    {
        *error = "expected HOST:PORT, an IPv6 address in brackets";
        return -1;
    }

    (void) strcpy(a->target, text);

    return 0;
}


int
zlt_option_access_check(const zlt_access_conf_t *a, const char **error)
{
    if (a->is_unix && a->protocol == ZLT_PROTO_UDP) {
        *error = "access to a UDP service cannot be at a UNIX socket";
        return -1;
    }

    if (a->ttl && a->ttl > 0xffffffff - a->grace) {
        *error = "\"ttl\" and \"grace\" are too long together";
        return -1;
    }

    return 0;
}
