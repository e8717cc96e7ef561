
/*
 * Copyright (C) zltunnel authors
 */

/* The files of TLS, and whether they have changed since they were read. */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>

#include "cert.h"
#include "stamp.h"
#include "trust.h"


enum {
    ZLT_TRUST_CA = 0,
    ZLT_TRUST_CERT,
    ZLT_TRUST_KEY,
    ZLT_TRUST_DIR,             /* of the system's authorities */

    ZLT_TRUST_FILES
};


struct zlt_trust_s {
    char              *names[ZLT_TRUST_FILES];         /* NULL: none */
    zlt_stamp_t        stamps[ZLT_TRUST_FILES];
    unsigned           insecure:1;
    unsigned           system:1;       /* its authorities, not ca_file */
};


static int zlt_trust_name(zlt_trust_t *t, unsigned file, const char *name);
static int zlt_trust_file(zlt_trust_t *t, SSL_CTX *ctx, char *error);
static int zlt_trust_system(zlt_trust_t *t, SSL_CTX *ctx, char *error);


/* bundles of the common systems, for where OpenSSL's own default is empty */

static const char *const  zlt_trust_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    NULL
};


zlt_trust_t *
zlt_trust_create(const zlt_tls_param_t *param)
{
    int           rc;
    const char   *file, *dir;
    zlt_trust_t  *t;

    t = calloc(1, sizeof(zlt_trust_t));

    if (t == NULL) {
        return NULL;
    }

    t->insecure = param->insecure ? 1 : 0;
    t->system = param->ca_file == NULL;

    rc = zlt_trust_name(t, ZLT_TRUST_CERT, param->cert);
    rc |= zlt_trust_name(t, ZLT_TRUST_KEY, param->key);

    if (t->insecure) {
        file = NULL;
        dir = NULL;

    } else if (t->system) {
        file = getenv(X509_get_default_cert_file_env());
        file = file ? file : X509_get_default_cert_file();
        dir = getenv(X509_get_default_cert_dir_env());
        dir = dir ? dir : X509_get_default_cert_dir();

    } else {
        file = param->ca_file;
        dir = NULL;
    }

    rc |= zlt_trust_name(t, ZLT_TRUST_CA, file);
    rc |= zlt_trust_name(t, ZLT_TRUST_DIR, dir);

    if (rc) {
        zlt_trust_free(t);
        return NULL;
    }

    return t;
}


/* 0, or -1 without memory */

static int
zlt_trust_name(zlt_trust_t *t, unsigned file, const char *name)
{
    if (name) {
        free(t->names[file]);
        t->names[file] = strdup(name);
    }

    return name && t->names[file] == NULL ? -1 : 0;
}


void
zlt_trust_free(zlt_trust_t *t)
{
    unsigned  i;

    if (t == NULL) {
        return;
    }

    for (i = 0; i < ZLT_TRUST_FILES; i++) {
        free(t->names[i]);
    }

    free(t);
}


int
zlt_trust_changed(zlt_trust_t *t)
{
    int       changed;
    unsigned  i;

    changed = 0;

    for (i = 0; i < ZLT_TRUST_FILES; i++) {
        changed |= zlt_stamp_changed(&t->stamps[i], t->names[i]);
    }

    return changed;
}


int
zlt_trust_load(zlt_trust_t *t, SSL_CTX *ctx, char *error)
{
    (void) zlt_trust_changed(t);

    if (t->names[ZLT_TRUST_CERT]
        && zlt_cert_load(ctx, t->names[ZLT_TRUST_CERT],
                         t->names[ZLT_TRUST_KEY], error)
           == -1)
    {
        return -1;
    }

    if (t->insecure) {
        return 0;
    }

    return t->system ? zlt_trust_system(t, ctx, error)
                     : zlt_trust_file(t, ctx, error);
}


static int
zlt_trust_file(zlt_trust_t *t, SSL_CTX *ctx, char *error)
{
    const char     *file;
    unsigned long   code;

    file = t->names[ZLT_TRUST_CA];

    if (SSL_CTX_load_verify_locations(ctx, file, NULL) == 1) {
        return 0;
    }

    code = ERR_peek_last_error();

    (void) snprintf(error, ZLT_TLS_ERROR_SIZE,
                    "no certificates can be read from \"%.200s\": %s", file,
                    errno && ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SYS
                    ? strerror(errno) : ERR_reason_error_string(code));
    ERR_clear_error();

    return -1;
}


/*
 * SSL_CTX_set_default_verify_paths() succeeds even if nothing is there, and
 * then every certificate is from an "unknown authority"; so look for a
 * bundle where its file has nothing, and for the directory.
 */

static int
zlt_trust_system(zlt_trust_t *t, SSL_CTX *ctx, char *error)
{
    unsigned     i;
    X509_STORE  *store;

    (void) SSL_CTX_set_default_verify_paths(ctx);

    store = SSL_CTX_get_cert_store(ctx);

    if (sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) == 0
        && getenv(X509_get_default_cert_file_env()) == NULL)
    {
        for (i = 0; zlt_trust_bundles[i]; i++) {

            if (zlt_trust_name(t, ZLT_TRUST_CA, zlt_trust_bundles[i]) == -1) {
                break;
            }

            zlt_stamp_take(&t->stamps[ZLT_TRUST_CA], zlt_trust_bundles[i]);

            if (SSL_CTX_load_verify_locations(ctx, zlt_trust_bundles[i], NULL)
                == 1)
            {
                break;
            }
        }
    }

    ERR_clear_error();

    if (sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) == 0
        && getenv(X509_get_default_cert_dir_env()) == NULL)
    {
        (void) strcpy(error, "the system has no trusted certificates: "
                             "install its CA bundle or give a CA file");
        return -1;
    }

    return 0;
}
