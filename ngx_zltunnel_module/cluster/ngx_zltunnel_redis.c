
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A connection to the engine.
 *
 * hiredis reads answers and writes commands; the connection is nginx's.  So TLS
 * is the same with a hiredis that has none, a connect never waits for a name,
 * and what an engine may send is bounded before it is parsed: an answer has so
 * many bytes and elements, whatever its first line says.
 *
 * An answer that does not come in time ends the connection, since those behind
 * it would be late, too.  A timer for that is on the read event: it is moved with
 * each answer, and stops when none is due.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_redis.h"

#include <ngx_event_connect.h>


#define NGX_ZLTUNNEL_REDIS_BUFFER    16384
#define NGX_ZLTUNNEL_REDIS_TURN      (256 * 1024)         /* bytes read */
#define NGX_ZLTUNNEL_REDIS_ANSWER    (16 * 1024 * 1024)
#define NGX_ZLTUNNEL_REDIS_UNSENT    (16 * 1024 * 1024)
#define NGX_ZLTUNNEL_REDIS_ELEMENTS  131072


#if (HIREDIS_MAJOR >= 1)
typedef size_t                       ngx_zltunnel_redis_size_t;
#else
typedef int                          ngx_zltunnel_redis_size_t;
#endif


typedef struct {
    ngx_queue_t                  queue;
    ngx_zltunnel_redis_pt        handler;
    ngx_uint_t                   n;
} ngx_zltunnel_redis_command_t;


static ngx_int_t ngx_zltunnel_redis_start(ngx_zltunnel_redis_t *redis,
    ngx_addr_t *addr, ngx_log_t *log);
static ngx_int_t ngx_zltunnel_redis_reader(ngx_zltunnel_redis_t *redis);
static void *ngx_zltunnel_redis_array(const redisReadTask *task,
    ngx_zltunnel_redis_size_t elements);
static void ngx_zltunnel_redis_connecting(ngx_event_t *ev);
static ngx_err_t ngx_zltunnel_redis_test(ngx_connection_t *c);
static void ngx_zltunnel_redis_tls(ngx_zltunnel_redis_t *redis);
static void ngx_zltunnel_redis_handshaken(ngx_connection_t *c);
static void ngx_zltunnel_redis_opened(ngx_zltunnel_redis_t *redis);
static void ngx_zltunnel_redis_read(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_redis_answers(ngx_zltunnel_redis_t *redis);
static void ngx_zltunnel_redis_answer(ngx_zltunnel_redis_t *redis,
    redisReply *reply);
static void ngx_zltunnel_redis_write(ngx_event_t *ev);
static void ngx_zltunnel_redis_append(ngx_zltunnel_redis_t *redis,
    const char *data, size_t len);
static void ngx_zltunnel_redis_clock(ngx_zltunnel_redis_t *redis);
static void ngx_zltunnel_redis_fail(ngx_zltunnel_redis_t *redis,
    ngx_err_t err, const char *text);
static void ngx_zltunnel_redis_over(ngx_zltunnel_redis_t *redis,
    ngx_uint_t garbage, const char *text);


/* hiredis' own, but for arrays, which would be made as large as they claim */

static redisReplyObjectFunctions  ngx_zltunnel_redis_objects;
static redisReplyObjectFunctions  ngx_zltunnel_redis_hiredis;


void
ngx_zltunnel_redis_connect(ngx_zltunnel_redis_t *redis, ngx_addr_t *addr,
    ngx_log_t *log)
{
    ngx_event_t  *ev;

    ngx_queue_init(&redis->commands);

    redis->connection = NULL;
    redis->reader = NULL;
    redis->out = NULL;
    redis->size = 0;
    redis->sent = 0;
    redis->last = 0;
    redis->fed = 0;
    redis->open = 0;
    redis->busy = 0;
    redis->over = 0;

    if (ngx_zltunnel_redis_start(redis, addr, log) != NGX_OK) {

        /* no socket, no memory: whoever asked finds it closed */

        ngx_zltunnel_redis_close(redis);
        return;
    }

    /* a connect that has succeeded or failed at once, too, is told later */

    ev = redis->connection->write;
    ngx_add_timer(ev, redis->timeout);
    ev->cancelable = 1;

    if (ev->ready) {
        ngx_post_event(ev, &ngx_posted_events);
    }
}


static ngx_int_t
ngx_zltunnel_redis_start(ngx_zltunnel_redis_t *redis, ngx_addr_t *addr,
    ngx_log_t *log)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t   pc;

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = addr->sockaddr;
    pc.socklen = addr->socklen;
    pc.name = &addr->name;
    pc.get = ngx_event_get_peer;
    pc.log = log;
    pc.log_error = NGX_ERROR_INFO;

    rc = ngx_event_connect_peer(&pc);

    c = pc.connection;

    if (c) {
        redis->connection = c;
        c->data = redis;
        c->log = log;
        c->read->log = log;
        c->write->log = log;
        c->read->handler = ngx_zltunnel_redis_connecting;
        c->write->handler = ngx_zltunnel_redis_connecting;

        c->pool = ngx_create_pool(256, log);
    }

    if (c == NULL || c->pool == NULL || rc == NGX_ERROR || rc == NGX_BUSY
        || rc == NGX_DECLINED)
    {
        return NGX_ERROR;
    }

    return ngx_zltunnel_redis_reader(redis);
}


static ngx_int_t
ngx_zltunnel_redis_reader(ngx_zltunnel_redis_t *redis)
{
    redis->reader = redisReaderCreate();
    if (redis->reader == NULL) {
        return NGX_ERROR;
    }

    if (ngx_zltunnel_redis_hiredis.createArray == NULL) {
        ngx_zltunnel_redis_hiredis = *redis->reader->fn;
        ngx_zltunnel_redis_objects = *redis->reader->fn;
        ngx_zltunnel_redis_objects.createArray = ngx_zltunnel_redis_array;
    }

    redis->reader->fn = &ngx_zltunnel_redis_objects;

    return NGX_OK;
}


/* NULL: the reader fails */

static void *
ngx_zltunnel_redis_array(const redisReadTask *task,
    ngx_zltunnel_redis_size_t elements)
{
    if (elements < 0 || elements > NGX_ZLTUNNEL_REDIS_ELEMENTS) {
        return NULL;
    }

    return ngx_zltunnel_redis_hiredis.createArray(task, elements);
}


static void
ngx_zltunnel_redis_connecting(ngx_event_t *ev)
{
    ngx_err_t              err;
    ngx_connection_t      *c;
    ngx_zltunnel_redis_t  *redis;

    c = ev->data;
    redis = c->data;

    if (c->write->timedout) {
        ngx_zltunnel_redis_fail(redis, 0, "no connection in time");
        return;
    }

    if (!c->write->ready) {
        return;
    }

    err = ngx_zltunnel_redis_test(c);

    if (err) {
        ngx_zltunnel_redis_fail(redis, err, "connect() failed");
        return;
    }

    if (redis->ssl) {
        ngx_zltunnel_redis_tls(redis);
        return;
    }

    ngx_zltunnel_redis_opened(redis);
}


static ngx_err_t
ngx_zltunnel_redis_test(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        return ngx_socket_errno;
    }

    return err;
}


static void
ngx_zltunnel_redis_tls(ngx_zltunnel_redis_t *redis)
{
    u_char             name[NGX_ZLTUNNEL_TEXT_MAX];
    ngx_connection_t  *c;

    c = redis->connection;

    if (ngx_ssl_create_connection(redis->ssl, c,
                                  NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK)
    {
        ngx_zltunnel_redis_fail(redis, 0, "no memory for TLS");
        return;
    }

    ngx_cpystrn(name, redis->host.data,
                ngx_min(redis->host.len + 1, sizeof(name)));

    /* an address is no name that could be asked for */

    if (ngx_inet_addr(redis->host.data, redis->host.len) == INADDR_NONE
        && !ngx_strlchr(name, name + ngx_strlen(name), ':'))
    {
        (void) SSL_set_tlsext_host_name(c->ssl->connection, (char *) name);
    }

    c->ssl->handler = ngx_zltunnel_redis_handshaken;

    if (ngx_ssl_handshake(c) != NGX_AGAIN) {
        ngx_zltunnel_redis_handshaken(c);
    }
}


static void
ngx_zltunnel_redis_handshaken(ngx_connection_t *c)
{
    long                   rc;
    u_char                 text[NGX_ZLTUNNEL_REDIS_TEXT];
    ngx_zltunnel_redis_t  *redis;

    redis = c->data;

    if (!c->ssl->handshaked) {
        rc = SSL_get_verify_result(c->ssl->connection);

        if (rc != X509_V_OK) {
            ngx_snprintf(text, sizeof(text), "its certificate is not trusted "
                         "(%s): ca=FILE says by which it is checked%Z",
                         X509_verify_cert_error_string(rc));
            text[sizeof(text) - 1] = '\0';
            ngx_zltunnel_redis_fail(redis, 0, (char *) text);
            return;
        }

        ngx_zltunnel_redis_fail(redis, 0, c->read->timedout
                                || c->write->timedout
                                ? "no TLS handshake in time"
                                : "the TLS handshake failed");
        return;
    }

    if (ngx_ssl_check_host(c, &redis->host) != NGX_OK) {
        ngx_zltunnel_redis_fail(redis, 0, "its certificate is for another "
                                "name");
        return;
    }

    ngx_zltunnel_redis_opened(redis);
}


static void
ngx_zltunnel_redis_opened(ngx_zltunnel_redis_t *redis)
{
    ngx_connection_t  *c;

    c = redis->connection;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->read->handler = ngx_zltunnel_redis_read;
    c->write->handler = ngx_zltunnel_redis_write;

    redis->open = 1;

    redis->busy = 1;
    redis->opened(redis->data);
    redis->busy = 0;

    if (redis->over) {
        ngx_zltunnel_redis_close(redis);
        return;
    }

    ngx_zltunnel_redis_flush(redis);

    if (redis->connection && c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


void
ngx_zltunnel_redis_command(ngx_zltunnel_redis_t *redis,
    ngx_zltunnel_redis_pt handler, ngx_uint_t n, ngx_str_t *args,
    ngx_uint_t nargs)
{
    int                            len;
    char                          *text;
    size_t                         sizes[NGX_ZLTUNNEL_REDIS_ARGS];
    const char                    *argv[NGX_ZLTUNNEL_REDIS_ARGS];
    ngx_uint_t                     i;
    ngx_zltunnel_redis_command_t  *command;

    if (!redis->open || redis->over) {
        return;
    }

    for (i = 0; i < nargs; i++) {
        argv[i] = (char *) args[i].data;
        sizes[i] = args[i].len;
    }

    command = ngx_alloc(sizeof(ngx_zltunnel_redis_command_t),
                        redis->connection->log);
    text = NULL;
    len = command ? redisFormatCommandArgv(&text, (int) nargs, argv, sizes)
                  : -1;

    if (len < 0) {
        ngx_free(command);
        ngx_zltunnel_redis_fail(redis, 0, "not enough memory");
        return;
    }

    command->handler = handler;
    command->n = n;
    ngx_queue_insert_tail(&redis->commands, &command->queue);
    redis->ncommands++;

    ngx_zltunnel_redis_append(redis, text, len);
    ngx_explicit_memzero(text, len);
    redisFreeCommand(text);

    if (!redis->over && redis->connection) {
        ngx_zltunnel_redis_clock(redis);
        ngx_post_event(redis->connection->write, &ngx_posted_events);
    }
}


static void
ngx_zltunnel_redis_append(ngx_zltunnel_redis_t *redis, const char *data,
    size_t len)
{
    size_t   size;
    u_char  *out;

    if (redis->last + len > redis->size) {

        if (redis->last - redis->sent + len > NGX_ZLTUNNEL_REDIS_UNSENT) {
            ngx_zltunnel_redis_fail(redis, 0, "it does not take what it is "
                                    "sent");
            return;
        }

        size = ngx_max(2 * (redis->last - redis->sent + len),
                       NGX_ZLTUNNEL_REDIS_BUFFER);

        out = ngx_alloc(size, redis->connection->log);
        if (out == NULL) {
            ngx_zltunnel_redis_fail(redis, 0, "not enough memory");
            return;
        }

        redis->last -= redis->sent;

        if (redis->out) {
            ngx_memcpy(out, redis->out + redis->sent, redis->last);
            ngx_free(redis->out);
        }

        redis->out = out;
        redis->size = size;
        redis->sent = 0;
    }

    ngx_memcpy(redis->out + redis->last, data, len);
    redis->last += len;
}


/* the oldest command is to be answered in time */

static void
ngx_zltunnel_redis_clock(ngx_zltunnel_redis_t *redis)
{
    ngx_event_t  *ev;

    ev = redis->connection->read;

    if (ngx_queue_empty(&redis->commands)) {

        if (ev->timer_set) {
            ngx_del_timer(ev);
        }

        return;
    }

    if (!ev->timer_set) {
        ngx_add_timer(ev, redis->timeout);
        ev->cancelable = 1;
    }
}


static void
ngx_zltunnel_redis_write(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_zltunnel_redis_flush(c->data);
}


void
ngx_zltunnel_redis_flush(ngx_zltunnel_redis_t *redis)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = redis->connection;

    if (c == NULL || !redis->open || redis->over) {
        return;
    }

    while (redis->sent < redis->last) {

        n = c->send(c, redis->out + redis->sent, redis->last - redis->sent);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_zltunnel_redis_fail(redis, 0, "sending to it failed");
            return;
        }

        redis->sent += n;
        redis->bytes[1] += n;
    }

    if (redis->sent == redis->last && redis->out) {
        ngx_free(redis->out);
        redis->out = NULL;
        redis->size = 0;
        redis->sent = 0;
        redis->last = 0;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_zltunnel_redis_fail(redis, 0, "its events cannot be had");
    }
}


static void
ngx_zltunnel_redis_read(ngx_event_t *ev)
{
    size_t                 total;
    ssize_t                n;
    ngx_connection_t      *c;
    ngx_zltunnel_redis_t  *redis;
    u_char                 buf[NGX_ZLTUNNEL_REDIS_BUFFER];

    c = ev->data;
    redis = c->data;
    total = 0;

    if (ev->timedout) {
        ev->timedout = 0;
        ngx_zltunnel_redis_fail(redis, 0, "no answer in time");
        return;
    }

    for ( ;; ) {
        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_zltunnel_redis_fail(redis, 0, "it has closed the connection");
            return;
        }

        redis->fed += n;
        redis->bytes[0] += n;
        total += n;

        if (redisReaderFeed(redis->reader, (char *) buf, n) != REDIS_OK) {
            ngx_zltunnel_redis_fail(redis, 0, "not enough memory");
            return;
        }

        if (ngx_zltunnel_redis_answers(redis) != NGX_OK) {
            return;
        }

        if (total >= NGX_ZLTUNNEL_REDIS_TURN) {

            /* others have their turn */

            ngx_post_event(ev, &ngx_posted_next_events);
            break;
        }
    }

    if (ngx_handle_read_event(ev, 0) != NGX_OK) {
        ngx_zltunnel_redis_fail(redis, 0, "its events cannot be had");
        return;
    }

    ngx_zltunnel_redis_flush(redis);
}


/* NGX_ERROR: the connection is gone */

static ngx_int_t
ngx_zltunnel_redis_answers(ngx_zltunnel_redis_t *redis)
{
    void    *reply;
    u_char   text[NGX_ZLTUNNEL_REDIS_TEXT];

    for ( ;; ) {
        reply = NULL;

        if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK) {
            ngx_snprintf(text, sizeof(text), "what it says is not what an "
                         "engine does (%s)%Z", redis->reader->errstr);
            text[sizeof(text) - 1] = '\0';
            ngx_zltunnel_redis_over(redis, 1, (char *) text);
            return NGX_ERROR;
        }

        if (reply == NULL) {
            break;
        }

        redis->fed = 0;
        redis->busy = 1;

        ngx_zltunnel_redis_answer(redis, reply);

        redis->busy = 0;
        freeReplyObject(reply);

        if (redis->over) {
            ngx_zltunnel_redis_close(redis);
            return NGX_ERROR;
        }
    }

    if (redis->fed > NGX_ZLTUNNEL_REDIS_ANSWER) {
        ngx_zltunnel_redis_over(redis, 1, "an answer of it has more than 16m");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_zltunnel_redis_answer(ngx_zltunnel_redis_t *redis, redisReply *reply)
{
    ngx_uint_t                     n;
    ngx_queue_t                   *q;
    ngx_zltunnel_redis_pt          handler;
    ngx_zltunnel_redis_command_t  *command;

    if (redis->pushed && reply->type == REDIS_REPLY_ARRAY
        && reply->elements == 3
        && reply->element[0]->type == REDIS_REPLY_STRING
        && ngx_strcmp(reply->element[0]->str, "message") == 0)
    {
        redis->pushed(redis->data, reply);
        return;
    }

    if (ngx_queue_empty(&redis->commands)) {

        /* nobody has asked; it may be an error before it closes */

        if (reply->type != REDIS_REPLY_ERROR) {
            ngx_zltunnel_redis_over(redis, 1, "it answers what nobody has "
                                    "asked");
            return;
        }

        ngx_zltunnel_redis_over(redis, 0, reply->str);
        return;
    }

    q = ngx_queue_head(&redis->commands);
    ngx_queue_remove(q);

    command = ngx_queue_data(q, ngx_zltunnel_redis_command_t, queue);
    handler = command->handler;
    n = command->n;
    ngx_free(command);

    if (redis->connection->read->timer_set) {
        ngx_del_timer(redis->connection->read);
    }

    ngx_zltunnel_redis_clock(redis);

    if (handler) {
        handler(redis->data, reply, n);
    }
}


static void
ngx_zltunnel_redis_fail(ngx_zltunnel_redis_t *redis, ngx_err_t err,
    const char *text)
{
    u_char  *p, buf[NGX_ZLTUNNEL_REDIS_TEXT];

    if (err) {
        p = ngx_snprintf(buf, sizeof(buf) - 64, "%s (%d: ", text, err);
        p = ngx_strerror(err, p, 60);
        *p++ = ')';
        *p = '\0';
        text = (char *) buf;
    }

    ngx_zltunnel_redis_over(redis, 0, text);
}


static void
ngx_zltunnel_redis_over(ngx_zltunnel_redis_t *redis, ngx_uint_t garbage,
    const char *text)
{
    if (redis->over) {
        return;
    }

    ngx_zltunnel_redis_close(redis);

    redis->failed(redis->data, garbage, text);
}


void
ngx_zltunnel_redis_close(ngx_zltunnel_redis_t *redis)
{
    ngx_queue_t       *q;
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    redis->open = 0;

    if (redis->busy) {

        /* its reader and its answer are in use */

        redis->over = 1;
        return;
    }

    c = redis->connection;
    redis->connection = NULL;

    if (c) {
        pool = c->pool;

#if (NGX_SSL)
        if (c->ssl) {
            c->ssl->no_wait_shutdown = 1;
            c->ssl->no_send_shutdown = 1;
            (void) ngx_ssl_shutdown(c);
        }
#endif

        ngx_close_connection(c);

        if (pool) {
            ngx_destroy_pool(pool);
        }
    }

    if (redis->reader) {
        redisReaderFree(redis->reader);
        redis->reader = NULL;
    }

    if (redis->out) {
        ngx_free(redis->out);
        redis->out = NULL;
    }

    redis->size = 0;
    redis->sent = 0;
    redis->last = 0;

    while (!ngx_queue_empty(&redis->commands)) {
        q = ngx_queue_head(&redis->commands);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_zltunnel_redis_command_t, queue));
    }
}
