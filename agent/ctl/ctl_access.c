
/*
 * Copyright (C) zltunnel authors
 */

/* Access sessions at the control socket: "sessions", "renew", "stop". */


#include <stdio.h>
#include <string.h>

#include "access.h"
#include "clock.h"
#include "conf.h"
#include "ctl_access.h"
#include "link.h"
#include "parse.h"
#include "process.h"
#include "zlt_hex.h"


#define ZLT_ACCESS_PREFIX  8           /* digits of an id that will do */


static void zlt_ctl_access_table(zlt_ctl_request_t *r);
static void zlt_ctl_access_row(zlt_text_t *t, const zlt_access_t *x,
    const int *width);
static void zlt_ctl_access_json(zlt_ctl_request_t *r);
static void zlt_ctl_access_json_one(zlt_text_t *t, const zlt_access_t *x);
static zlt_access_t *zlt_ctl_access_next(zlt_process_t *p,
    const zlt_access_t *x);
static const char *zlt_ctl_access_id(char *buf, const zlt_access_t *x);
static zlt_access_t *zlt_ctl_access_find(zlt_process_t *p, const char *id);
static void zlt_ctl_access_renew_done(void *data, const char *error);
static void zlt_ctl_access_renew_cancel(zlt_ctl_request_t *r);


void
zlt_ctl_access_sessions(zlt_ctl_request_t *r)
{
    if (strcmp(r->words[1], "json") == 0) {
        zlt_ctl_access_json(r);

    } else {
        zlt_ctl_access_table(r);
    }

    zlt_ctl_done(r);
}


/* All of them, of all links; x is NULL for the first. */

static zlt_access_t *
zlt_ctl_access_next(zlt_process_t *p, const zlt_access_t *x)
{
    zlt_list_t        *link;
    const zlt_link_t  *l;

    if (x) {
        l = zlt_link_of(x->owner);
        link = x->link.next;

        if (link != &l->owner.accesses) {
            return zlt_list_data(link, zlt_access_t, link);
        }

        link = l->node.next;

    } else {
        link = p->links.next;
    }

    for ( /* void */ ; link != &p->links; link = link->next) {
        l = zlt_list_data(link, zlt_link_t, node);

        if (!zlt_list_empty(&l->owner.accesses)) {
            return zlt_list_data(l->owner.accesses.next, zlt_access_t, link);
        }
    }

    return NULL;
}


static void
zlt_ctl_access_table(zlt_ctl_request_t *r)
{
    int            len, width[2];
    zlt_access_t  *x;

    width[0] = 4;
    width[1] = 5;

    for (x = NULL; (x = zlt_ctl_access_next(r->process, x)) != NULL; ) {
        len = (int) strlen(x->conf.name);
        width[0] = len > width[0] ? len : width[0];

        len = (int) strlen(x->local);
        width[1] = len > width[1] ? len : width[1];
    }

    zlt_text_printf(&r->text, "%-*s  %-*s  %-32s  %-7s  %-9s  %9s  %7s  %7s"
                    "  %s\n", width[0], "NAME", width[1], "LOCAL", "ID",
                    "STATE", "REMAINING", "OPEN/ALL", "IN", "OUT", "SERVICE");

    for (x = NULL; (x = zlt_ctl_access_next(r->process, x)) != NULL; ) {
        zlt_ctl_access_row(&r->text, x, width);
    }
}


static const char *const  zlt_ctl_access_states[] = {
    "waits", "asked", "open", "expires", "ended"
};


static void
zlt_ctl_access_row(zlt_text_t *t, const zlt_access_t *x, const int *width)
{
    char      id[2 * ZLT_ID_SIZE + 1], left[ZLT_TEXT_UNIT], in[ZLT_TEXT_UNIT],
              out[ZLT_TEXT_UNIT], count[48];
    uint64_t  bytes[2];

    zlt_access_bytes(x, bytes);

    (void) snprintf(count, sizeof(count), "%u/%llu", zlt_access_open_now(x),
                    (unsigned long long) x->total);

    zlt_text_printf(t, "%-*s  %-*s  %-32s  %-7s  %-9s  %9s  %7s  %7s"
                    "  %s/%s%s%s\n",
                    width[0], x->conf.name,
                    width[1], x->local[0] ? x->local : "-",
                    zlt_ctl_access_id(id, x), zlt_ctl_access_states[x->state],
                    x->deadline
                    ? zlt_text_time(left, zlt_access_expiry_left(x)) : "-",
                    count, zlt_text_bytes(in, bytes[0]),
                    zlt_text_bytes(out, bytes[1]), x->conf.service,
                    x->conf.protocol == ZLT_PROTO_UDP ? "udp" : "tcp",
                    x->conf.target[0] ? " to " : "", x->conf.target);
}


static const char *
zlt_ctl_access_id(char *buf, const zlt_access_t *x)
{
    if (!x->has_id) {
        return strcpy(buf, "-");
    }

    zlt_hex_encode(buf, x->id, ZLT_ID_SIZE);
    buf[2 * ZLT_ID_SIZE] = '\0';

    return buf;
}


static void
zlt_ctl_access_json(zlt_ctl_request_t *r)
{
    const char    *comma;
    zlt_access_t  *x;

    zlt_text_printf(&r->text, "{\"sessions\":[");
    comma = "\n";

    for (x = NULL; (x = zlt_ctl_access_next(r->process, x)) != NULL; ) {
        zlt_text_printf(&r->text, "%s", comma);
        zlt_ctl_access_json_one(&r->text, x);
        comma = ",\n";
    }

    zlt_text_printf(&r->text, "]}\n");
}


/* Seconds, and bytes: "in" is from the clients. */

static void
zlt_ctl_access_json_one(zlt_text_t *t, const zlt_access_t *x)
{
    char      id[2 * ZLT_ID_SIZE + 1], when[ZLT_CLOCK_UTC];
    uint64_t  bytes[2];

    zlt_access_bytes(x, bytes);

    zlt_text_printf(t, "{\"name\":");
    zlt_text_json(t, x->conf.name);
    zlt_text_printf(t, ",\"local\":");
    zlt_text_json(t, x->local);
    zlt_text_printf(t, ",\"service\":");
    zlt_text_json(t, x->conf.service);
    zlt_text_printf(t, ",\"protocol\":\"%s\",\"target\":",
                    x->conf.protocol == ZLT_PROTO_UDP ? "udp" : "tcp");
    zlt_text_json_null(t, x->conf.target);
    zlt_text_printf(t, ",\"link\":");
    zlt_text_json(t, x->owner->conf->name);
    zlt_text_printf(t, ",\"state\":\"%s\",\"id\":",
                    zlt_ctl_access_states[x->state]);

    zlt_text_json_null(t, x->has_id ? zlt_ctl_access_id(id, x) : "");

    if (x->created) {
        zlt_text_printf(t, ",\"created\":\"%s\"",
                        zlt_clock_utc(when, (time_t) x->created));

    } else {
        zlt_text_printf(t, ",\"created\":null");
    }

    if (x->deadline) {
        zlt_text_printf(t, ",\"remaining\":%u", zlt_access_expiry_left(x));

    } else {
        zlt_text_printf(t, ",\"remaining\":null");
    }

    zlt_text_printf(t, ",\"connections\":{\"active\":%u,\"total\":%llu},"
                    "\"bytes\":{\"in\":%llu,\"out\":%llu}}",
                    zlt_access_open_now(x), (unsigned long long) x->total,
                    (unsigned long long) bytes[0],
                    (unsigned long long) bytes[1]);
}


/* By the id or its beginning; NULL: none, or more than one. */

static zlt_access_t *
zlt_ctl_access_find(zlt_process_t *p, const char *id)
{
    char           text[2 * ZLT_ID_SIZE + 1];
    size_t         len;
    zlt_access_t  *x, *found;

    len = strlen(id);

    if (len < ZLT_ACCESS_PREFIX) {
        return NULL;
    }

    found = NULL;

    for (x = NULL; (x = zlt_ctl_access_next(p, x)) != NULL; ) {

        if (!x->has_id || x->state == ZLT_ACCESS_ENDED
            || strncmp(zlt_ctl_access_id(text, x), id, len) != 0)
        {
            continue;
        }

        if (found) {
            return NULL;
        }

        found = x;
    }

    return found;
}


int
zlt_ctl_access_stop(zlt_ctl_request_t *r)
{
    zlt_access_t  *x;

    x = zlt_ctl_access_find(r->process, r->words[1]);

    if (x == NULL) {
        return 0;
    }

    /* the answer first: it may have been all that there was to do */

    zlt_ctl_done(r);

    (void) zlt_access_stop(x, "it was stopped");

    return 1;
}


int
zlt_ctl_access_named(zlt_ctl_request_t *r, const char *name)
{
    char           id[2 * ZLT_ID_SIZE + 1];
    zlt_access_t  *x;

    for (x = NULL; (x = zlt_ctl_access_next(r->process, x)) != NULL; ) {

        if (x->has_id && x->state != ZLT_ACCESS_ENDED
            && strcmp(x->conf.name, name) == 0)
        {
            zlt_ctl_fail(r, "\"%s\" is access to a service: \"stop %.*s\" "
                         "ends that session", name, ZLT_ACCESS_PREFIX,
                         zlt_ctl_access_id(id, x));
            return 1;
        }
    }

    return 0;
}


void
zlt_ctl_access_renew(zlt_ctl_request_t *r)
{
    uint32_t       ttl;
    zlt_access_t  *x;

    x = zlt_ctl_access_find(r->process, r->words[1]);

    if (x == NULL) {
        zlt_ctl_fail(r, "there is no access session \"%.100s\"; "
                     "\"sessions\" tells which there are", r->words[1]);
        return;
    }

    ttl = x->conf.ttl;

    if (r->nwords > 2 && zlt_parse_seconds(r->words[2], &ttl) == -1) {
        zlt_ctl_fail(r, "\"%.100s\" is not a time like 90s, 30m, 8h or 1d",
                     r->words[2]);
        return;
    }

    r->cancel = zlt_ctl_access_renew_cancel;
    r->data = x;

    if (zlt_control_access_renew(x, ttl, zlt_ctl_access_renew_done, r) == -1) {
        r->cancel = NULL;
        zlt_ctl_fail(r, "it is not open at the moment");
    }
}


static void
zlt_ctl_access_renew_done(void *data, const char *error)
{
    zlt_ctl_request_t  *r;

    r = data;

    if (error) {
        zlt_ctl_fail(r, "the server refuses it: %s", error);
        return;
    }

    zlt_access_told(&r->text, r->data);
    zlt_ctl_done(r);
}


static void
zlt_ctl_access_renew_cancel(zlt_ctl_request_t *r)
{
    zlt_list_t  *link;

    zlt_list_each(link, &r->process->links) {
        zlt_control_access_unask(zlt_list_data(link, zlt_link_t, node), r);
    }
}
