
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_PROXY_CHOOSE_H_INCLUDED
#define ZLT_PROXY_CHOOSE_H_INCLUDED


#include "types.h"


/*
 * Which proxy leads to url: the one given, else that in the file, where both
 * are NULL that of the environment; ZLT_PROXY_NONE where there is none.  0, or
 * -1 with a text in error (ZLT_PROXY_ERROR_SIZE bytes).
 */
int zlt_proxy_choose(zlt_proxy_t *via, const zlt_url_t *url, const char *proxy,
    const char *file, char *error);


#endif /* ZLT_PROXY_CHOOSE_H_INCLUDED */
