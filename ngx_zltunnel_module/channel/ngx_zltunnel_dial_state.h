
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DIAL_STATE_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_STATE_H_INCLUDED_


#include "ngx_zltunnel.h"


typedef enum {
    NGX_ZLTUNNEL_DIAL_NEW = 0,
    NGX_ZLTUNNEL_DIAL_LOOKING,      /* decides what is next */
    NGX_ZLTUNNEL_DIAL_TAKING,       /* another worker was asked for an idle
                                       channel */
    NGX_ZLTUNNEL_DIAL_QUEUED,       /* until it is its turn to ask the agent */
    NGX_ZLTUNNEL_DIAL_WAITING,      /* for the agent, or for the channel that
                                       it was asked for */
    NGX_ZLTUNNEL_DIAL_ASKED,        /* Connect went on a channel */
    NGX_ZLTUNNEL_DIAL_OVER,
    NGX_ZLTUNNEL_DIAL_FAULT         /* its timer ends it */
} ngx_zltunnel_dial_state_e;


/* the only way to another state, see ngx_zltunnel_dial_state.c */
void ngx_zltunnel_dial_state(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_state_e state);


#endif /* _NGX_ZLTUNNEL_DIAL_STATE_H_INCLUDED_ */
