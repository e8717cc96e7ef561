
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The control socket: what "status" and its like ask a running process.
 *
 * A request is one line, the command and its words; the answer is a line
 * "OK LENGTH" or "FAIL LENGTH" and so many bytes behind it: a table, JSON, or
 * the reason.  One request a connection.
 */


#ifndef ZLT_CTL_H_INCLUDED
#define ZLT_CTL_H_INCLUDED


#include "process.h"
#include "text.h"


#define ZLT_CTL_REQUEST    1024        /* bytes, the newline included */
#define ZLT_CTL_WORDS      8
#define ZLT_CTL_PATH_SIZE  108         /* of a struct sockaddr_un */
#define ZLT_CTL_NONE       "none"      /* in place of a path */


typedef struct zlt_ctl_request_s  zlt_ctl_request_t;


struct zlt_ctl_request_s {
    zlt_process_t   *process;
    char            *words[ZLT_CTL_WORDS];     /* the first is the command */
    unsigned         nwords;

    zlt_text_t       text;             /* the answer, to be filled */

    /* for handlers that answer later: called if the client goes before that,
       as then nothing must be answered any more */
    void           (*cancel)(zlt_ctl_request_t *r);
    void            *data;

    /* private to ctl.c */
    zlt_conn_t       conn;
    zlt_list_t       link;             /* ctl->requests */
    zlt_timer_t      timer;
    zlt_task_t       task;
    uint8_t          state;
    char             in[ZLT_CTL_REQUEST];
    size_t           len;
    char             head[32];
    size_t           head_len;
    size_t           sent;             /* of head and text together */
};


typedef struct {
    const char      *name;
    unsigned         least;            /* words behind the command */
    unsigned         most;
    /* answers with zlt_ctl_done() or zlt_ctl_fail(), now or later */
    void           (*run)(zlt_ctl_request_t *r);
} zlt_ctl_command_t;


/* ctl.c */

/* The socket of p->control, or of the configuration, or the default one: 0, or
   the exit code.  Only a path that was asked for must work. */
int zlt_ctl_start(zlt_process_t *p);
void zlt_ctl_stop(zlt_process_t *p);

/* To be called each second. */
void zlt_ctl_tick(zlt_process_t *p);

/* The answer is r->text; r must not be touched afterwards. */
void zlt_ctl_done(zlt_ctl_request_t *r);
void zlt_ctl_fail(zlt_ctl_request_t *r, const char *fmt, ...)
    zlt_printf_like(2, 3);


/* ctl_socket.c */

/*
 * Listens at path, with mode 0600.  A socket that nobody serves is replaced,
 * one that somebody serves is not.  The descriptor, or -1 with a text in
 * error (ZLT_CONF_ERROR_SIZE bytes); *lock is the descriptor of a lock file
 * that is held as long as it is open.
 */
int zlt_ctl_listen(const char *path, int *lock, char *error);

/* 1 if the other end is the same user, or root */
int zlt_ctl_peer(int fd);

/* Where it is by default: 0, or -1 if there is no such place.  "serve": for
   the process itself, which may have to make the directory. */
int zlt_ctl_path(char *path, int serve);


/* ctl_command.c */

void zlt_ctl_dispatch(zlt_ctl_request_t *r);


/* ctl_status.c */

void zlt_ctl_status(zlt_ctl_request_t *r);


#define ZLT_STATUS_TIME  24

/* "2027-01-31T15:04:05Z"; buf has ZLT_STATUS_TIME bytes; returns it */
const char *zlt_status_time(char *buf, time_t t);


/* ctl_access.c */

void zlt_ctl_sessions(zlt_ctl_request_t *r);
void zlt_ctl_renew(zlt_ctl_request_t *r);

/* 1, with an answer, if there is an access session of that id */
int zlt_ctl_stop_access(zlt_ctl_request_t *r);


/* ctl_client.c */

/*
 * Asks the process at path (NULL: the default one), with words joined to a
 * request.  ZLT_EXIT_OK with the answer in *text, or another exit code, after
 * a complaint.
 */
int zlt_ctl_call(const char *path, const char *const *words, unsigned n,
    zlt_text_t *text);


#endif /* ZLT_CTL_H_INCLUDED */
