
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

#include "fuzz.h"
#include "url.h"
#include "via.h"


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

    (void) snprintf(again, sizeof(again), a.is_unix ? "ws+unix:%s:%s"
                                          : a.tls ? "wss://%s%s" : "ws://%s%s",
                    a.is_unix ? a.host : a.authority, a.path);

    must(zlt_url_parse(&b, again, &error) == 0);
    must(strcmp(a.host, b.host) == 0 && strcmp(a.path, b.path) == 0);
    must(a.port == b.port && a.tls == b.tls && a.is_unix == b.is_unix);
}


static void
url_proxy(const char *text)
{
    zlt_via_t    via, same;
    const char  *error;

    memset(&via, 0, sizeof(via));
    memset(&same, 0, sizeof(same));
    error = NULL;

    if (zlt_via_parse(&via, text, &error) == -1) {
        must(error && *error);
        return;
    }

    must(strlen(via.host) <= ZLT_URL_HOST_MAX);
    must(strlen(via.user) <= ZLT_VIA_USER_MAX);
    must(strlen(via.password) <= ZLT_VIA_USER_MAX);
    must(strlen(via.name) < sizeof(via.name));

    must(zlt_via_parse(&same, text, &error) == 0);
    must(zlt_via_same(&via, &same));

    (void) zlt_via_excepts(text, via.host);
    zlt_via_wipe(&via);
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

    (void) zlt_via_excepts(text, "host.example.com");

    free(text);

    return 0;
}
