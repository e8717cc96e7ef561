
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel-agent http: a web server of this machine, for as long as the command
 * runs.  Its URL alone goes to stdout.
 *
 * Server and token come from the configuration file if nobody names a server:
 * a token is sent to the server that it was written down for, and to no other.
 */


#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cmd.h"
#include "cmd_page.h"
#include "config.h"
#include "log.h"
#include "qr.h"


#define ZLT_CMD_HTTP_SOCKET  "web"     /* the name of one at a UNIX socket */


typedef struct {
    const char           *file;        /* NULL: where "run" looks for it */
    unsigned              qr;
    zlt_service_conf_t    service;
} zlt_cmd_http_t;


static int zlt_cmd_http_options(zlt_cmd_http_t *h, zlt_conf_t *options,
    int argc, char **argv, int *code);
static int zlt_cmd_http_option(zlt_cmd_http_t *h, zlt_conf_t *options, int c,
    const char *value);
static int zlt_cmd_http_local(zlt_cmd_http_t *h, const char *value);
static int zlt_cmd_http_configure(zlt_cmd_http_t *h, zlt_config_t *config,
    const zlt_conf_t *options);
static int zlt_cmd_http_from(zlt_cmd_http_t *h, zlt_conf_t *conf,
    const zlt_conf_t *with);
static int zlt_cmd_http_service(zlt_cmd_http_t *h, zlt_conf_t *conf);


static const zlt_cmd_option_t  zlt_cmd_http_extra[] = {
    { "host", 'H', "NAME",
      "the name under which it is reached; what has no dot is below the "
      "server's domain.  May be given several times (default: one that the "
      "server makes up, the same each time)" },
    { "name", 'n', "NAME",
      "what the service is called at the server (default: its port)" },
    { "qr", 'q', NULL, "on a terminal, the URL as a QR code as well" },
    { "config", 'c', "FILE",
      "the configuration file with server and token, also -c FILE (default: "
      "as below)" },
    { "token", 't', "", NULL },
    { "help", 'h', NULL, NULL },
    { "version", 'V', NULL, NULL },
    { NULL, 0, NULL, NULL }
};


static const zlt_cmd_page_t  zlt_cmd_http_page = {
    "http [HOST:]PORT [--host NAME]... [OPTION]...",
    "  PORT, HOST:PORT           the web server: of this machine, or of HOST; "
    "also\n"
    "                            http://HOST:PORT and unix:/PATH",
    zlt_cmd_http_extra,
    ZLT_KEY_CONNECT,
    "Server and token are those of the configuration file where \"run\" "
    "finds it,\nunless --server or ZLTUNNEL_SERVER names a server: then "
    "--token-file or\nZLTUNNEL_TOKEN has the token.  The URL is all that goes "
    "to stdout.  There is\nno control socket, and only warnings are logged, "
    "unless these are asked for.\nIt ends at SIGINT and SIGTERM, and with 2 if "
    "the server refuses the token or\nthe host.\n",
    "  zltunnel-agent http 3000\n"
    "  zltunnel-agent http localhost:8080 --host blog --qr\n"
    "  ZLTUNNEL_SERVER=wss://tunnel.example.com zltunnel-agent http 3000 \\\n"
    "      --token-file token\n"
};


int
zlt_cmd_http(int argc, char **argv)
{
    int              rc, code;
    zlt_conf_t       options;
    zlt_config_t     config;
    zlt_cmd_http_t   h;

    memset(&h, 0, sizeof(zlt_cmd_http_t));
    zlt_conf_init(&options);
    zlt_config_init(&config);

    code = -1;

    rc = zlt_cmd_http_options(&h, &options, argc, argv, &code);

    if (rc == 0 && code == -1) {
        rc = zlt_cmd_http_configure(&h, &config, &options);
    }

    zlt_conf_free(&options);

    return zlt_cmd_process("http", &config, rc, code);
}


/* 0, with the exit code in *code if that is all, or -1 after a complaint. */

static int
zlt_cmd_http_options(zlt_cmd_http_t *h, zlt_conf_t *options, int argc,
    char **argv, int *code)
{
    int            c;
    struct option  list[ZLT_CMD_PAGE_OPTIONS];

    if (zlt_cmd_options(argc, argv, &zlt_cmd_http_page, list) == -1) {
        return -1;
    }

    while ((c = getopt_long(argc, argv, ":c:hVk", list, NULL)) != -1) {

        *code = zlt_cmd_common(c, argv, &zlt_cmd_http_page, list);

        if (*code != -1) {
            return *code == ZLT_EXIT_OK ? 0 : -1;
        }

        if (zlt_cmd_http_option(h, options, c, optarg) == -1) {
            return -1;
        }
    }

    if (h->qr && !zlt_qr_can()) {
        zlt_log_complain("--qr: this agent was built without libqrencode, and "
                         "prints no QR codes");
        return -1;
    }

    if (optind == argc) {
        zlt_log_complain("which web server?  Its port: zltunnel-agent http "
                         "3000");
        return -1;
    }

    if (optind + 1 < argc) {
        zlt_log_complain("\"%s\" is one too many: each web server needs a "
                         "command of its own, or a --service of \"connect\"",
                         argv[optind + 1]);
        return -1;
    }

    return zlt_cmd_http_local(h, argv[optind]);
}


static int
zlt_cmd_http_option(zlt_cmd_http_t *h, zlt_conf_t *options, int c,
    const char *value)
{
    const char  *why;

    switch (c) {

    case 'c':
        h->file = value;
        return 0;

    case 'H':
        if (zlt_option_host_add(value, &h->service, &why) == -1) {
            zlt_log_complain("--host %s", why);
            return -1;
        }

        return 0;

    case 'n':
        if (zlt_option_service_name(value, &h->service, &why) == -1) {
            zlt_log_complain("--name \"%s\": %s", value, why);
            return -1;
        }

        return 0;

    case 'q':
        h->qr = 1;
        return 0;

    default:
        return zlt_cmd_page_key(options, c, value);
    }
}


/* Also as a browser shows it. */

static int
zlt_cmd_http_local(zlt_cmd_http_t *h, const char *value)
{
    int          n;
    char         local[ZLT_OPTION_LOCAL_MAX];
    size_t       len;
    const char  *text, *why, *bracket;

    text = value;

    if (strncasecmp(text, "https://", 8) == 0) {
        zlt_log_complain("\"%s\": nginx speaks HTTP to the web server, without "
                         "TLS: http://HOST:PORT", value);
        return -1;
    }

    if (strncasecmp(text, "http://", 7) == 0) {
        text += 7;
        len = strcspn(text, "/");

        if (text[len + strspn(text + len, "/")] != '\0') {
            zlt_log_complain("\"%s\" has a path, and the web server is "
                             "published as a whole: http://HOST:PORT", value);
            return -1;
        }

        /* without a port it is 80 */

        bracket = memchr(text, ']', len);
        n = memchr(bracket ? bracket : text, ':',
                   bracket ? (size_t) (text + len - bracket) : len) == NULL;

        n = snprintf(local, sizeof(local), "%.*s%s",
                     len < sizeof(local) ? (int) len : (int) sizeof(local),
                     text, n ? ":80" : "");

        if (n >= (int) sizeof(local)) {
            zlt_log_complain("\"%.100s...\" is too long", value);
            return -1;
        }

        text = local;
    }

    if (zlt_option_service_local(text, &h->service, &why) == -1) {
        zlt_log_complain("\"%s\": %s", value, why);
        return -1;
    }

    if (h->service.name[0]) {
        return 0;
    }

    if (h->service.is_unix) {
        (void) strcpy(h->service.name, ZLT_CMD_HTTP_SOCKET);

    } else {
        (void) snprintf(h->service.name, sizeof(h->service.name), "%u",
                        (unsigned) h->service.port);
    }

    return 0;
}


/* 0, or -1 after a complaint. */

static int
zlt_cmd_http_configure(zlt_cmd_http_t *h, zlt_config_t *config,
    const zlt_conf_t *options)
{
    int          rc;
    char         error[ZLT_CONF_ERROR_SIZE];
    zlt_conf_t  *conf, with;

    conf = &config->agent;

    zlt_conf_init(&with);

    rc = zlt_cmd_page_env(&zlt_cmd_http_page, &with);

    if (rc == 0 && zlt_conf_override(&with, options) == -1) {
        zlt_log_complain("out of memory");
        rc = -1;
    }

    if (rc == 0) {
        rc = zlt_cmd_http_from(h, conf, &with);
    }

    zlt_conf_free(&with);

    if (rc == -1 || zlt_cmd_http_service(h, conf) == -1) {
        return -1;
    }

    if (zlt_conf_check(conf, error) == -1) {
        zlt_log_complain("%s", error);
        return -1;
    }

    return 0;
}


/* What [agent] of the file says, and what stands above it.  The file's control
   socket and level of logging are those of another agent. */

static int
zlt_cmd_http_from(zlt_cmd_http_t *h, zlt_conf_t *conf, const zlt_conf_t *with)
{
    int            rc;
    char           error[ZLT_CONF_ERROR_SIZE];
    zlt_config_t   file;

    rc = 0;

    if (h->file == NULL && with->nservers == 0) {
        h->file = zlt_cmd_run_file();
    }

    zlt_config_init(&file);

    if (h->file) {
        if (zlt_conf_file_read(&file, h->file, with, error) == -1) {
            zlt_log_complain("%s", error);
            rc = -1;

        } else if (zlt_conf_override(conf, &file.agent) == -1) {
            zlt_log_complain("out of memory");
            rc = -1;
        }

    } else if (zlt_conf_override(conf, with) == -1) {
        zlt_log_complain("out of memory");
        rc = -1;
    }

    zlt_config_free(&file);

    if (rc == -1) {
        return -1;
    }

    if (!zlt_conf_is_set(with, "log_level")) {
        conf->log_level = ZLT_LOG_WARN;
    }

    if (!zlt_conf_is_set(with, "control")
        && zlt_conf_set(conf, zlt_key_agent("control"), "none", error) == -1)
    {
        zlt_log_complain("%s", error);
        return -1;
    }

    return 0;
}


static int
zlt_cmd_http_service(zlt_cmd_http_t *h, zlt_conf_t *conf)
{
    char         error[ZLT_CONF_ERROR_SIZE];
    const char  *why;

    if (h->service.hosts[0] == '\0'
        && zlt_option_host_add(ZLT_OPTION_HOST_AUTO, &h->service, &why) == -1)
    {
        zlt_log_complain("%s", why);
        return -1;
    }

    if (zlt_option_service_check(&h->service, &why) == -1) {
        zlt_log_complain("%s", why);
        return -1;
    }

    conf->sole = ZLT_CONF_URL;

    if (h->qr && isatty(STDOUT_FILENO)) {
        conf->sole = ZLT_CONF_QR;

    } else if (h->qr) {
        zlt_log_warn("no QR code is printed: stdout is no terminal");
    }

    if (zlt_conf_add_service(conf, &h->service, error) == -1) {
        zlt_log_complain("%s", error);
        return -1;
    }

    return 0;
}
