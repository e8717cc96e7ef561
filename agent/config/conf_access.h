
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONF_ACCESS_H_INCLUDED
#define ZLT_CONF_ACCESS_H_INCLUDED


#include "conf_file.h"


int zlt_conf_access_begin(zlt_conf_file_t *f, const char *name);
int zlt_conf_access_key(zlt_conf_file_t *f, const char *key,
    const char *value, char *error);
int zlt_conf_access_end(zlt_conf_file_t *f);
int zlt_conf_access_open_begin(zlt_conf_file_t *f, const char *name);
int zlt_conf_access_open_key(zlt_conf_file_t *f, const char *key,
    const char *value, char *error);
int zlt_conf_access_open_end(zlt_conf_file_t *f);


#endif /* ZLT_CONF_ACCESS_H_INCLUDED */
