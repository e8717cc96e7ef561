
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which proxy is taken: that of the configuration, else that of the
 * environment, and none for hosts in no_proxy, all as curl reads them.  So
 * HTTP_PROXY is not looked at (a web server that runs us as a CGI would set
 * it from a header named Proxy), and no_proxy excepts from a configured one
 * too.
 */


#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <sys/stat.h>
#include <openssl/crypto.h>

#include "proxy_choose.h"
#include "secret.h"
#include "via.h"


#define ZLT_PROXY_FILE_MAX  2048


static int zlt_proxy_choose_set(zlt_proxy_t *via, const char *text,
    const char *source, char *error);
static int zlt_proxy_choose_file(zlt_proxy_t *via, const char *file,
    char *error);
static const char *zlt_proxy_choose_env(const zlt_url_t *url,
    const char **name);
static int zlt_proxy_choose_excepts(const char *no_proxy, const char *host);
static int zlt_proxy_choose_network(const char *token, size_t len, int family,
    const uint8_t *addr);
static int zlt_proxy_choose_suffix(const char *token, size_t len,
    const char *host);


int
zlt_proxy_choose(zlt_proxy_t *via, const zlt_url_t *url, const char *proxy,
    const char *file, char *error)
{
    int          rc;
    const char  *name, *no_proxy;

    memset(via, 0, sizeof(zlt_proxy_t));

    if (url->is_unix) {
        return 0;
    }

    if (file) {
        rc = zlt_proxy_choose_file(via, file, error);

    } else {
        name = "proxy";

        if (proxy == NULL) {
            proxy = zlt_proxy_choose_env(url, &name);
        }

        rc = proxy ? zlt_proxy_choose_set(via, proxy, name, error) : 0;
    }

    if (rc == -1) {
        return -1;
    }

    no_proxy = getenv("no_proxy");

    if (no_proxy == NULL) {
        no_proxy = getenv("NO_PROXY");
    }

    if (no_proxy && zlt_proxy_choose_excepts(no_proxy, url->host)) {
        zlt_proxy_wipe(via);
    }

    return 0;
}


static int
zlt_proxy_choose_set(zlt_proxy_t *via, const char *text, const char *source,
    char *error)
{
    const char  *why;

    if (strcmp(text, "none") == 0) {
        return 0;
    }

    if (zlt_proxy_parse(via, text, &why) == -1) {

        /* not the value, which may have a password in it */

        (void) snprintf(error, ZLT_PROXY_ERROR_SIZE, "\"%.200s\" %s", source,
                        why);
        zlt_proxy_wipe(via);
        return -1;
    }

    (void) snprintf(via->source, sizeof(via->source), "%.63s", source);

    return 0;
}


static int
zlt_proxy_choose_file(zlt_proxy_t *via, const char *file, char *error)
{
    int          fd, rc;
    char         text[ZLT_PROXY_FILE_MAX];
    size_t       len;
    ssize_t      n;
    const char  *exposed;
    struct stat  st;

    fd = open(file, O_RDONLY|O_CLOEXEC|O_NOCTTY);
    n = -1;

    if (fd != -1) {
        n = read(fd, text, sizeof(text));
    }

    if (n == -1 || fstat(fd, &st) == -1) {
        (void) snprintf(error, ZLT_PROXY_ERROR_SIZE,
                        "the proxy file \"%.200s\" cannot be read: %s", file,
                        strerror(errno));
        n = -1;
    }

    if (fd != -1) {
        (void) close(fd);
    }

    if (n == -1) {
        return -1;
    }

    len = (size_t) n;

    while (len && strchr(" \t\r\n", text[len - 1])) {
        len--;
    }

    if (len == 0 || len == sizeof(text)) {
        (void) snprintf(error, ZLT_PROXY_ERROR_SIZE,
                        "the proxy file \"%.200s\" is to have one line, the "
                        "proxy's URL", file);
        rc = -1;

    } else {
        text[len] = '\0';
        rc = zlt_proxy_choose_set(via, text, file, error);
    }

    OPENSSL_cleanse(text, sizeof(text));

    exposed = rc == 0 && via->password[0] ? zlt_secret_exposed(file, &st)
                                          : NULL;

    if (exposed) {
        (void) snprintf(error, ZLT_PROXY_ERROR_SIZE, "the proxy file "
                        "\"%.200s\" has a password in it and %s", file,
                        exposed);
        zlt_proxy_wipe(via);
        rc = -1;
    }

    return rc;
}


/* The proxy for that kind of URL, and the variable's name; NULL: none. */

static const char *
zlt_proxy_choose_env(const zlt_url_t *url, const char **name)
{
    unsigned     i;
    const char  *value;

    static const char *const  names[2][4] = {
        { "http_proxy", "all_proxy", "ALL_PROXY", NULL },
        { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" }
    };

    for (i = 0; i < 4 && names[url->tls][i]; i++) {
        value = getenv(names[url->tls][i]);

        if (value && *value) {
            *name = names[url->tls][i];
            return value;
        }
    }

    return NULL;
}


/*
 * "*", or a list, separated by commas or spaces: a name stands for itself and
 * for all below it, with a dot in front or without; an address, or a network
 * in CIDR, for addresses that are written as such.
 */

static int
zlt_proxy_choose_excepts(const char *no_proxy, const char *host)
{
    int      family;
    size_t   len;
    uint8_t  addr[16];

    if (strcmp(no_proxy, "*") == 0) {
        return 1;
    }

    family = (inet_pton(AF_INET, host, addr) == 1) ? AF_INET
             : (inet_pton(AF_INET6, host, addr) == 1) ? AF_INET6 : 0;

    for ( ;; ) {
        no_proxy += strspn(no_proxy, ", \t");
        len = strcspn(no_proxy, ", \t");

        if (len == 0) {
            return 0;
        }

        if (family ? zlt_proxy_choose_network(no_proxy, len, family, addr)
                   : zlt_proxy_choose_suffix(no_proxy, len, host))
        {
            return 1;
        }

        no_proxy += len;
    }
}


static int
zlt_proxy_choose_network(const char *token, size_t len, int family,
    const uint8_t *addr)
{
    char      text[64], *slash, *end, *p;
    long      bits, most;
    size_t    whole;
    uint8_t   net[16], mask;

    if (len >= sizeof(text)) {
        return 0;
    }

    memcpy(text, token, len);
    text[len] = '\0';

    most = (family == AF_INET) ? 32 : 128;
    bits = most;
    slash = strchr(text, '/');

    if (slash) {
        *slash = '\0';
        bits = strtol(slash + 1, &end, 10);

        if (end == slash + 1 || *end != '\0' || bits < 0 || bits > most) {
            return 0;
        }
    }

    p = text;
    len = strlen(p);

    if (*p == '[' && p[len - 1] == ']') {
        p[len - 1] = '\0';
        p++;
    }

    if (inet_pton(family, p, net) != 1) {
        return 0;
    }

    whole = (size_t) bits / 8;

    if (memcmp(net, addr, whole) != 0) {
        return 0;
    }

    if (bits % 8 == 0) {
        return 1;
    }

    mask = (uint8_t) (0xff << (8 - bits % 8));

    return (net[whole] & mask) == (addr[whole] & mask);
}


static int
zlt_proxy_choose_suffix(const char *token, size_t len, const char *host)
{
    size_t  n;

    n = strlen(host);

    if (n && host[n - 1] == '.') {
        n--;
    }

    if (len && token[len - 1] == '.') {
        len--;
    }

    if (len && *token == '.') {
        token++;
        len--;
    }

    if (len == 0 || len > n) {
        return 0;
    }

    return strncasecmp(host + n - len, token, len) == 0
           && (len == n || host[n - len - 1] == '.');
}
