
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: what users write about a service, and what is no such. */


#include "tap.h"
#include "option_service.h"


static void
services(void)
{
    unsigned             i;
    const char          *error;
    zlt_service_conf_t   s;

    static const struct {
        const char  *text;
        const char  *name;
        const char  *local;
        unsigned     remote_port;
        unsigned     protocol;
        unsigned     flags;
    } list[] = {
        { "web:8080", "web", "127.0.0.1:8080", 0, ZLT_PROTO_TCP, 0 },
        { "web:8080:80", "web", "127.0.0.1:8080", 80, ZLT_PROTO_TCP, 0 },
        { "web:8080:0", "web", "127.0.0.1:8080", 0, ZLT_PROTO_TCP, 0 },
        { "web:db.lan:8080", "web", "db.lan:8080", 0, ZLT_PROTO_TCP, 0 },
        { "web:db.lan:8080:80", "web", "db.lan:8080", 80, ZLT_PROTO_TCP, 0 },
        { "web:[::1]:8080", "web", "[::1]:8080", 0, ZLT_PROTO_TCP, 0 },
        { "web:[::1]:8080:80", "web", "[::1]:8080", 80, ZLT_PROTO_TCP, 0 },
        { "dns:53/udp", "dns", "127.0.0.1:53", 0, ZLT_PROTO_UDP, 0 },
        { "web:unix:/run/x.sock", "web", "unix:/run/x.sock", 0, ZLT_PROTO_TCP,
          0 },
        { "web:unix:/run/x.sock:80/internal", "web", "unix:/run/x.sock", 80,
          ZLT_PROTO_TCP, ZLT_R_INTERNAL },

        /* a port alone */
        { "3000", "3000", "127.0.0.1:3000", 0, ZLT_PROTO_TCP, 0 },
        { "53/udp", "53", "127.0.0.1:53", 0, ZLT_PROTO_UDP, 0 },
        { "3000/private", "3000", "127.0.0.1:3000", 0, ZLT_PROTO_TCP,
          ZLT_R_PRIVATE },
        { "3000:4000", "3000", "127.0.0.1:4000", 0, ZLT_PROTO_TCP, 0 }
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].text);
        error = "";
        memset(&s, 0, sizeof(s));

        if (!check(zlt_option_service(list[i].text, &s, &error) == 0)) {
            fprintf(stderr, "# %s\n", error);
            continue;
        }

        check(strcmp(s.name, list[i].name) == 0);
        check(strcmp(s.local, list[i].local) == 0);
        check(s.remote_port == list[i].remote_port);
        check(s.protocol == list[i].protocol);
        check(s.flags == list[i].flags);
    }
}


static void
no_services(void)
{
    unsigned             i;
    const char          *error;
    zlt_service_conf_t   s;

    static const char *const  bad[] = {
        "", ":", ":80", "web", "web:", "web:x", "web:0", "web:65536",
        "web:80:65536", "web:80:x", "web:80/sctp", "we b:80", "0", "65536",
        "80x", "80/sctp", "/udp", "web:unix:x", "web:unix:/x/udp",
        "web:80:81/private", "3000/udp/proxy-v1"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tap_note("%s", bad[i]);
        error = NULL;
        memset(&s, 0, sizeof(s));
        check(zlt_option_service(bad[i], &s, &error) == -1 && error);
    }
}


int
main(void)
{
    tap_run(services, "services");
    tap_run(no_services, "what is no service");

    return tap_done();
}
