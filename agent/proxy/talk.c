
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What is said to a proxy: CONNECT (RFC 9110, 9.3.6), or SOCKS 5 (RFC 1928,
 * RFC 1929).
 *
 * A state is an expected answer: what had to be sent is sent first, then as
 * much is read as the answer may have, and its handler looks at it.  The
 * server says nothing before it is spoken to, so whatever comes behind the
 * last answer is none of it, and a proxy that says more than it should has
 * not understood us.
 */


#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "conn.h"
#include "http.h"
#include "log.h"
#include "talk.h"
#include "version.h"
#include "via.h"


#define ZLT_TALK_OUT        2048
#define ZLT_TALK_IN         (ZLT_HTTP_HEADER_MAX + 4)

#define ZLT_SOCKS_VERSION   5
#define ZLT_SOCKS_CONNECT   1

#define ZLT_SOCKS_NO_AUTH   0
#define ZLT_SOCKS_PASSWORD  2
#define ZLT_SOCKS_NONE      0xff       /* of our methods is acceptable */

#define ZLT_SOCKS_IPV4      1
#define ZLT_SOCKS_NAME      3
#define ZLT_SOCKS_IPV6      4


/* 0 if this was the last answer, ZLT_CONN_AGAIN, or ZLT_CONN_ERROR */
typedef int (*zlt_talk_pt)(zlt_talk_t *t, char *error);


struct zlt_talk_s {
    const zlt_proxy_t  *via;
    char              host[ZLT_URL_HOST_MAX + 1];
    uint16_t          port;

    zlt_talk_pt       answer;
    unsigned          unreachable:1;

    size_t            sent;
    size_t            out_len;
    size_t            in_len;
    uint8_t           out[ZLT_TALK_OUT];
    uint8_t           in[ZLT_TALK_IN];
};


static int zlt_talk_send(zlt_talk_t *t, zlt_conn_t *c, char *error);
static int zlt_talk_http(zlt_talk_t *t);
static int zlt_talk_http_answer(zlt_talk_t *t, char *error);
static void zlt_talk_socks(zlt_talk_t *t);
static int zlt_talk_socks_method(zlt_talk_t *t, char *error);
static int zlt_talk_socks_password(zlt_talk_t *t, char *error);
static int zlt_talk_socks_request(zlt_talk_t *t);
static int zlt_talk_socks_answer(zlt_talk_t *t, char *error);
static int zlt_talk_refused(zlt_talk_t *t, char *error);
static void zlt_talk_put(zlt_talk_t *t, const void *data, size_t len);
static void zlt_talk_put_string(zlt_talk_t *t, const char *text);
static int zlt_talk_fail(zlt_talk_t *t, char *error, const char *fmt, ...)
    zlt_printf_like(3, 4);


zlt_talk_t *
zlt_talk_create(const zlt_proxy_t *via, const char *host, uint16_t port)
{
    zlt_talk_t  *t;

    t = calloc(1, sizeof(zlt_talk_t));
    if (t == NULL) {
        return NULL;
    }

    t->via = via;
    t->port = port;
    (void) snprintf(t->host, sizeof(t->host), "%s", host);

    if (via->kind != ZLT_PROXY_HTTP) {
        zlt_talk_socks(t);

    } else if (zlt_talk_http(t) == -1) {
        zlt_talk_free(t);
        return NULL;
    }

    return t;
}


void
zlt_talk_free(zlt_talk_t *t)
{
    if (t) {
        OPENSSL_cleanse(t, sizeof(zlt_talk_t));
        free(t);
    }
}


int
zlt_talk_unreachable(const zlt_talk_t *t)
{
    return t->unreachable;
}


int
zlt_talk_step(zlt_talk_t *t, zlt_conn_t *c, char *error)
{
    int      rc;
    ssize_t  n;

    for ( ;; ) {
        rc = zlt_talk_send(t, c, error);

        if (rc != 0) {
            return rc;
        }

        n = zlt_conn_read(c, t->in + t->in_len, sizeof(t->in) - t->in_len);

        if (n == ZLT_CONN_AGAIN) {
            return ZLT_CONN_AGAIN;
        }

        if (n <= 0) {
            return zlt_talk_fail(t, error, "closed the connection%s%s",
                                 n == 0 ? "" : ": ",
                                 n == 0 ? "" : strerror(errno));
        }

        t->in_len += (size_t) n;

        rc = t->answer(t, error);

        if (rc == 0 && t->in_len) {
            return zlt_talk_fail(t, error, "said more than it should");
        }

        if (rc != ZLT_CONN_AGAIN) {
            return rc;
        }
    }
}


static int
zlt_talk_send(zlt_talk_t *t, zlt_conn_t *c, char *error)
{
    ssize_t  n;

    while (t->sent < t->out_len) {
        n = zlt_conn_write(c, t->out + t->sent, t->out_len - t->sent);

        if (n == ZLT_CONN_AGAIN) {
            return ZLT_CONN_AGAIN;
        }

        if (n == ZLT_CONN_ERROR) {
            return zlt_talk_fail(t, error, "cannot be reached: %s",
                                 strerror(errno));
        }

        t->sent += (size_t) n;
    }

    return 0;
}


/* HTTP */

static int
zlt_talk_http(zlt_talk_t *t)
{
    int   n;
    char  user[2 * ZLT_PROXY_USER_MAX + 2],
          basic[4 * ((sizeof(user) + 2) / 3) + 1];

    basic[0] = '\0';

    if (t->via->has_user) {
        n = snprintf(user, sizeof(user), "%s:%s", t->via->user,
                     t->via->password);
        (void) EVP_EncodeBlock((uint8_t *) basic, (uint8_t *) user, n);
    }

    n = snprintf((char *) t->out, sizeof(t->out),
                 strchr(t->host, ':')
                 ? "CONNECT [%s]:%u HTTP/1.1\r\n"
                   "Host: [%s]:%u\r\n"
                   "User-Agent: zltunnel-agent/" ZLT_AGENT_VERSION "\r\n"
                   "%s%s%s\r\n"
                 : "CONNECT %s:%u HTTP/1.1\r\n"
                   "Host: %s:%u\r\n"
                   "User-Agent: zltunnel-agent/" ZLT_AGENT_VERSION "\r\n"
                   "%s%s%s\r\n",
                 t->host, (unsigned) t->port, t->host, (unsigned) t->port,
                 basic[0] ? "Proxy-Authorization: Basic " : "", basic,
                 basic[0] ? "\r\n" : "");

    OPENSSL_cleanse(user, sizeof(user));
    OPENSSL_cleanse(basic, sizeof(basic));

    if (n < 0 || (size_t) n >= sizeof(t->out)) {
        return -1;
    }

    t->out_len = (size_t) n;
    t->answer = zlt_talk_http_answer;

    return 0;
}


static int
zlt_talk_http_answer(zlt_talk_t *t, char *error)
{
    ssize_t             n;
    const char         *what;
    zlt_http_answer_t   a;

    n = zlt_http_parse(&a, (char *) t->in, t->in_len);

    if (n == 0) {
        return ZLT_CONN_AGAIN;
    }

    if (n < 0) {
        return zlt_talk_fail(t, error, t->in_len > ZLT_HTTP_HEADER_MAX
                             ? "answers with a header without end"
                             : "does not answer in HTTP");
    }

    if (a.status >= 200 && a.status <= 299) {
        t->in_len -= (size_t) n;
        return 0;
    }

    switch (a.status) {

    case 401:      /* tinyproxy's */
    case 407:
        what = t->via->has_user ? "does not accept the user and the password"
                                : "wants a user and a password";
        break;

    case 403:
    case 405:
        what = "does not allow it";
        break;

    case 500:
    case 502:
    case 503:
    case 504:
        t->unreachable = 1;            /* another name of it may do */
        what = "does not get there";
        break;

    default:
        what = "does not do it";
    }

    return zlt_talk_fail(t, error, "was asked for %s port %u and %s: %u %s",
                         t->host, (unsigned) t->port, what, a.status,
                         a.reason);
}


/* SOCKS */

static void
zlt_talk_socks(zlt_talk_t *t)
{
    static const uint8_t  hello[] = { ZLT_SOCKS_VERSION, 1,
                                      ZLT_SOCKS_NO_AUTH };
    static const uint8_t  hello_user[] = { ZLT_SOCKS_VERSION, 2,
                                           ZLT_SOCKS_NO_AUTH,
                                           ZLT_SOCKS_PASSWORD };

    if (t->via->has_user) {
        zlt_talk_put(t, hello_user, sizeof(hello_user));

    } else {
        zlt_talk_put(t, hello, sizeof(hello));
    }

    t->answer = zlt_talk_socks_method;
}


static int
zlt_talk_socks_method(zlt_talk_t *t, char *error)
{
    if (t->in[0] != ZLT_SOCKS_VERSION) {
        return zlt_talk_fail(t, error, "does not answer in SOCKS 5");
    }

    if (t->in_len < 2) {
        return ZLT_CONN_AGAIN;
    }

    if (t->in_len > 2) {
        return zlt_talk_fail(t, error, "said more than it should");
    }

    t->in_len = 0;

    if (t->in[1] == ZLT_SOCKS_NO_AUTH) {
        return zlt_talk_socks_request(t);
    }

    if (t->in[1] == ZLT_SOCKS_PASSWORD && t->via->has_user) {
        zlt_talk_put(t, "\x01", 1);
        zlt_talk_put_string(t, t->via->user);
        zlt_talk_put_string(t, t->via->password);
        t->answer = zlt_talk_socks_password;

        return ZLT_CONN_AGAIN;
    }

    if (t->in[1] != ZLT_SOCKS_NONE) {
        return zlt_talk_fail(t, error, "chose an authentication that was not "
                             "offered");
    }

    return zlt_talk_fail(t, error, t->via->has_user
                         ? "wants an authentication other than by password"
                         : "wants a user and a password");
}


static int
zlt_talk_socks_password(zlt_talk_t *t, char *error)
{
    if (t->in_len < 2) {
        return ZLT_CONN_AGAIN;
    }

    if (t->in_len > 2) {
        return zlt_talk_fail(t, error, "said more than it should");
    }

    /* some give the version of SOCKS instead of that of this negotiation */

    if (t->in[1] != 0) {
        return zlt_talk_fail(t, error, "does not accept the user and the "
                             "password");
    }

    t->in_len = 0;

    return zlt_talk_socks_request(t);
}


static int
zlt_talk_socks_request(zlt_talk_t *t)
{
    uint8_t   type, addr[16], port[2];

    static const uint8_t  head[] = { ZLT_SOCKS_VERSION, ZLT_SOCKS_CONNECT, 0 };

    zlt_talk_put(t, head, sizeof(head));

    if (inet_pton(AF_INET, t->host, addr) == 1) {
        type = ZLT_SOCKS_IPV4;
        zlt_talk_put(t, &type, 1);
        zlt_talk_put(t, addr, 4);

    } else if (inet_pton(AF_INET6, t->host, addr) == 1) {
        type = ZLT_SOCKS_IPV6;
        zlt_talk_put(t, &type, 1);
        zlt_talk_put(t, addr, 16);

    } else {
        type = ZLT_SOCKS_NAME;
        zlt_talk_put(t, &type, 1);
        zlt_talk_put_string(t, t->host);
    }

    port[0] = (uint8_t) (t->port >> 8);
    port[1] = (uint8_t) t->port;
    zlt_talk_put(t, port, 2);

    t->answer = zlt_talk_socks_answer;

    return ZLT_CONN_AGAIN;
}


static int
zlt_talk_socks_answer(zlt_talk_t *t, char *error)
{
    size_t  size;

    if (t->in[0] != ZLT_SOCKS_VERSION) {
        return zlt_talk_fail(t, error, "does not answer in SOCKS 5");
    }

    if (t->in_len >= 2 && t->in[1] != 0) {
        return zlt_talk_refused(t, error);
    }

    if (t->in_len < 5) {
        return ZLT_CONN_AGAIN;
    }

    /* an address of its own follows, of which we have no use */

    switch (t->in[3]) {

    case ZLT_SOCKS_IPV4:
        size = 4 + 4 + 2;
        break;

    case ZLT_SOCKS_IPV6:
        size = 4 + 16 + 2;
        break;

    case ZLT_SOCKS_NAME:
        size = 4 + 1 + t->in[4] + 2;
        break;

    default:
        return zlt_talk_fail(t, error, "does not answer in SOCKS 5");
    }

    if (t->in_len < size) {
        return ZLT_CONN_AGAIN;
    }

    t->in_len -= size;

    return 0;
}


static int
zlt_talk_refused(zlt_talk_t *t, char *error)
{
    unsigned     code;
    const char  *what;

    static const char *const  texts[] = {
        NULL, "it failed", "it is not allowed", "network unreachable",
        "host unreachable", "connection refused", "it took too long",
        "it does not know the command", "it does not know such addresses"
    };

    code = t->in[1];

    what = (code < sizeof(texts) / sizeof(texts[0])) ? texts[code]
                                                     : "an unknown error";

    /* another address of the server may do */

    t->unreachable = (code != 2 && code != 7);

    return zlt_talk_fail(t, error, "was asked for %s port %u and does not get "
                         "there: %s (%u)", t->host, (unsigned) t->port, what,
                         code);
}


/* What goes out next, behind what is there; the sizes are known to fit. */

static void
zlt_talk_put(zlt_talk_t *t, const void *data, size_t len)
{
    if (t->sent == t->out_len) {
        t->sent = 0;
        t->out_len = 0;
    }

    memcpy(t->out + t->out_len, data, len);
    t->out_len += len;
}


static void
zlt_talk_put_string(zlt_talk_t *t, const char *text)
{
    uint8_t  len;

    len = (uint8_t) strlen(text);

    zlt_talk_put(t, &len, 1);
    zlt_talk_put(t, text, len);
}


static int
zlt_talk_fail(zlt_talk_t *t, char *error, const char *fmt, ...)
{
    int      n;
    va_list  ap;

    n = snprintf(error, ZLT_PROXY_ERROR_SIZE, "the proxy %s ", t->via->name);

    va_start(ap, fmt);
    (void) vsnprintf(error + n, ZLT_PROXY_ERROR_SIZE - (size_t) n, fmt, ap);
    va_end(ap);

    return ZLT_CONN_ERROR;
}
