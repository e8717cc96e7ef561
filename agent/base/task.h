
/*
 * Copyright (C) zltunnel authors
 */

/* Something to do in the next turn of the loop, or after this one: io.h. */


#ifndef ZLT_TASK_H_INCLUDED
#define ZLT_TASK_H_INCLUDED


#include "types.h"
#include "zlt_list.h"


typedef void (*zlt_task_pt)(zlt_task_t *task);


struct zlt_task_s {
    zlt_list_t   link;
    zlt_task_pt  handler;
};


#endif /* ZLT_TASK_H_INCLUDED */
