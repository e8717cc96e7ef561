
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent init --nginx: the server's side. */


#ifndef ZLT_CMD_INIT_NGINX_H_INCLUDED
#define ZLT_CMD_INIT_NGINX_H_INCLUDED


typedef struct {
    const char  *dir;          /* NULL: /etc/nginx */
    const char  *name;         /* of the token */
    const char  *host;         /* NULL: is asked for */
    const char  *domain;       /* below which hosts are; NULL: there are none */
    const char  *cert;         /* NULL: certbot's */
    const char  *key;
    const char  *ports;        /* NULL: the usual ones */
    int          force;
} zlt_cmd_init_nginx_t;


/* The exit code. */
int zlt_cmd_init_nginx(const zlt_cmd_init_nginx_t *init);


#endif /* ZLT_CMD_INIT_NGINX_H_INCLUDED */
