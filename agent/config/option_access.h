
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_OPTION_ACCESS_H_INCLUDED
#define ZLT_OPTION_ACCESS_H_INCLUDED


#include "option_service.h"
#include "types.h"


/* an access session: a service of others, and where it is to be here */

struct zlt_access_conf_s {
    char         name[ZLT_MAX_NAME + 1];
    char         service[ZLT_MAX_NAME + 1];
    char         host[ZLT_OPTION_HOST_MAX + 1];   /* an address, or a path */
    char         target[ZLT_MAX_TARGET + 1];      /* empty: none */
    uint16_t     port;                            /* 0: any */
    uint8_t      protocol;                        /* ZLT_PROTO_* */
    uint32_t     ttl;                             /* s, 0: no end */
    uint32_t     grace;                           /* s */
    unsigned     is_unix:1;
    unsigned     has_local:1;
};

#define ZLT_ACCESS_TTL  3600


void zlt_option_access_init(zlt_access_conf_t *a);

/* NAME[/udp][:LOCAL_PORT] */
int zlt_option_access(const char *text, zlt_access_conf_t *a,
    const char **error);
int zlt_option_access_name(const char *text, zlt_access_conf_t *a,
    const char **error);

/* [ADDRESS:]PORT, unix:/PATH */
int zlt_option_access_local(const char *text, zlt_access_conf_t *a,
    const char **error);

/* HOST:PORT */
int zlt_option_access_target(const char *text, zlt_access_conf_t *a,
    const char **error);
int zlt_option_access_check(const zlt_access_conf_t *a, const char **error);


#endif /* ZLT_OPTION_ACCESS_H_INCLUDED */
