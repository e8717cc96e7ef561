
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Records of TLS on their way to the socket.
 *
 * OpenSSL writes a record by a system call, and bulk is bound by these.  So a
 * few records are made one behind the other in a stage, and one call sends
 * them.  All connections of a process share the stage: it is empty but within
 * one sending.  The user has OpenSSL write through a BIO that asks
 * zlt_stage_put().  Plain C11: no I/O, no allocation.
 */


#ifndef ZLT_STAGE_H_INCLUDED
#define ZLT_STAGE_H_INCLUDED


#include "zlt_types.h"
#include "zlt_unsent.h"


#define ZLT_STAGE_RECORD  16384                    /* bytes in a record */
#define ZLT_STAGE_SEALED  (ZLT_STAGE_RECORD + 256) /* .. of it, at most */
#define ZLT_STAGE_SIZE    (4 * ZLT_STAGE_SEALED)


/* all zero at the start */

typedef struct {
    const void      *owner;        /* whose records are made, or NULL */
    size_t           len;
    uint8_t          data[ZLT_STAGE_SIZE];
} zlt_stage_t;


/* Makes a record: how many bytes of it were taken, or what is not above 0. */
typedef int (*zlt_stage_seal_pt)(void *owner, const void *data, size_t len);


/*
 * Empties the stage, and has seal() make records of data as long as there is
 * room for another.  Returns how many bytes they have; *rc is what seal() said
 * last.
 */
size_t zlt_stage_fill(zlt_stage_t *stage, void *owner, zlt_stage_seal_pt seal,
    const void *data, size_t size, int *rc);

/* For the BIO: takes bytes of a record, all of them, and says 1; or 0: records
   of another are made, or of nobody, or there is no room. */
int zlt_stage_put(zlt_stage_t *stage, const void *owner, const void *data,
    size_t len);

/* The socket has taken so many bytes of the stage; the rest is kept: 0, or -1
   without memory. */
int zlt_stage_keep(const zlt_stage_t *stage, size_t sent,
    zlt_unsent_t **unsent, const zlt_memory_t *memory);


#endif /* ZLT_STAGE_H_INCLUDED */
