
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: what users write about access sessions, and what is no such. */


#include "tap.h"
#include "option_access.h"
#include "parse.h"


static void
names(void)
{
    unsigned            i;
    const char         *error;
    zlt_access_conf_t   a;

    static const struct {
        const char  *text;
        const char  *name;
        int          udp;
        int          port;     /* -1: none */
    } list[] = {
        { "web",           "web",   0, -1 },
        { "web:8080",      "web",   0, 8080 },
        { "web:0",         "web",   0, 0 },
        { "web/tcp",       "web",   0, -1 },
        { "dns/udp",       "dns",   1, -1 },
        { "dns/udp:5353",  "dns",   1, 5353 },
        { "a.b-c_d:65535", "a.b-c_d", 0, 65535 }
    };

    static const char *const  bad[] = {
        "", ":80", "/udp", "web:", "web:65536", "web:-1", "web:80/udp",
        "web/sctp", "web/udpx", "web/udp/tcp", "we b", "web:127.0.0.1:80",
        "web:80:90"
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].text);
        zlt_option_access_init(&a);

        check(zlt_option_access(list[i].text, &a, &error) == 0);
        check(strcmp(a.name, list[i].name) == 0);
        check(strcmp(a.service, list[i].name) == 0);
        check(a.protocol == (list[i].udp ? ZLT_PROTO_UDP : ZLT_PROTO_TCP));
        check(a.has_local == (list[i].port != -1));
        check(a.port == (list[i].port == -1 ? 0 : list[i].port));
        check(strcmp(a.host, "127.0.0.1") == 0);
        check(a.ttl == 3600 && a.grace == 0);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tap_note("%s", bad[i]);
        zlt_option_access_init(&a);
        error = NULL;
        check(zlt_option_access(bad[i], &a, &error) == -1 && error);
    }
}


static void
locals(void)
{
    unsigned            i;
    char                path[200];
    const char         *error;
    zlt_access_conf_t   a;

    static const struct {
        const char  *text;
        const char  *host;
        int          port;
    } list[] = {
        { "8080",           "127.0.0.1", 8080 },
        { "0",              "127.0.0.1", 0 },
        { "127.0.0.1:8080", "127.0.0.1", 8080 },
        { "localhost:8080", "127.0.0.1", 8080 },
        { "0.0.0.0:80",     "0.0.0.0",   80 },
        { "[::1]:80",       "::1",       80 }
    };

    static const char *const  bad[] = {
        "", "x", ":80", "127.0.0.1", "127.0.0.1:", "::1:80", "[::1]",
        "[::1]80", "[]:80", "[127.0.0.1]:80", "host.example:80",
        "127.0.0.1:70000", "unix:", "unix:relative",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:80"
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].text);
        zlt_option_access_init(&a);
        check(zlt_option_access_local(list[i].text, &a, &error) == 0);
        check(strcmp(a.host, list[i].host) == 0);
        check(a.port == list[i].port && !a.is_unix && a.has_local);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tap_note("%s", bad[i]);
        zlt_option_access_init(&a);
        error = NULL;
        check(zlt_option_access_local(bad[i], &a, &error) == -1 && error);
    }

    zlt_option_access_init(&a);
    check(zlt_option_access_local("unix:/run/x", &a, &error) == 0);
    check(a.is_unix && strcmp(a.host, "/run/x") == 0);
    check(zlt_option_access_check(&a, &error) == 0);
    a.protocol = ZLT_PROTO_UDP;
    check(zlt_option_access_check(&a, &error) == -1);

    memset(path, 'x', sizeof(path));
    memcpy(path, "unix:/", 6);
    path[5 + 107] = '\0';
    check(zlt_option_access_local(path, &a, &error) == 0);
    path[5 + 107] = 'x';
    path[5 + 108] = '\0';
    check(zlt_option_access_local(path, &a, &error) == -1);
}


static void
times(void)
{
    unsigned  i;
    uint32_t  n;

    static const struct {
        const char  *text;
        uint32_t     seconds;
    } list[] = {
        { "0", 0 }, { "90", 90 }, { "90s", 90 }, { "5m", 300 },
        { "1h", 3600 }, { "30d", 2592000 }, { "5000ms", 5 },
        { "4294967295", 4294967295u }, { "49710d", 4294944000u }
    };

    static const char *const  bad[] = {
        "", "h", "-1", "1.5h", "1h30m", "1 h", "1500ms", "4294967296",
        "49711d", "99999999999", "1w"
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].text);
        n = 1;
        check(zlt_parse_seconds(list[i].text, &n) == 0);
        check(n == list[i].seconds);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tap_note("%s", bad[i]);
        check(zlt_parse_seconds(bad[i], &n) == -1);
    }

    check(zlt_parse_time("24d", &n) == 0 && n == 2073600000);
    check(zlt_parse_time("25d", &n) == -1);
}


static void
targets(void)
{
    unsigned            i;
    const char         *error;
    zlt_access_conf_t   a;

    static const char *const  good[] = {
        "10.0.0.5:8080", "db.lan:5432", "[2001:db8::1]:443"
    };

    static const char *const  bad[] = {
        "", "8080", "db.lan", "db.lan:0", "db.lan:65536", "::1:80",
        "db.lan:http", "a b:80", "-:80:"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        tap_note("%s", good[i]);
        zlt_option_access_init(&a);
        check(zlt_option_access_target(good[i], &a, &error) == 0);
        check(strcmp(a.target, good[i]) == 0);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tap_note("%s", bad[i]);
        check(zlt_option_access_target(bad[i], &a, &error) == -1);
    }
}


static void
allow_access(void)
{
    char                 text[ZLT_OPTION_ALLOW_MAX + 8];
    const char          *error;
    zlt_service_conf_t   s;

    memset(&s, 0, sizeof(zlt_service_conf_t));

    check(zlt_option_service_allow("alice", &s, &error) == 0);
    check(strcmp(s.allow_access, "alice") == 0);
    check(zlt_option_service_allow(" alice , bob\t,carol ", &s, &error) == 0);
    check(strcmp(s.allow_access, "alice,bob,carol") == 0);

    check(zlt_option_service_allow("", &s, &error) == -1);
    check(zlt_option_service_allow("alice,", &s, &error) == -1);
    check(zlt_option_service_allow(",alice", &s, &error) == -1);
    check(zlt_option_service_allow("alice bob", &s, &error) == -1);

    memset(text, 'a', sizeof(text));
    text[ZLT_OPTION_ALLOW_MAX - 1] = '\0';
    check(zlt_option_service_allow(text, &s, &error) == 0);
    text[ZLT_OPTION_ALLOW_MAX - 1] = 'a';
    text[ZLT_OPTION_ALLOW_MAX + 1] = '\0';
    check(zlt_option_service_allow(text, &s, &error) == -1);
}


int
main(void)
{
    tap_run(names, "NAME[/udp][:PORT]");
    tap_run(locals, "local addresses and sockets");
    tap_run(times, "times in seconds");
    tap_run(targets, "targets");
    tap_run(allow_access, "allow_access");

    return tap_done();
}
