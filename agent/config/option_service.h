
/*
 * Copyright (C) zltunnel authors
 */

/* A service, as users write it, on the command line and in the file. */


#ifndef ZLT_OPTION_SERVICE_H_INCLUDED
#define ZLT_OPTION_SERVICE_H_INCLUDED


#include <stdint.h>

#include "types.h"
#include "zlt_msg.h"


#define ZLT_OPTION_HOST_MAX   255
#define ZLT_OPTION_LOCAL_MAX  (ZLT_OPTION_HOST_MAX + 16)
#define ZLT_OPTION_ALLOW_MAX  199
#define ZLT_OPTION_CHECK_MAX  (5 + 255)            /* "http:", a path */
#define ZLT_OPTION_HOSTS      64       /* of a service */
#define ZLT_OPTION_HOSTS_MAX  1023     /* bytes, with commas between them */


/* what becomes of the port of a service that is down */

typedef enum {
    ZLT_ON_FAIL_KEEP = 0,
    ZLT_ON_FAIL_REFUSE             /* it is closed */
} zlt_on_fail_e;


/* a service, as it is configured */

struct zlt_service_conf_s {
    char         name[ZLT_MAX_NAME + 1];
    char         host[ZLT_OPTION_HOST_MAX + 1];   /* or a socket's path */
    char         local[ZLT_OPTION_LOCAL_MAX];     /* as it is shown */
    uint16_t     port;                            /* the first of a range */
    uint16_t     ports;                           /* 0: it is no range */
    uint16_t     remote_port;                     /* 0: any; as port */
    uint16_t     remote_ports;
    uint16_t     preferred_port;                  /* 0: none */
    uint8_t      protocol;                        /* ZLT_PROTO_* */
    uint8_t      flags;                           /* ZLT_R_* */
    uint8_t      proxy_protocol;                  /* 0: none, 1, 2 */
    unsigned     is_unix:1;
    unsigned     has_local:1;
    unsigned     bare:1;                          /* a port alone: 127.0.0.1,
                                                     and for TCP ::1 then */
    unsigned     any_port:1;                      /* asked for, as 0 */
    uint8_t      on_fail;                         /* zlt_on_fail_e */
    uint32_t     check_interval;                  /* ms */
    uint32_t     check_timeout;
    uint32_t     check_fails;                     /* in a row */
    char         check[ZLT_OPTION_CHECK_MAX + 1]; /* option_check.c; "": is
                                                     not checked */
    char         allow_access[ZLT_OPTION_ALLOW_MAX + 1];  /* token names */
    char         hosts[ZLT_OPTION_HOSTS_MAX + 1];   /* option_host.c */
};


/* All return 0, or -1; those with "error" put a static text there. */

/* NAME:[HOST:]PORT[:REMOTE_PORT][/udp][/private][/internal][/proxy-v1],
   where PORT may be FIRST-LAST; NAME:unix:/PATH[:REMOTE_PORT], and a port
   alone, which is the name, too.  s has its defaults already. */
int zlt_option_service(const char *text, zlt_service_conf_t *s,
    const char **error);

/* HOST:PORT, PORT, unix:/PATH; PORT may be FIRST-LAST */
int zlt_option_service_local(const char *text, zlt_service_conf_t *s,
    const char **error);

/* v1, v2, no */
int zlt_option_service_pp(const char *text, uint8_t *version);

int zlt_option_service_name(const char *text, zlt_service_conf_t *s,
    const char **error);

/* combinations that make no sense, once all is set */
int zlt_option_service_check(const zlt_service_conf_t *s, const char **error);

/* token names, comma-separated */
int zlt_option_service_allow(const char *text, zlt_service_conf_t *s,
    const char **error);


#endif /* ZLT_OPTION_SERVICE_H_INCLUDED */
