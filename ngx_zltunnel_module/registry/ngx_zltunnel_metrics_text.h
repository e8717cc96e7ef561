
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The text format of Prometheus: families with their help and type, and
 * samples with labels.
 */


#ifndef _NGX_ZLTUNNEL_METRICS_TEXT_H_INCLUDED_
#define _NGX_ZLTUNNEL_METRICS_TEXT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"


typedef struct {
    const char                  *name;
    ngx_str_t                    value;       /* a name, in which nothing is to
                                                 be escaped; .data NULL: the
                                                 sample has no such label */
} ngx_zltunnel_metrics_label_t;


typedef struct {
    ngx_zltunnel_text_t          text;
    const char                  *family;      /* without "zltunnel_" */
} ngx_zltunnel_metrics_text_t;


/* What follows is of that family.  type: "gauge", "counter" or "histogram". */
void ngx_zltunnel_metrics_text_family(ngx_zltunnel_metrics_text_t *m,
    const char *name, const char *type, const char *help);
/* suffix: of the family's name, or "" */
void ngx_zltunnel_metrics_text_sample(ngx_zltunnel_metrics_text_t *m,
    const char *suffix, ngx_zltunnel_metrics_label_t *labels, ngx_uint_t n,
    uint64_t value);
/* without labels, a value in ms, as seconds */
void ngx_zltunnel_metrics_text_seconds(ngx_zltunnel_metrics_text_t *m,
    const char *suffix, uint64_t value);


#endif /* _NGX_ZLTUNNEL_METRICS_TEXT_H_INCLUDED_ */
