
/*
 * Copyright (C) zltunnel authors
 */

/* The agent's configuration that "zltunnel-agent init" writes. */


#include <stdio.h>
#include <string.h>

#include "cmd_init_conf.h"
#include "config.h"
#include "log.h"


static void zlt_cmd_init_conf_section(zlt_text_t *text,
    const zlt_service_conf_t *s);


int
zlt_cmd_init_conf_server(const char *text)
{
    int         rc;
    char        error[ZLT_CONF_ERROR_SIZE];
    size_t      skip;
    zlt_conf_t  conf;

    zlt_conf_init(&conf);

    rc = zlt_conf_server_add(&conf, text, error);

    if (rc == -1) {
        skip = strncmp(error, "\"server\" ", 9) == 0 ? 9 : 0;

        /* before an "@" there may be a password */

        zlt_log_complain("--server \"%.100s\" %s",
                         strchr(text, '@') ? "..." : text, error + skip);
    }

    zlt_conf_free(&conf);

    return rc;
}


int
zlt_cmd_init_conf_service(const char *text)
{
    const char          *error;
    zlt_service_conf_t   s;

    memset(&s, 0, sizeof(zlt_service_conf_t));

    if (zlt_option_service(text, &s, &error) == -1) {
        zlt_log_complain("--service \"%.100s\": %s", text, error);
        return -1;
    }

    return 0;
}


int
zlt_cmd_init_conf_text(zlt_text_t *text, const char *server,
    const char *const *services, const char *const *hosts,
    unsigned nservices)
{
    unsigned             i;
    const char          *error;
    zlt_service_conf_t   s;

    zlt_text_printf(text,
                    "; The configuration of zltunnel-agent, see agent.conf(5).\n"
                    "; \"zltunnel-agent check -c FILE\" tells what is wrong "
                    "with it.\n"
                    "\n"
                    "[agent]\n"
                    "server = %s\n"
                    "token_file = token\n", server);

    for (i = 0; i < nservices; i++) {
        memset(&s, 0, sizeof(zlt_service_conf_t));

        if (zlt_option_service(services[i], &s, &error) == -1) {
            zlt_log_complain("--service \"%.100s\": %s", services[i], error);
            return -1;
        }

        if (hosts[i] && zlt_option_host_add(hosts[i], &s, &error) == -1) {
            zlt_log_complain("--host %s", error);
            return -1;
        }

        if (hosts[i] && zlt_option_host_check(&s, &error) == -1) {
            zlt_log_complain("--host \"%.100s\" of \"%s\": %s", hosts[i],
                             s.name, error);
            return -1;
        }

        if (s.hosts[0] && s.any_port) {
            zlt_log_complain("--service \"%.100s\": beside a host the file has "
                             "no 0 for a port; \"preferred_port\" there asks for "
                             "one that may be another", services[i]);
            return -1;
        }

        zlt_cmd_init_conf_section(text, &s);
    }

    return 0;
}


static void
zlt_cmd_init_conf_section(zlt_text_t *text, const zlt_service_conf_t *s)
{
    zlt_text_printf(text, "\n[service %s]\n", s->name);

    if (s->bare && s->ports == 0) {
        zlt_text_printf(text, "local = %u\n", s->port);

    } else {
        zlt_text_printf(text, "local = %s\n", s->local);
    }

    if (s->protocol == ZLT_PROTO_UDP) {
        zlt_text_printf(text, "protocol = udp\n");
    }

    if (s->remote_port && s->remote_ports) {
        zlt_text_printf(text, "remote_ports = %u-%u\n", s->remote_port,
                        s->remote_port + s->remote_ports - 1U);

    } else if (s->remote_port) {
        zlt_text_printf(text, "remote_port = %u\n", s->remote_port);
    }

    if (s->hosts[0]) {
        zlt_text_printf(text, "host = %s\n", s->hosts);
    }

    if (s->flags & ZLT_R_PRIVATE) {
        zlt_text_printf(text, "private = yes\n");
    }

    if (s->flags & ZLT_R_INTERNAL) {
        zlt_text_printf(text, "internal = yes\n");
    }

    if (s->proxy_protocol) {
        zlt_text_printf(text, "proxy_protocol = v%u\n", s->proxy_protocol);
    }
}


int
zlt_cmd_init_conf_check(const char *file)
{
    int           rc;
    char          error[ZLT_CONF_ERROR_SIZE];
    size_t        len;
    const char   *text;
    zlt_config_t  config;

    zlt_config_init(&config);

    rc = zlt_conf_file_read(&config, file, NULL, error);

    /* the draft is gone when this is read */

    if (rc == -1) {
        len = strlen(file);
        text = strncmp(error, file, len) == 0
               ? error + len + strspn(error + len, ":0123456789 ") : error;
        zlt_log_complain("%s", text);
    }

    zlt_config_free(&config);

    return rc;
}
