
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Tokens: the lines of a token file, and what each of them allows.
 *
 *     <SHA-256 in hex> <name> [key=value ...]     # comment
 *
 * An error names the line and what is allowed there, but repeats no value:
 * a token may stand where something else was expected.
 *
 * In the file of a running server a bad line that begins with a token's hash
 * costs that token, and the other lines count: a slip in one of them must not
 * keep another from being revoked.  A line that begins otherwise is no line of
 * a token file, and then nothing of the file can be trusted.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_token.h"
#include "ngx_zltunnel_granted.h"
#include "ngx_zltunnel_token_key.h"

#include "zlt_hex.h"
#include "zlt_name.h"

#include <openssl/crypto.h>


#define NGX_ZLTUNNEL_TOKEN_ACCESS_TTL  86400        /* s */
#define NGX_ZLTUNNEL_TOKEN_MAX_ACCESS  100


typedef struct {
    ngx_zltunnel_tokens_t       *set;
    ngx_zltunnel_token_error_t  *error;
    ngx_rbtree_t                 seen;        /* hashes, to find doubles */
    ngx_rbtree_node_t            sentinel;
} ngx_zltunnel_token_reader_t;


typedef struct {
    ngx_rbtree_node_t            node;
    u_char                       hash[32];
} ngx_zltunnel_token_seen_t;


static ngx_uint_t ngx_zltunnel_token_many(ngx_zltunnel_tokens_t *set);
static ngx_int_t ngx_zltunnel_token_line(ngx_zltunnel_token_reader_t *r,
    ngx_str_t *line);
static ngx_int_t ngx_zltunnel_token_rest(ngx_zltunnel_token_reader_t *r,
    ngx_zltunnel_token_t *token, ngx_str_t *line);
static void ngx_zltunnel_token_drop(ngx_zltunnel_token_reader_t *r,
    u_char *hash);
static ngx_int_t ngx_zltunnel_token_seen(ngx_zltunnel_token_reader_t *r,
    u_char *hash);
static ngx_int_t ngx_zltunnel_token_parameter(ngx_zltunnel_token_reader_t *r,
    ngx_zltunnel_token_t *token, ngx_uint_t *seen, ngx_str_t *word);
static ngx_uint_t ngx_zltunnel_token_word(ngx_str_t *line, ngx_str_t *word);
static ngx_int_t ngx_zltunnel_token_fail(ngx_zltunnel_token_reader_t *r,
    const char *fmt, ...);


ngx_int_t
ngx_zltunnel_token_parse(ngx_zltunnel_tokens_t *set, u_char *data, size_t len,
    ngx_uint_t live, ngx_zltunnel_token_error_t *e)
{
    u_char                       *p, *last, *end;
    ngx_int_t                     rc;
    ngx_str_t                     line;
    ngx_zltunnel_token_reader_t   r;

    r.set = set;
    r.error = e;
    ngx_rbtree_init(&r.seen, &r.sentinel, ngx_rbtree_insert_value);

    p = data;
    last = data + len;

    while (p < last && (*p == ' ' || *p == '\t' || *p == CR || *p == LF)) {
        p++;
    }

    e->line = 0;

    if (p == last) {
        return ngx_zltunnel_token_fail(&r, "the file is empty");
    }

    for (p = data; p < last; p = end + 1) {

        e->line++;

        end = ngx_strlchr(p, last, LF);

        if (end == NULL && !live) {
            end = last;
        }

        if (end == NULL) {

            /* a line that was cut short may allow more than the whole one */

            return ngx_zltunnel_token_fail(&r, "the last line does not end, "
                                           "the file may be incomplete");
        }

        line.data = p;
        line.len = end - p;

        rc = ngx_zltunnel_token_line(&r, &line);

        if (rc == NGX_ERROR || (rc == NGX_DECLINED && !live)) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED && set->nbad++ == 0) {
            set->bad = *e;
        }
    }

    if (set->nbad && set->tokens.nelts == 0) {

        /* nothing is right */

        *e = set->bad;
        return NGX_ERROR;
    }

    set->many = ngx_zltunnel_token_many(set);

    return NGX_OK;
}


static ngx_uint_t
ngx_zltunnel_token_many(ngx_zltunnel_tokens_t *set)
{
    ngx_uint_t             i;
    ngx_zltunnel_token_t  *token;

    token = set->tokens.elts;

    for (i = 1; i < set->tokens.nelts; i++) {

        if (token[i].name.len != token[0].name.len
            || ngx_memcmp(token[i].name.data, token[0].name.data,
                          token[0].name.len)
               != 0)
        {
            return 1;
        }
    }

    return 0;
}


/* NGX_DECLINED: it costs its own token; NGX_ERROR: the whole file */

static ngx_int_t
ngx_zltunnel_token_line(ngx_zltunnel_token_reader_t *r, ngx_str_t *line)
{
    u_char                *comment, hash[32];
    ngx_int_t              rc;
    ngx_str_t              word;
    ngx_zltunnel_token_t   token, *to;

    comment = ngx_strlchr(line->data, line->data + line->len, '#');

    if (comment) {
        line->len = comment - line->data;
    }

    if (!ngx_zltunnel_token_word(line, &word)) {
        return NGX_OK;
    }

    if (word.len != 2 * sizeof(hash)
        || zlt_hex_decode(hash, (char *) word.data, sizeof(hash)) != 0)
    {
        return ngx_zltunnel_token_fail(r, "the first word must be the SHA-256 "
                         "of a token, 64 hexadecimal digits");
    }

    switch (ngx_zltunnel_token_seen(r, hash)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:

        /* which of the two counts? */

        ngx_zltunnel_token_drop(r, hash);

        (void) ngx_zltunnel_token_fail(r, "the same token has a line already");

        return NGX_DECLINED;

    default:
        return ngx_zltunnel_token_fail(r, "not enough memory");
    }

    ngx_memzero(&token, sizeof(ngx_zltunnel_token_t));

    ngx_memcpy(token.hash, hash, sizeof(hash));
    token.tcp = 1;
    token.udp = 1;
    token.sessions = 1;
    token.access_ttl = NGX_ZLTUNNEL_TOKEN_ACCESS_TTL;
    token.max_access = NGX_ZLTUNNEL_TOKEN_MAX_ACCESS;

    rc = ngx_zltunnel_token_rest(r, &token, line);

    if (rc == NGX_OK) {
        to = ngx_array_push(&r->set->tokens);
        if (to == NULL) {
            return ngx_zltunnel_token_fail(r, "not enough memory");
        }

        *to = token;
    }

    return rc;
}


/* what is behind the hash */

static ngx_int_t
ngx_zltunnel_token_rest(ngx_zltunnel_token_reader_t *r,
    ngx_zltunnel_token_t *token, ngx_str_t *line)
{
    ngx_str_t   word;
    ngx_uint_t  seen;

    if (!ngx_zltunnel_token_word(line, &word)
        || word.len > NGX_ZLTUNNEL_TOKEN_NAME
        || !zlt_name_valid(word.data, word.len))
    {
        (void) ngx_zltunnel_token_fail(r, "the second word must be a name for "
                         "the token, at most %d bytes of letters, digits, "
                         "\"-\", \"_\" and \".\"", NGX_ZLTUNNEL_TOKEN_NAME);
        return NGX_DECLINED;
    }

    token->name.len = word.len;
    token->name.data = ngx_pstrdup(r->set->pool, &word);
    if (token->name.data == NULL) {
        return ngx_zltunnel_token_fail(r, "not enough memory");
    }

    seen = 0;

    while (ngx_zltunnel_token_word(line, &word)) {

        if (ngx_zltunnel_token_parameter(r, token, &seen, &word) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static void
ngx_zltunnel_token_drop(ngx_zltunnel_token_reader_t *r, u_char *hash)
{
    ngx_uint_t             i;
    ngx_zltunnel_token_t  *token;

    token = r->set->tokens.elts;

    for (i = 0; i < r->set->tokens.nelts; i++) {

        if (ngx_memcmp(token[i].hash, hash, sizeof(token[i].hash)) == 0) {
            token[i] = token[--r->set->tokens.nelts];
            return;
        }
    }
}


static ngx_int_t
ngx_zltunnel_token_seen(ngx_zltunnel_token_reader_t *r, u_char *hash)
{
    ngx_rbtree_key_t            key;
    ngx_rbtree_node_t          *node;
    ngx_zltunnel_token_seen_t  *seen;

    ngx_memcpy(&key, hash, sizeof(key));

    node = r->seen.root;

    while (node != &r->sentinel) {

        seen = (ngx_zltunnel_token_seen_t *) node;

        if (key == node->key && ngx_memcmp(seen->hash, hash, 32) == 0) {
            return NGX_DECLINED;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    seen = ngx_palloc(r->set->pool, sizeof(ngx_zltunnel_token_seen_t));
    if (seen == NULL) {
        return NGX_ERROR;
    }

    seen->node.key = key;
    ngx_memcpy(seen->hash, hash, 32);

    ngx_rbtree_insert(&r->seen, &seen->node);

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_parameter(ngx_zltunnel_token_reader_t *r,
    ngx_zltunnel_token_t *token, ngx_uint_t *seen, ngx_str_t *word)
{
    u_char                    *p;
    size_t                     len;
    ngx_str_t                  value;
    ngx_uint_t                 i;
    ngx_zltunnel_token_key_t  *key;

    p = ngx_strlchr(word->data, word->data + word->len, '=');
    len = p ? (size_t) (p - word->data) : 0;

    key = ngx_zltunnel_token_key_find(word->data, len, &i);

    if (key) {

        if (*seen & (1U << i)) {
            return ngx_zltunnel_token_fail(r, "\"%V=\" is duplicate",
                                           &key->name);
        }

        *seen |= 1U << i;

        value.data = p + 1;
        value.len = word->len - len - 1;

        if (value.len == 0
            || key->set(r->set->pool, token, key, &value) != NGX_OK)
        {
            return ngx_zltunnel_token_fail(r, "invalid value of \"%V=\": it "
                             "must be %s", &key->name, key->allowed);
        }

        return NGX_OK;
    }

    return ngx_zltunnel_token_fail(r, "unknown parameter behind the name: "
                     "allowed are services=, ports=, protocols=, "
                     "hosts=, max_hosts=, max_services=, "
                     "max_connections=, max_udp_sessions=, rate=, sessions=, "
                     "expires=, access=, access_ttl=, max_access=, cert=");
}


static ngx_uint_t
ngx_zltunnel_token_word(ngx_str_t *line, ngx_str_t *word)
{
    u_char  *p, *last;

    p = line->data;
    last = line->data + line->len;

    while (p < last && (*p == ' ' || *p == '\t' || *p == CR)) {
        p++;
    }

    word->data = p;

    while (p < last && *p != ' ' && *p != '\t' && *p != CR) {
        p++;
    }

    word->len = p - word->data;

    line->data = p;
    line->len = last - p;

    return word->len != 0;
}


static ngx_int_t
ngx_zltunnel_token_fail(ngx_zltunnel_token_reader_t *r, const char *fmt, ...)
{
    u_char   *p, *text;
    va_list   args;

    text = r->error->text;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + NGX_ZLTUNNEL_TOKEN_ERROR - 1, fmt, args);
    va_end(args);

    *p = '\0';

    return NGX_ERROR;
}


ngx_zltunnel_token_t *
ngx_zltunnel_token_find(ngx_zltunnel_registry_t *registry, u_char hash[32])
{
    ngx_zltunnel_token_t    *token;
    ngx_zltunnel_granted_t  *granted;

    token = ngx_zltunnel_token_line_of(registry, hash);

    if (token) {
        return token;
    }

    granted = ngx_zltunnel_granted_find(registry, hash);

    return (granted && granted->set) ? granted->set->tokens.elts : NULL;
}


ngx_zltunnel_token_t *
ngx_zltunnel_token_line_of(ngx_zltunnel_registry_t *registry, u_char hash[32])
{
    ngx_uint_t             i;
    ngx_zltunnel_token_t  *token, *found;

    if (registry->tokens == NULL) {
        return NULL;
    }

    found = NULL;
    token = registry->tokens->tokens.elts;

    for (i = 0; i < registry->tokens->tokens.nelts; i++) {

        /* no early exit: the time taken tells nothing */

        if (CRYPTO_memcmp(token[i].hash, hash, 32) == 0) {
            found = &token[i];
        }
    }

    return found;
}


ngx_uint_t
ngx_zltunnel_token_expired(ngx_zltunnel_token_t *token)
{
    return token->expires && token->expires <= ngx_time();
}
