
/*
 * Copyright (C) zltunnel authors
 */

/* How a service is checked, as users write it: "tcp", "http:/PATH". */


#ifndef ZLT_OPTION_CHECK_H_INCLUDED
#define ZLT_OPTION_CHECK_H_INCLUDED


#include "option_service.h"


/* 0, or -1 with a static text in error */
int zlt_option_check(const char *text, zlt_service_conf_t *s,
    const char **error);

/* combinations that make no sense, once all is set; as above */
int zlt_option_check_fits(const zlt_service_conf_t *s, const char **error);

/* The path that is asked for, NULL: a connection is enough. */
const char *zlt_option_check_path(const zlt_service_conf_t *s);

/* 1 if both are checked alike, at the same place */
int zlt_option_check_same(const zlt_service_conf_t *a,
    const zlt_service_conf_t *b);


#endif /* ZLT_OPTION_CHECK_H_INCLUDED */
