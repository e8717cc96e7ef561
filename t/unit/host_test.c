
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the names of hosts, which tell one tenant from another: each name has
 * one form, and what is none, or an address, has none.  And the URLs that a
 * server tells, which go to terminals: nothing else is taken for one.
 */


#include "tap.h"
#include "urls.h"
#include "zlt_host.h"


#define A10  "aaaaaaaaaa"
#define A60  A10 A10 A10 A10 A10 A10
#define A63  A60 "aaa"
#define A64  A60 "aaaa"

/* three labels of 63 and one of 61: 253 bytes */
#define N253  A63 "." A63 "." A63 "." A60 "a"


typedef size_t (*host_pt)(uint8_t *dst, const uint8_t *p, size_t len);


/* From a copy that ends where the name does, into memory that ends where the
   longest does. */

static int
becomes(host_pt fn, const char *name, size_t len, const char *want)
{
    int       rc;
    size_t    n;
    uint8_t  *copy, *dst;

    copy = tap_copy(name, len);
    dst = tap_copy(NULL, ZLT_MAX_HOST);

    n = fn(dst, copy, len);

    rc = want ? n == strlen(want) && memcmp(dst, want, n) == 0 : n == 0;

    tap_free(dst, ZLT_MAX_HOST);
    tap_free(copy, len);

    return rc;
}


static void
names(void)
{
    unsigned  i;

    static const struct {
        const char  *name;
        const char  *want;     /* NULL: it is none */
    } list[] = {
        { "a", "a" },
        { "Blog.Example.COM", "blog.example.com" },
        { "blog.example.com.", "blog.example.com" },
        { "xn--bcher-kva.example", "xn--bcher-kva.example" },
        { "XN--BCHER-KVA.example", "xn--bcher-kva.example" },
        { "a-b.c--d.e", "a-b.c--d.e" },
        { "3000.example.com", "3000.example.com" },
        { "1.2.3.4.example", "1.2.3.4.example" },
        { "1a", "1a" },
        { "1-2", "1-2" },
        { A63 ".x", A63 ".x" },
        { N253, N253 },
        { N253 ".", N253 },

        { "", NULL },
        { ".", NULL },
        { "..", NULL },
        { "a..", NULL },
        { ".a", NULL },
        { "a..b", NULL },
        { "-a", NULL },
        { "a-", NULL },
        { "a.-b", NULL },
        { "a-.b", NULL },
        { "-", NULL },
        { "a_b.example", NULL },
        { "_acme.example", NULL },
        { "a b", NULL },
        { "a\tb", NULL },
        { " a", NULL },
        { "a ", NULL },
        { "a/b", NULL },
        { "a@b", NULL },
        { "a%2eb", NULL },
        { "a,b", NULL },
        { "a\x7f", NULL },
        { "b\xc3\xbc" "cher.example", NULL },
        { "\xff", NULL },
        { "\xe3\x80\x82", NULL },
        { A64 ".x", NULL },
        { "x." A64, NULL },
        { N253 "a", NULL },
        { N253 "a.", NULL },
        { "a" N253, NULL },

        /* addresses, or what would be read as one */
        { "127.0.0.1", NULL },
        { "127.0.0.1.", NULL },
        { "1", NULL },
        { "a.1", NULL },
        { "a.01", NULL },
        { "::1", NULL },
        { "[::1]", NULL },
        { "2001:db8::7", NULL }
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].name);

        check(becomes(zlt_host_name, list[i].name, strlen(list[i].name),
                      list[i].want));
        check(becomes(zlt_host_authority, list[i].name, strlen(list[i].name),
                      list[i].want));
    }
}


static void
bytes(void)
{
    int   c;
    char  name[3];

    /* each of them, within a name and at its ends */

    for (c = 0; c < 256; c++) {
        int  letter, digit;

        letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        digit = (c >= '0' && c <= '9');

        tap_note("byte %d", c);

        name[0] = 'a';
        name[1] = (char) c;
        name[2] = 'b';
        check(!becomes(zlt_host_name, name, 3, NULL)
              == (letter || digit || c == '-' || c == '.'));

        name[0] = (char) c;
        name[1] = 'a';
        check(!becomes(zlt_host_name, name, 2, NULL) == (letter || digit));

        name[0] = 'a';
        name[1] = (char) c;
        check(!becomes(zlt_host_name, name, 2, NULL)
              == (letter || digit || c == '.'));
    }

    check(becomes(zlt_host_name, "a\0b", 3, NULL));
    check(becomes(zlt_host_name, "a\0", 2, NULL));
    check(becomes(zlt_host_name, "\0", 1, NULL));
}


static void
wildcards(void)
{
    unsigned  i;

    static const struct {
        const char  *name;
        const char  *want;
    } list[] = {
        { "*.Example.com", "*.example.com" },
        { "*.example.com.", "*.example.com" },
        { "*.a", "*.a" },
        { "*", NULL },
        { "*.", NULL },
        { "*..", NULL },
        { "**", NULL },
        { "**.a", NULL },
        { "*a.b", NULL },
        { "a*.b", NULL },
        { "a.*", NULL },
        { "a.*.b", NULL },
        { "*.*.b", NULL },
        { "*.1", NULL },
        { "*." N253, NULL }
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].name);
        check(becomes(zlt_host_name, list[i].name, strlen(list[i].name),
                      list[i].want));

        /* nobody asks for one */

        check(becomes(zlt_host_authority, list[i].name, strlen(list[i].name),
                      NULL));
    }
}


static void
ports(void)
{
    unsigned  i;

    static const struct {
        const char  *name;
        const char  *want;
    } list[] = {
        { "Blog.example.com:8443", "blog.example.com" },
        { "blog.example.com.:80", "blog.example.com" },
        { "blog:0", "blog" },
        { "blog:", "blog" },
        { "blog:99999999999999999999", "blog" },
        { N253 ":443", N253 },
        { "blog:80:80", NULL },
        { "blog:8x", NULL },
        { "blog:-1", NULL },
        { ":80", NULL },
        { ":", NULL },
        { "127.0.0.1:80", NULL },
        { "[::1]:80", NULL },
        { "[blog]:80", NULL },
        { "user@blog:80", NULL }
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].name);
        check(becomes(zlt_host_authority, list[i].name, strlen(list[i].name),
                      list[i].want));
        check(becomes(zlt_host_name, list[i].name, strlen(list[i].name),
                      NULL));
    }
}


static const char  *domain;

static size_t
full(uint8_t *dst, const uint8_t *p, size_t len)
{
    return zlt_host_full(dst, p, len, (const uint8_t *) domain,
                         strlen(domain));
}


static void
short_names(void)
{
    char  text[ZLT_MAX_HOST + 1];

    domain = "t.example.com";

    check(becomes(full, "Blog", 4, "blog.t.example.com"));
    check(becomes(full, "blog.", 5, "blog.t.example.com"));
    check(becomes(full, "blog.example.org", 16, "blog.example.org"));
    check(becomes(full, "*.x", 3, "*.x"));
    check(becomes(full, "*", 1, NULL));
    check(becomes(full, "a_b", 3, NULL));
    check(becomes(full, "", 0, NULL));
    check(becomes(full, ".", 1, NULL));
    check(becomes(full, "..", 2, NULL));
    check(becomes(full, "blog..", 6, NULL));
    check(becomes(full, "blog.example.org..", 18, NULL));
    check(becomes(full, "3000", 4, "3000.t.example.com"));
    check(becomes(full, "10.0.0.1", 8, NULL));

    domain = "";

    check(becomes(full, "Blog", 4, "blog"));
    check(becomes(full, "Blog.", 5, "blog"));
    check(becomes(full, "3000", 4, NULL));
    check(becomes(zlt_host_short, "3000", 4, "3000"));
    check(becomes(zlt_host_short, "Blog.", 5, "blog"));
    check(becomes(zlt_host_short, "Blog..", 6, NULL));
    check(becomes(zlt_host_short, "*.x", 3, "*.x"));
    check(becomes(zlt_host_short, "*", 1, NULL));
    check(becomes(zlt_host_short, "10.0.0.1", 8, NULL));
    check(becomes(zlt_host_short, "a_b", 3, NULL));
    check(becomes(zlt_host_short, "", 0, NULL));

    /* up to the longest */

    domain = A63 "." A63 "." A60;

    (void) snprintf(text, sizeof(text), "%s.%s", A63, domain);
    check(strlen(text) == 252);
    check(becomes(full, A63, 63, text));

    domain = A63 "." A63 "." A60 "a";

    (void) snprintf(text, sizeof(text), "%s.%s", A63, domain);
    check(strlen(text) == 253);
    check(becomes(full, A63, 63, text));

    domain = A63 "." A63 "." A60 "aa";
    check(becomes(full, A63, 63, NULL));
    check(!becomes(full, A60, 60, NULL));
}


static int
covers(const char *pattern, const char *name)
{
    int       rc;
    uint8_t  *p, *n;

    p = tap_copy(pattern, strlen(pattern));
    n = tap_copy(name, strlen(name));

    rc = zlt_host_covers(p, strlen(pattern), n, strlen(name));

    tap_free(n, strlen(name));
    tap_free(p, strlen(pattern));

    return rc;
}


static void
rights(void)
{
    check(covers("a.b", "a.b"));
    check(covers("*.b", "a.b"));
    check(covers("*.b", "x.a.b"));
    check(covers("*.b", "*.b"));
    check(covers("*.b", "*.a.b"));

    check(!covers("a.b", "b"));
    check(!covers("a.b", "x.a.b"));
    check(!covers("a.b", "a.b.c"));
    check(!covers("a.b", "*.a.b"));
    check(!covers("*.b", "b"));
    check(!covers("*.b", "ab"));
    check(!covers("*.b", "a.bb"));
    check(!covers("*.b", ".b"));
    check(!covers("*.a.b", "*.b"));
    check(!covers("*.a.b", "a.b"));
    check(!covers("auto", "x"));
}


static int
taken(const char *text, size_t len, const char *want, const char *wrong)
{
    int        rc;
    char      *urls;
    uint8_t   *copy;
    zlt_str_t  str, bad;

    copy = tap_copy(text, len);
    str.data = copy;
    str.len = len;

    urls = zlt_urls_take(str, &bad);

    rc = want ? urls && strcmp(urls, want) == 0 : urls == NULL;
    rc = rc && (wrong ? bad.data && bad.len == strlen(wrong)
                        && memcmp(bad.data, wrong, bad.len) == 0
                      : bad.data == NULL);

    free(urls);
    tap_free(copy, len);

    return rc;
}


#define takes(text, want, wrong)                                              \
    check(taken(text, sizeof(text) - 1, want, wrong))


static void
urls(void)
{
    int          len;
    char        *many;
    unsigned     i, n;
    zlt_str_t    str, bad;
    const char  *p, *url;

    takes("https://a.b", "https://a.b", NULL);
    takes("http://a:8080 https://b/x/~y%20z", "http://a:8080 https://b/x/~y%20z",
          NULL);
    takes("  http://a   http://b ", "http://a http://b", NULL);
    takes("https://*.a.b:8443", "https://*.a.b:8443", NULL);
    takes("http://[2001:db8::7]:80/", "http://[2001:db8::7]:80/", NULL);
    takes("", NULL, NULL);
    takes(" ", NULL, NULL);

    takes("http://", NULL, "http://");
    takes("https:///x", NULL, "https:///x");
    takes("ftp://a", NULL, "ftp://a");
    takes("HTTP://a", NULL, "HTTP://a");
    takes("javascript:alert(1)", NULL, "javascript:alert(1)");
    takes("http://bank.example@evil", NULL, "http://bank.example@evil");
    takes("http://a\\b", NULL, "http://a\\b");
    takes("http://a/'$(x)'", NULL, "http://a/'$(x)'");
    takes("http://a\nhttp://b", NULL, "http://a\nhttp://b");
    takes("http://a\rb", NULL, "http://a\rb");
    takes("http://a\x1b]0;x\x07", NULL, "http://a\x1b]0;x\x07");
    takes("http://a\xe2\x80\xae" "b", NULL, "http://a\xe2\x80\xae" "b");
    takes("http://b\xc3\xbc.de", NULL, "http://b\xc3\xbc.de");
    takes("x http://a y", "http://a", "x");

    /* no more than there may be, none longer than it may be */

    n = 100000;
    many = malloc(n);
    check(many != NULL);

    for (i = 0; i + 9 <= n; i += 9) {
        memcpy(many + i, "http://a ", 9);
    }

    str.data = (const uint8_t *) many;
    str.len = i;

    p = zlt_urls_take(str, &bad);
    check(p && strlen(p) == 9 * ZLT_URLS_MAX - 1 && bad.data == NULL);

    url = p;

    for (i = 0; (len = zlt_urls_next(&p, &url)) != 0; i++) {
        check(len == 8 && memcmp(url, "http://a", 8) == 0);
        if (i == 0) {
            str.data = (const uint8_t *) url;
        }
    }

    check(i == ZLT_URLS_MAX);
    free((void *) (uintptr_t) str.data);

    memset(many, 'a', n);
    memcpy(many, "http://", 7);
    str.data = (const uint8_t *) many;

    str.len = n;
    p = zlt_urls_take(str, &bad);
    check(p == NULL && bad.data == str.data && bad.len == n);

    str.len = ZLT_URLS_LEN + 1;
    p = zlt_urls_take(str, &bad);
    check(p == NULL && bad.data == str.data);

    str.len = ZLT_URLS_LEN;
    p = zlt_urls_take(str, &bad);
    check(p && strlen(p) == ZLT_URLS_LEN && bad.data == NULL);
    free((void *) (uintptr_t) p);

    free(many);

    p = NULL;
    check(zlt_urls_next(&p, &url) == 0);
}


int
main(void)
{
    tap_run(names, "names, and what is none");
    tap_run(bytes, "each byte");
    tap_run(wildcards, "\"*.\" in front");
    tap_run(ports, "with a port, as requests have it");
    tap_run(short_names, "names below a domain");
    tap_run(rights, "what a name in a token's line covers");
    tap_run(urls, "URLs of a server");

    return tap_done();
}
