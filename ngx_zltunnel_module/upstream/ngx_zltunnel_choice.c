
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Servers marked "backup" are nginx's, chosen by round robin.  They serve from
 * the moment on at which no service is left, to the end of the request or
 * session.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_choice.h"


static struct sockaddr_un  ngx_zltunnel_choice_sockaddr = {
    AF_UNIX, { 0 }
};

ngx_addr_t  ngx_zltunnel_choice_addr = {
    (struct sockaddr *) &ngx_zltunnel_choice_sockaddr,
    sizeof(sa_family_t),
    ngx_string("zltunnel_service")
};


void
ngx_zltunnel_choice_backup(ngx_zltunnel_upstream_t *up,
    ngx_peer_connection_t *pc)
{
    up->backup.get = pc->get;
    up->backup.free = pc->free;
    up->backup.data = pc->data;

#if (NGX_SSL)
    up->backup.set_session = pc->set_session;
    up->backup.save_session = pc->save_session;
#endif
}


ngx_int_t
ngx_zltunnel_choice_get(ngx_zltunnel_upstream_t *up, ngx_peer_connection_t *pc)
{
    ngx_int_t  rc;

    pc->cached = 0;
    pc->connection = NULL;

    if (up->backup.serves) {
        return up->backup.get(pc, up->backup.data);
    }

    rc = up->chosen ? NGX_OK : ngx_zltunnel_balance(up);

    if (rc == NGX_BUSY && up->conf->backup) {
        ngx_log_debug0(NGX_LOG_DEBUG_CORE, pc->log, 0,
                       "zltunnel backup servers");

        up->backup.serves = 1;

        return up->backup.get(pc, up->backup.data);
    }

    if (rc == NGX_BUSY && up->absent) {

        /* a connection that is to come, or to fail */

        up->name = up->host.len ? up->host : up->conf->service;
        up->sockaddr.sun_family = AF_UNIX;
        up->socklen = sizeof(sa_family_t);

    } else if (rc != NGX_OK) {
        pc->name = &up->conf->service;
        return rc;
    }

    pc->sockaddr = (struct sockaddr *) &up->sockaddr;
    pc->socklen = up->socklen;
    pc->name = &up->name;

    return NGX_OK;
}


#if (NGX_SSL)

ngx_int_t
ngx_zltunnel_choice_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_zltunnel_upstream_t *up = data;

    return up->backup.serves ? up->backup.set_session(pc, up->backup.data)
                             : NGX_OK;
}


void
ngx_zltunnel_choice_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_zltunnel_upstream_t *up = data;

    if (up->backup.serves) {
        up->backup.save_session(pc, up->backup.data);
    }
}

#endif
