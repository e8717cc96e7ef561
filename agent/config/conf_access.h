
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONF_ACCESS_H_INCLUDED
#define ZLT_CONF_ACCESS_H_INCLUDED


#include "conf_file.h"


/* [access NAME], and [access], which describes the open service */
extern const zlt_conf_section_t  zlt_conf_access_section;
extern const zlt_conf_section_t  zlt_conf_access_open;


#endif /* ZLT_CONF_ACCESS_H_INCLUDED */
