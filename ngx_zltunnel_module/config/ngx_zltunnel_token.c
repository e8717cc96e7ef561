
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
#include "ngx_zltunnel_cert.h"

#include "zlt_hex.h"
#include "zlt_host.h"
#include "zlt_name.h"

#include <openssl/crypto.h>
#include <time.h>


#define NGX_ZLTUNNEL_TOKEN_ACCESS_TTL  86400        /* s */
#define NGX_ZLTUNNEL_TOKEN_TIME_MAX    315360000    /* s, ten years */
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


typedef struct ngx_zltunnel_token_key_s  ngx_zltunnel_token_key_t;


struct ngx_zltunnel_token_key_s {
    ngx_str_t                    name;
    ngx_int_t                  (*set)(ngx_pool_t *pool,
                                      ngx_zltunnel_token_t *token,
                                      ngx_zltunnel_token_key_t *key,
                                      ngx_str_t *value);
    size_t                       offset;
    const char                  *allowed;
};


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
static ngx_uint_t ngx_zltunnel_token_item(ngx_str_t *list, ngx_str_t *item);
static ngx_int_t ngx_zltunnel_token_fail(ngx_zltunnel_token_reader_t *r,
    const char *fmt, ...);

static ngx_int_t ngx_zltunnel_token_globs(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_glob(ngx_pool_t *pool, ngx_str_t *glob,
    ngx_str_t *item);
static ngx_int_t ngx_zltunnel_token_accesses(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_ports(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_hosts(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_protocols(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_number(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_date(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_time(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_zltunnel_token_cert(ngx_pool_t *pool,
    ngx_zltunnel_token_t *token, ngx_zltunnel_token_key_t *key,
    ngx_str_t *value);


static ngx_zltunnel_token_key_t  ngx_zltunnel_token_keys[] = {

    { ngx_string("services"), ngx_zltunnel_token_globs,
      offsetof(ngx_zltunnel_token_t, services),
      "service names separated by commas, each of which may end in \"*\"" },

    { ngx_string("ports"), ngx_zltunnel_token_ports,
      offsetof(ngx_zltunnel_token_t, ports),
      "ports from 1 to 65535 and ranges of them, as in 2222,30000-30100" },

    { ngx_string("protocols"), ngx_zltunnel_token_protocols,
      0,
      "\"tcp\", \"udp\" or \"tcp,udp\"" },

    { ngx_string("hosts"), ngx_zltunnel_token_hosts,
      0,
      "names of hosts separated by commas, as in "
      "*.alice.example.com,shop.example.org, or \"auto\"" },

    { ngx_string("max_hosts"), ngx_zltunnel_token_number,
      offsetof(ngx_zltunnel_token_t, max_hosts),
      "a number from 1 to 65535" },

    { ngx_string("max_services"), ngx_zltunnel_token_number,
      offsetof(ngx_zltunnel_token_t, max_services),
      "a number from 1 to 65535" },

    { ngx_string("sessions"), ngx_zltunnel_token_number,
      offsetof(ngx_zltunnel_token_t, sessions),
      "a number from 1 to 65535" },

    { ngx_string("expires"), ngx_zltunnel_token_date,
      offsetof(ngx_zltunnel_token_t, expires),
      "a time in UTC, as in 2027-01-31T00:00:00Z" },

    { ngx_string("access"), ngx_zltunnel_token_accesses,
      0,
      "service names separated by commas, each of which may end in \"*\" and "
      "be followed by \"@\" and the name of the token that registers it" },

    { ngx_string("access_ttl"), ngx_zltunnel_token_time,
      offsetof(ngx_zltunnel_token_t, access_ttl),
      "a time, as in 8h, or 0 for no limit" },

    { ngx_string("max_access"), ngx_zltunnel_token_number,
      offsetof(ngx_zltunnel_token_t, max_access),
      "a number from 1 to 65535" },

    { ngx_string("cert"), ngx_zltunnel_token_cert,
      0,
      "sha256:<64 hexadecimal digits>, cn:<name> or dn:<subject>, or several "
      "separated by \"|\", with %20 for a space" },

    { ngx_null_string, NULL, 0, NULL }
};


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

    for (i = 0; ngx_zltunnel_token_keys[i].name.len; i++) {

        key = &ngx_zltunnel_token_keys[i];

        if (key->name.len != len
            || ngx_strncmp(key->name.data, word->data, len) != 0)
        {
            continue;
        }

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
                     "hosts=, max_hosts=, max_services=, sessions=, "
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


static ngx_uint_t
ngx_zltunnel_token_item(ngx_str_t *list, ngx_str_t *item)
{
    u_char  *p, *last;

    /* the end of a list is at data of NULL, so that "a," has an empty item */

    if (list->data == NULL) {
        return 0;
    }

    last = list->data + list->len;
    p = ngx_strlchr(list->data, last, ',');

    item->data = list->data;

    if (p == NULL) {
        item->len = list->len;
        list->data = NULL;
        return 1;
    }

    item->len = p - list->data;
    list->data = p + 1;
    list->len = last - p - 1;

    return 1;
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


static ngx_int_t
ngx_zltunnel_token_globs(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    ngx_str_t     *glob, item;
    ngx_array_t  **globs;

    globs = (ngx_array_t **) ((char *) token + key->offset);

    *globs = ngx_array_create(pool, 4, sizeof(ngx_str_t));
    if (*globs == NULL) {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_token_item(value, &item)) {

        glob = ngx_array_push(*globs);

        if (glob == NULL
            || ngx_zltunnel_token_glob(pool, glob, &item) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_glob(ngx_pool_t *pool, ngx_str_t *glob, ngx_str_t *item)
{
    size_t  len;

    len = item->len;

    if (len && item->data[len - 1] == '*') {
        len--;
    }

    if (item->len == 0 || (len && !zlt_name_valid(item->data, len))) {
        return NGX_ERROR;
    }

    glob->len = item->len;
    glob->data = ngx_pstrdup(pool, item);

    return glob->data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_zltunnel_token_accesses(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    u_char                       *at;
    ngx_str_t                     item, name;
    ngx_zltunnel_token_access_t  *access;

    token->access = ngx_array_create(pool, 4,
                                     sizeof(ngx_zltunnel_token_access_t));
    if (token->access == NULL) {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_token_item(value, &item)) {

        access = ngx_array_push(token->access);
        if (access == NULL) {
            return NGX_ERROR;
        }

        ngx_str_null(&access->token);

        name = item;
        at = ngx_strlchr(item.data, item.data + item.len, '@');

        if (at) {
            name.len = at - item.data;

            item.len -= name.len + 1;
            item.data = at + 1;

            if (item.len > NGX_ZLTUNNEL_TOKEN_NAME
                || !zlt_name_valid(item.data, item.len))
            {
                return NGX_ERROR;
            }

            access->token.len = item.len;
            access->token.data = ngx_pstrdup(pool, &item);
            if (access->token.data == NULL) {
                return NGX_ERROR;
            }
        }

        if (ngx_zltunnel_token_glob(pool, &access->name, &name) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_ports(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    u_char     *dash, *last;
    ngx_int_t   from, to;
    ngx_str_t   item;
    in_port_t  *range;

    token->ports = ngx_array_create(pool, 4, 2 * sizeof(in_port_t));
    if (token->ports == NULL) {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_token_item(value, &item)) {

        last = item.data + item.len;
        dash = ngx_strlchr(item.data, last, '-');

        if (dash) {
            from = ngx_atoi(item.data, dash - item.data);
            to = ngx_atoi(dash + 1, last - dash - 1);

        } else {
            from = ngx_atoi(item.data, item.len);
            to = from;
        }

        if (from < 1 || to < from || to > 65535) {
            return NGX_ERROR;
        }

        range = ngx_array_push(token->ports);
        if (range == NULL) {
            return NGX_ERROR;
        }

        range[0] = (in_port_t) from;
        range[1] = (in_port_t) to;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_hosts(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    u_char      name[ZLT_MAX_HOST];
    ngx_str_t   item, *host;

    token->hosts = ngx_array_create(pool, 4, sizeof(ngx_str_t));
    if (token->hosts == NULL) {
        return NGX_ERROR;
    }

    while (ngx_zltunnel_token_item(value, &item)) {

        host = ngx_array_push(token->hosts);
        if (host == NULL) {
            return NGX_ERROR;
        }

        item.len = zlt_host_short(name, item.data, item.len);

        if (item.len == 0) {
            return NGX_ERROR;
        }

        item.data = name;

        host->len = item.len;
        host->data = ngx_pstrdup(pool, &item);

        if (host->data == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_protocols(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    ngx_str_t  item;

    token->tcp = 0;
    token->udp = 0;

    while (ngx_zltunnel_token_item(value, &item)) {

        if (item.len == 3 && ngx_strncmp(item.data, "tcp", 3) == 0) {
            token->tcp = 1;

        } else if (item.len == 3 && ngx_strncmp(item.data, "udp", 3) == 0) {
            token->udp = 1;

        } else {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_number(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n < 1 || n > 65535) {
        return NGX_ERROR;
    }

    *(ngx_uint_t *) ((char *) token + key->offset) = n;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_date(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    time_t     t;
    u_char     ch;
    size_t     i;
    struct tm  tm, check;

    static const char  form[] = "0000-00-00T00:00:00Z";

    if (value->len != sizeof(form) - 1) {
        return NGX_ERROR;
    }

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (form[i] == '0' ? (ch < '0' || ch > '9') : ch != form[i]) {
            return NGX_ERROR;
        }
    }

    ngx_memzero(&tm, sizeof(struct tm));

    tm.tm_year = (int) ngx_atoi(value->data, 4) - 1900;
    tm.tm_mon = (int) ngx_atoi(value->data + 5, 2) - 1;
    tm.tm_mday = (int) ngx_atoi(value->data + 8, 2);
    tm.tm_hour = (int) ngx_atoi(value->data + 11, 2);
    tm.tm_min = (int) ngx_atoi(value->data + 14, 2);
    tm.tm_sec = (int) ngx_atoi(value->data + 17, 2);

    check = tm;
    t = timegm(&check);

    /* timegm() makes March of the 30th of February */

    if (t <= 0
        || check.tm_mon != tm.tm_mon || check.tm_mday != tm.tm_mday
        || check.tm_hour != tm.tm_hour || check.tm_min != tm.tm_min
        || check.tm_sec != tm.tm_sec)
    {
        return NGX_ERROR;
    }

    token->expires = t;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_time(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_parse_time(value, 1);

    if (n == NGX_ERROR || n > NGX_ZLTUNNEL_TOKEN_TIME_MAX) {
        return NGX_ERROR;
    }

    *(time_t *) ((char *) token + key->offset) = n;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_token_cert(ngx_pool_t *pool, ngx_zltunnel_token_t *token,
    ngx_zltunnel_token_key_t *key, ngx_str_t *value)
{
    token->certs = ngx_zltunnel_cert_parse(pool, value);

    return token->certs ? NGX_OK : NGX_ERROR;
}


ngx_zltunnel_token_t *
ngx_zltunnel_token_find(ngx_zltunnel_registry_t *registry, u_char hash[32])
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
