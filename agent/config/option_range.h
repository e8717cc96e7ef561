
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Ranges of ports: one entry of the configuration that stands for a service
 * at each of its ports.
 *
 * The services are called NAME-PORT, where PORT is the remote one, or the
 * local one of a private range.
 */


#ifndef ZLT_OPTION_RANGE_H_INCLUDED
#define ZLT_OPTION_RANGE_H_INCLUDED


#include "option_service.h"


#define ZLT_OPTION_RANGE_MAX  1000     /* ports */


/* 1 if it has the form DIGITS-DIGITS */
int zlt_option_range_is(const char *text);

/* PORT, where *ports becomes 0, or FIRST-LAST: 0, or -1 with a static text in
   error, which is NULL if it is no port at all. */
int zlt_option_range_ports(const char *text, uint16_t *port, uint16_t *ports,
    const char **error);

/* Makes s->local of the other fields. */
void zlt_option_range_local(zlt_service_conf_t *s);

/* What makes no sense, once all is set: 0, or -1 with a static text. */
int zlt_option_range_check(const zlt_service_conf_t *s, const char **error);

/* How many services they are: 1 if it is no range. */
unsigned zlt_option_range_count(const zlt_service_conf_t *range);

/* Makes *s the one of that number, from 0 on. */
void zlt_option_range_service(const zlt_service_conf_t *range, unsigned i,
    zlt_service_conf_t *s);

/* Which number that has, which is one of its services or of one that was
   configured under its name before; -1: none. */
int zlt_option_range_index(const zlt_service_conf_t *range,
    const zlt_service_conf_t *s);

/* the first remote port that both ask for, of one protocol; 0: none */
unsigned zlt_option_range_shared(const zlt_service_conf_t *a,
    const zlt_service_conf_t *b);

/* 1 if one of the services is called so */
int zlt_option_range_has(const zlt_service_conf_t *range, const char *name);


#endif /* ZLT_OPTION_RANGE_H_INCLUDED */
