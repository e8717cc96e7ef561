
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_AUTH_PLACE_H_INCLUDED_
#define _NGX_ZLTUNNEL_AUTH_PLACE_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_IN_USE        256     /* bytes, with who uses a token */


typedef struct {
    ngx_zltunnel_token_t      *token;
    ngx_uint_t                 resume;     /* taken over with its key */
    ngx_uint_t                 taken;      /* over, from slot */
    ngx_uint_t                 slot;
    u_char                     data_key[ZLT_KEY_SIZE];
    u_char                     resume_key[ZLT_KEY_SIZE];
    ngx_uint_t                 code;       /* of AuthFail */
    const char                *reason;
    ngx_msec_t                 retry;      /* .. when to ask again, or 0 */
    char                       text[NGX_ZLTUNNEL_IN_USE];  /* .. if it says
                                                              more */
} ngx_zltunnel_auth_t;


/* Under the lock.  NGX_OK: the tunnel is the control channel's; NGX_AGAIN: it
   will be if its agent does not answer a heartbeat; NGX_DECLINED: there is
   none, and the session says why. */
ngx_int_t ngx_zltunnel_auth_place_find(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_auth_t *session);


#endif /* _NGX_ZLTUNNEL_AUTH_PLACE_H_INCLUDED_ */
