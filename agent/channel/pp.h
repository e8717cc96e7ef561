
/*
 * Copyright (C) zltunnel authors
 */

/* The header of the PROXY protocol, which tells a service who the client is. */


#ifndef ZLT_PP_H_INCLUDED
#define ZLT_PP_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define ZLT_PP_V1      1
#define ZLT_PP_V2      2

#define ZLT_PP_HEADER  108             /* the longest, of version 1 */


/*
 * Writes the header for a client into out (ZLT_PP_HEADER bytes) and returns
 * its length.  client is "address:port" as the server has sent it, which need
 * not be one ("unix:"): the header then says that it is unknown.  host and
 * port are where the service is; its address is told only if host is one of
 * the client's family.
 */
size_t zlt_pp_header(uint8_t *out, unsigned version, const uint8_t *client,
    size_t len, const char *host, uint16_t port);


#endif /* ZLT_PP_H_INCLUDED */
