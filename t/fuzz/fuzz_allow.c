
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the list of where an open service may lead to: every list is taken
 * whole or refused with the place of its fault, a copy permits what the list
 * permits, and an empty one nothing.
 *
 * An input begins with an address, a port and a family; the list follows.
 */


#include <arpa/inet.h>

#include "addr.h"
#include "allow.h"
#include "fuzz.h"


#define ALLOW_HEAD  19


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int           rc;
    char         *text;
    size_t        where;
    zlt_addr_t    addr;
    zlt_allow_t   list, copy, none;
    const char   *error;

    if (size < ALLOW_HEAD) {
        return 0;
    }

    memset(&list, 0, sizeof(list));
    memset(&copy, 0, sizeof(copy));
    memset(&none, 0, sizeof(none));
    memset(&addr, 0, sizeof(addr));

    if (data[0] & 1) {
        addr.addr.in6.sin6_family = AF_INET6;
        memcpy(&addr.addr.in6.sin6_addr, data + 3, 16);
        memcpy(&addr.addr.in6.sin6_port, data + 1, 2);

    } else {
        addr.addr.in.sin_family = AF_INET;
        memcpy(&addr.addr.in.sin_addr, data + 3, 4);
        memcpy(&addr.addr.in.sin_port, data + 1, 2);
    }

    text = fuzz_text(data + ALLOW_HEAD, size - ALLOW_HEAD);
    error = NULL;
    where = 0;

    if (zlt_allow_parse(&list, text, &error, &where) == -1) {
        must(error && *error && where <= strlen(text));

    } else {
        rc = zlt_allow_permits(&list, "name", &addr);

        must(list.nrules || rc == 0);
        must(zlt_allow_copy(&copy, &list) == 0);
        must(copy.nrules == list.nrules);
        must(zlt_allow_permits(&copy, "name", &addr) == rc);
    }

    must(zlt_allow_permits(&none, text, &addr) == 0);

    zlt_allow_free(&copy);
    zlt_allow_free(&list);
    free(text);

    return 0;
}
