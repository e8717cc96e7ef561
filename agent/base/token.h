
/*
 * Copyright (C) zltunnel authors
 */

/* The token: a secret, from a file or the environment, never from argv. */


#ifndef ZLT_TOKEN_H_INCLUDED
#define ZLT_TOKEN_H_INCLUDED


#include <stddef.h>


#define ZLT_TOKEN_MAX         4096
#define ZLT_TOKEN_ERROR_SIZE  512
#define ZLT_TOKEN_ENV         "ZLTUNNEL_TOKEN"


typedef struct {
    size_t       len;
    char         text[ZLT_TOKEN_MAX];
} zlt_token_t;


/*
 * Reads the token from file, or where that is NULL from the environment.
 * 0, or -1 with a text in error, that has no part of the token in it.
 */
int zlt_token_read(zlt_token_t *token, const char *file, char *error);

/* Takes off what is blank around it.  0, or -1 with a text in error if that is
   no token alone; "from" tells where it is from. */
int zlt_token_check(zlt_token_t *token, const char *from, char *error);

/* 1 if it has the form of a token's hash, which is for the server: by mistake,
   or because somebody likes such tokens. */
int zlt_token_is_hash(const zlt_token_t *token);

/* Overwrites it. */
void zlt_token_wipe(zlt_token_t *token);


#endif /* ZLT_TOKEN_H_INCLUDED */
