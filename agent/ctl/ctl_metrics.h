
/*
 * Copyright (C) zltunnel authors
 */

/* The agent's figures as Prometheus reads them, text format 0.0.4. */


#ifndef ZLT_CTL_METRICS_H_INCLUDED
#define ZLT_CTL_METRICS_H_INCLUDED


#include "text.h"
#include "types.h"


/* Without memory t->failed is set. */
void zlt_ctl_metrics(const zlt_process_t *p, zlt_text_t *t);


#endif /* ZLT_CTL_METRICS_H_INCLUDED */
