
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Messages of protocol version 1 and of its extension block.
 *
 * Plain C11: no I/O, no allocation, no globals.  The nginx module, the agent
 * and the tests compile the same file.  The wire format is docs/protocol.md.
 *
 * A decoded message points into the buffer it was decoded from; it is valid
 * as long as that buffer is.  An encoder writes into a buffer of the caller.
 */


#ifndef ZLT_MSG_H_INCLUDED
#define ZLT_MSG_H_INCLUDED


#include "zlt_types.h"


typedef enum {
    ZLT_AUTH            = 0x01,
    ZLT_AUTH_OK         = 0x02,
    ZLT_AUTH_FAIL       = 0x03,
    ZLT_REGISTER        = 0x10,
    ZLT_REGISTER_OK     = 0x11,
    ZLT_REGISTER_FAIL   = 0x12,
    ZLT_CONNECT         = 0x20,
    ZLT_CONNECT_ACK     = 0x21,
    ZLT_CONNECT_FAIL    = 0x22,
    ZLT_HEARTBEAT       = 0x30,
    ZLT_HEARTBEAT_ACK   = 0x31,
    ZLT_UNREGISTER      = 0x40,
    ZLT_DISCONNECT      = 0x41,

    /* extensions */
    ZLT_DATAGRAM_OPEN   = 0x50,
    ZLT_DATAGRAM        = 0x51,
    ZLT_DATAGRAM_CLOSE  = 0x52,
    ZLT_RETIRE          = 0x53,
    ZLT_RAW             = 0x54,
    ZLT_DATA            = 0x55,
    ZLT_EOF             = 0x56,
    ZLT_RESET           = 0x57,
    ZLT_WITHDRAW        = 0x58,
    ZLT_ACCESS_OPEN     = 0x59,
    ZLT_ACCESS_OK       = 0x5a,
    ZLT_ACCESS_FAIL     = 0x5b,
    ZLT_ACCESS_RENEW    = 0x5c,
    ZLT_ACCESS_CLOSE    = 0x5d,
    ZLT_HEALTH          = 0x5e,
    ZLT_LANE            = 0x60,
    ZLT_LANE_CREDIT     = 0x61,
    ZLT_LANE_END        = 0x62,
    ZLT_MOVE            = 0x63,
    ZLT_MOVED           = 0x64
} zlt_type_t;


#define ZLT_PROTO_TCP          0
#define ZLT_PROTO_UDP          1

/* features, Auth and AuthOk */
#define ZLT_F_CHANNELS         0x01     /* data channels */
#define ZLT_F_HEARTBEATS       0x02     /* heartbeats by the client */
#define ZLT_F_DATAGRAMS        0x04     /* datagram channels */
#define ZLT_F_ACCESS           0x08     /* private services and access */
#define ZLT_F_HOSTS            0x80     /* services have names of hosts */

#define ZLT_F_HEALTH           0x100    /* services are down, and up again */

/* health of a service, Register and Health */
#define ZLT_H_UP               0
#define ZLT_H_DOWN             1
#define ZLT_H_REFUSE           2        /* .. and its port is closed */

/* flags of Register */
#define ZLT_R_PRIVATE          0x01     /* no port */
#define ZLT_R_INTERNAL         0x02     /* clients elsewhere are reset */
#define ZLT_R_OPEN             0x04     /* each connection has a target;
                                           implies private */

/* codes of AuthFail, RegisterFail, ConnectFail, AccessFail and AccessClose;
   0 where there is none */
#define ZLT_E_BAD_TOKEN        1
#define ZLT_E_EXPIRED          2
#define ZLT_E_IN_USE           3
#define ZLT_E_LIMIT            4
#define ZLT_E_PORT_TAKEN       5
#define ZLT_E_FORBIDDEN        6
#define ZLT_E_REFUSED          7
#define ZLT_E_UNREACHABLE      8
#define ZLT_E_DUPLICATE        9
#define ZLT_E_BUSY             10
#define ZLT_E_HOST_TAKEN       11

/* actions of Disconnect */
#define ZLT_D_STOP             0
#define ZLT_D_RECONNECT        1        /* now, keeping the old channels */
#define ZLT_D_LATER            2


/*
 * Fields that came in the extension block have a bit in "ext"; an encoder
 * writes those whose bit is set, in the order of their tags.
 */

#define ZLT_X_FEATURES         0x0001   /* Auth, AuthOk */
#define ZLT_X_AGENT            0x0002   /* Auth */
#define ZLT_X_RESUME_KEY       0x0004   /* Auth, AuthOk */
#define ZLT_X_DATA_KEY         0x0008   /* AuthOk */
#define ZLT_X_HEARTBEAT        0x0010   /* AuthOk */
#define ZLT_X_IDLE             0x0020   /* AuthOk */
#define ZLT_X_CODE             0x0040   /* *Fail, AccessClose */
#define ZLT_X_RETRY            0x0080   /* AuthFail, Disconnect */
#define ZLT_X_FLAGS            0x0100   /* Register */
#define ZLT_X_PREFERRED        0x0200   /* Register */
#define ZLT_X_PORT             0x0400   /* RegisterOk */
#define ZLT_X_PUBLIC           0x0800   /* RegisterOk */
#define ZLT_X_ACTION           0x1000   /* Disconnect */
#define ZLT_X_ALLOW            0x2000   /* Register */
#define ZLT_X_TARGET           0x4000   /* AccessOpen, Connect, DatagramOpen */
#define ZLT_X_ACCESS_ID        0x8000   /* AccessOpen, AccessFail */
#define ZLT_X_SERVED_BY        0x10000  /* AccessOk */
#define ZLT_X_TOKEN_NAME       0x20000  /* AuthOk */
#define ZLT_X_CHECK            0x40000  /* Auth */
#define ZLT_X_RIGHTS           0x80000  /* AuthOk */
#define ZLT_X_HOSTS            0x100000 /* Register */
#define ZLT_X_URLS             0x200000 /* RegisterOk */
#define ZLT_X_HEALTH           0x400000 /* Register */
#define ZLT_X_HELD             0x800000 /* Auth */
#define ZLT_X_NODE             0x1000000 /* AuthOk */
#define ZLT_X_NODES            0x2000000 /* AuthOk */


/*
 * One struct for every message: only the fields of its type are set, the
 * others are zero.  Ids and keys are pointers to 16 and 32 bytes.
 */

struct zlt_msg_s {
    uint8_t         type;          /* zlt_type_t */
    uint8_t         protocol;      /* Register, AccessOpen */
    uint16_t        local_port;    /* Register */
    uint16_t        remote_port;   /* Register */
    uint8_t         cause;         /* DatagramClose */
    uint8_t         health;        /* Health; with its bit Register: ZLT_H_* */
    uint32_t        session;       /* Datagram* */
    uint32_t        ttl;           /* AccessOpen, -Ok, -Renew: seconds */
    uint32_t        grace;         /* AccessOpen: seconds */
    uint64_t        timestamp;     /* Heartbeat, HeartbeatAck: Unix ms */

    zlt_str_t       token;         /* Auth */
    zlt_str_t       name;          /* Register, AccessOpen; with its bit
                                      AuthOk: the token's */
    zlt_str_t       reason;        /* *Fail, Disconnect, Withdraw,
                                      AccessClose, and as health */
    zlt_str_t       client_addr;   /* Connect, DatagramOpen */
    zlt_str_t       data;          /* Datagram, Data */

    const uint8_t  *client_id;     /* Auth */
    const uint8_t  *tunnel_id;     /* AuthOk */
    const uint8_t  *service_id;    /* RegisterOk, Connect, Unregister,
                                      DatagramOpen, Withdraw, Health */
    const uint8_t  *connection_id; /* Connect, ConnectAck, ConnectFail */
    const uint8_t  *access_id;     /* AccessOk, -Renew, -Close; with its
                                      bit AccessOpen, AccessFail */

    /* the extension block */
    uint32_t        ext;           /* ZLT_X_* */
    uint32_t        features;
    zlt_str_t       agent;
    uint8_t         check;         /* Auth: 1, what may I?  No tunnel */
    zlt_str_t       rights;        /* AuthOk: the answer, for people */
    zlt_str_t       held;          /* Auth: ids of nodes, ZLT_ID_SIZE each */
    const uint8_t  *node;          /* AuthOk: who the server is */
    uint16_t        nodes;         /* AuthOk: how many there are */
    const uint8_t  *resume_key;
    const uint8_t  *data_key;
    uint32_t        heartbeat_interval;     /* milliseconds */
    uint32_t        heartbeat_timeout;      /* milliseconds */
    uint16_t        idle_least;
    uint16_t        idle_most;
    uint8_t         code;          /* ZLT_E_* */
    uint32_t        retry_after;   /* milliseconds */
    uint8_t         flags;         /* ZLT_R_*, ZLT_C_* */
    uint16_t        preferred_port;
    uint16_t        port;
    zlt_str_t       public_addr;   /* "host:port" */
    uint8_t         action;        /* ZLT_D_* */
    zlt_str_t       allow;         /* token names, comma-separated */
    zlt_str_t       hosts;         /* names of hosts, comma-separated */
    zlt_str_t       urls;          /* .. where they are, blank-separated */
    zlt_str_t       target;        /* "host:port" */
    zlt_str_t       served_by;     /* a token's name */
};


/*
 * Decodes the message at the start of buf.  max_payload is the limit of the
 * channel: ZLT_MAX_PAYLOAD or ZLT_MAX_CHANNEL_FRAME; it is checked before
 * the length is used, and the type before the length.
 *
 * ZLT_OK: *m is filled, *used is the size of the message, header included.
 * ZLT_AGAIN: buf holds less than the message; *used is the number of bytes
 * that are needed in all to get further (5, then 5 + length).
 * Otherwise a protocol error, ZLT_ERR_*.
 */
int zlt_msg_decode(zlt_msg_t *m, const uint8_t *buf, size_t len,
    size_t max_payload, size_t *used);

/*
 * Encodes *m.  Returns the size of the message in bytes, or 0 if it does not
 * fit into size bytes, if a string is too long for its length field, or if
 * the payload would exceed ZLT_MAX_PAYLOAD; nor is a message encoded that no
 * decoder takes for its type, its protocol, or an id or key that is NULL.
 * Strings are not looked into: that they are UTF-8 is up to the caller.
 */
size_t zlt_msg_encode(const zlt_msg_t *m, uint8_t *buf, size_t size);

/* "Register", "ConnectAck", ...; "unknown" for others.  Static. */
const char *zlt_msg_name(unsigned type);

/* A text for ZLT_ERR_*: "payload too short", ...  Static. */
const char *zlt_msg_strerror(int rc);


#endif /* ZLT_MSG_H_INCLUDED */
