
/*
 * Copyright (C) zltunnel authors
 */

/* Where the services of a link are: what the server tells of that, and what is
   printed. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "link.h"
#include "link_show.h"
#include "log.h"
#include "often.h"
#include "qr.h"
#include "service.h"


static void zlt_link_show_public(const zlt_link_t *l, const zlt_msg_t *m,
    zlt_service_t *service, int told);
static void zlt_link_show_urls(const zlt_link_t *l, const zlt_msg_t *m,
    zlt_range_t *range);
static void zlt_link_show_each(zlt_link_t *l, const zlt_range_t *r,
    const char *protocol);


void
zlt_link_show_take(const zlt_link_t *l, const zlt_msg_t *m,
    zlt_service_t *service, int told)
{
    zlt_link_show_public(l, m, service, told);
    zlt_link_show_urls(l, m, service->range);
}


static void
zlt_link_show_public(const zlt_link_t *l, const zlt_msg_t *m,
    zlt_service_t *service, int told)
{
    char              text[ZLT_LOG_TEXT_SIZE], *public_addr;
    const char       *host;
    const zlt_url_t  *url;

    public_addr = service->range->public_addr;

    if (!told) {
        (void) strcpy(public_addr, "unknown");

    } else if (m->ext & ZLT_X_PUBLIC) {
        (void) snprintf(public_addr, ZLT_SERVICE_PUBLIC, "%.270s",
                        zlt_log_text(text, m->public_addr));

    } else if (service->port) {
        url = &l->owner.conf->url;
        host = url->is_unix ? url->authority : url->host;

        (void) snprintf(public_addr, ZLT_SERVICE_PUBLIC,
                        strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                        (unsigned) service->port);

    } else {
        (void) strcpy(public_addr, ZLT_SERVICE_NO_PORT);
    }
}


static void
zlt_link_show_urls(const zlt_link_t *l, const zlt_msg_t *m,
    zlt_range_t *range)
{
    char       text[ZLT_LOG_TEXT_SIZE];
    zlt_str_t  bad;

    free(range->urls);
    range->urls = NULL;

    if (range->conf.hosts[0] == '\0' || !(m->ext & ZLT_X_URLS)) {
        return;
    }

    range->urls = zlt_urls_take(m->urls, &bad);

    if (bad.data) {
        zlt_often_warn(l->owner.label, range->conf.name, "the server "
                       "tells of the service \"%s\" what is no URL: %s",
                       range->conf.name, zlt_log_text(text, bad));
    }
}


void
zlt_link_show(zlt_link_t *l, zlt_range_t *r)
{
    char         public_addr[ZLT_SERVICE_PUBLIC];
    unsigned     no_port;
    const char  *protocol;

    protocol = r->conf.protocol == ZLT_PROTO_UDP ? "udp" : "tcp";

    zlt_range_public(r, public_addr);

    no_port = (strcmp(public_addr, ZLT_SERVICE_NO_PORT) == 0);

    if (no_port && r->conf.hosts[0]) {
        (void) strcpy(public_addr, r->urls ? "" : ZLT_SERVICE_NO_URL);
    }

    zlt_log_link(l->owner.label, ZLT_LOG_DEBUG, "the service \"%s\" is "
                 "registered: %s", r->conf.name,
                 public_addr[0] ? public_addr : r->urls);

    /* once, and again when it has moved */

    if (r->told && strcmp(r->shown, public_addr) == 0
        && strcmp(r->urls_shown ? r->urls_shown : "", r->urls ? r->urls : "")
           == 0)
    {
        return;
    }

    r->told = 1;

    (void) strcpy(r->shown, public_addr);

    free(r->urls_shown);
    r->urls_shown = r->urls ? strdup(r->urls) : NULL;

    zlt_link_show_each(l, r, protocol);

    if (r->conf.hosts[0] && r->urls == NULL) {
        zlt_log_link(l->owner.label, ZLT_LOG_WARN, "the server does not tell "
                     "where the service \"%s\" is", r->conf.name);
    }

    if (no_port
        && !(zlt_option_host_flags(&r->conf) & (ZLT_R_PRIVATE|ZLT_R_OPEN)))
    {
        zlt_log_link(l->owner.label, ZLT_LOG_WARN, "the service \"%s\" has no "
                     "port: the server has no %s port to assign; only its "
                     "nginx reaches it", r->conf.name, protocol);
    }
}


/* A line for each place where it is; of "http" the URL alone. */

static void
zlt_link_show_each(zlt_link_t *l, const zlt_range_t *r,
    const char *protocol)
{
    int          len;
    char         text[ZLT_URLS_LEN + 1];
    uint32_t     sole;
    const char  *p, *url;

    sole = l->owner.conf->sole;

    if (r->shown[0] && !sole) {
        zlt_log_print("%s  %s  %s  ->  %s\n", r->conf.name, protocol,
                      r->conf.local, r->shown);
    }

    for (p = r->urls; (len = zlt_urls_next(&p, &url)) != 0; /* void */ ) {

        if (!sole) {
            zlt_log_print("%s  %s  %s  ->  %.*s\n", r->conf.name, protocol,
                          r->conf.local, len, url);
            continue;
        }

        zlt_log_print("%.*s\n", len, url);

        if (sole == ZLT_CONF_QR) {
            (void) snprintf(text, sizeof(text), "%.*s", len, url);
            zlt_qr_print(text);
        }
    }
}
