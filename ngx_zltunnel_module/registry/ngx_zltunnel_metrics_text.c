
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_metrics_text.h"


static void ngx_zltunnel_metrics_text_name(ngx_zltunnel_metrics_text_t *m,
    const char *suffix, ngx_zltunnel_metrics_label_t *labels, ngx_uint_t n);
static void ngx_zltunnel_metrics_text_label(ngx_zltunnel_metrics_text_t *m,
    ngx_zltunnel_metrics_label_t *label, u_char before);


void
ngx_zltunnel_metrics_text_family(ngx_zltunnel_metrics_text_t *m, const char *name,
    const char *type, const char *help)
{
    u_char  *p;

    m->family = name;

    p = ngx_zltunnel_text_need(&m->text, 2 * ngx_strlen(name)
                               + ngx_strlen(type) + ngx_strlen(help) + 64);
    if (p) {
        m->text.buf->last = ngx_sprintf(p, "# HELP zltunnel_%s %s\n"
                                        "# TYPE zltunnel_%s %s\n",
                                        name, help, name, type);
    }
}


void
ngx_zltunnel_metrics_text_sample(ngx_zltunnel_metrics_text_t *m,
    const char *suffix, ngx_zltunnel_metrics_label_t *labels, ngx_uint_t n,
    uint64_t value)
{
    u_char  *p;

    ngx_zltunnel_metrics_text_name(m, suffix, labels, n);

    p = ngx_zltunnel_text_need(&m->text, NGX_INT64_LEN + 2);

    if (p) {
        m->text.buf->last = ngx_sprintf(p, " %uL\n", value);
    }
}


void
ngx_zltunnel_metrics_text_seconds(ngx_zltunnel_metrics_text_t *m,
    const char *suffix, uint64_t value)
{
    u_char  *p;

    ngx_zltunnel_metrics_text_name(m, suffix, NULL, 0);

    p = ngx_zltunnel_text_need(&m->text, NGX_INT64_LEN + 8);

    if (p) {
        m->text.buf->last = ngx_sprintf(p, " %uL.%03uL\n", value / 1000,
                                        value % 1000);
    }
}


static void
ngx_zltunnel_metrics_text_name(ngx_zltunnel_metrics_text_t *m, const char *suffix,
    ngx_zltunnel_metrics_label_t *labels, ngx_uint_t n)
{
    u_char      *p, before;
    ngx_uint_t   i;

    p = ngx_zltunnel_text_need(&m->text, ngx_strlen(m->family)
                               + ngx_strlen(suffix) + 16);
    if (p == NULL) {
        return;
    }

    p = ngx_cpymem(p, "zltunnel_", sizeof("zltunnel_") - 1);
    p = ngx_cpymem(p, m->family, ngx_strlen(m->family));
    m->text.buf->last = ngx_cpymem(p, suffix, ngx_strlen(suffix));

    before = '{';

    for (i = 0; i < n; i++) {

        if (labels[i].value.data) {
            ngx_zltunnel_metrics_text_label(m, &labels[i], before);
            before = ',';
        }
    }

    if (before == ',') {
        p = ngx_zltunnel_text_need(&m->text, 1);

        if (p) {
            *p = '}';
            m->text.buf->last = p + 1;
        }
    }
}


static void
ngx_zltunnel_metrics_text_label(ngx_zltunnel_metrics_text_t *m,
    ngx_zltunnel_metrics_label_t *label, u_char before)
{
    u_char  *p;

    p = ngx_zltunnel_text_need(&m->text, ngx_strlen(label->name)
                               + label->value.len + 8);
    if (p) {
        *p++ = before;
        p = ngx_cpymem(p, label->name, ngx_strlen(label->name));
        *p++ = '=';
        *p++ = '"';
        p = ngx_cpymem(p, label->value.data, label->value.len);
        *p++ = '"';

        m->text.buf->last = p;
    }
}
