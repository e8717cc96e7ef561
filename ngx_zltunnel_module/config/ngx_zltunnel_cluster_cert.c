
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The certificate by which nodes know each other.
 *
 * What "cluster_trusted_certificate" has signed is a node, whatever nginx itself
 * asks of its clients where agents connect.  The certificates of a server{} may
 * be others: another node looks at those there, and trusts them likewise.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cluster_cert.h"
#include "ngx_zltunnel_cluster_conf.h"


#if (NGX_SSL)

#include <openssl/x509_vfy.h>


static int ngx_zltunnel_cluster_cert_verify(int ok, X509_STORE_CTX *ctx);
static ngx_int_t ngx_zltunnel_cluster_cert_failed(ngx_cycle_t *cycle,
    ngx_zltunnel_cluster_conf_t *cluster, const char *directive,
    ngx_str_t *file);


ngx_int_t
ngx_zltunnel_cluster_cert_init(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    ngx_ssl_t                    *ssl;
    ngx_pool_cleanup_t           *cln;
    ngx_zltunnel_cluster_conf_t  *cluster;

    cluster = registry->cluster;

    if (cluster == NULL || cluster->certificate.len == 0) {
        return NGX_OK;
    }

    ssl = ngx_pcalloc(cycle->pool, sizeof(ngx_ssl_t));
    if (ssl == NULL) {
        return NGX_ERROR;
    }

    ssl->log = cycle->log;

    if (ngx_ssl_create(ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = ssl;

    if (SSL_CTX_use_certificate_chain_file(ssl->ctx,
                                     (char *) cluster->certificate.data)
        == 0)
    {
        return ngx_zltunnel_cluster_cert_failed(cycle, cluster,
                                                "cluster_certificate",
                                                &cluster->certificate);
    }

    if (SSL_CTX_use_PrivateKey_file(ssl->ctx,
                                    (char *) cluster->certificate_key.data,
                                    SSL_FILETYPE_PEM)
        == 0
        || SSL_CTX_check_private_key(ssl->ctx) == 0)
    {
        return ngx_zltunnel_cluster_cert_failed(cycle, cluster,
                                                "cluster_certificate_key",
                                                &cluster->certificate_key);
    }

    if (SSL_CTX_load_verify_locations(ssl->ctx,
                                (char *) cluster->trusted_certificate.data,
                                NULL)
        == 0)
    {
        return ngx_zltunnel_cluster_cert_failed(cycle, cluster,
                                                "cluster_trusted_certificate",
                                                &cluster->trusted_certificate);
    }

    /* who is not trusted is found after the handshake, and told of then */

    SSL_CTX_set_verify(ssl->ctx, SSL_VERIFY_PEER,
                       ngx_zltunnel_cluster_cert_verify);

    cluster->ssl = ssl;

    return NGX_OK;
}


static int
ngx_zltunnel_cluster_cert_verify(int ok, X509_STORE_CTX *ctx)
{
    return 1;
}


static ngx_int_t
ngx_zltunnel_cluster_cert_failed(ngx_cycle_t *cycle,
    ngx_zltunnel_cluster_conf_t *cluster, const char *directive,
    ngx_str_t *file)
{
    ngx_ssl_error(NGX_LOG_EMERG, cycle->log, 0,
                  "file \"%s\" of \"%s\" cannot be used, in %s:%ui",
                  file->data, directive, cluster->file, cluster->line);

    return NGX_ERROR;
}


ngx_uint_t
ngx_zltunnel_cluster_cert_known(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c)
{
    X509                         *cert;
    ngx_uint_t                    known;
    X509_STORE_CTX               *ctx;
    ngx_zltunnel_cluster_conf_t  *cluster;

    cluster = registry->cluster;

    if (cluster == NULL || cluster->ssl == NULL || c->ssl == NULL) {
        return 0;
    }

    cert = SSL_get_peer_certificate(c->ssl->connection);
    if (cert == NULL) {
        return 0;
    }

    known = 0;
    ctx = X509_STORE_CTX_new();

    ERR_clear_error();

    if (ctx
        && X509_STORE_CTX_init(ctx, SSL_CTX_get_cert_store(cluster->ssl->ctx),
                               cert,
                               SSL_get_peer_cert_chain(c->ssl->connection))
           == 1
        && X509_STORE_CTX_set_default(ctx, "ssl_client") == 1
        && X509_verify_cert(ctx) == 1)
    {
        known = 1;
    }

    ERR_clear_error();

    X509_STORE_CTX_free(ctx);
    X509_free(cert);

    return known;
}


ngx_int_t
ngx_zltunnel_cluster_cert_connect(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c)
{
    ngx_zltunnel_cluster_conf_t  *cluster;

    cluster = registry->cluster;

    if (cluster == NULL || cluster->ssl == NULL) {
        return NGX_ERROR;
    }

    return ngx_ssl_create_connection(cluster->ssl, c, NGX_SSL_CLIENT);
}


const char *
ngx_zltunnel_cluster_cert_wrong(ngx_connection_t *c)
{
    long   rc;
    X509  *cert;

    if (!c->ssl->handshaked) {
        return "the handshake of TLS failed";
    }

    cert = SSL_get_peer_certificate(c->ssl->connection);

    if (cert == NULL) {
        return "it has no certificate";
    }

    X509_free(cert);

    rc = SSL_get_verify_result(c->ssl->connection);

    return rc == X509_V_OK ? NULL : X509_verify_cert_error_string(rc);
}


#else

ngx_int_t
ngx_zltunnel_cluster_cert_init(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    return NGX_OK;
}


ngx_uint_t
ngx_zltunnel_cluster_cert_known(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c)
{
    return 0;
}


ngx_int_t
ngx_zltunnel_cluster_cert_connect(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c)
{
    return NGX_ERROR;
}


const char *
ngx_zltunnel_cluster_cert_wrong(ngx_connection_t *c)
{
    return "this nginx has no TLS";
}

#endif
