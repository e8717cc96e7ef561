
/*
 * Copyright (C) zltunnel authors
 */

/* The commands: one function each, in cmd_*.c. */


#ifndef ZLT_CMD_H_INCLUDED
#define ZLT_CMD_H_INCLUDED


#include "exit.h"


typedef struct {
    const char   *name;
    const char   *summary;
    /* argv[0] is the command; the exit code */
    int         (*run)(int argc, char **argv);
} zlt_command_t;


int zlt_command_connect(int argc, char **argv);
int zlt_command_access(int argc, char **argv);
int zlt_command_run(int argc, char **argv);
int zlt_command_check(int argc, char **argv);
int zlt_command_token(int argc, char **argv);

/* what a running agent is asked: cmd_ctl.c */
int zlt_command_status(int argc, char **argv);
int zlt_command_start(int argc, char **argv);
int zlt_command_stop(int argc, char **argv);
int zlt_command_sessions(int argc, char **argv);
int zlt_command_renew(int argc, char **argv);
int zlt_command_reload(int argc, char **argv);


/* for all of them */

void zlt_command_version(void);

/* Says what is wrong with an option, for which getopt_long() has returned c,
   '?' or ':'; never its value, which may be a misplaced secret. */
void zlt_command_option(int c, char **argv);


#endif /* ZLT_CMD_H_INCLUDED */
