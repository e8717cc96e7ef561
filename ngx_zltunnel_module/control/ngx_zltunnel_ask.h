
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Decisions of the system behind zltunnel_auth: whether a token is let in, with
 * which rights, and for how long that is known.
 */


#ifndef _NGX_ZLTUNNEL_ASK_H_INCLUDED_
#define _NGX_ZLTUNNEL_ASK_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_registry.h"


typedef struct ngx_zltunnel_ask_s       ngx_zltunnel_ask_t;
typedef struct ngx_zltunnel_ask_conf_s  ngx_zltunnel_ask_conf_t;


typedef enum {
    NGX_ZLTUNNEL_ASK_ALLOWED = NGX_ZLTUNNEL_ALLOWED,
    NGX_ZLTUNNEL_ASK_REFUSED = NGX_ZLTUNNEL_REFUSED,
    NGX_ZLTUNNEL_ASK_FAILED = NGX_ZLTUNNEL_UNSAID
} ngx_zltunnel_ask_verdict_e;


/* what came of it; reason: of a refusal, or NULL */
typedef void (*ngx_zltunnel_asked_pt)(ngx_zltunnel_control_t *control,
    ngx_zltunnel_ask_verdict_e verdict, const char *reason);


/* what is asked; there while it is begun only */

typedef struct {
    ngx_str_t                   *token;      /* printable */
    ngx_str_t                   *agent;      /* its name and version, same */
    ngx_str_t                   *host;       /* what the agent called us */
    ngx_connection_t            *client;
} ngx_zltunnel_ask_question_t;


typedef struct {
    ngx_uint_t                   status;     /* of http; 504: none in time */
    ngx_str_t                    rights;     /* "NAME key=value ...", or empty */
    const char                  *wrong;      /* what is, with them; or NULL */
    ngx_str_t                    reason;     /* of a refusal, or empty */
    time_t                       max_age;    /* s; 0: asked every time */
} ngx_zltunnel_ask_answer_t;


/* of a location with zltunnel_auth, and who asks there; http hands it in */

struct ngx_zltunnel_ask_conf_s {
    /* begins to ask; the answer goes to ngx_zltunnel_ask_answered(), later.
       NULL: it cannot. */
    void                      *(*start)(ngx_zltunnel_ask_conf_t *conf,
                                        ngx_zltunnel_ask_question_t *question,
                                        ngx_zltunnel_ask_t *ask);
    void                       (*cancel)(void *request);
    void                        *data;       /* .. its own */
    ngx_str_t                    uri;
    ngx_msec_t                   timeout;
    ngx_msec_t                   interval;   /* of asking for live tunnels */
    time_t                       stale;      /* s */
};


/* Keeps what is needed to ask, from an Auth.  NGX_DECLINED: the token cannot be
   asked for. */
ngx_int_t ngx_zltunnel_ask_keep(ngx_zltunnel_control_t *control,
    ngx_str_t *token, ngx_str_t *agent);
/* 1: it is known already that the token is let in, nobody need be asked */
ngx_uint_t ngx_zltunnel_ask_known(ngx_zltunnel_control_t *control);
/* asks, and calls "asked", at once perhaps; NULL: for a live tunnel */
void ngx_zltunnel_ask_begin(ngx_zltunnel_control_t *control,
    ngx_zltunnel_asked_pt asked);
/* it does not wait any more, or ends; does nothing if it did not */
void ngx_zltunnel_ask_leave(ngx_zltunnel_control_t *control);
void ngx_zltunnel_ask_answered(ngx_zltunnel_ask_t *ask,
    ngx_zltunnel_ask_answer_t *answer);
/* 1: what was known of its token holds though nobody could say */
ngx_uint_t ngx_zltunnel_ask_holds(ngx_zltunnel_control_t *control);
/* its tunnel is there, and will be asked for again */
void ngx_zltunnel_ask_opened(ngx_zltunnel_control_t *control);
/* once a second: asks again for live tunnels */
void ngx_zltunnel_ask_again(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_ASK_H_INCLUDED_ */
