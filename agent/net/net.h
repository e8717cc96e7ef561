
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections, and what they are made of.  A file includes what it needs of
 * these.
 */


#ifndef ZLT_NET_H_INCLUDED
#define ZLT_NET_H_INCLUDED


#include "addr.h"          /* addresses */
#include "conn.h"          /* a connection, whatever it is made of */
#include "flow.h"          /* one direction of a relay */
#include "framed.h"        /* .. whose bytes are messages */
#include "headers.h"       /* .. what the user adds to them */
#include "http.h"          /* the requests, and their answers */
#include "http_hint.h"     /* .. what one that is wrong may mean */
#include "race.h"          /* .. the first of several addresses that answers */
#include "relay.h"         /* between two connections */
#include "resolve.h"       /* names */
#include "scratch.h"       /* what is read, while it is looked at */
#include "tls.h"           /* .. under TLS */
#include "tls_io.h"        /* .. and its bytes */
#include "tls_told.h"      /* .. and what that is */
#include "transport.h"     /* raw, or within a WebSocket */
#include "url.h"
#include "where.h"         /* .. and the addresses that it leads to */
#include "wsc.h"           /* .. within a WebSocket */


#endif /* ZLT_NET_H_INCLUDED */
