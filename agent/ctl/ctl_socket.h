
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CTL_SOCKET_H_INCLUDED
#define ZLT_CTL_SOCKET_H_INCLUDED


#include <sys/types.h>


#define ZLT_CTL_PATH_SIZE  108         /* of a struct sockaddr_un */


/*
 * Listens at path, with that mode.  A socket that nobody serves is replaced,
 * one that somebody serves is not.  The descriptor, or -1 with a text in
 * error (ZLT_CONF_ERROR_SIZE bytes); *lock is the descriptor of a lock file
 * that is held as long as it is open.
 */
int zlt_ctl_socket_listen(const char *path, mode_t mode, int *lock,
    char *error);

/* 1 if the other end is the same user, or root */
int zlt_ctl_socket_peer(int fd);

/* Where it is by default: 0, or -1 if there is no such place.  "serve": for
   the process itself, which may have to make the directory. */
int zlt_ctl_socket_path(char *path, int serve);


#endif /* ZLT_CTL_SOCKET_H_INCLUDED */
