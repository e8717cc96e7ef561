
/*
 * Copyright (C) zltunnel authors
 */

/* Files with a secret in them, and who can read them. */


#ifndef ZLT_SECRET_H_INCLUDED
#define ZLT_SECRET_H_INCLUDED


#include <sys/stat.h>


/*
 * NULL if the file is kept from others; else a static text, "can be read by
 * ...".  A group that we are in may read it, as volumes of Kubernetes have it,
 * which is told in the log.
 */
const char *zlt_secret_exposed(const char *file, const struct stat *st);

/* 1 if the file is one of systemd's credentials, which are guarded by their
   directory */
int zlt_secret_credential(const char *file);


#endif /* ZLT_SECRET_H_INCLUDED */
