
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent init: a first configuration, here of the agent's side. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>

#include "cmd.h"
#include "cmd_init_ask.h"
#include "cmd_init_conf.h"
#include "cmd_init_file.h"
#include "cmd_init_nginx.h"
#include "cmd_page.h"
#include "config.h"
#include "log.h"
#include "token.h"


#define ZLT_CMD_INIT_SERVICES  32
#define ZLT_CMD_INIT_PATH      512
#define ZLT_CMD_INIT_ANSWER    512


typedef struct {
    const char           *dir;
    const char           *server;
    const char           *token_file;
    const char           *services[ZLT_CMD_INIT_SERVICES];
    const char           *hosts[ZLT_CMD_INIT_SERVICES];     /* of each */
    unsigned              nservices;
    int                   force;
    unsigned              nginx:1;
    unsigned              early:1;      /* --host is of no service */
    zlt_cmd_init_nginx_t  side;
    char                  dir_buf[ZLT_CMD_INIT_PATH];
    char                  server_buf[ZLT_CMD_INIT_ANSWER];
    char                  service_buf[ZLT_CMD_INIT_ANSWER];
    char                  conf[ZLT_CMD_INIT_PATH + 32];
    char                  token[ZLT_CMD_INIT_PATH + 32];
} zlt_cmd_init_t;


static int zlt_cmd_init_options(int argc, char **argv, zlt_cmd_init_t *init);
static int zlt_cmd_init_host(zlt_cmd_init_t *init, const char *value);
static int zlt_cmd_init_agent(zlt_cmd_init_t *init);
static int zlt_cmd_init_complete(zlt_cmd_init_t *init);
static int zlt_cmd_init_keep(const zlt_cmd_init_t *init);
static int zlt_cmd_init_dir(zlt_cmd_init_t *init);
static int zlt_cmd_init_token(zlt_cmd_init_t *init, zlt_token_t *token);
static void zlt_cmd_init_token_doubt(const zlt_token_t *token);
static int zlt_cmd_init_write(const zlt_cmd_init_t *init,
    const zlt_text_t *text, const zlt_token_t *token);
static void zlt_cmd_init_tell(const zlt_cmd_init_t *init);


static const zlt_cmd_option_t  zlt_cmd_init_list[] = {
    { "server", 's', "URL", "the server, wss://NAME" },
    { "service", 'S', "SPEC",
      "what is published, as \"connect\" has it; may be repeated" },
    { "token-file", 'f', "FILE",
      "holds the token, which is asked for otherwise, or read from the "
      "standard input" },
    { "token", 't', "", NULL },
    { "nginx", 'n', NULL, "write the server's side instead" },
    { "host", 'H', "NAME",
      "the server's name, of its certificate; without --nginx: by which name "
      "the service before it is reached" },
    { "domain", 'D', "NAME",
      "below which services have names, *.NAME; the certificate is for them, "
      "too" },
    { "cert", 'C', "FILE",
      "the certificate; the default is certbot's" },
    { "key", 'K', "FILE", "its key" },
    { "name", 'N', "NAME",
      "the agent's name, of its token; the default is \"agent\"" },
    { "ports", 'P', "RANGE",
      "the ports that services get; the default is 30000-30099" },
    { "dir", 'd', "DIR",
      "where to write; the default is /etc/zltunnel, or ~/.config/zltunnel, "
      "and /etc/nginx" },
    { "force", 'F', NULL, "over what is there" },
    { "help", 'h', NULL, NULL },
    { "version", 'V', NULL, NULL },
    { NULL, 0, NULL, NULL }
};


static const zlt_cmd_page_t  zlt_cmd_init_page = {
    "init [--nginx --host NAME] [--server URL] [OPTION]...",
    NULL,
    zlt_cmd_init_list,
    0,
    "Asks for what is missing, writes a first configuration of the agent, or "
    "of\nnginx, and tells what to do then.  With nginx set up already, --nginx "
    "makes a\ntoken for another agent.\n",
    "  zltunnel-agent init --nginx --host tunnel.example.com --name home\n"
    "  zltunnel-agent init --nginx --host tunnel.example.com "
    "--domain t.example.com\n"
    "  zltunnel-agent init --nginx --name office\n"
    "  zltunnel-agent init --server wss://tunnel.example.com --service "
    "web:8080\n"
};


/* the user of the package, who alone may read it */

static const zlt_cmd_init_owner_t  zlt_cmd_init_secret = {
    "zltunnel", NULL, 0600
};

static const zlt_cmd_init_owner_t  zlt_cmd_init_public = {
    NULL, NULL, 0644
};


int
zlt_cmd_init(int argc, char **argv)
{
    int             code;
    zlt_cmd_init_t  init;

    memset(&init, 0, sizeof(zlt_cmd_init_t));

    code = zlt_cmd_init_options(argc, argv, &init);

    if (code != -1) {
        return code;
    }

    if (!init.nginx) {
        return zlt_cmd_init_agent(&init);
    }

    init.side.dir = init.dir;
    init.side.force = init.force;
    init.side.name = init.side.name ? init.side.name : "agent";

    return zlt_cmd_init_nginx(&init.side);
}


/* -1, or the exit code if that is all. */

static int
zlt_cmd_init_options(int argc, char **argv, zlt_cmd_init_t *init)
{
    int             c, code;
    const char    **value;
    struct option   options[ZLT_CMD_PAGE_OPTIONS];

    if (zlt_cmd_options(argc, argv, &zlt_cmd_init_page, options) == -1) {
        return ZLT_EXIT_USAGE;
    }

    while ((c = getopt_long(argc, argv, ":hV", options, NULL)) != -1) {

        code = zlt_cmd_common(c, argv, &zlt_cmd_init_page, options);

        if (code != -1) {
            return code;
        }

        switch (c) {

        case 's':  value = &init->server;         break;
        case 'f':  value = &init->token_file;     break;
        case 'd':  value = &init->dir;            break;
        case 'D':  value = &init->side.domain;    break;
        case 'C':  value = &init->side.cert;      break;
        case 'K':  value = &init->side.key;       break;
        case 'N':  value = &init->side.name;      break;
        case 'P':  value = &init->side.ports;     break;

        case 'H':
            if (zlt_cmd_init_host(init, optarg) == -1) {
                return ZLT_EXIT_USAGE;
            }

            continue;

        case 'S':
            if (init->nservices == ZLT_CMD_INIT_SERVICES) {
                zlt_log_complain("more than %d services: add them to the file "
                                 "then", ZLT_CMD_INIT_SERVICES);
                return ZLT_EXIT_USAGE;
            }

            value = &init->services[init->nservices++];
            break;

        case 'n':
            init->nginx = 1;
            continue;

        default: /* 'F' */
            init->force = 1;
            continue;
        }

        *value = optarg;
    }

    if (zlt_cmd_rest(argc, argv) == -1) {
        return ZLT_EXIT_USAGE;
    }

    if (init->nginx ? init->server || init->nservices || init->token_file
                    : init->early || init->side.domain || init->side.cert
                      || init->side.key || init->side.name
                      || init->side.ports)
    {
        zlt_log_complain(init->nginx
                         ? "--server, --service and --token-file are of the "
                           "agent's side, without --nginx"
                         : "--host, --domain, --cert, --key, --name and "
                           "--ports are of the server's side, with --nginx; "
                           "--host of a service stands behind its --service");
        return ZLT_EXIT_USAGE;
    }

    return -1;
}


/* The server's name, or of the last service, as "connect" has it. */

static int
zlt_cmd_init_host(zlt_cmd_init_t *init, const char *value)
{
    const char  **host;

    init->side.host = value;

    if (init->nservices == 0) {
        init->early = 1;
        return 0;
    }

    host = &init->hosts[init->nservices - 1];

    if (*host) {
        zlt_log_complain("--host \"%.100s\" is the second one of --service "
                         "\"%.100s\": names have commas between them", value,
                         init->services[init->nservices - 1]);
        return -1;
    }

    *host = value;

    return 0;
}


static int
zlt_cmd_init_agent(zlt_cmd_init_t *init)
{
    int          code;
    zlt_text_t   text;
    zlt_token_t  token;

    memset(&text, 0, sizeof(zlt_text_t));
    memset(&token, 0, sizeof(zlt_token_t));

    code = ZLT_EXIT_USAGE;

    if (zlt_cmd_init_complete(init) == 0
        && zlt_cmd_init_conf_text(&text, init->server, init->services,
                                  init->hosts, init->nservices)
           == 0
        && zlt_cmd_init_token(init, &token) == 0)
    {
        code = zlt_cmd_init_write(init, &text, &token);
    }

    if (code == ZLT_EXIT_OK) {
        zlt_cmd_init_token_doubt(&token);
        zlt_cmd_init_tell(init);
    }

    zlt_token_wipe(&token);
    zlt_text_free(&text);

    return code;
}


/* Where to write, and what is asked for: 0 or -1. */

static int
zlt_cmd_init_complete(zlt_cmd_init_t *init)
{
    if (zlt_cmd_init_dir(init) == -1
        || zlt_cmd_init_file_free(init->conf, init->force) == -1
        || zlt_cmd_init_keep(init) == -1)
    {
        return -1;
    }

    if (init->server == NULL
        && zlt_cmd_init_ask_until("The server, as wss://tunnel.example.com",
                                  zlt_cmd_init_conf_server, init->server_buf,
                                  sizeof(init->server_buf))
           == 0)
    {
        init->server = init->server_buf;
    }

    if (init->server == NULL) {
        zlt_log_complain("which server? --server wss://NAME");
        return -1;
    }

    if (zlt_cmd_init_conf_server(init->server) == -1) {
        return -1;
    }

    if (init->nservices == 0
        && zlt_cmd_init_ask_until("A service, as web:8080 or ssh:22:2222",
                                  zlt_cmd_init_conf_service, init->service_buf,
                                  sizeof(init->service_buf))
           == 0)
    {
        init->services[init->nservices++] = init->service_buf;
    }

    if (init->nservices == 0) {
        zlt_log_complain("which service? --service NAME:PORT, as web:8080");
        return -1;
    }

    return 0;
}


/* A token that is there is not lost, since the server has but its hash: 0 if it
   may be written, or -1. */

static int
zlt_cmd_init_keep(const zlt_cmd_init_t *init)
{
    struct stat  there, given;

    if (init->force || stat(init->token, &there) == -1 || there.st_size == 0) {
        return 0;
    }

    if (init->token_file && stat(init->token_file, &given) == 0
        && given.st_dev == there.st_dev && given.st_ino == there.st_ino)
    {
        return 0;
    }

    zlt_log_complain("\"%s\" is there already: --token-file %s uses it, or "
                     "--force writes it anew", init->token, init->token);
    return -1;
}


static int
zlt_cmd_init_dir(zlt_cmd_init_t *init)
{
    const char  *home, *config;

    if (init->dir == NULL && geteuid() == 0) {
        init->dir = "/etc/zltunnel";
    }

    if (init->dir == NULL) {
        config = getenv("XDG_CONFIG_HOME");
        home = getenv("HOME");

        if (config && *config == '/') {
            (void) snprintf(init->dir_buf, sizeof(init->dir_buf),
                            "%s/zltunnel", config);

        } else if (home && *home == '/') {
            (void) snprintf(init->dir_buf, sizeof(init->dir_buf),
                            "%s/.config/zltunnel", home);

        } else {
            zlt_log_complain("where to write? HOME is not set: --dir DIR");
            return -1;
        }

        init->dir = init->dir_buf;
    }

    if (strlen(init->dir) >= ZLT_CMD_INIT_PATH) {
        zlt_log_complain("\"%.100s...\" is too long a name", init->dir);
        return -1;
    }

    (void) snprintf(init->conf, sizeof(init->conf), "%s/agent.conf",
                    init->dir);
    (void) snprintf(init->token, sizeof(init->token), "%s/token", init->dir);

    return 0;
}


/* From the file, the environment, or the standard input: 0 or -1. */

static int
zlt_cmd_init_token(zlt_cmd_init_t *init, zlt_token_t *token)
{
    char  error[ZLT_TOKEN_ERROR_SIZE];

    if (init->token_file || getenv(ZLT_TOKEN_ENV)) {

        if (zlt_token_read(token, init->token_file, error) == -1) {
            zlt_log_complain("%s", error);
            return -1;
        }

        return 0;
    }

    if (zlt_cmd_init_ask_secret("The token", token->text, sizeof(token->text))
        == -1)
    {
        zlt_log_complain("which token? \"zltunnel-agent init --nginx\" prints "
                         "one at the server; it is read from the standard "
                         "input, or --token-file FILE");
        return -1;
    }

    token->len = strlen(token->text);

    if (zlt_token_check(token, "what was entered", error) == -1) {
        zlt_log_complain("%s", error);
        return -1;
    }

    return 0;
}


/* People may have made it themselves, and then it looks as it likes. */

static void
zlt_cmd_init_token_doubt(const zlt_token_t *token)
{
    size_t  len;

    len = strlen("zlt_") + ZLT_CMD_TOKEN_HASH_SIZE - 1;

    if (zlt_token_is_hash(token)) {
        zlt_log_complain("warning: the token has the form of a hash, which is "
                         "for the server; the token of \"zltunnel-agent "
                         "token\" begins with zlt_");

    } else if (token->len != len && token->len >= 4
               && memcmp(token->text, "zlt_", 4) == 0)
    {
        zlt_log_complain("warning: the token has %zu characters, and what "
                         "begins with zlt_ has %zu: is it whole?", token->len,
                         len);
    }
}


/* The exit code.  Nothing that is there is touched before all is right. */

static int
zlt_cmd_init_write(const zlt_cmd_init_t *init, const zlt_text_t *text,
    const zlt_token_t *token)
{
    int         code;
    char        draft[sizeof(init->conf) + 16];
    zlt_text_t  line;

    (void) snprintf(draft, sizeof(draft), "%s.draft", init->conf);
    memset(&line, 0, sizeof(zlt_text_t));
    zlt_text_printf(&line, "%.*s\n", (int) token->len, token->text);

    code = ZLT_EXIT_FAILED;

    if (zlt_cmd_init_file_dir(init->dir) == 0
        && zlt_cmd_init_file_write(draft, text, &zlt_cmd_init_public) == 0)
    {
        code = zlt_cmd_init_conf_check(draft) == 0 ? ZLT_EXIT_OK
                                                   : ZLT_EXIT_USAGE;
        (void) unlink(draft);
    }

    if (code == ZLT_EXIT_OK
        && (zlt_cmd_init_file_write(init->token, &line, &zlt_cmd_init_secret)
            == -1
            || zlt_cmd_init_file_write(init->conf, text, &zlt_cmd_init_public)
               == -1))
    {
        code = ZLT_EXIT_FAILED;
    }

    if (line.data) {
        OPENSSL_cleanse(line.data, line.len);
    }

    zlt_text_free(&line);

    return code;
}


static void
zlt_cmd_init_tell(const zlt_cmd_init_t *init)
{
    (void) printf("Written: %s\n         %s\n\n", init->conf, init->token);

    if (geteuid() == 0 && strcmp(init->dir, "/etc/zltunnel") == 0) {
        (void) printf("Now, and at each start of this machine:\n\n"
                      "    systemctl enable --now zltunnel-agent\n"
                      "    zltunnel-agent status\n");

    } else {
        (void) printf("Now:\n\n    zltunnel-agent run -c %s\n", init->conf);
    }

    (void) fflush(stdout);
}
