
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What "zltunnel-agent init" asks for.
 *
 * While a secret is typed the terminal shows nothing.  It stays so when the
 * process is gone, and the shell may not set it right.  Each signal that would
 * end the process or stop it has a handler then, which sets the terminal right
 * and lets the signal do what it does.
 */


#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cmd_init_ask.h"
#include "log.h"


#define ZLT_CMD_INIT_ASK_SIGNALS  5


static int zlt_cmd_init_ask_silence(const char *what);
static void zlt_cmd_init_ask_unsilence(void);
static void zlt_cmd_init_ask_signal(int signo);
static void zlt_cmd_init_ask_say(const char *text);
static int zlt_cmd_init_ask_line(char *buf, size_t size);


static const int  zlt_cmd_init_ask_signals[ZLT_CMD_INIT_ASK_SIGNALS] = {
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP
};


/* for the handler */

static struct {
    const char       *what;
    struct termios    former;
    struct termios    silent;
    struct sigaction  action;
    struct sigaction  actions[ZLT_CMD_INIT_ASK_SIGNALS];   /* the former */
} zlt_cmd_init_asked;


int
zlt_cmd_init_ask_can(void)
{
    return isatty(STDIN_FILENO);
}


int
zlt_cmd_init_ask(const char *what, char *buf, size_t size)
{
    if (zlt_cmd_init_ask_can()) {
        (void) fprintf(stderr, "%s: ", what);
        (void) fflush(stderr);
    }

    return zlt_cmd_init_ask_line(buf, size);
}


int
zlt_cmd_init_ask_secret(const char *what, char *buf, size_t size)
{
    int  rc, silent;

    silent = (zlt_cmd_init_ask_can() && zlt_cmd_init_ask_silence(what) == 0);

    rc = zlt_cmd_init_ask(what, buf, size);

    if (silent) {
        zlt_cmd_init_ask_unsilence();
    }

    return rc;
}


int
zlt_cmd_init_ask_until(const char *what, int (*right)(const char *text),
    char *buf, size_t size)
{
    while (zlt_cmd_init_ask_can() && zlt_cmd_init_ask(what, buf, size) == 0) {

        if (right(buf) == 0) {
            return 0;
        }
    }

    return -1;
}


static int
zlt_cmd_init_ask_silence(const char *what)
{
    int                i;
    struct sigaction  *action, *former;

    if (tcgetattr(STDIN_FILENO, &zlt_cmd_init_asked.former) == -1) {
        return -1;
    }

    zlt_cmd_init_asked.what = what;
    zlt_cmd_init_asked.silent = zlt_cmd_init_asked.former;
    zlt_cmd_init_asked.silent.c_lflag &= ~(tcflag_t) ECHO;

    action = &zlt_cmd_init_asked.action;
    action->sa_handler = zlt_cmd_init_ask_signal;
    action->sa_flags = (int) (SA_RESTART|SA_RESETHAND|SA_NODEFER);
    (void) sigemptyset(&action->sa_mask);

    for (i = 0; i < ZLT_CMD_INIT_ASK_SIGNALS; i++) {
        former = &zlt_cmd_init_asked.actions[i];
        (void) sigaction(zlt_cmd_init_ask_signals[i], action, former);

        /* what is ignored, as by "nohup", stays so */

        if (former->sa_handler == SIG_IGN) {
            (void) sigaction(zlt_cmd_init_ask_signals[i], former, NULL);
        }
    }

    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &zlt_cmd_init_asked.silent);

    return 0;
}


static void
zlt_cmd_init_ask_unsilence(void)
{
    int  i;

    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &zlt_cmd_init_asked.former);

    for (i = 0; i < ZLT_CMD_INIT_ASK_SIGNALS; i++) {
        (void) sigaction(zlt_cmd_init_ask_signals[i],
                         &zlt_cmd_init_asked.actions[i], NULL);
    }

    (void) fprintf(stderr, "\n");
}


static void
zlt_cmd_init_ask_signal(int signo)
{
    int  err;

    err = errno;

    (void) tcsetattr(STDIN_FILENO, TCSANOW, &zlt_cmd_init_asked.former);
    zlt_cmd_init_ask_say("\n");

    /* the handler has been taken away before it was called */

    (void) raise(signo);

    /* stopped, and continued */

    (void) sigaction(signo, &zlt_cmd_init_asked.action, NULL);
    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &zlt_cmd_init_asked.silent);
    zlt_cmd_init_ask_say(zlt_cmd_init_asked.what);
    zlt_cmd_init_ask_say(": ");

    errno = err;
}


/* As a handler may. */

static void
zlt_cmd_init_ask_say(const char *text)
{
    ssize_t  n;

    n = write(STDERR_FILENO, text, strlen(text));
    (void) n;
}


static int
zlt_cmd_init_ask_line(char *buf, size_t size)
{
    size_t  n, blank;

    if (fgets(buf, (int) size, stdin) == NULL) {
        return -1;
    }

    if (strlen(buf) == size - 1 && buf[size - 2] != '\n') {
        zlt_log_complain("the answer is too long: at most %zu bytes", size - 2);
        return -1;
    }

    blank = strspn(buf, " \t");
    memmove(buf, buf + blank, strlen(buf + blank) + 1);

    for (n = strlen(buf); n && strchr(" \t\r\n", buf[n - 1]); n--) {
        /* void */
    }

    buf[n] = '\0';

    return n ? 0 : -1;
}
