
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CTL_CLIENT_H_INCLUDED
#define ZLT_CTL_CLIENT_H_INCLUDED


#include "text.h"


/* a request */

#define ZLT_CTL_WORDS    8
#define ZLT_CTL_REQUEST  1024          /* bytes, the newline included */
#define ZLT_CTL_ERROR    1024


/*
 * Asks the process at path (NULL: the default one), with words joined to a
 * request.  ZLT_EXIT_OK with the answer in *text, or another exit code, after
 * a complaint.
 */
int zlt_ctl_client_call(const char *path, const char *const *words, unsigned n,
    zlt_text_t *text);

/* The same, with the complaint in error (ZLT_CTL_ERROR bytes). */
int zlt_ctl_client_try(const char *path, const char *const *words, unsigned n,
    zlt_text_t *text, char *error);


#endif /* ZLT_CTL_CLIENT_H_INCLUDED */
