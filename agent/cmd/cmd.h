
/*
 * Copyright (C) zltunnel authors
 */

/* The commands: one function each, in cmd_*.c. */


#ifndef ZLT_COMMAND_H_INCLUDED
#define ZLT_COMMAND_H_INCLUDED


#define ZLT_EXIT_OK      0
#define ZLT_EXIT_FAILED  1     /* at run time */
#define ZLT_EXIT_USAGE   2     /* the command line or the configuration */


typedef struct {
    const char   *name;
    const char   *summary;
    /* argv[0] is the command; the exit code */
    int         (*run)(int argc, char **argv);
} zlt_command_t;


int zlt_command_connect(int argc, char **argv);
int zlt_command_sessions(int argc, char **argv);
int zlt_command_renew(int argc, char **argv);
int zlt_command_access(int argc, char **argv);
int zlt_command_run(int argc, char **argv);
int zlt_command_check(int argc, char **argv);
int zlt_command_token(int argc, char **argv);
int zlt_command_status(int argc, char **argv);
int zlt_command_start(int argc, char **argv);
int zlt_command_stop(int argc, char **argv);
int zlt_command_reload(int argc, char **argv);

void zlt_command_version(void);

/* Says what is wrong with an option, for which getopt_long() has returned c,
   '?' or ':'; never its value, which may be a misplaced secret. */
void zlt_command_option(int c, char **argv);


#endif /* ZLT_COMMAND_H_INCLUDED */
