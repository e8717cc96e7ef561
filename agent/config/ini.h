
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A reader of INI files: sections, keys and values, line by line, and nothing
 * of what they mean.
 *
 *     [section]            ; a comment, # as well
 *     key = value          ; or key : value
 *         more of it
 *
 * A comment begins a line, or stands after a blank.  A line may begin with
 * blanks, as git's files have it: if it has the form of a key, it is one;
 * otherwise it goes on with the key before.
 */


#ifndef ZLT_INI_H_INCLUDED
#define ZLT_INI_H_INCLUDED


#define ZLT_INI_MAX  (16 * 1024 * 1024)    /* bytes of a file */


typedef enum {
    ZLT_INI_END = 0,
    ZLT_INI_SECTION,           /* "value" is its name */
    ZLT_INI_KEY,
    ZLT_INI_MORE,              /* of the last key: another value */
    ZLT_INI_ERROR              /* "error" says which; nothing comes after it */
} zlt_ini_e;


typedef struct {
    char         *text;        /* of the whole file */
    char         *next;        /* where the next line begins; NULL: no more */
    unsigned      line;        /* of what was read last, from 1 on */
    const char   *key;         /* of the section; NULL: none yet */
    const char   *value;       /* these point into the text */
    const char   *error;       /* a static text */
} zlt_ini_t;


/* 0, or -1 with a text in *error: static, or the system's. */
int zlt_ini_open(zlt_ini_t *ini, const char *file, const char **error);

zlt_ini_e zlt_ini_next(zlt_ini_t *ini);

void zlt_ini_close(zlt_ini_t *ini);


#endif /* ZLT_INI_H_INCLUDED */
