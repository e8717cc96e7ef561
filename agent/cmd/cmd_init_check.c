
/*
 * Copyright (C) zltunnel authors
 */

/* What "zltunnel-agent init --nginx" is given, before nginx reads it. */


#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd_init_check.h"
#include "log.h"
#include "zlt_host.h"
#include "net.h"
#include "parse.h"


#define ZLT_CMD_INIT_CHECK_PORTS  10000
#define ZLT_CMD_INIT_CHECK_HTTPS  443

#define ZLT_CMD_INIT_CHECK_LABEL                                              \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


static int zlt_cmd_init_check_name(const char *host);
static int zlt_cmd_init_check_is_file(const char *dir, const char *given,
    char *path);


int
zlt_cmd_init_check_word(const char *what, const char *text)
{
    if (*text && strlen(text) < ZLT_CMD_INIT_CHECK_NAME - 40
        && strpbrk(text, " \t\r\n;{}\"'$\\") == NULL)
    {
        return 0;
    }

    zlt_log_complain("%s, \"%.100s\", has a character that cannot be in "
                     "nginx's configuration, or is too long", what, text);
    return -1;
}


int
zlt_cmd_init_check_host(const char *given, char *host)
{
    int          bracketed;
    char         name[ZLT_URL_HOST_MAX + 1];
    uint16_t     port;
    const char  *text, *error;

    port = 0;
    text = strstr(given, "://");
    text = text ? text + 3 : given;

    if (strncasecmp(text, "unix:", 5) == 0) {
        text = "";
    }

    bracketed = zlt_url_host(text, text + strcspn(text, "/?"), name, &port,
                             &error);

    if (bracketed == -1) {
        zlt_log_complain("--host \"%.100s\" %s: it is a name alone, as "
                         "tunnel.example.com", given, error);
        return -1;
    }

    if (port && port != ZLT_CMD_INIT_CHECK_HTTPS) {
        zlt_log_complain("--host \"%.100s\" has a port, and the name alone is "
                         "asked for: nginx listens at %d then, and for "
                         "another port edit \"listen\" in "
                         "conf.d/zltunnel.conf", given,
                         ZLT_CMD_INIT_CHECK_HTTPS);
        return -1;
    }

    if (strchr(name, '*')) {
        zlt_log_complain("--host \"%.100s\" is a pattern: agents reach the "
                         "server by one name", given);
        return -1;
    }

    if (bracketed ? name[strspn(name, "0123456789abcdefABCDEF:.")] != '\0'
                  : zlt_cmd_init_check_name(name) == -1)
    {
        zlt_log_complain("--host \"%.100s\" is no host name: it has letters, "
                         "digits, \"-\" and \".\", as tunnel.example.com",
                         given);
        return -1;
    }

    (void) snprintf(host, ZLT_CMD_INIT_CHECK_NAME, bracketed ? "[%s]" : "%s",
                    name);
    return 0;
}


/* Labels with a dot between each two. */

static int
zlt_cmd_init_check_name(const char *host)
{
    size_t  len;

    for ( ;; ) {
        len = strspn(host, ZLT_CMD_INIT_CHECK_LABEL);

        if (len == 0 || len > 63 || host[0] == '-' || host[len - 1] == '-') {
            return -1;
        }

        if (host[len] == '\0') {
            return 0;
        }

        if (host[len] != '.') {
            return -1;
        }

        host += len + 1;
    }
}


int
zlt_cmd_init_check_domain(const char *given, char *domain)
{
    size_t       len;
    uint8_t      name[ZLT_MAX_HOST];
    const char  *text;

    text = strncmp(given, "*.", 2) == 0 ? given + 2 : given;
    len = text[0] == '*' ? 0 : zlt_host_name(name, (const uint8_t *) text,
                                             strlen(text));

    if (len == 0) {
        zlt_log_complain("--domain \"%.100s\" is no domain's name: it has "
                         "letters, digits, \"-\" and \".\", as "
                         "t.example.com", given);
        return -1;
    }

    (void) snprintf(domain, ZLT_CMD_INIT_CHECK_NAME, "%.*s", (int) len,
                    (const char *) name);
    return 0;
}


int
zlt_cmd_init_check_ports(const char *text)
{
    char         number[8];
    size_t       len;
    uint16_t     first, last;
    const char  *dash;

    dash = strchr(text, '-');
    len = dash ? (size_t) (dash - text) : strlen(text);

    (void) snprintf(number, sizeof(number), "%.*s",
                    len < sizeof(number) ? (int) len : 0, text);

    if (zlt_parse_port(number, &first) == -1
        || zlt_parse_port(dash ? dash + 1 : number, &last) == -1)
    {
        zlt_log_complain("--ports \"%.100s\" is no range of ports: FIRST-LAST, "
                         "from 1 to 65535, as 30000-30099", text);
        return -1;
    }

    if (first > last) {
        zlt_log_complain("--ports \"%.100s\" begins after its end: is %u-%u "
                         "meant?", text, last, first);
        return -1;
    }

    if (last - first >= ZLT_CMD_INIT_CHECK_PORTS) {
        zlt_log_complain("--ports \"%.100s\" are %d ports: at most %d, as "
                         "nginx has a socket open for each, for TCP and for UDP",
                         text, last - first + 1, ZLT_CMD_INIT_CHECK_PORTS);
        return -1;
    }

    if (first <= ZLT_CMD_INIT_CHECK_HTTPS && last >= ZLT_CMD_INIT_CHECK_HTTPS) {
        zlt_log_complain("--ports \"%.100s\" has port %d in it, where agents "
                         "connect", text, ZLT_CMD_INIT_CHECK_HTTPS);
        return -1;
    }

    return 0;
}


int
zlt_cmd_init_check_file(const char *what, const char *given, const char *dir,
    const char *hint, char *path)
{
    char  here[ZLT_CMD_INIT_CHECK_NAME], nginx[2 * ZLT_CMD_INIT_CHECK_NAME];

    if (getcwd(here, sizeof(here)) == NULL) {
        here[0] = '\0';
    }

    (void) snprintf(nginx, sizeof(nginx), "%s%s%s", *dir == '/' ? "" : here,
                    *dir == '/' ? "" : "/", dir);

    if (zlt_cmd_init_check_is_file(here, given, path)
        || (*given != '/' && zlt_cmd_init_check_is_file(nginx, given, path)))
    {
        return zlt_cmd_init_check_word(what, path);
    }

    if (*given == '/') {
        zlt_log_complain("there is no file \"%s\", for %s%s", given, what,
                         hint);

    } else {
        zlt_log_complain("there is no file \"%s\" here, nor in \"%s\", for "
                         "%s%s", given, dir, what, hint);
    }

    return -1;
}


/* The links that certbot makes are kept: they lead to the next one in time. */

static int
zlt_cmd_init_check_is_file(const char *dir, const char *given, char *path)
{
    int          n;
    struct stat  st;

    n = *given == '/' ? snprintf(path, ZLT_CMD_INIT_CHECK_NAME, "%s", given)
                      : snprintf(path, ZLT_CMD_INIT_CHECK_NAME, "%s/%s", dir,
                                 given);

    return n > 0 && n < ZLT_CMD_INIT_CHECK_NAME && *path == '/'
           && stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}
