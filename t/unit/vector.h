
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Byte vectors written as text, and messages compared field by field.
 *
 * A vector is hexadecimal digits, 'characters' and spaces, as in
 * "03 'tok' ff".  It is read by this file alone, with no help from the code
 * that is tested.
 */


#ifndef VECTOR_H_INCLUDED
#define VECTOR_H_INCLUDED


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zlt_msg.h"


#define VECTOR_MAX  (ZLT_MAX_MESSAGE_SIZE + 64)


static inline int
vector_digit(char c)
{
    static const char  digits[] = "0123456789abcdef";
    const char        *p;

    p = c ? strchr(digits, c) : NULL;

    return p ? (int) (p - digits) : -1;
}


/* Appends to dst, returns the new length. */

static inline size_t
vector_read(uint8_t *dst, size_t len, const char *text)
{
    int  hi, lo;

    while (*text) {

        if (*text == ' ') {
            text++;
            continue;
        }

        if (*text == '\'') {
            for (text++; *text && *text != '\''; text++) {
                dst[len++] = (uint8_t) *text;
            }

            text += (*text == '\'');
            continue;
        }

        hi = vector_digit(text[0]);
        lo = hi < 0 ? -1 : vector_digit(text[1]);

        if (lo < 0) {
            fprintf(stderr, "# bad vector at \"%s\"\n", text);
            exit(1);
        }

        dst[len++] = (uint8_t) (hi << 4 | lo);
        text += 2;
    }

    return len;
}


static inline zlt_str_t
vector_str(const char *s)
{
    zlt_str_t  str;

    str.data = (const uint8_t *) s;
    str.len = strlen(s);

    return str;
}


static inline int
str_equal(const zlt_str_t *a, const zlt_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}


static inline int
bytes_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }

    return memcmp(a, b, len) == 0;
}


/* The name of the first field that differs, or NULL. */

static inline const char *
msg_differs(const zlt_msg_t *a, const zlt_msg_t *b)
{
#define differs_num(f)  if (a->f != b->f) return #f
#define differs_str(f)  if (!str_equal(&a->f, &b->f)) return #f
#define differs_mem(f, n)  if (!bytes_equal(a->f, b->f, n)) return #f

    differs_num(type);
    differs_num(protocol);
    differs_num(local_port);
    differs_num(remote_port);
    differs_num(cause);
    differs_num(health);
    differs_num(session);
    differs_num(ttl);
    differs_num(grace);
    differs_num(timestamp);

    differs_str(token);
    differs_str(name);
    differs_str(reason);
    differs_str(client_addr);
    differs_str(data);

    differs_mem(client_id, ZLT_ID_SIZE);
    differs_mem(tunnel_id, ZLT_ID_SIZE);
    differs_mem(service_id, ZLT_ID_SIZE);
    differs_mem(connection_id, ZLT_ID_SIZE);
    differs_mem(access_id, ZLT_ID_SIZE);

    differs_num(ext);
    differs_num(features);
    differs_str(agent);
    differs_num(check);
    differs_str(rights);
    differs_str(held);
    differs_mem(node, ZLT_ID_SIZE);
    differs_num(nodes);
    differs_mem(resume_key, ZLT_KEY_SIZE);
    differs_mem(data_key, ZLT_KEY_SIZE);
    differs_num(heartbeat_interval);
    differs_num(heartbeat_timeout);
    differs_num(idle_least);
    differs_num(idle_most);
    differs_num(code);
    differs_num(retry_after);
    differs_num(flags);
    differs_num(preferred_port);
    differs_num(port);
    differs_str(public_addr);
    differs_num(action);
    differs_str(allow);
    differs_str(hosts);
    differs_str(urls);
    differs_str(target);
    differs_str(served_by);

#undef differs_num
#undef differs_str
#undef differs_mem

    return NULL;
}


#endif /* VECTOR_H_INCLUDED */
