
/*
 * Copyright (C) zltunnel authors
 */

/* The configuration, from a file or from the command line. */


#ifndef ZLT_CONF_H_INCLUDED
#define ZLT_CONF_H_INCLUDED


#include "allow.h"
#include "key.h"
#include "types.h"
#include "url.h"
#include "via.h"
#include "zlt_types.h"


#define ZLT_CONF_ERROR_SIZE    512
#define ZLT_CONF_MAX_SERVICES  1024
#define ZLT_CONF_MAX_ACCESS    1024
#define ZLT_CONF_MAX_SERVERS   8
#define ZLT_CONF_MAX_NODES     16
#define ZLT_CONF_NODE_MAX      63

#define ZLT_CONF_AGENT         "agent"     /* the link that [agent] makes */


typedef enum {
    ZLT_CONF_STANDBY = 0,                  /* one server, others in reserve */
    ZLT_CONF_ALL                           /* at each of them */
} zlt_conf_mode_e;


typedef struct {
    char                *text;
    zlt_url_t            url;
} zlt_server_conf_t;


/* a link: [agent] with its services, or a tunnel between nodes */

/* "visitor": access at addresses of this machine, or at stdin and stdout */
#define ZLT_CONF_VISITOR  1
#define ZLT_CONF_STDIO    2

/* "sole": one service, of which the URL alone is printed, with a QR code */
#define ZLT_CONF_URL      1
#define ZLT_CONF_QR       2


struct zlt_conf_s {
    char                 name[ZLT_MAX_NAME + 1];
    char                 to[ZLT_CONF_NODE_MAX + 1];        /* "": no node */

    zlt_server_conf_t   *servers;          /* in the order of preference */
    unsigned             nservers;
    unsigned             current;          /* whose url it is below */
    uint32_t             mode;             /* zlt_conf_mode_e */
    uint32_t             nodes;            /* links of that mode, at most */

    char                *control;          /* of the process; NULL: default */
    char                *metrics;          /* .. as well; NULL: nowhere */
    char                *token_file;       /* NULL: ZLTUNNEL_TOKEN */
    char                *ca_file;          /* NULL: the system's */

    char                *cert;             /* NULL: none */
    char                *key;              /* NULL: in cert */
    char                *proxy;            /* NULL: the environment's */
    char                *proxy_file;
    char                *header;           /* as they are sent; NULL: none */
    char                *header_file;

    uint32_t             reconnect_interval;       /* ms */
    uint32_t             max_reconnect_interval;
    uint32_t             connect_timeout;
    uint32_t             shutdown_timeout;

    uint32_t             udp_timeout;
    uint32_t             max_udp_sessions; /* a service */

    uint32_t             min_idle;         /* ZLT_CONF_UNSET: the server's */
    uint32_t             max_idle;
    uint32_t             insecure;
    uint32_t             log_level;        /* zlt_log_level_e */
    uint32_t             log_format;       /* 1: JSON */
    char                *log;              /* where; NULL: stderr */
    uint32_t             transport;        /* zlt_transport_e */

    zlt_service_conf_t  *services;
    unsigned             nservices;

    zlt_access_conf_t   *accesses;
    unsigned             naccesses;
    zlt_allow_t          allow;            /* of the open service */
    uint32_t             visitor;          /* ends with its access sessions */
    uint32_t             sole;             /* ends if its service is refused */

    const char          *server;           /* the current one; NULL: none */
    zlt_url_t            url;
    zlt_proxy_t          via;              /* zlt_link_way() */
    uint32_t             set;              /* keys that were set, a bit each */
};


#define ZLT_CONF_UNSET  0xffffffff


void zlt_conf_init(zlt_conf_t *conf);
void zlt_conf_free(zlt_conf_t *conf);

/*
 * Sets one key of [agent].  0, or -1 with a text in error
 * (ZLT_CONF_ERROR_SIZE bytes).
 */
int zlt_conf_set(zlt_conf_t *conf, const zlt_key_t *k, const char *value,
    char *error);

/* A server more; the first is the current one.  As above. */
int zlt_conf_server_add(zlt_conf_t *conf, const char *value, char *error);

/* Makes the server of that number the current one. */
void zlt_conf_use(zlt_conf_t *conf, unsigned server);

/* What was not set in *conf is as in *from: 0, or -1 without memory. */
int zlt_conf_inherit(zlt_conf_t *conf, const zlt_conf_t *from);

/* What was set in *with is so in *conf: 0, or -1 without memory. */
int zlt_conf_override(zlt_conf_t *conf, const zlt_conf_t *with);

/* A copy with memory of its own; NULL without memory. */
zlt_conf_t *zlt_conf_copy(const zlt_conf_t *conf);

/* Frees what zlt_conf_copy() has returned. */
void zlt_conf_destroy(zlt_conf_t *conf);

/* Leaves that server only. */
void zlt_conf_only(zlt_conf_t *conf, unsigned server);

/* A copy of *s; -1 if the name and protocol are there already. */
int zlt_conf_add_service(zlt_conf_t *conf, const zlt_service_conf_t *s,
    char *error);

/* The same for an access session: conf_access.c. */
int zlt_conf_access_add(zlt_conf_t *conf, const zlt_access_conf_t *a,
    char *error);

/* 1 if somebody has given that key a value */
int zlt_conf_is_set(const zlt_conf_t *conf, const char *key);

/* What must be there and what does not go together. */
int zlt_conf_check(const zlt_conf_t *conf, char *error);

/* How data channels go to the server that url is of: zlt_transport_e. */
uint32_t zlt_conf_transport(const zlt_conf_t *conf);


#endif /* ZLT_CONF_H_INCLUDED */
