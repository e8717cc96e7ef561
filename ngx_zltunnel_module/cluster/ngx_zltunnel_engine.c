
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The engine: which of its addresses is it, and is it there?
 *
 * An address is tried by a connection for commands.  It says the password, asks
 * what is there (ROLE), and takes the database.  A sentinel is asked for its
 * master, a replica is left for the next address, an engine of a cluster may
 * send us to another one.  Then a second connection to the same address listens
 * to what is published.  Only with both is the engine ready; with either gone
 * both are, and all is begun anew, so that nobody has to think of half an
 * engine.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_engine.h"


#define NGX_ZLTUNNEL_ENGINE_TIMEOUT    5000   /* ms */
#define NGX_ZLTUNNEL_ENGINE_DELAY      250    /* ms, doubled */
#define NGX_ZLTUNNEL_ENGINE_DELAY_MAX  5000
#define NGX_ZLTUNNEL_ENGINE_PING       5000
#define NGX_ZLTUNNEL_ENGINE_REDIRECTS  3
#define NGX_ZLTUNNEL_ENGINE_TELL       60     /* s */


typedef struct {
    const char                  *word;        /* how its error begins */
    ngx_zltunnel_cluster_error_e kind;
    ngx_uint_t                   away;        /* there is no use of it now */
    const char                  *remedy;
} ngx_zltunnel_engine_error_t;


static ngx_ssl_t *ngx_zltunnel_engine_ssl(ngx_zltunnel_engine_t *engine);
static void ngx_zltunnel_engine_again(ngx_event_t *ev);
static void ngx_zltunnel_engine_connect(ngx_zltunnel_engine_t *engine);
static ngx_uint_t ngx_zltunnel_engine_addrs(ngx_zltunnel_engine_t *engine);
static void ngx_zltunnel_engine_pick(ngx_zltunnel_engine_t *engine);
static void ngx_zltunnel_engine_opened(void *data);
static void ngx_zltunnel_engine_auth(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_redis_t *redis);
static void ngx_zltunnel_engine_on_auth(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_engine_on_role(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_engine_on_master(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_engine_on_select(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_engine_events_opened(void *data);
static void ngx_zltunnel_engine_on_subscribed(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_engine_on_pong(void *data, redisReply *reply,
    ngx_uint_t n);
static void ngx_zltunnel_engine_pushed(void *data, redisReply *reply);
static void ngx_zltunnel_engine_redirect(ngx_zltunnel_engine_t *engine,
    u_char *addr, size_t len, const char *why);
static void ngx_zltunnel_engine_failed(void *data, ngx_uint_t garbage,
    const char *text);
static void ngx_zltunnel_engine_away(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_cluster_error_e kind, const char *text, const char *remedy);
static void ngx_zltunnel_engine_note(ngx_zltunnel_engine_t *engine,
    const char *text);
static void ngx_zltunnel_engine_tell(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_cluster_error_e kind, const char *text, const char *remedy);


static const ngx_zltunnel_engine_error_t  ngx_zltunnel_engine_errors[] = {
    { "NOAUTH ", NGX_ZLTUNNEL_CLUSTER_NOAUTH, 1,
      "; password_file= says the password" },
    { "WRONGPASS ", NGX_ZLTUNNEL_CLUSTER_NOAUTH, 1,
      "; password_file= and user= say who this node is, and a reload reads "
      "them again" },
    { "ERR invalid password", NGX_ZLTUNNEL_CLUSTER_NOAUTH, 1,
      "; password_file= says the password, and a reload reads it again" },
    { "NOPERM ", NGX_ZLTUNNEL_CLUSTER_NOAUTH, 0,
      "; its user needs all keys and channels that begin with prefix=" },
    { "LOADING ", NGX_ZLTUNNEL_CLUSTER_LOADING, 1, "" },
    { "READONLY ", NGX_ZLTUNNEL_CLUSTER_READONLY, 1,
      "; the nodes need an engine that takes what they write" },
    { "MASTERDOWN ", NGX_ZLTUNNEL_CLUSTER_READONLY, 1, "" },
    { "CLUSTERDOWN ", NGX_ZLTUNNEL_CLUSTER_MOVED, 1, "" },
    { "CROSSSLOT ", NGX_ZLTUNNEL_CLUSTER_MOVED, 0,
      "; all keys have to be in one place: prefix={zlt}: puts them there" },
    { "OOM ", NGX_ZLTUNNEL_CLUSTER_FULL, 0,
      "; it has no memory left, and what this node has is not told to others "
      "until it has" },
    { "EXECABORT ", NGX_ZLTUNNEL_CLUSTER_FULL, 0, "" },
    { NULL, 0, 0, NULL }
};


void
ngx_zltunnel_engine_start(ngx_zltunnel_engine_t *engine)
{
    ngx_zltunnel_redis_t         *redis;
    ngx_zltunnel_cluster_conf_t  *conf;

    conf = engine->registry->cluster;

    engine->running = 1;
    engine->up = 0;
    engine->redirected = 0;
    engine->redirects = 0;
    engine->tried = 0;
    engine->delay = NGX_ZLTUNNEL_ENGINE_DELAY;

    engine->again.handler = ngx_zltunnel_engine_again;
    engine->again.data = engine;
    engine->again.log = engine->log;
    engine->again.cancelable = 1;

    if (conf->tls && engine->ssl == NULL) {
        engine->ssl = ngx_zltunnel_engine_ssl(engine);

        if (engine->ssl == NULL) {
            return;
        }
    }

    for (redis = &engine->commands; redis;
         redis = (redis == &engine->commands) ? &engine->events : NULL)
    {
        redis->data = engine;
        redis->failed = ngx_zltunnel_engine_failed;
        redis->ssl = engine->ssl;
        redis->timeout = NGX_ZLTUNNEL_ENGINE_TIMEOUT;
        ngx_queue_init(&redis->commands);
    }

    engine->commands.opened = ngx_zltunnel_engine_opened;
    engine->events.opened = ngx_zltunnel_engine_events_opened;
    engine->events.pushed = ngx_zltunnel_engine_pushed;

    ngx_zltunnel_engine_connect(engine);
}


static ngx_ssl_t *
ngx_zltunnel_engine_ssl(ngx_zltunnel_engine_t *engine)
{
    ngx_ssl_t                    *ssl;
    ngx_zltunnel_cluster_conf_t  *conf;

    conf = engine->registry->cluster;

    engine->pool = ngx_create_pool(1024, engine->log);
    if (engine->pool == NULL) {
        return NULL;
    }

    ssl = ngx_pcalloc(engine->pool, sizeof(ngx_ssl_t));
    if (ssl == NULL) {
        return NULL;
    }

    ssl->log = engine->log;

    if (ngx_ssl_create(ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL) != NGX_OK) {
        return NULL;
    }

    SSL_CTX_set_verify(ssl->ctx, SSL_VERIFY_PEER, NULL);

    if (conf->engine_ca.len) {

        if (SSL_CTX_load_verify_locations(ssl->ctx,
                                          (char *) conf->engine_ca.data, NULL)
            != 1)
        {
            ngx_ssl_error(NGX_LOG_ERR, engine->log, 0,
                          "zltunnel \"%V\": \"ca=%V\" of \"cluster\" cannot be "
                          "read by the workers",
                          &engine->registry->name, &conf->engine_ca);
            SSL_CTX_free(ssl->ctx);
            return NULL;
        }

    } else {
        (void) SSL_CTX_set_default_verify_paths(ssl->ctx);
    }

    return ssl;
}


void
ngx_zltunnel_engine_stop(ngx_zltunnel_engine_t *engine)
{
    engine->running = 0;
    engine->up = 0;

    if (engine->again.timer_set) {
        ngx_del_timer(&engine->again);
    }

    if (engine->commands.data) {
        ngx_zltunnel_redis_close(&engine->commands);
        ngx_zltunnel_redis_close(&engine->events);
    }

    if (engine->ssl) {
        SSL_CTX_free(engine->ssl->ctx);
        engine->ssl = NULL;
    }

    if (engine->pool) {
        ngx_destroy_pool(engine->pool);
        engine->pool = NULL;
    }
}


static void
ngx_zltunnel_engine_again(ngx_event_t *ev)
{
    ngx_zltunnel_engine_connect(ev->data);
}


static void
ngx_zltunnel_engine_connect(ngx_zltunnel_engine_t *engine)
{
    if (!engine->redirected) {
        ngx_zltunnel_engine_pick(engine);
    }

    engine->redirected = 0;
    engine->commands.host = engine->host;
    engine->events.host = engine->host;

    ngx_zltunnel_redis_connect(&engine->commands, &engine->addr, engine->log);

    if (engine->commands.connection == NULL) {
        ngx_zltunnel_engine_failed(engine, 0, "no connection can be made");
    }
}


/* how many there are of all its names */

static ngx_uint_t
ngx_zltunnel_engine_addrs(ngx_zltunnel_engine_t *engine)
{
    ngx_uint_t                    i, n;
    ngx_array_t                  *engines;
    ngx_zltunnel_engine_addr_t   *one;

    engines = &engine->registry->cluster->engines;
    one = engines->elts;
    n = 0;

    for (i = 0; i < engines->nelts; i++) {
        n += one[i].naddrs;
    }

    return n;
}


static void
ngx_zltunnel_engine_pick(ngx_zltunnel_engine_t *engine)
{
    ngx_uint_t                   n;
    ngx_zltunnel_engine_addr_t  *one;

    n = engine->turn % ngx_zltunnel_engine_addrs(engine);

    for (one = engine->registry->cluster->engines.elts;
         n >= one->naddrs;
         one++)
    {
        n -= one->naddrs;
    }

    engine->addr = one->addrs[n];
    engine->host = one->host;
}


static void
ngx_zltunnel_engine_opened(void *data)
{
    ngx_zltunnel_engine_t *engine = data;

    ngx_str_t  role = ngx_string("ROLE");

    ngx_zltunnel_engine_auth(engine, &engine->commands);

    ngx_zltunnel_redis_command(&engine->commands, ngx_zltunnel_engine_on_role,
                               0, &role, 1);
}


static void
ngx_zltunnel_engine_auth(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_redis_t *redis)
{
    ngx_str_t                     args[3];
    ngx_uint_t                    n;
    ngx_zltunnel_cluster_conf_t  *conf;

    conf = engine->registry->cluster;

    if (conf->password.len == 0) {
        return;
    }

    ngx_str_set(&args[0], "AUTH");
    n = 1;

    if (conf->user.len) {
        args[n++] = conf->user;
    }

    args[n++] = conf->password;

    ngx_zltunnel_redis_command(redis, ngx_zltunnel_engine_on_auth, 0, args, n);
}


static void
ngx_zltunnel_engine_on_auth(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_zltunnel_engine_t *engine = data;

    /* a sentinel may have no password where its engines have one */

    if (reply->type == REDIS_REPLY_ERROR
        && ngx_strstr(reply->str, "without any password") == NULL)
    {
        (void) ngx_zltunnel_engine_error(engine, reply);
    }
}


static void
ngx_zltunnel_engine_on_role(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_zltunnel_engine_t *engine = data;

    u_char       db[NGX_INT_T_LEN];
    ngx_str_t    args[3];
    redisReply  *names;

    ngx_str_set(&args[0], "SELECT");

    if (reply->type == REDIS_REPLY_ERROR
        && ngx_strncmp(reply->str, "NOPERM", 6) != 0
        && ngx_strncmp(reply->str, "ERR unknown command", 19) != 0
        && ngx_zltunnel_engine_error(engine, reply))
    {
        return;
    }

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 1
        && reply->element[0]->type == REDIS_REPLY_STRING)
    {
        if (ngx_strcmp(reply->element[0]->str, "slave") == 0) {
            ngx_zltunnel_engine_away(engine, NGX_ZLTUNNEL_CLUSTER_READONLY,
                                     "it is a replica", "");
            return;
        }

        names = reply->element[1];

        if (ngx_strcmp(reply->element[0]->str, "sentinel") == 0) {

            if (names->type != REDIS_REPLY_ARRAY || names->elements == 0
                || names->element[0]->type != REDIS_REPLY_STRING)
            {
                ngx_zltunnel_engine_away(engine, NGX_ZLTUNNEL_CLUSTER_AWAY,
                                         "it is a sentinel without a master",
                                         "");
                return;
            }

            ngx_str_set(&args[0], "SENTINEL");
            ngx_str_set(&args[1], "get-master-addr-by-name");
            args[2].data = (u_char *) names->element[0]->str;
            args[2].len = names->element[0]->len;

            ngx_zltunnel_redis_command(&engine->commands,
                                       ngx_zltunnel_engine_on_master, 0,
                                       args, 3);
            return;
        }
    }

    args[1].data = db;
    args[1].len = ngx_sprintf(db, "%ui", engine->registry->cluster->db) - db;

    ngx_zltunnel_redis_command(&engine->commands,
                               ngx_zltunnel_engine_on_select, 0, args, 2);
}


static void
ngx_zltunnel_engine_on_master(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_zltunnel_engine_t *engine = data;

    u_char  *p, addr[NGX_SOCKADDR_STRLEN];

    if (ngx_zltunnel_engine_error(engine, reply)) {
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_STRING)
    {
        ngx_zltunnel_engine_away(engine, NGX_ZLTUNNEL_CLUSTER_AWAY,
                                 "it is a sentinel that knows no master", "");
        return;
    }

    p = ngx_snprintf(addr, sizeof(addr),
                     ngx_strchr(reply->element[0]->str, ':') ? "[%s]:%s"
                                                             : "%s:%s",
                     reply->element[0]->str, reply->element[1]->str);

    ngx_zltunnel_engine_redirect(engine, addr, p - addr,
                                 "it is a sentinel, whose master is at %s");
}


static void
ngx_zltunnel_engine_on_select(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_zltunnel_engine_t *engine = data;

    /* an engine of a cluster has only one */

    if (reply->type == REDIS_REPLY_ERROR) {

        if (engine->registry->cluster->db == 0) {
            (void) ngx_zltunnel_engine_error(engine, reply);

        } else {
            ngx_zltunnel_engine_away(engine, NGX_ZLTUNNEL_CLUSTER_REFUSED,
                                     reply->str, "; the number of the database "
                                     "is at the end of the URL");
        }

        if (engine->commands.over) {
            return;
        }
    }

    ngx_zltunnel_redis_connect(&engine->events, &engine->addr, engine->log);

    if (engine->events.connection == NULL) {
        ngx_zltunnel_engine_failed(engine, 0, "no connection can be made");
    }
}


static void
ngx_zltunnel_engine_events_opened(void *data)
{
    ngx_zltunnel_engine_t *engine = data;

    ngx_str_t  args[2];

    ngx_zltunnel_engine_auth(engine, &engine->events);

    ngx_str_set(&args[0], "SUBSCRIBE");
    args[1] = engine->channel;

    ngx_zltunnel_redis_command(&engine->events,
                               ngx_zltunnel_engine_on_subscribed, 0, args, 2);
}


static void
ngx_zltunnel_engine_on_subscribed(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_zltunnel_engine_t *engine = data;

    time_t                      away, *told;
    ngx_uint_t                  i, was;
    ngx_zltunnel_sh_cluster_t  *state;

    if (ngx_zltunnel_engine_error(engine, reply)) {

        if (!engine->events.over) {
            ngx_zltunnel_engine_away(engine, NGX_ZLTUNNEL_CLUSTER_REFUSED,
                                     reply->str, "");
        }

        return;
    }

    state = engine->registry->sh->cluster;
    told = state->told;
    was = 0;

    for (i = 0; i < NGX_ZLTUNNEL_CLUSTER_ERRORS; i++) {

        if (i != NGX_ZLTUNNEL_CLUSTER_FULL && told[i]
            && told[i] >= state->since)
        {
            was = 1;
        }
    }

    away = ngx_time() - state->since;

    if (!state->connected) {
        state->since = ngx_time();
    }

    state->engine_len = (uint8_t) ngx_min(engine->addr.name.len,
                                          sizeof(state->engine));
    ngx_memcpy(state->engine, engine->addr.name.data, state->engine_len);

    if (was && !state->connected) {
        ngx_log_error(NGX_LOG_NOTICE, engine->log, 0,
                      "zltunnel \"%V\": the engine %V of \"cluster\" is back "
                      "after %T s", &engine->registry->name,
                      &engine->addr.name, away);
    }

    state->connected = 1;
    state->contact = ngx_current_msec | 1;

    engine->up = 1;
    engine->tried = 0;
    engine->redirects = 0;
    engine->delay = NGX_ZLTUNNEL_ENGINE_DELAY;
    engine->pinged = ngx_current_msec;

    engine->ready(engine->data);
}


void
ngx_zltunnel_engine_tick(ngx_zltunnel_engine_t *engine)
{
    ngx_str_t  ping = ngx_string("PING");

    if (!engine->up
        || ngx_current_msec - engine->pinged < NGX_ZLTUNNEL_ENGINE_PING)
    {
        return;
    }

    engine->pinged = ngx_current_msec;

    ngx_zltunnel_redis_command(&engine->commands, ngx_zltunnel_engine_on_pong,
                               0, &ping, 1);
    ngx_zltunnel_redis_command(&engine->events, NULL, 0, &ping, 1);
}


static void
ngx_zltunnel_engine_on_pong(void *data, redisReply *reply, ngx_uint_t n)
{
    ngx_zltunnel_engine_t *engine = data;

    if (!ngx_zltunnel_engine_error(engine, reply)) {
        engine->registry->sh->cluster->contact = ngx_current_msec | 1;
    }
}


void
ngx_zltunnel_engine_command(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_redis_pt handler, ngx_uint_t n, ngx_str_t *args,
    ngx_uint_t nargs)
{
    if (engine->up) {
        ngx_zltunnel_redis_command(&engine->commands, handler, n, args, nargs);
    }
}


static void
ngx_zltunnel_engine_pushed(void *data, redisReply *reply)
{
    ngx_zltunnel_engine_t *engine = data;

    ngx_str_t  text;

    if (engine->up && reply->element[2]->type == REDIS_REPLY_STRING) {
        text.data = (u_char *) reply->element[2]->str;
        text.len = reply->element[2]->len;

        engine->heard(engine->data, &text);
    }
}


ngx_uint_t
ngx_zltunnel_engine_error(ngx_zltunnel_engine_t *engine, redisReply *reply)
{
    u_char                             *addr;
    const ngx_zltunnel_engine_error_t  *e;

    if (reply->type != REDIS_REPLY_ERROR) {
        return 0;
    }

    if (ngx_strncmp(reply->str, "MOVED ", 6) == 0
        || ngx_strncmp(reply->str, "ASK ", 4) == 0)
    {
        addr = (u_char *) strrchr(reply->str, ' ') + 1;

        ngx_zltunnel_engine_redirect(engine, addr, ngx_strlen(addr),
                                     "the keys are at %s");
        return 1;
    }

    for (e = ngx_zltunnel_engine_errors; e->word; e++) {

        if (ngx_strncmp(reply->str, e->word, ngx_strlen(e->word)) == 0) {
            break;
        }
    }

    if (e->word == NULL) {
        ngx_zltunnel_engine_tell(engine, NGX_ZLTUNNEL_CLUSTER_REFUSED,
                                 reply->str, "");

    } else if (e->away) {
        ngx_zltunnel_engine_away(engine, e->kind, reply->str, e->remedy);

    } else {
        ngx_zltunnel_engine_tell(engine, e->kind, reply->str, e->remedy);
    }

    return 1;
}


/* by a sentinel, or by an engine of a cluster, as an address and a port */

static void
ngx_zltunnel_engine_redirect(ngx_zltunnel_engine_t *engine, u_char *addr,
    size_t len, const char *why)
{
    u_char       text[NGX_ZLTUNNEL_REDIS_TEXT], name[NGX_SOCKADDR_STRLEN];
    ngx_addr_t   to;
    ngx_pool_t  *pool;

    ngx_cpystrn(name, addr, ngx_min(len + 1, sizeof(name)));
    ngx_memzero(text, sizeof(text));
    ngx_snprintf(text, sizeof(text) - 1, why, name);

    pool = ngx_create_pool(256, engine->log);
    if (pool == NULL) {
        return;
    }

    if (engine->redirects++ >= NGX_ZLTUNNEL_ENGINE_REDIRECTS
        || len >= sizeof(name)
        || ngx_parse_addr_port(pool, &to, name, ngx_strlen(name)) != NGX_OK
        || to.socklen > (socklen_t) sizeof(ngx_sockaddr_t))
    {
        ngx_destroy_pool(pool);
        engine->redirects = 0;
        ngx_zltunnel_engine_away(engine, NGX_ZLTUNNEL_CLUSTER_MOVED,
                                 (char *) text, ", which is not followed: all "
                                 "keys have to be in one place (prefix={zlt}: "
                                 "puts them there), and an address be given");
        return;
    }

    ngx_memcpy(&engine->sockaddr, to.sockaddr, to.socklen);
    ngx_memcpy(engine->text, name, ngx_strlen(name));

    engine->addr.sockaddr = &engine->sockaddr.sockaddr;
    engine->addr.socklen = to.socklen;
    engine->addr.name.data = engine->text;
    engine->addr.name.len = ngx_strlen(name);

    ngx_destroy_pool(pool);

    engine->redirected = 1;

    ngx_zltunnel_redis_close(&engine->commands);
    ngx_zltunnel_redis_close(&engine->events);

    if (engine->up) {
        engine->up = 0;
        engine->lost(engine->data);
    }

    /* its connections may be in use until this returns */

    if (!engine->again.timer_set) {
        ngx_add_timer(&engine->again, 1);
    }
}


static void
ngx_zltunnel_engine_failed(void *data, ngx_uint_t garbage, const char *text)
{
    ngx_zltunnel_engine_away(data, garbage ? NGX_ZLTUNNEL_CLUSTER_GARBAGE
                                           : NGX_ZLTUNNEL_CLUSTER_AWAY,
                             text, "");
}


/* both connections go, and the next address has its turn */

static void
ngx_zltunnel_engine_away(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_cluster_error_e kind, const char *text, const char *remedy)
{
    ngx_uint_t                  up;
    ngx_msec_t                  delay;
    ngx_zltunnel_sh_cluster_t  *state;

    ngx_zltunnel_redis_close(&engine->commands);
    ngx_zltunnel_redis_close(&engine->events);

    if (!engine->running || ngx_exiting || engine->again.timer_set) {
        return;
    }

    up = engine->up;
    engine->up = 0;

    state = engine->registry->sh->cluster;

    if (state->connected) {
        state->connected = 0;
        state->since = ngx_time();
    }

    /* it is told of when all of its addresses were tried, if another one of
       them might do */

    engine->turn++;
    engine->tried++;

    if (engine->tried < ngx_zltunnel_engine_addrs(engine)) {
        ngx_zltunnel_engine_note(engine, text);
        delay = 1;

    } else {
        ngx_zltunnel_engine_tell(engine, kind, text, remedy);

        engine->tried = 0;
        delay = engine->delay;
        engine->delay = ngx_min(2 * engine->delay,
                                NGX_ZLTUNNEL_ENGINE_DELAY_MAX);
        delay = delay / 2 + ngx_random() % (delay / 2 + 1);
    }

    ngx_add_timer(&engine->again, delay);

    if (up) {
        engine->lost(engine->data);
    }
}


static void
ngx_zltunnel_engine_note(ngx_zltunnel_engine_t *engine, const char *text)
{
    ngx_zltunnel_sh_cluster_t  *state;

    state = engine->registry->sh->cluster;

    state->errors++;
    state->failed = ngx_time();
    state->error_len = (uint8_t) ngx_zltunnel_log_printable(state->error,
                                     sizeof(state->error), (u_char *) text,
                                     ngx_strlen(text));
}


ngx_uint_t
ngx_zltunnel_engine_complains(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_cluster_error_e kind)
{
    time_t  *told;

    told = &engine->registry->sh->cluster->told[kind];

    if (*told && ngx_time() - *told < NGX_ZLTUNNEL_ENGINE_TELL
        && ngx_time() >= *told)
    {
        return 0;
    }

    *told = ngx_time();

    return 1;
}


static void
ngx_zltunnel_engine_tell(ngx_zltunnel_engine_t *engine,
    ngx_zltunnel_cluster_error_e kind, const char *text, const char *remedy)
{
    size_t   len;
    u_char   shown[NGX_ZLTUNNEL_REDIS_TEXT], kept[NGX_ZLTUNNEL_UTIL_TIME];

    ngx_zltunnel_engine_note(engine, text);

    if (!ngx_zltunnel_engine_complains(engine, kind)) {
        return;
    }

    len = ngx_zltunnel_log_printable(shown, sizeof(shown), (u_char *) text,
                                     ngx_strlen(text));

    ngx_log_error(NGX_LOG_ERR, engine->log, 0,
                  "zltunnel \"%V\": the engine %V of \"cluster\" is %s: %*s%s; "
                  "what is known of other nodes stays for %s",
                  &engine->registry->name, &engine->addr.name,
                  kind == NGX_ZLTUNNEL_CLUSTER_FULL
                  || kind == NGX_ZLTUNNEL_CLUSTER_REFUSED
                  ? "of no help" : "away",
                  len, shown, remedy,
                  ngx_zltunnel_util_time(kept, engine->registry->cluster->keep
                                               / 1000));
}
