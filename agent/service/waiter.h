
/*
 * Copyright (C) zltunnel authors
 */

/* Who waits for the addresses of a service. */


#ifndef ZLT_WAITER_H_INCLUDED
#define ZLT_WAITER_H_INCLUDED


#include "zlt_list.h"


typedef struct zlt_waiter_s  zlt_waiter_t;

typedef void (*zlt_waiter_pt)(zlt_waiter_t *waiter, const char *error);


struct zlt_waiter_s {
    zlt_list_t           link;
    zlt_waiter_pt        handler;
};


#endif /* ZLT_WAITER_H_INCLUDED */
