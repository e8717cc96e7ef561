
/*
 * Copyright (C) zltunnel authors
 */

/* The configuration, from a file or from the command line. */


#ifndef ZLT_CONF_H_INCLUDED
#define ZLT_CONF_H_INCLUDED


#include "log.h"
#include "options.h"
#include "transport.h"
#include "via.h"


#define ZLT_CONF_ERROR_SIZE    512
#define ZLT_CONF_MAX_SERVICES  1024


typedef struct {
    char                *server;
    char                *token_file;       /* NULL: ZLTUNNEL_TOKEN */
    char                *ca_file;          /* NULL: the system's */

    char                *cert;             /* NULL: none */
    char                *key;              /* NULL: in cert */
    char                *proxy;            /* NULL: the environment's */
    char                *proxy_file;

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
    uint32_t             transport;        /* zlt_transport_e */

    zlt_service_conf_t  *services;
    unsigned             nservices;

    zlt_url_t            url;              /* of server */
    zlt_via_t            via;              /* zlt_via_choose() */
} zlt_conf_t;


#define ZLT_CONF_UNSET  0xffffffff


void zlt_conf_init(zlt_conf_t *conf);
void zlt_conf_free(zlt_conf_t *conf);

/*
 * Sets one key of [agent].  0, or -1 with a text in error
 * (ZLT_CONF_ERROR_SIZE bytes).
 */
int zlt_conf_set(zlt_conf_t *conf, const char *key, const char *value,
    char *error);

/* A copy of *s; -1 if the name and protocol are there already. */
int zlt_conf_add_service(zlt_conf_t *conf, const zlt_service_conf_t *s,
    char *error);

/* What must be there and what does not go together. */
int zlt_conf_check(zlt_conf_t *conf, char *error);

/*
 * Reads and checks a file into *conf, which was initialized.  0, or -1 with
 * "file:line: what" in error; *conf may then be half filled.
 */
int zlt_conf_read(zlt_conf_t *conf, const char *file, char *error);


#endif /* ZLT_CONF_H_INCLUDED */
