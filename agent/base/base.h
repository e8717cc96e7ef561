
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The ground floor: what knows of nothing else.  A file includes what it needs
 * of these.
 */


#ifndef ZLT_BASE_H_INCLUDED
#define ZLT_BASE_H_INCLUDED


#include "clock.h"         /* clocks that nobody sets */
#include "exit.h"          /* exit codes */
#include "figure.h"        /* times, counted for the metrics */
#include "io.h"            /* descriptors that are ready, the loop */
#include "log.h"
#include "often.h"         /* lines of the log that come often */
#include "near.h"          /* which word was meant */
#include "out.h"           /* stdout and stderr, without waiting */
#include "parse.h"
#include "qr.h"         /* numbers and times that users write */
#include "random.h"
#include "task.h"          /* .. and what is to be done in its next turn */
#include "secret.h"        /* files with one in them */
#include "stamp.h"         /* .. that have changed */
#include "text.h"          /* texts that grow */
#include "timer.h"         /* timers of whole seconds */
#include "token.h"         /* the agent's token */
#include "types.h"         /* the names of all objects */
#include "version.h"
#include "zlt_list.h"


#endif /* ZLT_BASE_H_INCLUDED */
