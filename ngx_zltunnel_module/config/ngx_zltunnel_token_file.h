
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_TOKEN_FILE_H_INCLUDED_
#define _NGX_ZLTUNNEL_TOKEN_FILE_H_INCLUDED_


#include "ngx_zltunnel.h"


/*
 * Reads the registry's token file into registry->tokens; NGX_ERROR with a
 * message that names file and line.  At configuration time cf is given, and
 * readability by the workers' user is checked too.  The old set stays in
 * force unless the new one is whole.
 */
ngx_int_t ngx_zltunnel_token_file_read(ngx_zltunnel_registry_t *registry,
    ngx_conf_t *cf, ngx_log_t *log);
/* the same with a text that is not of a file: that of token_key=; data is
   changed, and has room for one more byte */
ngx_int_t ngx_zltunnel_token_file_text(ngx_zltunnel_registry_t *registry,
    u_char *data, size_t len, ngx_log_t *log);
/* to be called every second: 1 if a changed file has been taken over */
ngx_uint_t ngx_zltunnel_token_file_follow(ngx_zltunnel_registry_t *registry,
    ngx_log_t *log);


#endif /* _NGX_ZLTUNNEL_TOKEN_FILE_H_INCLUDED_ */
