
/*
 * Copyright (C) zltunnel authors
 */

/* The token's step: asks by an Auth what it may, and reads the answer. */


#ifndef ZLT_PROBE_TOKEN_H_INCLUDED
#define ZLT_PROBE_TOKEN_H_INCLUDED


#include "probe_state.h"


/* Makes the question, to be sent. */
void zlt_probe_token_ask(zlt_probe_t *p);

/* Takes all that has come, and makes room for more. */
void zlt_probe_token_input(zlt_probe_t *p);


#endif /* ZLT_PROBE_TOKEN_H_INCLUDED */
