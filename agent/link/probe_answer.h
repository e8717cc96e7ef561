
/*
 * Copyright (C) zltunnel authors
 */

/* What the answer in HTTP to a step's request says. */


#ifndef ZLT_PROBE_ANSWER_H_INCLUDED
#define ZLT_PROBE_ANSWER_H_INCLUDED


#include "probe_state.h"


/* Judges it.  1 if it is an upgrade, and messages follow. */
int zlt_probe_answer(zlt_probe_t *p, const zlt_upgrade_end_t *end);


#endif /* ZLT_PROBE_ANSWER_H_INCLUDED */
