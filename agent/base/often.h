
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Lines of the log that a client or a peer can cause as often as he likes: one,
 * and then a count each minute.
 */


#ifndef ZLT_OFTEN_H_INCLUDED
#define ZLT_OFTEN_H_INCLUDED


#include "types.h"


/*
 * A warning.  Those of one label, subject (a service's name, "" for none) and
 * format are of one kind: all but the first of them are counted, and are in
 * the log at the level debug only.
 */
void zlt_often_warn(const char *label, const char *subject, const char *fmt,
    ...) zlt_printf_like(3, 4);

/* To be called each second: tells the counts that are a minute old. */
void zlt_often_tick(void);

/* Tells all counts, and frees what is held. */
void zlt_often_done(void);


#endif /* ZLT_OFTEN_H_INCLUDED */
