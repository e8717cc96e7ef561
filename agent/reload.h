
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_RELOAD_H_INCLUDED
#define ZLT_RELOAD_H_INCLUDED


#include "agent.h"


/* SIGHUP: reads the configuration again and does what has changed. */
void zlt_agent_reload(zlt_agent_t *a);


#endif /* ZLT_RELOAD_H_INCLUDED */
