
/*
 * Copyright (C) zltunnel authors
 */

/* Which services a token does not allow, by the rights that a server tells. */


#ifndef ZLT_PROBE_RIGHTS_H_INCLUDED
#define ZLT_PROBE_RIGHTS_H_INCLUDED


#include "probe.h"
#include "types.h"


/* Tells each service of conf that the server would refuse, as a step that has
   failed.  "rights" is what it has said of the token.  Their number. */
unsigned zlt_probe_rights(const zlt_conf_t *conf, const char *rights,
    zlt_probe_pt tell);


#endif /* ZLT_PROBE_RIGHTS_H_INCLUDED */
