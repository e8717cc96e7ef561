
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_http_zltunnel.h"
#include "ngx_zltunnel_registry.h"


ngx_int_t
ngx_http_zltunnel_status_handler(ngx_http_request_t *r)
{
    off_t                          size;
    ngx_int_t                      rc;
    ngx_chain_t                   *out, *cl;
    ngx_http_zltunnel_loc_conf_t  *zlcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_zltunnel_answer_header(r, "Allow", "GET, HEAD")
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_zltunnel_answer(r, NGX_HTTP_NOT_ALLOWED, NULL,
                                        "the method must be GET or HEAD");
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    zlcf = ngx_http_get_module_loc_conf(r, ngx_http_zltunnel_module);

    if (zlcf->registry->sh == NULL) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_SERVICE_UNAVAILABLE, NULL,
                                        "this worker has no registry");
    }

    if (ngx_zltunnel_status(zlcf->registry, r->pool, &out, &size) != NGX_OK
        || ngx_http_zltunnel_answer_header(r, "Cache-Control", "no-store")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (cl = out; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = (r == r->main);
    cl->buf->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = size;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}
