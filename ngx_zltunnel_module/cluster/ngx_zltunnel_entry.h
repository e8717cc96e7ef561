
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A service as it is in the engine: one line of text, without its id, which is
 * the name of its field.
 *
 *     tcp web token=site port=7001 flags=1 down=1 hosts=a.example.com,b.example.com
 *
 * What is 0 or empty is left out.  A word that is not known is passed over, so that
 * another version of this may have more of them.
 */


#ifndef _NGX_ZLTUNNEL_ENTRY_H_INCLUDED_
#define _NGX_ZLTUNNEL_ENTRY_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_registry.h"


#define NGX_ZLTUNNEL_ENTRY_HOSTS  64
/* the longest line */
#define NGX_ZLTUNNEL_ENTRY_SIZE   (NGX_ZLTUNNEL_ENTRY_HOSTS * 256 + 1024)


/* under the lock; there has to be room; returns the end */
u_char *ngx_zltunnel_entry_write(u_char *p,
    ngx_zltunnel_sh_service_t *service);
/* what the texts of *service lead to is within the line; NGX_ERROR: it is none */
ngx_int_t ngx_zltunnel_entry_read(ngx_str_t *line,
    ngx_zltunnel_remote_service_t *service);
/* takes what is before the next "at", or the rest, off the text; 0: it was empty */
ngx_uint_t ngx_zltunnel_entry_part(ngx_str_t *text, u_char at,
    ngx_str_t *part);
/* two numbers that tell one line from another, as one */
uint64_t ngx_zltunnel_entry_hash(u_char *data, size_t len);
/* of 32 hexadecimal digits; NGX_ERROR: it is something else */
ngx_int_t ngx_zltunnel_entry_id(ngx_str_t *text, u_char *id);


#endif /* _NGX_ZLTUNNEL_ENTRY_H_INCLUDED_ */
