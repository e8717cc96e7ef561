
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Whether the workers may read the token file.  The master reads whatever it
 * likes, but workers follow the file as another user: what they cannot read
 * must not be found out when it changes.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_readable.h"

#include <grp.h>
#include <sys/xattr.h>


#define NGX_ZLTUNNEL_READABLE_GROUPS  256


typedef struct {
    ngx_uid_t                    uid;
    gid_t                        groups[NGX_ZLTUNNEL_READABLE_GROUPS];
    int                          ngroups;
} ngx_zltunnel_readable_user_t;


static ngx_int_t ngx_zltunnel_readable_path(ngx_conf_t *cf, char *path,
    ngx_zltunnel_readable_user_t *user);
static ngx_uint_t ngx_zltunnel_readable_by(ngx_zltunnel_readable_user_t *user,
    const char *path, ngx_uint_t bit);


ngx_int_t
ngx_zltunnel_readable_check(ngx_conf_t *cf, ngx_str_t *name)
{
    char                 *path;
    ngx_int_t             rc;
    ngx_core_conf_t      *ccf;
    ngx_zltunnel_readable_user_t   user;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                           ngx_core_module);

    if (geteuid() != 0 || !ccf->master
        || ccf->user == (ngx_uid_t) NGX_CONF_UNSET_UINT || ccf->user == 0)
    {
        return NGX_OK;
    }

    user.uid = ccf->user;
    user.ngroups = NGX_ZLTUNNEL_READABLE_GROUPS;

    if (getgrouplist(ccf->username, ccf->group, user.groups, &user.ngroups)
        == -1)
    {
        user.ngroups = NGX_ZLTUNNEL_READABLE_GROUPS;
    }

    path = realpath((char *) name->data, NULL);
    if (path == NULL) {

        /* reading it tells why */

        return NGX_OK;
    }

    rc = ngx_zltunnel_readable_path(cf, path, &user);

    free(path);

    return rc;
}


static ngx_int_t
ngx_zltunnel_readable_path(ngx_conf_t *cf, char *path,
    ngx_zltunnel_readable_user_t *user)
{
    char             *p;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                           ngx_core_module);

    for (p = path + 1; *p; p++) {

        if (*p != '/') {
            continue;
        }

        *p = '\0';

        if (!ngx_zltunnel_readable_by(user, path, 1)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "the workers' user \"%s\" cannot read the token "
                          "file within directory \"%s\": it needs permission "
                          "to search there", ccf->username, path);
            return NGX_ERROR;
        }

        *p = '/';
    }

    if (!ngx_zltunnel_readable_by(user, path, 4)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "the workers' user \"%s\" cannot read the token file "
                      "\"%s\": it needs permission, as with owner root, its "
                      "own group, and mode 0640", ccf->username, path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_zltunnel_readable_by(ngx_zltunnel_readable_user_t *user, const char *path,
    ngx_uint_t bit)
{
    int          i;
    ngx_uint_t   mode;
    struct stat  st;

    if (stat(path, &st) == -1) {
        return 1;
    }

    mode = st.st_mode;

    if (st.st_uid == user->uid) {
        mode >>= 6;

    } else {
        for (i = 0; i < user->ngroups; i++) {
            if (st.st_gid == user->groups[i]) {
                mode >>= 3;
                break;
            }
        }
    }

    if (mode & bit) {
        return 1;
    }

    /* an access control list may say more than the mode does */

    return getxattr(path, "system.posix_acl_access", NULL, 0) > 0;
}
