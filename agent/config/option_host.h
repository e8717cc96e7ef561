
/*
 * Copyright (C) zltunnel authors
 */

/* The names of hosts of a service, as users write them. */


#ifndef ZLT_OPTION_HOST_H_INCLUDED
#define ZLT_OPTION_HOST_H_INCLUDED


#include "option_service.h"
#include "zlt_types.h"


/* the name that the server makes up */
#define ZLT_OPTION_HOST_AUTO  "auto"


/* Adds names, comma-separated: 0, or -1 with a text in error that holds until
   the next call. */
int zlt_option_host_add(const char *text, zlt_service_conf_t *s,
    const char **error);

/* What makes no sense, once all is set: 0, or -1 with a static text. */
int zlt_option_host_check(const zlt_service_conf_t *s, const char **error);

/* The next of the names behind *p, which begins as s->hosts and is moved on: 1,
   or 0 if there is none. */
int zlt_option_host_next(const char **p, zlt_str_t *name);

/* The first name that both ask for, up to a comma or the end; NULL: none. */
const char *zlt_option_host_shared(const zlt_service_conf_t *a,
    const zlt_service_conf_t *b);

unsigned zlt_option_host_count(const zlt_service_conf_t *s);

/* s->flags as the server is told: with a host, and without a wish for a port,
   there is none. */
unsigned zlt_option_host_flags(const zlt_service_conf_t *s);


#endif /* ZLT_OPTION_HOST_H_INCLUDED */
