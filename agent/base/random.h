
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_RANDOM_H_INCLUDED
#define ZLT_RANDOM_H_INCLUDED


#include <stdint.h>


/* A random number below n, n > 0. */
uint32_t zlt_random_below(uint32_t n);


#endif /* ZLT_RANDOM_H_INCLUDED */
