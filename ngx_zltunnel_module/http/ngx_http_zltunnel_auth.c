
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel_auth: the operator's own system decides which tokens are let in.
 *
 * What is asked is a location of this server, by an internal request; what is
 * there may be a proxy_pass.  The token goes with it as a bearer's, RFC 6750.
 * The answer's status decides, Zltunnel-Token gives the rights, Zltunnel-Reason
 * is for the agent to read, and Cache-Control says how long all that is known.
 */


#include "ngx_http_zltunnel_auth.h"
#include "ngx_http_zltunnel_subrequest.h"
#include "ngx_zltunnel_config.h"


#define NGX_HTTP_ZLTUNNEL_AUTH_TIMEOUT   5000      /* ms */
#define NGX_HTTP_ZLTUNNEL_AUTH_STALE     3600      /* s */
#define NGX_HTTP_ZLTUNNEL_AUTH_INTERVAL  60000     /* ms */

#define NGX_HTTP_ZLTUNNEL_AUTH_MOST      86400     /* s, of all times */


typedef struct {
    ngx_http_conf_ctx_t         *ctx;
    u_char                      *file;
    ngx_uint_t                   line;
} ngx_http_zltunnel_auth_t;


static ngx_int_t ngx_http_zltunnel_auth_parameter(ngx_conf_t *cf,
    ngx_zltunnel_ask_conf_t *asks, ngx_str_t *value);
static void *ngx_http_zltunnel_auth_start(ngx_zltunnel_ask_conf_t *asks,
    ngx_zltunnel_ask_question_t *question, ngx_zltunnel_ask_t *ask);
static void ngx_http_zltunnel_auth_cancel(void *request);
static void ngx_http_zltunnel_auth_answer(void *data, ngx_uint_t status,
    ngx_list_t *headers);
static time_t ngx_http_zltunnel_auth_max_age(ngx_str_t *value);


char *
ngx_http_zltunnel_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_zltunnel_loc_conf_t *zlcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_zltunnel_ask_conf_t   *asks;
    ngx_http_core_srv_conf_t  *cscf;
    ngx_http_zltunnel_auth_t  *auth;

    if (zlcf->asks) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_zltunnel_subrequest_uri(cf, &value[1]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    asks = ngx_pcalloc(cf->pool, sizeof(ngx_zltunnel_ask_conf_t));
    auth = ngx_palloc(cf->pool, sizeof(ngx_http_zltunnel_auth_t));

    if (asks == NULL || auth == NULL) {
        return NGX_CONF_ERROR;
    }

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    auth->ctx = cscf->ctx;
    auth->file = cf->conf_file->file.name.data;
    auth->line = cf->conf_file->line;

    asks->start = ngx_http_zltunnel_auth_start;
    asks->cancel = ngx_http_zltunnel_auth_cancel;
    asks->data = auth;
    asks->uri = value[1];
    asks->timeout = NGX_HTTP_ZLTUNNEL_AUTH_TIMEOUT;
    asks->stale = NGX_HTTP_ZLTUNNEL_AUTH_STALE;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_zltunnel_auth_parameter(cf, asks, &value[i]) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    zlcf->asks = asks;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_zltunnel_auth_parameter(ngx_conf_t *cf, ngx_zltunnel_ask_conf_t *asks,
    ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_str_t   s;

    if (ngx_strncmp(value->data, "stale=", 6) == 0) {
        s.data = value->data + 6;
        s.len = value->len - 6;
        n = ngx_parse_time(&s, 1);

        if (n >= 0 && n <= 7 * NGX_HTTP_ZLTUNNEL_AUTH_MOST) {
            asks->stale = n;
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value of \"%V\": it must be a time from 0 "
                           "to 7d, as in \"stale=1h\"", value);
        return NGX_ERROR;
    }

    if (ngx_strncmp(value->data, "timeout=", 8) == 0) {
        s.data = value->data + 8;
        s.len = value->len - 8;
        n = ngx_parse_time(&s, 0);

        if (n >= 1 && n <= 60000) {
            asks->timeout = n;
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value of \"%V\": it must be a time from "
                           "1ms to 1m, as in \"timeout=5s\"", value);
        return NGX_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"zltunnel_auth\": allowed "
                       "are stale= and timeout=", value);
    return NGX_ERROR;
}


char *
ngx_http_zltunnel_auth_interval(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_zltunnel_loc_conf_t *zlcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (zlcf->interval) {
        return "is duplicate";
    }

    value = cf->args->elts;
    n = ngx_parse_time(&value[1], 0);

    if (n < 1000 || n > NGX_HTTP_ZLTUNNEL_AUTH_MOST * 1000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of "
                           "\"zltunnel_auth_interval\": it must be a time from "
                           "1s to 1d", &value[1]);
        return NGX_CONF_ERROR;
    }

    zlcf->interval = n;

    return NGX_CONF_OK;
}


char *
ngx_http_zltunnel_auth_check(ngx_conf_t *cf,
    ngx_http_zltunnel_loc_conf_t *zlcf)
{
    ngx_http_zltunnel_auth_t  *auth;

    if (zlcf->asks == NULL) {

        if (zlcf->interval) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"zltunnel_auth_interval\" is in a location "
                               "without \"zltunnel_auth\"");
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (zlcf->handler != ngx_http_zltunnel_handshake_handler) {
        auth = zlcf->asks->data;

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"zltunnel_auth\" must be in the location where "
                      "\"zltunnel\" is, in %s:%ui", auth->file, auth->line);
        return NGX_CONF_ERROR;
    }

    if (zlcf->asks->interval == 0) {
        zlcf->asks->interval = zlcf->interval
                               ? zlcf->interval
                               : NGX_HTTP_ZLTUNNEL_AUTH_INTERVAL;
    }

    zlcf->registry->asks = 1;

    return NGX_CONF_OK;
}


static void *
ngx_http_zltunnel_auth_start(ngx_zltunnel_ask_conf_t *asks,
    ngx_zltunnel_ask_question_t *question, ngx_zltunnel_ask_t *ask)
{
    void                          *request;
    u_char                        *p;
    size_t                         len;
    ngx_str_t                      bearer;
    ngx_keyval_t                   headers[3];
    ngx_http_zltunnel_auth_t      *auth;
    ngx_http_zltunnel_question_t   q;

    auth = asks->data;

    len = sizeof("Bearer ") - 1 + question->token->len;

    bearer.data = ngx_alloc(len, ngx_cycle->log);
    if (bearer.data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(bearer.data, "Bearer ", sizeof("Bearer ") - 1);
    ngx_memcpy(p, question->token->data, question->token->len);
    bearer.len = len;

    ngx_str_set(&headers[0].key, "Authorization");
    headers[0].value = bearer;
    ngx_str_set(&headers[1].key, "Zltunnel-Agent");
    headers[1].value = *question->agent;
    ngx_str_set(&headers[2].key, "Zltunnel-Address");
    headers[2].value = question->client->addr_text;

    ngx_memzero(&q, sizeof(ngx_http_zltunnel_question_t));

    q.ctx = auth->ctx;
    q.uri = asks->uri;
    q.host = *question->host;
    q.headers = headers;
    q.nheaders = 3;
    q.client = question->client;
    q.timeout = asks->timeout;
    q.handler = ngx_http_zltunnel_auth_answer;
    q.data = ask;

    request = ngx_http_zltunnel_subrequest_start(&q);

    ngx_explicit_memzero(bearer.data, bearer.len);
    ngx_free(bearer.data);

    return request;
}


static void
ngx_http_zltunnel_auth_cancel(void *request)
{
    ngx_http_zltunnel_subrequest_cancel(request);
}


static void
ngx_http_zltunnel_auth_answer(void *data, ngx_uint_t status,
    ngx_list_t *headers)
{
    ngx_str_t                  value;
    ngx_zltunnel_ask_answer_t  answer;

    ngx_memzero(&answer, sizeof(ngx_zltunnel_ask_answer_t));

    answer.status = status;

    switch (ngx_http_zltunnel_subrequest_header(headers, "zltunnel-token",
                                                &answer.rights))
    {
    case NGX_OK:
        answer.wrong = answer.rights.len ? NULL : "it is empty";
        break;

    case NGX_BUSY:
        answer.wrong = "there is more than one";
        break;

    default: /* NGX_DECLINED */
        break;
    }

    (void) ngx_http_zltunnel_subrequest_header(headers, "zltunnel-reason",
                                               &answer.reason);

    if (ngx_http_zltunnel_subrequest_header(headers, "cache-control", &value)
        != NGX_DECLINED)
    {
        answer.max_age = ngx_http_zltunnel_auth_max_age(&value);
    }

    ngx_zltunnel_ask_answered(data, &answer);
}


/* RFC 9111, section 5.2.2 */

static time_t
ngx_http_zltunnel_auth_max_age(ngx_str_t *value)
{
    u_char     *p, *last, *end;
    ngx_int_t   n;

    last = value->data + value->len;

    if (ngx_strlcasestrn(value->data, last, (u_char *) "no-store", 7)
        || ngx_strlcasestrn(value->data, last, (u_char *) "no-cache", 7))
    {
        return 0;
    }

    p = ngx_strlcasestrn(value->data, last, (u_char *) "max-age=", 7);
    if (p == NULL) {
        return 0;
    }

    p += sizeof("max-age=") - 1;

    for (end = p; end < last && *end >= '0' && *end <= '9'; end++) {
        /* void */
    }

    n = ngx_atoi(p, end - p);

    if (n == NGX_ERROR) {
        return 0;
    }

    return ngx_min(n, NGX_HTTP_ZLTUNNEL_AUTH_MOST);
}
