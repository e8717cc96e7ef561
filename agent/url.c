
/*
 * Copyright (C) zltunnel authors
 */

/* The server's address, as the user writes it. */


#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "options.h"
#include "url.h"


static int zlt_url_chars(const char *text);


int
zlt_url_parse(zlt_url_t *url, const char *text, const char **error)
{
    int          bracketed;
    char         port[8];
    size_t       len;
    const char  *p, *end, *colon, *host;

    memset(url, 0, sizeof(zlt_url_t));

    if (strncasecmp(text, "wss://", 6) == 0) {
        url->tls = 1;
        url->port = 443;
        p = text + 6;

    } else if (strncasecmp(text, "ws://", 5) == 0) {
        url->port = 80;
        p = text + 5;

    } else {
        *error = "must begin with wss:// or ws://";
        return -1;
    }

    if (!zlt_url_chars(p)) {
        *error = "contains a space, a control character or a \"#\"";
        return -1;
    }

    end = p + strcspn(p, "/?");

    if (memchr(p, '@', (size_t) (end - p))) {
        *error = "must not contain a user name";
        return -1;
    }

    host = p;
    bracketed = (*p == '[');

    if (bracketed) {
        host = p + 1;
        p = memchr(host, ']', (size_t) (end - host));

        if (p == NULL) {
            *error = "has a \"[\" without \"]\"";
            return -1;
        }

        len = (size_t) (p - host);
        colon = p + 1;

        if (colon != end && *colon != ':') {
            *error = "has something other than a port after \"]\"";
            return -1;
        }

    } else {
        colon = memchr(p, ':', (size_t) (end - p));

        if (colon == NULL) {
            colon = end;
        }

        len = (size_t) (colon - host);
    }

    if (len == 0 || len > ZLT_URL_HOST_MAX) {
        *error = "has no host, or too long a one";
        return -1;
    }

    memcpy(url->host, host, len);

    if (colon != end) {
        colon++;

        if ((size_t) (end - colon) >= sizeof(port)) {
            *error = "has an invalid port";
            return -1;
        }

        memcpy(port, colon, (size_t) (end - colon));
        port[end - colon] = '\0';

        if (zlt_option_port(port, &url->port) == -1) {
            *error = "has an invalid port";
            return -1;
        }
    }

    if (strlen(end) > ZLT_URL_PATH_MAX - 1) {
        *error = "has too long a path";
        return -1;
    }

    if (*end == '\0') {
        (void) strcpy(url->path, ZLT_URL_DEFAULT_PATH);

    } else {
        (void) snprintf(url->path, sizeof(url->path), "%s%s",
                        *end == '?' ? "/" : "", end);
    }

    if (url->port == (url->tls ? 443 : 80)) {
        (void) snprintf(url->authority, sizeof(url->authority),
                        bracketed ? "[%s]" : "%s", url->host);

    } else {
        (void) snprintf(url->authority, sizeof(url->authority),
                        bracketed ? "[%s]:%u" : "%s:%u", url->host,
                        (unsigned) url->port);
    }

    return 0;
}


/* What would end the request line, or never be sent. */

static int
zlt_url_chars(const char *text)
{
    const unsigned char  *p;

    for (p = (const unsigned char *) text; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7f || *p == '#' || *p == '\\') {
            return 0;
        }
    }

    return 1;
}


int
zlt_url_loopback(const char *host)
{
    struct in_addr   in;
    struct in6_addr  in6;

    if (strcasecmp(host, "localhost") == 0) {
        return 1;
    }

    if (inet_pton(AF_INET, host, &in) == 1) {
        return (ntohl(in.s_addr) >> 24) == 127;
    }

    if (inet_pton(AF_INET6, host, &in6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&in6);
    }

    return 0;
}
