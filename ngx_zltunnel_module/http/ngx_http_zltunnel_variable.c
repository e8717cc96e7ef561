
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Variables of a module, as nginx's own modules add theirs.
 */


#include "ngx_http_zltunnel_variable.h"


ngx_int_t
ngx_http_zltunnel_variable_add(ngx_conf_t *cf, ngx_http_variable_t *list)
{
    ngx_http_variable_t  *var, *v;

    for (v = list; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}
