
/*
 * Copyright (C) zltunnel authors
 */

/* The proxy through which the server is reached, if there is one. */


#ifndef ZLT_PROXY_H_INCLUDED
#define ZLT_PROXY_H_INCLUDED


#include "proxy_choose.h"
#include "reach.h"
#include "talk.h"
#include "types.h"
#include "upgrade.h"
#include "via.h"


#endif /* ZLT_PROXY_H_INCLUDED */
