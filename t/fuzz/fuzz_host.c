
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the names of hosts, on which it hangs whose service answers: what is
 * taken is in the one form, taking it again changes nothing, a name of a request
 * is that of a registration, and a name that is completed is below the domain.
 * An agent takes no list of names but of such, and no URL that is not plain.
 */


#include "fuzz.h"
#include "option_host.h"
#include "urls.h"
#include "zlt_host.h"


static void must_be_plain(const uint8_t *p, size_t len);
static void try_name(const uint8_t *data, size_t size);
static void try_list(const uint8_t *data, size_t size);
static void try_urls(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_name(data, size);
    try_list(data, size);
    try_urls(data, size);

    return 0;
}


static void
must_be_plain(const uint8_t *p, size_t len)
{
    size_t  i;

    must(len && len <= ZLT_MAX_HOST && p[len - 1] != '.' && p[0] != '.');

    if (len > 2 && p[0] == '*') {
        must(p[1] == '.');
        p += 2;
        len -= 2;
    }

    for (i = 0; i < len; i++) {
        must((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9')
             || p[i] == '-' || p[i] == '.');
    }
}


static void
try_name(const uint8_t *data, size_t size)
{
    size_t    n, m;
    uint8_t  *copy, *dst, *again;

    static const uint8_t  domain[] = "t.example.com";

    copy = fuzz_copy(data, size);
    dst = fuzz_copy(NULL, ZLT_MAX_HOST);
    again = fuzz_copy(NULL, ZLT_MAX_HOST);

    n = zlt_host_name(dst, copy, size);

    if (n) {
        must_be_plain(dst, n);
        must(n <= size);
        must(zlt_host_name(again, dst, n) == n && memcmp(again, dst, n) == 0);
        must(zlt_host_covers(dst, n, dst, n));

        m = zlt_host_authority(again, copy, size);
        must(dst[0] == '*' ? m == 0 : m == n && memcmp(again, dst, n) == 0);

        m = zlt_host_full(again, copy, size, domain, sizeof(domain) - 1);

        if (m && memchr(dst, '.', n) == NULL) {
            must_be_plain(again, m);
            must(m == n + sizeof(domain));
            must(zlt_host_covers((const uint8_t *) "*.t.example.com", 15,
                                 again, m));

        } else if (m) {
            must(m == n && memcmp(again, dst, n) == 0);
        }

    } else {
        m = zlt_host_full(again, copy, size, domain, sizeof(domain) - 1);

        /* digits alone are an address, and short for a name */

        for (n = 0; n < m && again[n] >= '0' && again[n] <= '9'; n++) {
            /* void */
        }

        must(m == 0 || (n && m == n + sizeof(domain) && again[n] == '.'));
    }

    n = zlt_host_authority(dst, copy, size);

    if (n) {
        must_be_plain(dst, n);
        must(dst[0] != '*');
        must(zlt_host_authority(again, dst, n) == n);
    }

    free(again);
    free(dst);
    free(copy);
}


static void
try_list(const uint8_t *data, size_t size)
{
    char                *text;
    unsigned             n;
    const char          *p, *error;
    zlt_str_t            name;
    zlt_service_conf_t   s;

    text = fuzz_text(data, size);

    memset(&s, 0, sizeof(zlt_service_conf_t));
    error = NULL;

    if (zlt_option_host_add(text, &s, &error) == -1) {
        must(error && *error && strlen(error) < 400);

    } else {
        must(s.hosts[0] && strlen(s.hosts) <= ZLT_OPTION_HOSTS_MAX);

        n = 0;

        for (p = s.hosts; zlt_option_host_next(&p, &name); n++) {
            must_be_plain(name.data, name.len);
        }

        must(n && n <= ZLT_OPTION_HOSTS && n == zlt_option_host_count(&s));

        /* what is kept is there already */

        p = s.hosts;
        text = realloc(text, sizeof(s.hosts));
        must(text != NULL);
        (void) strcpy(text, p);
        must(zlt_option_host_add(text, &s, &error) == -1);
    }

    free(text);
}


static void
try_urls(const uint8_t *data, size_t size)
{
    int          len, i;
    char        *urls;
    unsigned     n;
    uint8_t     *copy;
    zlt_str_t    text, bad;
    const char  *p, *url;

    copy = fuzz_copy(data, size);
    text.data = copy;
    text.len = size;

    urls = zlt_urls_take(text, &bad);
    n = 0;

    for (p = urls; (len = zlt_urls_next(&p, &url)) != 0; n++) {
        must(len > 7 && len <= ZLT_URLS_LEN);
        must(memcmp(url, "http://", 7) == 0 || memcmp(url, "https://", 8) == 0);

        for (i = 0; i < len; i++) {
            must(url[i] > ' ' && url[i] < 0x7f);
            must(strchr("\"'`$\\@;&|<>(){}!?#", url[i]) == NULL);
        }
    }

    must(n <= ZLT_URLS_MAX && (urls == NULL) == (n == 0));
    must(bad.data == NULL
         || (bad.data >= copy && bad.len && bad.data + bad.len <= copy + size));

    free(urls);
    free(copy);
}
