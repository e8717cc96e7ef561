
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Resolution by getaddrinfo() in libuv's threads, so that hosts files, mDNS
 * and the rest of the system's configuration apply.  It cannot be stopped
 * once it runs: a cancelled one is forgotten and freed when it comes back.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"


struct zlt_resolve_s {
    uv_getaddrinfo_t   req;
    zlt_resolve_pt     handler;        /* NULL: cancelled */
    void              *data;
};


static void zlt_resolve_done(uv_getaddrinfo_t *req, int status,
    struct addrinfo *res);
static void zlt_resolve_collect(zlt_addrs_t *a, struct addrinfo *res);


zlt_resolve_t *
zlt_resolve_start(uv_loop_t *loop, const char *host, uint16_t port,
    zlt_resolve_pt handler, void *data)
{
    char              service[8];
    zlt_resolve_t    *r;
    struct addrinfo   hints;

    r = calloc(1, sizeof(zlt_resolve_t));
    if (r == NULL) {
        return NULL;
    }

    r->handler = handler;
    r->data = data;
    r->req.data = r;

    memset(&hints, 0, sizeof(struct addrinfo));

    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;

    (void) snprintf(service, sizeof(service), "%u", (unsigned) port);

    if (uv_getaddrinfo(loop, &r->req, zlt_resolve_done, host, service, &hints)
        != 0)
    {
        free(r);
        return NULL;
    }

    return r;
}


void
zlt_resolve_cancel(zlt_resolve_t *r)
{
    if (r) {
        r->handler = NULL;
        (void) uv_cancel((uv_req_t *) &r->req);
    }
}


static void
zlt_resolve_done(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    zlt_addrs_t     addrs;
    zlt_resolve_t  *r;

    r = req->data;

    if (r->handler) {
        addrs.n = 0;

        if (status == 0) {
            zlt_resolve_collect(&addrs, res);

            if (addrs.n == 0) {
                status = UV_EAI_NONAME;
            }
        }

        r->handler(r->data, status, &addrs);
    }

    if (res) {
        uv_freeaddrinfo(res);
    }

    free(r);
}


/*
 * The families in turn, beginning with that of the first address, so that
 * one that leads nowhere delays us by one attempt only (RFC 8305).
 */

static void
zlt_resolve_collect(zlt_addrs_t *a, struct addrinfo *res)
{
    int               family;
    struct addrinfo  *ai, *next[2];

    family = res->ai_family;

    next[0] = res;
    next[1] = res;

    while (a->n < ZLT_ADDRS_MAX) {

        for (ai = next[0]; ai && ai->ai_family != family; ai = ai->ai_next) {
            /* void */
        }

        if (ai && ai->ai_addrlen <= sizeof(zlt_sockaddr_t)) {
            memcpy(&a->addrs[a->n].addr, ai->ai_addr, ai->ai_addrlen);
            a->addrs[a->n].len = ai->ai_addrlen;
            a->n++;
        }

        next[0] = ai ? ai->ai_next : NULL;

        for (ai = next[1]; ai && ai->ai_family == family; ai = ai->ai_next) {
            /* void */
        }

        if (ai && a->n < ZLT_ADDRS_MAX
            && ai->ai_addrlen <= sizeof(zlt_sockaddr_t))
        {
            memcpy(&a->addrs[a->n].addr, ai->ai_addr, ai->ai_addrlen);
            a->addrs[a->n].len = ai->ai_addrlen;
            a->n++;
        }

        next[1] = ai ? ai->ai_next : NULL;

        if (next[0] == NULL && next[1] == NULL) {
            break;
        }
    }
}
