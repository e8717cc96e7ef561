
/*
 * Copyright (C) zltunnel authors
 */

/* What "zltunnel-agent init --nginx" is given, before nginx reads it. */


#ifndef ZLT_CMD_INIT_CHECK_H_INCLUDED
#define ZLT_CMD_INIT_CHECK_H_INCLUDED


#include <stddef.h>


#define ZLT_CMD_INIT_CHECK_NAME  512


/* All return 0, or -1, and have said then what is wrong. */

/* One word of nginx's configuration; "what" names it. */
int zlt_cmd_init_check_word(const char *what, const char *text);

/* A host name, with which a scheme, a path and port 443 may come: the name
   alone goes to host, of ZLT_CMD_INIT_CHECK_NAME bytes. */
int zlt_cmd_init_check_host(const char *given, char *host);

/* A domain below which hosts are, "*." perhaps in front: its name goes to
   domain, of ZLT_CMD_INIT_CHECK_NAME bytes. */
int zlt_cmd_init_check_domain(const char *given, char *domain);

/* PORT or FIRST-LAST. */
int zlt_cmd_init_check_ports(const char *text);

/*
 * A file that is there: here, or as nginx looks for it, in dir.  Its absolute
 * name goes to path, of ZLT_CMD_INIT_CHECK_NAME bytes.  "what" names it in what
 * is said, "hint" tells what else to do.
 */
int zlt_cmd_init_check_file(const char *what, const char *given,
    const char *dir, const char *hint, char *path);


#endif /* ZLT_CMD_INIT_CHECK_H_INCLUDED */
