
/*
 * Copyright (C) zltunnel authors
 */

/* What "zltunnel-agent init" asks for. */


#ifndef ZLT_CMD_INIT_ASK_H_INCLUDED
#define ZLT_CMD_INIT_ASK_H_INCLUDED


#include <stddef.h>


/*
 * What the user types: the line, without its end and what is blank around it, in
 * buf.  "what" is the question.  An empty line is -1, and so is the end of the
 * input; otherwise 0.
 */
int zlt_cmd_init_ask(const char *what, char *buf, size_t size);

/* The same, which the terminal does not show; whatever signal ends the agent, or
   stops it, meanwhile: the terminal is left as it was. */
int zlt_cmd_init_ask_secret(const char *what, char *buf, size_t size);

/* Asks somebody, if there is one, until right() of the answer, which says what
   is wrong, is 0.  0, or -1 without an answer. */
int zlt_cmd_init_ask_until(const char *what, int (*right)(const char *text),
    char *buf, size_t size);

/* 1 if there is somebody to be asked */
int zlt_cmd_init_ask_can(void);


#endif /* ZLT_CMD_INIT_ASK_H_INCLUDED */
