
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A message between workers of the module: this, and data behind it.  It stays
 * on one machine and within one program, so it is passed as it lies in memory;
 * what it says of its own size is looked at all the same.
 */


#ifndef ZLT_IPC_H_INCLUDED
#define ZLT_IPC_H_INCLUDED


#include <sys/types.h>

#include "zlt_types.h"


#define ZLT_IPC_TEXT  256


struct zlt_ipc_s {
    uint32_t         type;
    uint32_t         registry;         /* hash of its name */
    uint32_t         slot;             /* sender's */
    uint32_t         generation;       /* sender's */
    uint32_t         worker;           /* sender's */
    pid_t            from;
    pid_t            to;
    uint32_t         hops;
    uint32_t         code;             /* ZLT_E_*, udp flag */
    uint64_t         epoch;
    uint8_t          tunnel_id[ZLT_ID_SIZE];
    uint8_t          service_id[ZLT_ID_SIZE];
    uint8_t          connection_id[ZLT_ID_SIZE];
    uint16_t         port;
    uint16_t         text_len;
    uint16_t         data_len;         /* unparsed bytes behind it */
    uint16_t         state;            /* .. of which so many are the state of
                                          a channel that was moved */
    uint8_t          text[ZLT_IPC_TEXT];
};


/* ZLT_OK if it was received whole, in so many bytes with its data, and all of
   its parts are within; else ZLT_ERR_SIZE. */
int zlt_ipc_check(const zlt_ipc_t *msg, size_t size);


#endif /* ZLT_IPC_H_INCLUDED */
