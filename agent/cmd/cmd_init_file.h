
/*
 * Copyright (C) zltunnel authors
 */

/* The files that "zltunnel-agent init" writes. */


#ifndef ZLT_CMD_INIT_FILE_H_INCLUDED
#define ZLT_CMD_INIT_FILE_H_INCLUDED


#include "text.h"


/* whose a file is, if there is such a user, or group, and if we are root */

typedef struct {
    const char  *user;         /* NULL: ours */
    const char  *group;        /* NULL: the user's */
    unsigned     mode;
} zlt_cmd_init_owner_t;


/* All return 0, or -1, and have said then what is wrong. */

/* Makes a directory, and those above it, where it is not there. */
int zlt_cmd_init_file_dir(const char *dir);

/* Whether the file may be written: it is not there, or has nothing but comments
   in it, or force is set. */
int zlt_cmd_init_file_free(const char *file, int force);

/* Writes it, as a whole or not at all. */
int zlt_cmd_init_file_write(const char *file, const zlt_text_t *text,
    const zlt_cmd_init_owner_t *owner);

/* Adds lines to the end of a file, which may be missing; owner and mode of one
   that is there are kept. */
int zlt_cmd_init_file_add(const char *file, const zlt_text_t *text,
    const zlt_cmd_init_owner_t *owner);


#endif /* ZLT_CMD_INIT_FILE_H_INCLUDED */
