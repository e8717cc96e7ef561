
/*
 * Copyright (C) zltunnel authors
 */

/* What a command returns. */


#ifndef ZLT_EXIT_H_INCLUDED
#define ZLT_EXIT_H_INCLUDED


#define ZLT_EXIT_OK      0
#define ZLT_EXIT_FAILED  1     /* at run time */
#define ZLT_EXIT_USAGE   2     /* the command line or the configuration */


#endif /* ZLT_EXIT_H_INCLUDED */
