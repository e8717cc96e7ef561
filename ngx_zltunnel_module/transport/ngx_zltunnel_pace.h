
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How fast bytes may move, for who moves them: connections by a relay or lent to
 * nginx's upstream code, and datagrams.
 */


#ifndef _NGX_ZLTUNNEL_PACE_H_INCLUDED_
#define _NGX_ZLTUNNEL_PACE_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_PACES  2       /* that hold for one direction, at most */


typedef struct ngx_zltunnel_pace_s  ngx_zltunnel_pace_t;


/* a rate, and the clock of all that share it */

struct ngx_zltunnel_pace_s {
    uint64_t                     rate;        /* bytes a second; 0: no limit */
    uint64_t                     clock;       /* of zlt_pace.h, without find */

    /* Where the clock is that others share; NULL: there is none now, and one of
       so many parts of the rate holds here.  May be NULL. */
    uint64_t                  *(*find)(ngx_zltunnel_pace_t *pace);
    ngx_uint_t                   parts;
};


/* what one direction has reserved, all zero at the start */

typedef struct {
    size_t                       left;        /* bytes */
    ngx_msec_t                   due;         /* .. may go then, if it waits */
    ngx_uint_t                   waits;       /* a flag */
} ngx_zltunnel_portion_t;


#define ngx_zltunnel_pace_set(pace)  ((pace) && (pace)->rate)

/* whether there is a limit, now */
#define ngx_zltunnel_paced(by)                                                \
    (ngx_zltunnel_pace_set((by)[0]) || ngx_zltunnel_pace_set((by)[1]))


/* How many bytes may move now.  0: portion->due says when to ask again. */
size_t ngx_zltunnel_pace_ask(ngx_zltunnel_pace_t **by,
    ngx_zltunnel_portion_t *portion);
/* whether that time has not come yet */
ngx_uint_t ngx_zltunnel_pace_waits(ngx_zltunnel_portion_t *portion);
/* so many of those did; portion->left are left */
#define ngx_zltunnel_pace_used(portion, n)  ((portion)->left -= (n))
/* what is left will not move, or not soon */
void ngx_zltunnel_pace_back(ngx_zltunnel_pace_t **by,
    ngx_zltunnel_portion_t *portion);
/* so many bytes have moved that nobody asked for */
void ngx_zltunnel_pace_spend(ngx_zltunnel_pace_t **by, size_t n);
/* One of its rates is another now: its time comes earlier, or later.  0: it does
   not wait. */
ngx_uint_t ngx_zltunnel_pace_rescale(ngx_zltunnel_portion_t *portion,
    uint64_t old, uint64_t rate);
/* a datagram may pass; 0: it is to be dropped */
ngx_uint_t ngx_zltunnel_pace_datagram(ngx_zltunnel_pace_t **by,
    ngx_zltunnel_portion_t *portion, size_t n);


#endif /* _NGX_ZLTUNNEL_PACE_H_INCLUDED_ */
