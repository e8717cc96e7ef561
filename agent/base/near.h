
/*
 * Copyright (C) zltunnel authors
 */

/* Which word was meant by one that is not known. */


#ifndef ZLT_NEAR_H_INCLUDED
#define ZLT_NEAR_H_INCLUDED


typedef struct {
    const char   *word;        /* what was written */
    const char   *best;        /* NULL: none is near */
    unsigned      distance;    /* of the best */
} zlt_near_t;


void zlt_near_init(zlt_near_t *n, const char *word);

/* A word that is known, and stays where it is. */
void zlt_near_try(zlt_near_t *n, const char *known);


#endif /* ZLT_NEAR_H_INCLUDED */
