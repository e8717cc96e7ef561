
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a token file says.  ngx_zltunnel_token_file.c reads and follows the
 * file.
 */


#ifndef _NGX_ZLTUNNEL_TOKEN_H_INCLUDED_
#define _NGX_ZLTUNNEL_TOKEN_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_TOKEN_ERROR  512


struct ngx_zltunnel_token_s {
    u_char                       hash[32];    /* SHA-256 of the token */
    ngx_str_t                    name;
    ngx_array_t                 *services;    /* ngx_str_t, globs; NULL: any */
    ngx_array_t                 *ports;       /* in_port_t[2]; NULL: any */
    unsigned                     tcp:1;
    unsigned                     udp:1;
    ngx_array_t                 *hosts;       /* ngx_str_t: names, "*.NAME" or
                                                 "auto"; NULL: none */
    ngx_uint_t                   max_hosts;      /* 0: the block's */
    ngx_uint_t                   max_services;   /* 0: the block's */
    ngx_uint_t                   max_connections;   /* of all its tunnels */
    ngx_uint_t                   max_udp_sessions;  /* together; 0: no limit */
    uint64_t                     rate;           /* bytes a second, likewise */
    ngx_uint_t                   sessions;       /* default 1 */
    time_t                       expires;        /* 0: never */
    ngx_array_t                 *access;         /* ngx_zltunnel_token_
                                                    access_t; NULL: none */
    time_t                       access_ttl;     /* seconds; 0: no limit */
    ngx_uint_t                   max_access;     /* sessions */
    ngx_array_t                 *certs;       /* ngx_zltunnel_cert_t, one of
                                                 which it must be; NULL: any
                                                 or none */
};


/* an entry of access=: "NAME", "PREFIX*" or "*", and "@TOKENNAME" perhaps */

typedef struct {
    ngx_str_t                    name;
    ngx_str_t                    token;          /* empty: of any token */
} ngx_zltunnel_token_access_t;


/* What is wrong with a file; never anything of a token or of its hash. */

typedef struct {
    ngx_err_t                    err;
    ngx_uint_t                   line;        /* 0: the file as a whole */
    u_char                       text[NGX_ZLTUNNEL_TOKEN_ERROR];
} ngx_zltunnel_token_error_t;


struct ngx_zltunnel_tokens_s {
    ngx_pool_t                  *pool;
    ngx_array_t                  tokens;      /* ngx_zltunnel_token_t */
    ngx_uint_t                   many;        /* there is more than one name */
    ngx_uint_t                   nbad;        /* lines that were left out */
    ngx_zltunnel_token_error_t   bad;         /* .. the first of them */
    time_t                       written;     /* the file in force */
    ngx_uint_t                   stuck;       /* the last one could not be
                                                 taken over */
    time_t                       mtime;
    long                         mtime_nsec;
    off_t                        size;
    dev_t                        dev;         /* numbers its files itself */
    ngx_file_uniq_t              uniq;
    ngx_msec_t                   changed;     /* first seen different */
    time_t                       complained;  /* when this was logged: */
    ngx_zltunnel_token_error_t   complaint;
};


/* the token with this hash, of the file or let in by zltunnel_auth; an expired
   one too: the caller asks ngx_zltunnel_token_expired() */
ngx_zltunnel_token_t *ngx_zltunnel_token_find(
    ngx_zltunnel_registry_t *registry, u_char hash[32]);
/* .. its line of the file only, compared with every line in constant time */
ngx_zltunnel_token_t *ngx_zltunnel_token_line_of(
    ngx_zltunnel_registry_t *registry, u_char hash[32]);
ngx_uint_t ngx_zltunnel_token_expired(ngx_zltunnel_token_t *token);
/*
 * Adds the tokens in data, the contents of a token file, to the set, whose
 * pool keeps what it needs of them; data is changed.  NGX_ERROR: *e is
 * filled, the set is not to be used.  live: the file of a running server, in
 * which a bad line costs its own token, and the last line must have an end,
 * since somebody may be writing.
 */
ngx_int_t ngx_zltunnel_token_parse(ngx_zltunnel_tokens_t *set, u_char *data,
    size_t len, ngx_uint_t live, ngx_zltunnel_token_error_t *e);


#endif /* _NGX_ZLTUNNEL_TOKEN_H_INCLUDED_ */
