
/*
 * Copyright (C) zltunnel authors
 */

/* Whether a file is still the one that was read. */


#ifndef ZLT_STAMP_H_INCLUDED
#define ZLT_STAMP_H_INCLUDED


#include <sys/stat.h>


typedef struct {
    dev_t            dev;
    ino_t            ino;              /* 0: there is no such file */
    off_t            size;
    struct timespec  modified;
    struct timespec  changed;
} zlt_stamp_t;


/*
 * What stat(2) tells of the file, through symbolic links, so that a link that
 * leads elsewhere counts as another file.  To be taken before it is read: what
 * changes meanwhile has changed the next time.  file may be NULL; a pipe, which
 * can be read once only, is none.
 */
void zlt_stamp_take(zlt_stamp_t *stamp, const char *file);

/* 1 if there is another one, or none any more; *stamp is as it is now then. */
int zlt_stamp_changed(zlt_stamp_t *stamp, const char *file);


#endif /* ZLT_STAMP_H_INCLUDED */
