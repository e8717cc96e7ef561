
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_VISIT_UDP_H_INCLUDED_
#define _NGX_ZLTUNNEL_VISIT_UDP_H_INCLUDED_


#include "ngx_zltunnel.h"


/* data: frames that came behind the request */
void ngx_zltunnel_visit_udp_start(ngx_zltunnel_visit_t *visit, u_char *data,
    size_t len);
/* one of its rates was "old", and is another now */
void ngx_zltunnel_visit_udp_pace(ngx_zltunnel_visit_t *visit, uint64_t old,
    uint64_t rate);
/* frees what it has */
void ngx_zltunnel_visit_udp_done(ngx_zltunnel_visit_t *visit);


#endif /* _NGX_ZLTUNNEL_VISIT_UDP_H_INCLUDED_ */
