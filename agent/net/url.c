
/*
 * Copyright (C) zltunnel authors
 */

/* The server's address, as the user writes it. */


#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "parse.h"
#include "url.h"


static int zlt_url_unix(zlt_url_t *url, const char *text,
    const char **error);
static int zlt_url_srv(zlt_url_t *url, const char *text, const char **error);
static int zlt_url_srv_host(zlt_url_t *url, const char **error);
static int zlt_url_path(zlt_url_t *url, const char *path, const char **error);
static int zlt_url_chars(const char *text);


int
zlt_url_parse(zlt_url_t *url, const char *text, const char **error)
{
    int          bracketed;
    const char  *p, *end;

    memset(url, 0, sizeof(zlt_url_t));

    if (!zlt_url_chars(text)) {
        *error = "contains a space, a control character or a \"#\"";
        return -1;
    }

    /* a browser's name for the same, by which people know the server */

    if (strncasecmp(text, "wss://", 6) == 0
        || strncasecmp(text, "https://", 8) == 0)
    {
        url->tls = 1;
        url->port = 443;
        p = strstr(text, "//") + 2;

    } else if (strncasecmp(text, "ws://", 5) == 0) {
        url->port = 80;
        p = text + 5;

    } else if (strncasecmp(text, "ws+unix:", 8) == 0) {
        return zlt_url_unix(url, text + 8, error);

    } else if (strncasecmp(text, "srv+wss://", 10) == 0) {
        url->tls = 1;
        return zlt_url_srv(url, text + 10, error);

    } else if (strncasecmp(text, "srv+ws://", 9) == 0) {
        return zlt_url_srv(url, text + 9, error);

    } else {
        *error = strstr(text, "://")
                 ? "must begin with wss://, ws://, srv+wss://, srv+ws:// or "
                   "ws+unix:"
                 : "must begin with wss://, ws://, srv+wss://, srv+ws:// or "
                   "ws+unix:, as in wss://tunnel.example.com";
        return -1;
    }

    end = p + strcspn(p, "/?");

    if (memchr(p, '@', (size_t) (end - p))) {
        *error = "must not contain a user name";
        return -1;
    }

    bracketed = zlt_url_host(p, end, url->host, &url->port, error);

    if (bracketed == -1 || zlt_url_path(url, end, error) == -1) {
        return -1;
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


/*
 * As nginx's "proxy_pass http://unix:": the path of the socket, which has no
 * colon in it, and after a colon that of the request.
 */

static int
zlt_url_unix(zlt_url_t *url, const char *text, const char **error)
{
    size_t               len;
    const char          *colon;
    struct sockaddr_un  *un;

    colon = text + strcspn(text, ":");
    len = (size_t) (colon - text);

    if (*text != '/' || text[1] == '/' || len == 1) {
        *error = "needs the path of a socket: ws+unix:/run/nginx.sock";
        return -1;
    }

    if (len >= sizeof(un->sun_path)) {
        *error = "has too long a path of the socket";
        return -1;
    }

    if (*colon == ':' && *++colon != '/') {
        *error = "needs a path that begins with \"/\" after the second "
                 "\":\"";
        return -1;
    }

    memcpy(url->host, text, len);
    url->is_unix = 1;

    (void) strcpy(url->authority, "localhost");

    return zlt_url_path(url, colon, error);
}


/* The port is in the record, and so are the names of machines. */

static int
zlt_url_srv(zlt_url_t *url, const char *text, const char **error)
{
    size_t            len;
    const char       *end;
    struct in6_addr   addr;            /* of either family */

    end = text + strcspn(text, "/?");
    len = (size_t) (end - text);

    if (memchr(text, '@', len)) {
        *error = "must not contain a user name";
        return -1;
    }

    while (len && text[len - 1] == '.') {
        len--;
    }

    if (len == 0 || len > ZLT_URL_HOST_MAX) {
        *error = "has no name, or too long a one";
        return -1;
    }

    memcpy(url->record, text, len);
    url->record[len] = '\0';

    if (*text == '[' || inet_pton(AF_INET, url->record, &addr) == 1
        || inet_pton(AF_INET6, url->record, &addr) == 1)
    {
        *error = "has an address, and an SRV record is of a name: without "
                 "\"srv+\" it is that of a server";
        return -1;
    }

    if (strchr(url->record, ':')) {
        *error = "has a port, and that is in the SRV record: it is "
                 "srv+wss://NAME[/PATH], as in srv+wss://tunnel.example.com";
        return -1;
    }

    return zlt_url_srv_host(url, error) == 0 ? zlt_url_path(url, end, error)
                                             : -1;
}


/* Of "_service._tcp.name" the certificate's is "name" (RFC 6125). */

static int
zlt_url_srv_host(zlt_url_t *url, const char **error)
{
    const char  *p;

    for (p = url->record; *p == '_'; /* void */ ) {
        p += strcspn(p, ".");
        p += (*p == '.');
    }

    if (*p == '\0') {
        *error = "has no name behind that of the service: "
                 "_zltunnel._tcp.tunnel.example.com";
        return -1;
    }

    (void) strcpy(url->host, p);
    (void) strcpy(url->authority, p);

    return 0;
}


static int
zlt_url_path(zlt_url_t *url, const char *path, const char **error)
{
    if (strlen(path) > ZLT_URL_PATH_MAX - 1) {
        *error = "has too long a path";
        return -1;
    }

    if (*path == '\0') {
        (void) strcpy(url->path, ZLT_URL_DEFAULT_PATH);

    } else {
        (void) snprintf(url->path, sizeof(url->path), "%s%s",
                        *path == '?' ? "/" : "", path);
    }

    return 0;
}


int
zlt_url_host(const char *text, const char *end, char *host, uint16_t *port,
    const char **error)
{
    int          bracketed;
    char         number[8];
    size_t       len;
    const char  *p, *colon;

    bracketed = (*text == '[');

    if (bracketed) {
        text++;
        p = memchr(text, ']', (size_t) (end - text));

        if (p == NULL) {
            *error = "has a \"[\" without \"]\"";
            return -1;
        }

        len = (size_t) (p - text);
        colon = p + 1;

        if (colon != end && *colon != ':') {
            *error = "has something other than a port after \"]\"";
            return -1;
        }

    } else {
        colon = memchr(text, ':', (size_t) (end - text));

        if (colon == NULL) {
            colon = end;
        }

        len = (size_t) (colon - text);
    }

    if (len == 0 || len > ZLT_URL_HOST_MAX) {
        *error = "has no host, or too long a one";
        return -1;
    }

    memcpy(host, text, len);
    host[len] = '\0';

    if (colon != end) {
        colon++;
        len = (size_t) (end - colon);

        if (len >= sizeof(number)) {
            *error = "has an invalid port";
            return -1;
        }

        memcpy(number, colon, len);
        number[len] = '\0';

        if (zlt_parse_port(number, port) == -1) {
            *error = "has an invalid port";
            return -1;
        }
    }

    return bracketed;
}


const char *
zlt_url_text(char *buf, const zlt_url_t *url)
{
    if (url->is_unix) {
        (void) snprintf(buf, ZLT_URL_TEXT, "ws+unix:%s", url->host);

    } else {
        (void) snprintf(buf, ZLT_URL_TEXT, "%s%s://%s",
                        url->record[0] ? "srv+" : "", url->tls ? "wss" : "ws",
                        url->record[0] ? url->record : url->authority);
    }

    return buf;
}


const char *
zlt_url_place(char *buf, const zlt_url_t *url)
{
    if (url->is_unix) {
        (void) snprintf(buf, ZLT_URL_TEXT, "unix:%s", url->host);

    } else if (url->record[0]) {
        (void) snprintf(buf, ZLT_URL_TEXT, "SRV of %s", url->record);

    } else {
        (void) snprintf(buf, ZLT_URL_TEXT,
                        strchr(url->host, ':') ? "[%s]:%u" : "%s:%u",
                        url->host, (unsigned) url->port);
    }

    return buf;
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
