
/*
 * Copyright (C) zltunnel authors
 */

/* The commands, in cmd_*.c. */


#ifndef ZLT_CMD_H_INCLUDED
#define ZLT_CMD_H_INCLUDED


#include <getopt.h>

#include "cmd_page.h"
#include "config.h"
#include "exit.h"


typedef struct {
    const char   *name;
    const char   *summary;     /* NULL: for programs, not shown */
    /* argv[0] is the command; the exit code */
    int         (*run)(int argc, char **argv);
} zlt_cmd_t;


int zlt_cmd_connect(int argc, char **argv);

/* Takes the services in ZLTUNNEL_SERVICE, if it is set: 0, or -1 after a
   complaint; and 1 if it says something. */
int zlt_cmd_connect_env(zlt_conf_t *conf);
int zlt_cmd_connect_has_env(void);

int zlt_cmd_access(int argc, char **argv);
int zlt_cmd_http(int argc, char **argv);
int zlt_cmd_run(int argc, char **argv);
int zlt_cmd_run_check(int argc, char **argv);

/* 1 if "run" would find what to do by itself: a configuration file, or
   services in the environment */
int zlt_cmd_run_can(void);

/* the configuration file that "run" takes without -c; NULL: there is none */
const char *zlt_cmd_run_file(void);

int zlt_cmd_token(int argc, char **argv);
int zlt_cmd_init(int argc, char **argv);
int zlt_cmd_keys(int argc, char **argv);

/* what a running agent is asked: status, start, stop, sessions, renew,
   reload */
int zlt_cmd_ctl(int argc, char **argv);


/* for all of them */

void zlt_cmd_version(void);

/* Before getopt_long(), whose table it makes: 0, or -1 after a complaint if there
   is a long option with one dash. */
int zlt_cmd_options(int argc, char **argv, const zlt_cmd_page_t *page,
    struct option *options);

/*
 * What getopt_long() has returned, c, if all commands do the same: --help,
 * --version, --token, which there is not, and what is no option.  The exit code,
 * or -1 if it is an option of the command's own.  A complaint never has the
 * value, which may be a misplaced secret.
 */
int zlt_cmd_common(int c, char **argv, const zlt_cmd_page_t *page,
    const struct option *options);

/*
 * The end of a command without a file, whose options have given rc, -1 after a
 * complaint, and code, -1 if there is more to do: tells of --help, or runs the
 * process with the configuration.  The exit code.
 */
int zlt_cmd_process(const char *name, zlt_config_t *config, int rc, int code);

/* Behind the options: 0, or -1 after a complaint if there is more. */
int zlt_cmd_rest(int argc, char **argv);

/* Says of a time without a unit what it is taken for. */
void zlt_cmd_unit(const char *option, const char *value);

/* 0, or -1 if that is no name of a token, which is said. */
int zlt_cmd_token_name(const char *name);

/* A new token, and the hash of it in hexadecimal.  0, or -1, which is said. */

#define ZLT_CMD_TOKEN_SIZE       72
#define ZLT_CMD_TOKEN_HASH_SIZE  65

int zlt_cmd_token_make(char *token, char *hex);


#endif /* ZLT_CMD_H_INCLUDED */
