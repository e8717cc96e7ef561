
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel-agent init --nginx: the server's side.
 *
 * Debian's nginx.conf includes modules-enabled/ at its top level, and conf.d/ in
 * http: what the tunnel needs fits into files of its own there, and nginx.conf
 * stays as it is.
 */


#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <openssl/crypto.h>

#include "cmd.h"
#include "cmd_init_ask.h"
#include "cmd_init_check.h"
#include "cmd_init_file.h"
#include "cmd_init_nginx.h"
#include "log.h"


typedef struct {
    const char  *dir;
    const char  *ports;
    char         host[ZLT_CMD_INIT_CHECK_NAME];
    char         domain[ZLT_CMD_INIT_CHECK_NAME];    /* empty: none */
    char         cert[ZLT_CMD_INIT_CHECK_NAME];
    char         key[ZLT_CMD_INIT_CHECK_NAME];
    char         main[ZLT_CMD_INIT_CHECK_NAME];
    char         http[ZLT_CMD_INIT_CHECK_NAME];
    char         tokens[ZLT_CMD_INIT_CHECK_NAME];
    unsigned     there:1;      /* it is set up: a token is added */
} zlt_cmd_init_nginx_ctx_t;


static int zlt_cmd_init_nginx_find(zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init);
static int zlt_cmd_init_nginx_there(zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init);
static void zlt_cmd_init_nginx_word(const char *file, const char *directive,
    char *word);
static int zlt_cmd_init_nginx_unnamed(const zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init);
static int zlt_cmd_init_nginx_host(zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init);
static int zlt_cmd_init_nginx_cert(zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init);
static int zlt_cmd_init_nginx_conf(const zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init);
static void zlt_cmd_init_nginx_main(const zlt_cmd_init_nginx_ctx_t *ctx,
    zlt_text_t *text);
static void zlt_cmd_init_nginx_http(const zlt_cmd_init_nginx_ctx_t *ctx,
    zlt_text_t *text);
static int zlt_cmd_init_nginx_token(const zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init, char *token);
static void zlt_cmd_init_nginx_tell(const zlt_cmd_init_nginx_ctx_t *ctx,
    const char *token);


/* root's, and read by the workers */

static const zlt_cmd_init_owner_t  zlt_cmd_init_nginx_secret = {
    NULL, "www-data", 0640
};

static const zlt_cmd_init_owner_t  zlt_cmd_init_nginx_public = {
    NULL, NULL, 0644
};


int
zlt_cmd_init_nginx(const zlt_cmd_init_nginx_t *init)
{
    int                       rc;
    char                      token[ZLT_CMD_TOKEN_SIZE];
    zlt_cmd_init_nginx_ctx_t  ctx;

    memset(&ctx, 0, sizeof(ctx));

    if (zlt_cmd_token_name(init->name) == -1
        || zlt_cmd_init_nginx_find(&ctx, init) == -1)
    {
        return ZLT_EXIT_USAGE;
    }

    if ((!ctx.there && zlt_cmd_init_nginx_conf(&ctx, init) == -1)
        || zlt_cmd_init_nginx_token(&ctx, init, token) == -1)
    {
        return ZLT_EXIT_FAILED;
    }

    zlt_cmd_init_nginx_tell(&ctx, token);
    rc = fflush(stdout);

    OPENSSL_cleanse(token, sizeof(token));

    return rc == 0 ? ZLT_EXIT_OK : ZLT_EXIT_FAILED;
}


static int
zlt_cmd_init_nginx_find(zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init)
{
    ctx->dir = init->dir ? init->dir : "/etc/nginx";

    if (zlt_cmd_init_check_word("the directory", ctx->dir) == -1) {
        return -1;
    }

    (void) snprintf(ctx->main, sizeof(ctx->main), "%s/modules-enabled",
                    ctx->dir);

    if (access(ctx->main, F_OK) == -1) {
        zlt_log_complain("there is no \"%s\", which Debian's nginx has: see "
                         "README.md for what goes where", ctx->main);
        return -1;
    }

    (void) snprintf(ctx->main, sizeof(ctx->main),
                    "%s/modules-enabled/80-zltunnel.conf", ctx->dir);
    (void) snprintf(ctx->http, sizeof(ctx->http), "%s/conf.d/zltunnel.conf",
                    ctx->dir);
    (void) snprintf(ctx->tokens, sizeof(ctx->tokens), "%s/zltunnel.tokens",
                    ctx->dir);

    ctx->there = access(ctx->main, F_OK) == 0 && !init->force;
    ctx->ports = init->ports ? init->ports : "30000-30099";

    if (ctx->there) {
        return zlt_cmd_init_nginx_there(ctx, init);
    }

    return zlt_cmd_init_nginx_unnamed(ctx, init) == -1
           || zlt_cmd_init_nginx_host(ctx, init) == -1
           || (init->domain
               && zlt_cmd_init_check_domain(init->domain, ctx->domain) == -1)
           || zlt_cmd_init_nginx_cert(ctx, init) == -1
           ? -1 : 0;
}


/* nginx is set up: what is given for its files would be lost. */

static int
zlt_cmd_init_nginx_there(zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init)
{
    if (init->host || init->domain || init->ports || init->cert || init->key) {
        zlt_log_complain("--host, --domain, --ports, --cert, --key are for a "
                         "new file, and \"%s\" is there: edit it, or --force "
                         "writes it anew; without them a token for another "
                         "agent is made",
                         init->ports ? ctx->main : ctx->http);
        return -1;
    }

    if (zlt_cmd_init_nginx_unnamed(ctx, init) == -1) {
        return -1;
    }

    zlt_cmd_init_nginx_word(ctx->http, "server_name", ctx->host);
    zlt_cmd_init_nginx_word(ctx->main, "domain", ctx->domain);

    /* none, or one that no agent connects to: a pattern, nginx's "_" */

    if (ctx->host[0] == '\0' || strchr("*._~$\"", ctx->host[0])) {
        (void) strcpy(ctx->host, "NAME");
    }

    return 0;
}


/* What stands behind the first directive of that name in a file; "" if there is
   none. */

static void
zlt_cmd_init_nginx_word(const char *file, const char *directive, char *word)
{
    char   line[ZLT_CMD_INIT_CHECK_NAME], name[32];
    FILE  *f;

    f = fopen(file, "re");

    while (f && fgets(line, sizeof(line), f)) {

        if (sscanf(line, " %31[a-z_] %255[^ \t\r\n;]", name, word) == 2
            && strcmp(name, directive) == 0)
        {
            (void) fclose(f);
            return;
        }
    }

    if (f) {
        (void) fclose(f);
    }

    word[0] = '\0';
}


/* No token has that name yet, or one more is forced. */

static int
zlt_cmd_init_nginx_unnamed(const zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init)
{
    int    found;
    char   line[4096], name[ZLT_MAX_TOKEN_NAME + 2];
    FILE  *f;

    f = init->force ? NULL : fopen(ctx->tokens, "re");
    found = 0;

    while (f && !found && fgets(line, sizeof(line), f)) {
        found = line[strspn(line, " \t")] != '#'
                && sscanf(line, "%*s %64s", name) == 1
                && strcmp(name, init->name) == 0;
    }

    if (f) {
        (void) fclose(f);
    }

    if (found) {
        zlt_log_complain("\"%s\" has a token named \"%s\" already: --name NAME "
                         "makes one for another agent; for a new one of this "
                         "agent remove the line first", ctx->tokens,
                         init->name);
    }

    return found ? -1 : 0;
}


static int
zlt_cmd_init_nginx_host(zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init)
{
    char  answer[ZLT_CMD_INIT_CHECK_NAME];

    if (init->host) {
        return zlt_cmd_init_check_host(init->host, ctx->host);
    }

    while (zlt_cmd_init_ask_can()
           && zlt_cmd_init_ask("Under which name do agents reach this machine",
                               answer, sizeof(answer))
              == 0)
    {
        if (zlt_cmd_init_check_host(answer, ctx->host) == 0) {
            return 0;
        }
    }

    zlt_log_complain("under which name do agents reach this machine? "
                     "--host NAME");
    return -1;
}


/* What is given, or certbot's. */

static int
zlt_cmd_init_nginx_cert(zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init)
{
    char         cert[ZLT_CMD_INIT_CHECK_NAME], key[ZLT_CMD_INIT_CHECK_NAME];
    const char  *hint;

    if ((init->cert == NULL) != (init->key == NULL)) {
        zlt_log_complain("--cert and --key belong together");
        return -1;
    }

    (void) snprintf(cert, sizeof(cert),
                    "/etc/letsencrypt/live/%.255s/fullchain.pem", ctx->host);
    (void) snprintf(key, sizeof(key),
                    "/etc/letsencrypt/live/%.255s/privkey.pem", ctx->host);

    hint = init->cert ? ""
                      : ": get one for that name, with certbot for example, or "
                        "name yours by --cert FILE --key FILE";

    return zlt_cmd_init_check_file("the certificate",
                                   init->cert ? init->cert : cert, ctx->dir,
                                   hint, ctx->cert) == -1
           || zlt_cmd_init_check_file("its key", init->key ? init->key : key,
                                      ctx->dir, hint, ctx->key) == -1
           || zlt_cmd_init_check_ports(ctx->ports) == -1
           ? -1 : 0;
}


static int
zlt_cmd_init_nginx_conf(const zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init)
{
    int         rc;
    zlt_text_t  main, http;

    memset(&main, 0, sizeof(zlt_text_t));
    memset(&http, 0, sizeof(zlt_text_t));

    zlt_cmd_init_nginx_main(ctx, &main);
    zlt_cmd_init_nginx_http(ctx, &http);

    rc = zlt_cmd_init_file_free(ctx->http, init->force) == -1
         || zlt_cmd_init_file_write(ctx->http, &http,
                                    &zlt_cmd_init_nginx_public) == -1
         || zlt_cmd_init_file_write(ctx->main, &main,
                                    &zlt_cmd_init_nginx_public) == -1;

    zlt_text_free(&main);
    zlt_text_free(&http);

    return rc ? -1 : 0;
}


static void
zlt_cmd_init_nginx_main(const zlt_cmd_init_nginx_ctx_t *ctx, zlt_text_t *text)
{
    zlt_text_printf(text,
        "# zltunnel, beside http: nginx.conf includes this at its top level\n"
        "\n"
        "# who connects and what is refused, which nginx.conf leaves out\n"
        "error_log /var/log/nginx/zltunnel.log notice;\n"
        "\n"
        "zltunnel {\n"
        "    token_file zltunnel.tokens;\n"
        "    max_udp_sessions 256;        # of a service: a third of "
        "worker_connections\n");

    if (ctx->domain[0]) {
        zlt_text_printf(text,
            "    domain %s;        # a host \"blog\" is below it\n",
            ctx->domain);
    }

    zlt_text_printf(text,
        "}\n"
        "\n"
        "# the ports that services get\n"
        "\n"
        "stream {\n"
        "    server { listen %s; zltunnel_ports; }\n"
        "    server { listen %s udp; zltunnel_ports; }\n"
        "}\n", ctx->ports, ctx->ports);
}


static void
zlt_cmd_init_nginx_http(const zlt_cmd_init_nginx_ctx_t *ctx, zlt_text_t *text)
{
    zlt_text_printf(text,
        "# zltunnel, in http: where agents connect\n"
        "\n"
        "server {\n"
        "    listen 443 ssl;\n"
        "    server_name %s;\n"
        "    ssl_certificate     %s;\n"
        "    ssl_certificate_key %s;\n"
        "\n"
        "    location = /tunnel/v1     { zltunnel; }\n"
        "    location = /tunnel/status {\n"
        "        zltunnel_status;\n"
        "        allow 127.0.0.1;\n"
        "        deny all;\n"
        "    }\n"
        "}\n", ctx->host, ctx->cert, ctx->key);

    if (ctx->domain[0] == '\0') {
        return;
    }

    zlt_text_printf(text,
        "\n"
        "# the hosts that agents bring\n"
        "\n"
        "upstream tunnelled { zltunnel_host $host; keepalive 64; }\n"
        "\n"
        "server {\n"
        "    listen 443 ssl;\n"
        "    server_name *.%s;\n"
        "    ssl_certificate     %s;\n"
        "    ssl_certificate_key %s;\n"
        "\n"
        "    include zltunnel_error.conf;\n"
        "    location / { include zltunnel_proxy.conf; "
        "proxy_pass http://tunnelled; }\n"
        "}\n", ctx->domain, ctx->cert, ctx->key);
}


static int
zlt_cmd_init_nginx_token(const zlt_cmd_init_nginx_ctx_t *ctx,
    const zlt_cmd_init_nginx_t *init, char *token)
{
    int         rc;
    char        hex[ZLT_CMD_TOKEN_HASH_SIZE];
    zlt_text_t  line;

    if (zlt_cmd_token_make(token, hex) == -1) {
        return -1;
    }

    memset(&line, 0, sizeof(zlt_text_t));
    zlt_text_printf(&line, "%s %s", hex, init->name);

    if (ctx->domain[0]) {
        zlt_text_printf(&line, " hosts=*.%s", ctx->domain);
    }

    zlt_text_printf(&line, "\n");

    rc = zlt_cmd_init_file_add(ctx->tokens, &line, &zlt_cmd_init_nginx_secret);

    zlt_text_free(&line);

    return rc;
}


static void
zlt_cmd_init_nginx_tell(const zlt_cmd_init_nginx_ctx_t *ctx, const char *token)
{
    (void) printf("Written: %s\n", ctx->tokens);

    if (ctx->there) {
        (void) printf("\n\"%s\" is there and stays as it is\n(--force writes "
                      "it anew); this is a token for another agent.\n",
                      access(ctx->http, F_OK) == 0 ? ctx->http : ctx->main);

    } else {
        (void) printf("         %s\n         %s\n\nHere:\n\n"
                      "    nginx -t && systemctl reload nginx\n",
                      ctx->main, ctx->http);
    }

    (void) printf("\nOn the machine with the services, here with a web server "
                  "at port 8080:\n\n"
                  "    zltunnel-agent init --server wss://%s --service "
                  "web:8080%s\n\n"
                  "and when it asks for the token:\n\n"
                  "    %s\n", ctx->host,
                  ctx->domain[0] ? " --host blog" : "", token);
}
