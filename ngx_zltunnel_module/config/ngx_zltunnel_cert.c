
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Tokens that are bound to a certificate: cert= in the token's line, and the
 * certificate that the agent has shown to nginx.
 *
 *     cert=sha256:<fingerprint>|cn:<common name>|dn:<subject, RFC 2253>
 *
 * A fingerprint is of one certificate, whose key the agent has by the rules
 * of TLS, whoever signed it.  A name says something only if nginx has verified
 * the chain (ssl_verify_client, ssl_client_certificate).
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cert.h"
#include "ngx_zltunnel_token.h"

#include "zlt_hex.h"

#include <openssl/crypto.h>


#define NGX_ZLTUNNEL_CERT_HASH  32


typedef enum {
    NGX_ZLTUNNEL_CERT_SHA256 = 0,
    NGX_ZLTUNNEL_CERT_CN,
    NGX_ZLTUNNEL_CERT_DN
} ngx_zltunnel_cert_kind_e;


typedef struct {
    ngx_zltunnel_cert_kind_e     kind;
    ngx_str_t                    value;       /* decoded */
} ngx_zltunnel_cert_t;


typedef struct {
    ngx_str_t                    prefix;
    ngx_int_t                  (*decode)(ngx_pool_t *pool, ngx_str_t *dst,
                                         u_char *p, u_char *last);
} ngx_zltunnel_cert_form_t;


static ngx_int_t ngx_zltunnel_cert_item(ngx_pool_t *pool,
    ngx_zltunnel_cert_t *cert, u_char *p, u_char *last);
static ngx_int_t ngx_zltunnel_cert_fingerprint(ngx_pool_t *pool,
    ngx_str_t *dst, u_char *p, u_char *last);
static ngx_int_t ngx_zltunnel_cert_name(ngx_pool_t *pool, ngx_str_t *dst,
    u_char *p, u_char *last);

#if (NGX_SSL)
static ngx_uint_t ngx_zltunnel_cert_matches(ngx_zltunnel_cert_t *cert,
    X509 *x509, u_char *hash, ngx_uint_t verified);
static ngx_uint_t ngx_zltunnel_cert_cn(X509 *x509, ngx_str_t *cn);
static ngx_uint_t ngx_zltunnel_cert_dn(X509 *x509, ngx_str_t *dn);
#endif


/* by ngx_zltunnel_cert_kind_e */

static ngx_zltunnel_cert_form_t  ngx_zltunnel_cert_forms[] = {
    { ngx_string("sha256:"), ngx_zltunnel_cert_fingerprint },
    { ngx_string("cn:"), ngx_zltunnel_cert_name },
    { ngx_string("dn:"), ngx_zltunnel_cert_name }
};

#define NGX_ZLTUNNEL_CERT_FORMS                                               \
    (sizeof(ngx_zltunnel_cert_forms) / sizeof(ngx_zltunnel_cert_forms[0]))


ngx_array_t *
ngx_zltunnel_cert_parse(ngx_pool_t *pool, ngx_str_t *value)
{
    u_char               *p, *end, *last;
    ngx_array_t          *certs;
    ngx_zltunnel_cert_t  *cert;

    certs = ngx_array_create(pool, 2, sizeof(ngx_zltunnel_cert_t));
    if (certs == NULL) {
        return NULL;
    }

    last = value->data + value->len;

    for (p = value->data; p <= last; p = end + 1) {

        end = ngx_strlchr(p, last, '|');

        if (end == NULL) {
            end = last;
        }

        cert = ngx_array_push(certs);

        if (cert == NULL
            || ngx_zltunnel_cert_item(pool, cert, p, end) != NGX_OK)
        {
            return NULL;
        }
    }

    return certs;
}


static ngx_int_t
ngx_zltunnel_cert_item(ngx_pool_t *pool, ngx_zltunnel_cert_t *cert, u_char *p,
    u_char *last)
{
    ngx_uint_t                 i;
    ngx_zltunnel_cert_form_t  *form;

    for (i = 0; i < NGX_ZLTUNNEL_CERT_FORMS; i++) {

        form = &ngx_zltunnel_cert_forms[i];

        if ((size_t) (last - p) > form->prefix.len
            && ngx_strncmp(p, form->prefix.data, form->prefix.len) == 0)
        {
            cert->kind = (ngx_zltunnel_cert_kind_e) i;

            return form->decode(pool, &cert->value, p + form->prefix.len,
                                last);
        }
    }

    return NGX_ERROR;
}


/* as "openssl x509 -fingerprint" prints it, or without the colons */

static ngx_int_t
ngx_zltunnel_cert_fingerprint(ngx_pool_t *pool, ngx_str_t *dst, u_char *p,
    u_char *last)
{
    char        hex[2 * NGX_ZLTUNNEL_CERT_HASH];
    ngx_uint_t  n;

    for (n = 0; p < last; p++) {

        if (*p == ':' && n && n % 2 == 0) {
            continue;
        }

        if (n == sizeof(hex)) {
            return NGX_ERROR;
        }

        hex[n++] = (char) ngx_tolower(*p);
    }

    dst->len = NGX_ZLTUNNEL_CERT_HASH;
    dst->data = ngx_pnalloc(pool, dst->len);

    if (n != sizeof(hex) || dst->data == NULL
        || zlt_hex_decode(dst->data, hex, dst->len) != 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* %XX stands for what cannot be in a token's line */

static ngx_int_t
ngx_zltunnel_cert_name(ngx_pool_t *pool, ngx_str_t *dst, u_char *p,
    u_char *last)
{
    u_char     *d;
    ngx_int_t   ch;

    dst->data = ngx_pnalloc(pool, last - p);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    d = dst->data;

    while (p < last) {

        if (*p != '%') {
            *d++ = *p++;
            continue;
        }

        if (last - p < 3) {
            return NGX_ERROR;
        }

        ch = ngx_hextoi(p + 1, 2);

        if (ch < 1) {
            return NGX_ERROR;
        }

        *d++ = (u_char) ch;
        p += 3;
    }

    dst->len = d - dst->data;

    return NGX_OK;
}


ngx_uint_t
ngx_zltunnel_cert_allows(ngx_zltunnel_token_t *token, ngx_connection_t *c,
    const char **reason)
{
#if (NGX_SSL)
    X509                 *x509;
    u_char                hash[EVP_MAX_MD_SIZE];
    unsigned              len;
    ngx_uint_t            i, found, verified;
    ngx_zltunnel_cert_t  *cert;
#endif

    if (token->certs == NULL) {
        return 1;
    }

    *reason = "there was none";

#if (NGX_SSL)

    x509 = c->ssl ? SSL_get_peer_certificate(c->ssl->connection) : NULL;

    if (x509 == NULL) {
        return 0;
    }

    found = 0;
    verified = (SSL_get_verify_result(c->ssl->connection) == X509_V_OK);

    if (X509_digest(x509, EVP_sha256(), hash, &len) == 1) {

        cert = token->certs->elts;

        for (i = 0; i < token->certs->nelts && !found; i++) {
            found = ngx_zltunnel_cert_matches(&cert[i], x509, hash, verified);
        }
    }

    X509_free(x509);

    *reason = verified ? "there was another"
                       : "there was another, or one that is not verified";

    return found;

#else

    return 0;

#endif
}


#if (NGX_SSL)

static ngx_uint_t
ngx_zltunnel_cert_matches(ngx_zltunnel_cert_t *cert, X509 *x509, u_char *hash,
    ngx_uint_t verified)
{
    ngx_str_t   name;
    ngx_uint_t  rc;

    if (cert->kind == NGX_ZLTUNNEL_CERT_SHA256) {
        return CRYPTO_memcmp(cert->value.data, hash, NGX_ZLTUNNEL_CERT_HASH)
               == 0;
    }

    if (!verified) {
        return 0;
    }

    rc = (cert->kind == NGX_ZLTUNNEL_CERT_CN)
         ? ngx_zltunnel_cert_cn(x509, &name)
         : ngx_zltunnel_cert_dn(x509, &name);

    if (!rc) {
        return 0;
    }

    rc = (name.len == cert->value.len
          && ngx_memcmp(name.data, cert->value.data, name.len) == 0);

    OPENSSL_free(name.data);

    return rc;
}


/* the common name, in UTF-8, where there is exactly one */

static ngx_uint_t
ngx_zltunnel_cert_cn(X509 *x509, ngx_str_t *cn)
{
    int               n, len;
    X509_NAME        *subject;
    X509_NAME_ENTRY  *entry;

    subject = X509_get_subject_name(x509);
    n = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    if (n < 0
        || X509_NAME_get_index_by_NID(subject, NID_commonName, n) >= 0)
    {
        return 0;
    }

    entry = X509_NAME_get_entry(subject, n);
    len = ASN1_STRING_to_UTF8(&cn->data, X509_NAME_ENTRY_get_data(entry));

    if (len < 0) {
        ERR_clear_error();
        return 0;
    }

    cn->len = len;

    return 1;
}


/* as in $ssl_client_s_dn */

static ngx_uint_t
ngx_zltunnel_cert_dn(X509 *x509, ngx_str_t *dn)
{
    BIO   *bio;
    char  *text;
    long   len;

    bio = BIO_new(BIO_s_mem());
    if (bio == NULL) {
        return 0;
    }

    dn->data = NULL;

    if (X509_NAME_print_ex(bio, X509_get_subject_name(x509), 0,
                           XN_FLAG_RFC2253)
        >= 0)
    {
        len = BIO_get_mem_data(bio, &text);

        if (len > 0) {
            dn->data = OPENSSL_memdup(text, len);
            dn->len = len;
        }
    }

    BIO_free(bio);

    return dn->data != NULL;
}

#endif
