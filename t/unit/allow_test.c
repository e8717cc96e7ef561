
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: the list of where the open service may lead to.  A rule opens
 * what it says and nothing beside: no neighbouring address or port, no
 * loopback behind 0.0.0.0/0, no IPv4 address in the clothes of IPv6, and no
 * address because a name server gave it to a name of the list.
 */


#include <arpa/inet.h>

#include "addr.h"
#include "allow.h"
#include "option_service.h"
#include "parse.h"
#include "tap.h"


static int
permits(const char *rules, const char *host, const char *address,
    uint16_t port)
{
    int           rc;
    size_t        where;
    zlt_addr_t    addr;
    zlt_allow_t   a;
    const char   *error;

    memset(&a, 0, sizeof(zlt_allow_t));
    memset(&addr, 0, sizeof(zlt_addr_t));

    if (zlt_allow_parse(&a, rules, &error, &where) == -1) {
        fprintf(stderr, "# %s: %s\n", rules + where, error);
        zlt_allow_free(&a);
        return -1;
    }

    if (inet_pton(AF_INET, address, &addr.addr.in.sin_addr) == 1) {
        addr.addr.in.sin_family = AF_INET;
        addr.addr.in.sin_port = htons(port);

    } else if (inet_pton(AF_INET6, address, &addr.addr.in6.sin6_addr) == 1) {
        addr.addr.in6.sin6_family = AF_INET6;
        addr.addr.in6.sin6_port = htons(port);

    } else {
        fprintf(stderr, "# %s?\n", address);
    }

    rc = zlt_allow_permits(&a, host, &addr);

    zlt_allow_free(&a);

    return rc;
}


typedef struct {
    const char  *rules;
    const char  *address;
    uint16_t     port;
    int          permitted;
} allow_case_t;


static void
cases(const allow_case_t *c, unsigned n)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        tap_note("%s for [%s]:%u", c[i].rules, c[i].address,
                 (unsigned) c[i].port);
        check(permits(c[i].rules, c[i].address, c[i].address, c[i].port)
              == c[i].permitted);
    }
}

#define run_cases(c)  cases(c, sizeof(c) / sizeof((c)[0]))


static void
networks(void)
{
    static const allow_case_t  list[] = {
        { "10.0.0.0/8:80",           "10.255.255.255", 80,    1 },
        { "10.0.0.0/8:80",           "10.0.0.1",       81,    0 },
        { "10.0.0.0/8:80",           "11.0.0.0",       80,    0 },
        { "10.0.0.0/8:80",           "9.255.255.255",  80,    0 },
        { "10.128.0.0/9:80",         "10.127.0.1",     80,    0 },
        { "10.128.0.0/9:80",         "10.128.0.1",     80,    1 },
        { "192.0.2.7:443",           "192.0.2.7",      443,   1 },
        { "192.0.2.7:443",           "192.0.2.6",      443,   0 },
        { "192.0.2.0/31:*",          "192.0.2.1",      65535, 1 },
        { "192.0.2.0/31:*",          "192.0.2.2",      1,     0 },
        { "192.0.2.7:80-90",         "192.0.2.7",      79,    0 },
        { "192.0.2.7:80-90",         "192.0.2.7",      80,    1 },
        { "192.0.2.7:80-90",         "192.0.2.7",      90,    1 },
        { "192.0.2.7:80-90",         "192.0.2.7",      91,    0 },
        { "192.0.2.7:80, 192.0.2.8:81", "192.0.2.8",   81,    1 },
        { "192.0.2.7:80, 192.0.2.8:81", "192.0.2.8",   80,    0 },
        { "0.0.0.0/0:*",             "8.8.8.8",        53,    1 },
        { "[2001:db8::/32]:443",     "2001:db8::1",    443,   1 },
        { "[2001:db8::]/32:443",     "2001:db8:ffff::1", 443, 1 },
        { "[2001:db8::]/32:443",     "2001:db9::1",    443,   0 },
        { "[2001:db8::1]:443",       "2001:db8::1",    443,   1 },
        { "[2001:db8::1]:443",       "2001:db8::2",    443,   0 },
        { "[::]/0:*",                "2001:db8::1",    443,   1 },
        { "[::]/0:*",                "10.0.0.1",       443,   0 },
        { "0.0.0.0/0:*",             "2001:db8::1",    443,   0 }
    };

    run_cases(list);
}


static void
special(void)
{
    static const allow_case_t  list[] = {

        /* "everything" is not this machine, its link, or a group */

        { "0.0.0.0/0:*",            "127.0.0.1",       22,   0 },
        { "0.0.0.0/0:*",            "127.255.255.254", 22,   0 },
        { "0.0.0.0/0:*",            "0.0.0.0",         22,   0 },
        { "0.0.0.0/0:*",            "0.0.0.1",         22,   0 },
        { "0.0.0.0/0:*",            "169.254.169.254", 80,   0 },
        { "0.0.0.0/0:*",            "224.0.0.251",     5353, 0 },
        { "0.0.0.0/0:*",            "255.255.255.255", 67,   0 },
        { "0.0.0.0/1:*",            "0.0.0.0",         22,   0 },
        { "0.0.0.0/1:*",            "127.0.0.1",       22,   0 },
        { "126.0.0.0/7:*",          "127.0.0.1",       22,   0 },
        { "126.0.0.0/7:*",          "126.0.0.1",       22,   1 },
        { "[::]/0:*",               "::1",             22,   0 },
        { "[::]/0:*",               "::",              22,   0 },
        { "[::]/0:*",               "fe80::1",         22,   0 },
        { "[::]/0:*",               "ff02::fb",        5353, 0 },

        /* literally */

        { "127.0.0.1:22",           "127.0.0.1",       22,   1 },
        { "127.0.0.1:22",           "127.0.0.2",       22,   0 },
        { "127.0.0.0/8:22",         "127.0.0.2",       22,   1 },
        { "127.0.0.1:22",           "0.0.0.0",         22,   0 },
        { "0.0.0.0:22",             "0.0.0.0",         22,   1 },
        { "169.254.169.254:80",     "169.254.169.254", 80,   1 },
        { "169.254.0.0/16:80",      "169.254.1.1",     80,   1 },
        { "169.254.0.0/15:80",      "169.254.1.1",     80,   0 },
        { "224.0.0.251:5353",       "224.0.0.251",     5353, 1 },
        { "[::1]:22",               "::1",             22,   1 },
        { "[::1]:22",               "127.0.0.1",       22,   0 },
        { "[::]:22",                "::",              22,   1 },
        { "[::]:22",                "::1",             22,   0 },
        { "[fe80::]/10:22",         "fe80::1",         22,   1 },
        { "[fe80::]/9:22",          "fe80::1",         22,   0 },
        { "[ff02::fb]:5353",        "ff02::fb",        5353, 1 }
    };

    run_cases(list);
}


/* What tells a machine of a cloud who it is, with its credentials. */

static void
metadata(void)
{
    static const allow_case_t  list[] = {
        { "0.0.0.0/0:*",             "100.100.100.200", 80,  0 },
        { "100.64.0.0/10:*",         "100.100.100.200", 80,  0 },
        { "100.64.0.0/10:*",         "100.100.100.201", 80,  1 },
        { "100.100.100.200:80",      "100.100.100.200", 80,  1 },
        { "0.0.0.0/0:*",             "168.63.129.16",   80,  0 },
        { "168.63.129.16:80",        "168.63.129.16",   80,  1 },
        { "[::]/0:*",                "fd00:ec2::254",   80,  0 },
        { "[fc00::]/7:*",            "fd00:ec2::254",   80,  0 },
        { "[fc00::]/7:*",            "fd00:ec3::254",   80,  1 },
        { "[fd00:ec2::254]:80",      "fd00:ec2::254",   80,  1 },
        { "[fd00::]/8:*",            "fd20:ce::254",    80,  0 },
        { "[fd20:ce::254]:80",       "fd20:ce::254",    80,  1 }
    };

    run_cases(list);
}


/* IPv4 addresses within IPv6 ones, which lead to the former. */

static void
mapped(void)
{
    static const allow_case_t  list[] = {
        { "127.0.0.1:22",                "::ffff:127.0.0.1",   22, 0 },
        { "10.0.0.0/8:22",               "::ffff:10.0.0.1",    22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "::ffff:127.0.0.1",   22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "::ffff:10.0.0.1",    22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "::127.0.0.1",        22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "64:ff9b::127.0.0.1", 22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "64:ff9b::8.8.8.8",   22, 0 },
        { "[::ffff:0.0.0.0]/96:*",       "::ffff:10.0.0.1",    22, 1 },
        { "[::ffff:0.0.0.0]/96:*",       "::ffff:127.0.0.1",   22, 0 },
        { "[::ffff:0.0.0.0]/96:*",       "::ffff:0.0.0.0",     22, 0 },
        { "[::ffff:0.0.0.0]/96:*",       "::ffff:169.254.9.9", 22, 0 },
        { "[::fffe:0.0.0.0]/95:*",       "::ffff:10.0.0.1",    22, 0 },
        { "[::ffff:127.0.0.1]:22",       "::ffff:127.0.0.1",   22, 1 },
        { "[::ffff:127.0.0.1]:22",       "127.0.0.1",          22, 0 },
        { "[::ffff:10.0.0.0]/104:22",    "::ffff:10.1.1.1",    22, 1 },
        { "[::ffff:10.0.0.0]/104:22",    "::ffff:11.1.1.1",    22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "::ffff:0:127.0.0.1", 22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "::ffff:0:8.8.8.8",   22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "64:ff9b:1::8.8.8.8", 22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "64:ff9b:1:7f00:0:100::", 22, 0 },
        { "0.0.0.0/0:*, [::]/0:*",       "2002:7f00:1::1",     22, 0 },
        { "0.0.0.0/0:*, [2000::]/3:*",   "2002:808:808::1",    22, 0 },
        { "[::ffff:0:0.0.0.0]/96:*",     "::ffff:0:8.8.8.8",   22, 1 },
        { "[::ffff:0:0.0.0.0]/96:*",     "::ffff:0:127.0.0.1", 22, 0 },
        { "[64:ff9b:1::]/48:*",          "64:ff9b:1::8.8.8.8", 22, 1 },
        { "[64:ff9b:1::]/48:*",          "64:ff9b:1::127.0.0.1", 22, 0 },
        { "[2002::]/16:*",               "2002:808:808::1",    22, 1 },
        { "[2002::]/16:*",               "2002:7f00:1::1",     22, 0 },
        { "[2002::]/16:*",               "2002:a9fe:a9fe::1",  80, 0 },
        { "[2002:7f00:1::]/48:*",        "2002:7f00:1::1",     22, 1 },
        { "[64:ff9b::]/96:443",          "64:ff9b::8.8.8.8",   443, 1 },
        { "[64:ff9b::]/96:443",          "64:ff9b::127.0.0.1", 443, 0 }
    };

    run_cases(list);
}


/* What counts is the address that a name has led to. */

static void
names(void)
{
    static const struct {
        const char  *rules;
        const char  *host;
        const char  *address;
        int          permitted;
    } list[] = {
        { "db.lan:5432",            "db.lan",   "192.0.2.1",        1 },
        { "db.lan:5432",            "DB.LAN",   "2001:db8::1",      1 },
        { "db.lan:5432",            "db.lan.",  "192.0.2.1",        0 },
        { "db.lan:5432",            "xdb.lan",  "192.0.2.1",        0 },
        { "db.lan:5432",            "192.0.2.1", "192.0.2.1",       0 },

        /* the name server lies, or has changed its mind */

        { "db.lan:5432",            "db.lan",   "127.0.0.1",        0 },
        { "db.lan:5432",            "db.lan",   "::1",              0 },
        { "db.lan:5432",            "db.lan",   "::ffff:127.0.0.1", 0 },
        { "db.lan:5432",            "db.lan",   "0.0.0.0",          0 },
        { "db.lan:5432",            "db.lan",   "169.254.169.254",  0 },
        { "192.0.2.0/24:5432",      "evil.example", "127.0.0.1",    0 },
        { "192.0.2.0/24:5432",      "evil.example", "198.51.100.1", 0 },
        { "192.0.2.0/24:5432",      "any.example",  "192.0.2.9",    1 },

        /* unless that is what the list says */

        { "db.lan:5432, 127.0.0.1:5432", "db.lan", "127.0.0.1",     1 },
        { "db.lan:5432, 127.0.0.1:22",   "db.lan", "127.0.0.1",     0 }
    };

    unsigned  i;

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s for %s, which is %s", list[i].rules, list[i].host,
                 list[i].address);
        check(permits(list[i].rules, list[i].host, list[i].address, 5432)
              == list[i].permitted);
    }
}


static void
refused(void)
{
    size_t        where;
    unsigned      i;
    zlt_allow_t   a;
    const char   *error;

    static const char *const  list[] = {
        "", ":80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536",
        "10.0.0.1:80-", "10.0.0.1:-80", "10.0.0.1:90-80", "10.0.0.1:x",
        "10.0.0.1/33:80", "10.0.0.1/8:80", "10.0.0.0/x:80", "10.0.0.0/:80",
        "10.0.0:80", "256.0.0.1:80", "1:80", "2130706433:80",
        "::1:80", "[::1:80", "[::1]", "[::1]/129:80", "[2001:db8::1]/32:80",
        "[10.0.0.1]:80", "[::1]x:80", "a/8:80", "a b:80",
        "10.0.0.1:80 x", "10.0.0.1 x:80", "b\xc3\xbc:80",
        ",", ",10.0.0.1:80", "10.0.0.1:80,,10.0.0.2:80",
        "unix:/run/x", "http://a:80"
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        memset(&a, 0, sizeof(zlt_allow_t));
        error = NULL;

        tap_note("\"%s\"", list[i]);
        check(zlt_allow_parse(&a, list[i], &error, &where) == -1);
        check(error != NULL);
        check(where <= strlen(list[i]));

        zlt_allow_free(&a);
    }

    memset(&a, 0, sizeof(zlt_allow_t));
    check(zlt_allow_parse(&a, "10.0.0.1:80, 10.0.0.2:http", &error, &where)
          == -1);
    check(where == 13);
    zlt_allow_free(&a);
}


static void
empty(void)
{
    zlt_addr_t   addr;
    zlt_allow_t  a;

    memset(&a, 0, sizeof(zlt_allow_t));
    memset(&addr, 0, sizeof(zlt_addr_t));

    addr.addr.in.sin_family = AF_INET;
    addr.addr.in.sin_addr.s_addr = htonl(0x08080808);
    addr.addr.in.sin_port = htons(80);

    check(!zlt_allow_permits(&a, "8.8.8.8", &addr));

    /* something that is no address at all */

    addr.addr.sa.sa_family = AF_UNIX;
    check(!zlt_allow_permits(&a, "8.8.8.8", &addr));
}


int
main(void)
{
    tap_run(networks, "networks, addresses, ports");
    tap_run(special, "loopback and its like only literally");
    tap_run(metadata, "what a cloud tells its machines");
    tap_run(mapped, "IPv4 within IPv6");
    tap_run(names, "names count by the address they lead to");
    tap_run(refused, "what is no rule is refused");
    tap_run(empty, "nothing is allowed by nothing");

    return tap_done();
}
