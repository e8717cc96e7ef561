
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the parsers of the server's URL and of a proxy's: what they accept
 * fits its fields, and written again is read as the same.
 *
 * The first byte of an input says which of the two.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "url.h"
#include "proxy.h"
#include "proxy_choose.h"


static void
url_server(const char *text)
{
    char         again[2048], log[ZLT_URL_TEXT];
    zlt_url_t    a, b;
    const char  *error;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    error = NULL;

    if (zlt_url_parse(&a, text, &error) == -1) {
        must(error && *error);
        return;
    }

    must(a.host[0] && strlen(a.host) <= ZLT_URL_HOST_MAX);
    must(a.path[0] == '/' && strlen(a.path) <= ZLT_URL_PATH_MAX);
    must(strpbrk(a.path, " \t\r\n") == NULL);
    must(strpbrk(a.authority, " \t\r\n") == NULL);
    must(zlt_url_text(log, &a) == log && strlen(log) < sizeof(log));
    (void) zlt_url_loopback(a.host);

    must(strlen(a.record) <= ZLT_URL_HOST_MAX);
    must(!a.record[0] || strstr(a.record, a.host));

    (void) snprintf(again, sizeof(again), "%s%s%s%s%s",
                    a.record[0] ? "srv+" : "",
                    a.is_unix ? "ws+unix:" : a.tls ? "wss://" : "ws://",
                    a.is_unix ? a.host : a.record[0] ? a.record : a.authority,
                    a.is_unix ? ":" : "", a.path);

    must(zlt_url_parse(&b, again, &error) == 0);
    must(strcmp(a.host, b.host) == 0 && strcmp(a.path, b.path) == 0);
    must(a.port == b.port && a.tls == b.tls && a.is_unix == b.is_unix);
    must(strcmp(a.record, b.record) == 0);
}


/* text as the list of hosts that no proxy leads to */

static void
url_excepts(const char *text, const char *host)
{
    char         error[ZLT_PROXY_ERROR_SIZE];
    zlt_url_t    url;
    zlt_proxy_t  proxy;

    memset(&url, 0, sizeof(url));
    (void) snprintf(url.host, sizeof(url.host), "%s", host);

    must(setenv("no_proxy", text, 1) == 0);
    must(zlt_proxy_choose(&proxy, &url, "http://proxy:3128", NULL, error)
         == 0);
    must(proxy.kind == ZLT_PROXY_NONE || proxy.kind == ZLT_PROXY_HTTP);
    zlt_proxy_wipe(&proxy);
}


static void
url_proxy(const char *text)
{
    zlt_proxy_t   via, same;
    const char  *error;

    memset(&via, 0, sizeof(via));
    memset(&same, 0, sizeof(same));
    error = NULL;

    if (zlt_proxy_parse(&via, text, &error) == -1) {
        must(error && *error);
        return;
    }

    must(strlen(via.host) <= ZLT_URL_HOST_MAX);
    must(strlen(via.user) <= ZLT_PROXY_USER_MAX);
    must(strlen(via.password) <= ZLT_PROXY_USER_MAX);
    must(strlen(via.name) < sizeof(via.name));

    must(zlt_proxy_parse(&same, text, &error) == 0);
    must(zlt_proxy_same(&via, &same));

    url_excepts(text, via.host);
    zlt_proxy_wipe(&via);
    must(via.password[0] == '\0');
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char  *text;

    if (size == 0) {
        return 0;
    }

    text = fuzz_text(data + 1, size - 1);

    if (data[0] & 1) {
        url_proxy(text);

    } else {
        url_server(text);
    }

    url_excepts(text, "host.example.com");

    free(text);

    return 0;
}
