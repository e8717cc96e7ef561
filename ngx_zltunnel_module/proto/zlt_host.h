
/*
 * Copyright (C) zltunnel authors
 */

/* Names of hosts: of services, and of the requests that ask for them. */


#ifndef ZLT_HOST_H_INCLUDED
#define ZLT_HOST_H_INCLUDED


#include "zlt_types.h"


#define ZLT_MAX_HOST  253      /* bytes, RFC 1035, section 2.3.4 */


/*
 * Both write to dst, of ZLT_MAX_HOST bytes, the form in which names are compared:
 * lower case, no dot at the end (RFC 3986, section 3.2.2; RFC 1034, section
 * 3.1).  They return its length, or 0: the bytes are no host's name (RFC 1123,
 * section 2.1), or an address.
 *
 * zlt_host_name() takes a name alone, with "*." in front perhaps;
 * zlt_host_authority() what a request has, with a port behind it perhaps.
 */
size_t zlt_host_name(uint8_t *dst, const uint8_t *p, size_t len);
size_t zlt_host_authority(uint8_t *dst, const uint8_t *p, size_t len);

/* as zlt_host_name(), and what has no dot is short for a name below the domain,
   unless there is none (empty) */
size_t zlt_host_full(uint8_t *dst, const uint8_t *p, size_t len,
    const uint8_t *domain, size_t domain_len);

/* as zlt_host_name(), of what may be short for a name below a domain that is
   not known here: so digits alone are no address */
size_t zlt_host_short(uint8_t *dst, const uint8_t *p, size_t len);

/* 1 if that is the name, or it begins with "*." and the name is below it, at any
   depth; both in the form above */
int zlt_host_covers(const uint8_t *pattern, size_t pattern_len,
    const uint8_t *name, size_t len);


#endif /* ZLT_HOST_H_INCLUDED */
