
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: the order of a service's machines as their SRV records have it
   (RFC 2782), and an agent from what a name server may say in them. */


#include <netdb.h>

#include "srv.h"
#include "tap.h"


#define ROUNDS  20000


static uint8_t  answer[2048];
static size_t   answer_len;


static void
put(const void *data, size_t len)
{
    memcpy(answer + answer_len, data, len);
    answer_len += len;
}


static void
put16(unsigned n)
{
    uint8_t  two[2];

    two[0] = (uint8_t) (n >> 8);
    two[1] = (uint8_t) n;

    put(two, 2);
}


/* "a.b" as labels */

static void
put_name(const char *name)
{
    size_t   len;
    uint8_t  byte;

    while (*name) {
        len = strcspn(name, ".");
        byte = (uint8_t) len;
        put(&byte, 1);
        put(name, len);
        name += len + (name[len] == '.');
    }

    put("", 1);
}


/* the header, and the question for "_s.test" */

static void
begin(unsigned count)
{
    answer_len = 0;

    put16(1);
    put16(0x8180);
    put16(1);
    put16(count);
    put16(0);
    put16(0);
    put_name("_s.test");
    put16(33);
    put16(1);
}


/* a record of the name in the question */

static void
record(unsigned priority, unsigned weight, unsigned port, const char *host)
{
    size_t  at;

    put16(0xc00c);
    put16(33);
    put16(1);
    put16(0);
    put16(60);
    at = answer_len;
    put16(0);
    put16(priority);
    put16(weight);
    put16(port);
    put_name(host);

    answer[at + 1] = (uint8_t) (answer_len - at - 2);
}


static int
reads(zlt_srv_t *srv)
{
    memset(srv, 0, sizeof(zlt_srv_t));
    (void) strcpy(srv->asked, "_s.test");

    return zlt_srv_read(srv, answer, answer_len);
}


static void
answers(void)
{
    unsigned   i;
    zlt_srv_t  srv;

    begin(3);
    record(20, 1, 443, "two.test");
    put16(0xc00c);                     /* a CNAME is none of them */
    put16(5);
    put16(1);
    put16(0);
    put16(60);
    put16(2);
    put16(0xc00c);
    record(10, 5, 8443, "one.test");

    check(reads(&srv) == 0 && srv.n == 2);
    check(strcmp(srv.hosts[0].host, "two.test") == 0);
    check(srv.hosts[0].port == 443 && srv.hosts[0].priority == 20);
    check(strcmp(srv.hosts[1].host, "one.test") == 0);
    check(srv.hosts[1].port == 8443 && srv.hosts[1].weight == 5);

    begin(0);
    check(reads(&srv) == EAI_NONAME && srv.n == 0 && srv.why[0] == '\0');

    begin(1);
    record(0, 0, 0, "");
    check(reads(&srv) == EAI_NONAME && strstr(srv.why, "\"_s.test\""));
    check(strstr(srv.why, "no such service"));

    begin(2);
    record(0, 0, 0, "");
    record(0, 0, 443, "one.test");
    check(reads(&srv) == 0 && srv.n == 1);

    /* more than there is room for */

    begin(ZLT_SRV_MAX + 1);

    for (i = 0; i < ZLT_SRV_MAX + 1; i++) {
        record(i, 0, 443, "one.test");
    }

    check(reads(&srv) == 0 && srv.n == ZLT_SRV_MAX);
}


/* What would end a line of a request to a proxy, or of the log. */

static void
hostile(void)
{
    size_t      len;
    unsigned    i;
    zlt_srv_t   srv;

    static const char *const  hosts[] = {
        "one test", "a\r\nb", "a:1", "a/b", "\x1b[2J", "a\"b", "a\\b", "\xff"
    };

    for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        tap_note("%u", i);
        begin(2);
        record(0, 0, 443, hosts[i]);
        record(0, 0, 443, "one.test");
        check(reads(&srv) == 0 && srv.n == 1);
        check(strcmp(srv.hosts[0].host, "one.test") == 0);
    }

    begin(2);
    record(0, 0, 0, "one.test");
    record(0, 0, 443, "a b");
    check(reads(&srv) == EAI_NONAME && strstr(srv.why, "no host name"));

    /* cut anywhere */

    begin(2);
    record(0, 0, 443, "one.test");
    record(0, 0, 443, "two.test");

    for (len = answer_len; len-- > 0; /* void */ ) {
        answer_len = len;
        tap_note("%u bytes", (unsigned) len);
        check(reads(&srv) != 0 ? srv.why[0] != '\0' : srv.n == 1);
    }

    /* a name that leads to itself */

    begin(1);
    record(0, 0, 443, "one.test");
    answer[answer_len - 10] = 0xc0;
    answer[answer_len - 9] = (uint8_t) (answer_len - 10);
    check(reads(&srv) != 0 && srv.n == 0);
}


static void
host(zlt_srv_t *srv, const char *name, unsigned priority, unsigned weight)
{
    zlt_srv_host_t  *h;

    h = &srv->hosts[srv->n++];

    (void) strcpy(h->host, name);
    h->priority = (uint16_t) priority;
    h->weight = (uint16_t) weight;
    h->port = 443;
}


static void
order(void)
{
    unsigned   i, a, z, first, then;
    zlt_srv_t  srv, copy;

    memset(&srv, 0, sizeof(zlt_srv_t));

    host(&srv, "c", 65535, 65535);
    host(&srv, "a", 10, 60);
    host(&srv, "b", 10, 20);
    host(&srv, "z", 10, 0);
    host(&srv, "d", 0, 0);

    a = 0;
    z = 0;
    then = 0;

    for (i = 0; i < ROUNDS; i++) {
        copy = srv;
        zlt_srv_order(&copy);

        if (!check(strcmp(copy.hosts[0].host, "d") == 0
                   && strcmp(copy.hosts[4].host, "c") == 0))
        {
            return;
        }

        a += (copy.hosts[1].host[0] == 'a');
        z += (copy.hosts[1].host[0] == 'z');
        then += (copy.hosts[1].host[0] == 'a' && copy.hosts[2].host[0] == 'b');
    }

    /* 60 of 81, and 1 of 81; far from what chance does */

    check(a > ROUNDS * 65 / 100 && a < ROUNDS * 83 / 100);
    check(z > 0 && z < ROUNDS * 5 / 100);
    check(then > ROUNDS / 2);

    /* without weights all have the same chance */

    memset(&srv, 0, sizeof(zlt_srv_t));
    host(&srv, "a", 1, 0);
    host(&srv, "b", 1, 0);
    first = 0;

    for (i = 0; i < ROUNDS; i++) {
        copy = srv;
        zlt_srv_order(&copy);
        first += (copy.hosts[0].host[0] == 'a');
    }

    check(first > ROUNDS * 4 / 10 && first < ROUNDS * 6 / 10);

    /* the next one's turn */

    zlt_srv_begin(&srv, &copy.hosts[1]);
    check(strcmp(srv.hosts[0].host, copy.hosts[1].host) == 0 && srv.n == 2);

    (void) strcpy(copy.hosts[0].host, "c");
    zlt_srv_begin(&srv, &copy.hosts[0]);
    check(strcmp(srv.hosts[0].host, copy.hosts[1].host) == 0);
}


int
main(void)
{
    tap_run(answers, "answers");
    tap_run(hostile, "hostile answers");
    tap_run(order, "priorities and weights");

    return tap_done();
}
