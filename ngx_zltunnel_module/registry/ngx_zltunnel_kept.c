
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Whose agents the administrator keeps out for a while, by the names of their
 * tokens.  It is a table, so that it outlives a registry that is emptied.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_kept.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"


/* s; an agent waits for up to a quarter longer, so that it asks within 30 */
#define NGX_ZLTUNNEL_KEPT_RETRY  24


static ngx_zltunnel_sh_kept_t *ngx_zltunnel_kept_find(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name);


time_t
ngx_zltunnel_kept_until(ngx_zltunnel_sh_t *sh, ngx_str_t *name)
{
    ngx_zltunnel_sh_kept_t  *kept;

    kept = ngx_zltunnel_kept_find(sh, name);

    return kept ? kept->until : 0;
}


static ngx_zltunnel_sh_kept_t *
ngx_zltunnel_kept_find(ngx_zltunnel_sh_t *sh, ngx_str_t *name)
{
    ngx_uint_t               i;
    ngx_zltunnel_sh_kept_t  *kept;

    if (sh->kept == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_ZLTUNNEL_KEPT; i++) {
        kept = &sh->kept[i];

        if (kept->until > ngx_time()
            && kept->len == name->len
            && ngx_memcmp(kept->name, name->data, name->len) == 0)
        {
            return kept;
        }
    }

    return NULL;
}


ngx_int_t
ngx_zltunnel_kept_add(ngx_zltunnel_registry_t *registry, ngx_str_t *name,
    time_t until)
{
    ngx_uint_t               i;
    ngx_zltunnel_sh_t       *sh;
    ngx_zltunnel_sh_kept_t  *kept;

    sh = registry->sh;

    if (sh->kept == NULL) {
        sh->kept = ngx_zltunnel_zone_alloc(registry, NGX_ZLTUNNEL_KEPT
                                           * sizeof(ngx_zltunnel_sh_kept_t));
        if (sh->kept == NULL) {
            return NGX_ERROR;
        }
    }

    kept = ngx_zltunnel_kept_find(sh, name);

    for (i = 0; kept == NULL && i < NGX_ZLTUNNEL_KEPT; i++) {

        if (sh->kept[i].until <= ngx_time()) {
            kept = &sh->kept[i];
        }
    }

    if (kept == NULL) {
        return NGX_ERROR;
    }

    kept->len = ngx_min(name->len, NGX_ZLTUNNEL_TOKEN_NAME);
    ngx_memcpy(kept->name, name->data, kept->len);
    kept->until = until;

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_kept_remove(ngx_zltunnel_sh_t *sh, ngx_str_t *name)
{
    ngx_zltunnel_sh_kept_t  *kept;

    kept = ngx_zltunnel_kept_find(sh, name);
    if (kept == NULL) {
        return NGX_DECLINED;
    }

    kept->until = 0;

    return NGX_OK;
}


ngx_uint_t
ngx_zltunnel_kept_copy(ngx_zltunnel_sh_t *sh, ngx_zltunnel_sh_kept_t *copy)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; sh->kept && i < NGX_ZLTUNNEL_KEPT; i++) {

        if (sh->kept[i].until > ngx_time()) {
            copy[n++] = sh->kept[i];
        }
    }

    return n;
}


void
ngx_zltunnel_kept_text(time_t until, char text[NGX_ZLTUNNEL_KEPT_TEXT])
{
    u_char    *p;
    ngx_tm_t   tm;

    ngx_gmtime(until, &tm);

    p = ngx_snprintf((u_char *) text, NGX_ZLTUNNEL_KEPT_TEXT - 1,
                     "kept out by the administrator until "
                     "%4d-%02d-%02dT%02d:%02d:%02dZ",
                     tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                     tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
    *p = '\0';
}


ngx_msec_t
ngx_zltunnel_kept_retry(time_t until)
{
    time_t  left;

    left = until - ngx_time();

    return 1000 * (ngx_msec_t) ngx_max(ngx_min(left, NGX_ZLTUNNEL_KEPT_RETRY),
                                       1);
}
