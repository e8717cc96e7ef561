
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_VISIT_SIDE_H_INCLUDED_
#define _NGX_ZLTUNNEL_VISIT_SIDE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_visit.h"


/* both channels are there; NGX_ERROR: one has failed */
ngx_int_t ngx_zltunnel_visit_side_start(ngx_zltunnel_visit_t *visit,
    ngx_zltunnel_end_t *service);
/* the beginning of a frame, for the next time: copied */
ngx_int_t ngx_zltunnel_visit_side_keep(ngx_zltunnel_visit_side_t *side,
    const u_char *data, size_t len);
/* Where a frame of that size to that side may be put; the caller raises
   side->out_len.  NULL: no memory, or far too much waits. */
u_char *ngx_zltunnel_visit_side_room(ngx_zltunnel_visit_side_t *side,
    size_t size);
/* puts a heartbeat there, with the time of now, or the answer to one */
ngx_int_t ngx_zltunnel_visit_side_beat(ngx_zltunnel_visit_side_t *side,
    ngx_uint_t type, uint64_t timestamp);


#endif /* _NGX_ZLTUNNEL_VISIT_SIDE_H_INCLUDED_ */
