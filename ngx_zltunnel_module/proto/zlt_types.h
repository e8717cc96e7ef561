
/*
 * Copyright (C) zltunnel authors
 */

/* Sizes and results that all of the wire has in common. */


#ifndef ZLT_TYPES_H_INCLUDED
#define ZLT_TYPES_H_INCLUDED


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define ZLT_HEADER_SIZE        5
#define ZLT_MAX_MESSAGE_SIZE   65536
#define ZLT_MAX_PAYLOAD        (ZLT_MAX_MESSAGE_SIZE - ZLT_HEADER_SIZE)
#define ZLT_MAX_CHANNEL_FRAME  4096     /* payload on a data channel */

#define ZLT_ID_SIZE            16       /* tunnel, service, connection id */
#define ZLT_KEY_SIZE           32       /* data key, resume key */
#define ZLT_MAX_NAME           255      /* service name, bytes */
#define ZLT_MAX_TOKEN_NAME     64       /* a token's, bytes */
#define ZLT_MAX_TARGET         259      /* "host:port", bytes */


#define ZLT_OK               0
#define ZLT_AGAIN           -1     /* the message is not complete yet */
#define ZLT_ERR_TYPE        -2     /* unknown type */
#define ZLT_ERR_SIZE        -3     /* length over the limit */
#define ZLT_ERR_SHORT       -4     /* payload shorter than its fields */
#define ZLT_ERR_UTF8        -5     /* a string is not UTF-8 */
#define ZLT_ERR_VALUE       -6     /* a protocol byte above 1 */


typedef struct {
    const uint8_t  *data;
    size_t          len;
} zlt_str_t;


/* where memory comes from */

typedef struct {
    void              *(*alloc)(size_t size);      /* NULL: there is none */
    void               (*free)(void *p);
} zlt_memory_t;


typedef struct zlt_msg_s     zlt_msg_t;     /* zlt_msg.h */
typedef struct zlt_frames_s  zlt_frames_t;  /* zlt_frames.h */
typedef struct zlt_ipc_s     zlt_ipc_t;     /* zlt_ipc.h */


#endif /* ZLT_TYPES_H_INCLUDED */
