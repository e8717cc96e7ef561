
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the records of TLS on their way to the socket: whatever OpenSSL
 * makes and refuses, and the socket takes, and memory there is, the socket gets
 * the bytes of each connection in their order, and nothing else; and all memory
 * is given back.
 *
 * Two bytes of an input are a step: what is done, and how much.
 */


#include "fuzz.h"
#include "zlt_stage.h"


typedef struct {
    zlt_unsent_t  *out;
    uint32_t       made;       /* bytes, of records and other messages */
    uint32_t       sent;
    unsigned       refuses;    /* records from now */
    size_t         frame;      /* of a record */
} stage_conn_t;


static zlt_stage_t  stage;
static size_t       blocks;
static int          full;      /* there is no memory */


static void *
stage_alloc(size_t size)
{
    if (full) {
        return NULL;
    }

    blocks++;

    return fuzz_copy(NULL, size);
}


static void
stage_free(void *p)
{
    must(p != NULL && blocks > 0);

    blocks--;
    free(p);
}


static const zlt_memory_t  memory = { stage_alloc, stage_free };


static void
stage_socket(stage_conn_t *c, const uint8_t *data, size_t n)
{
    must(n == 0 || memcmp(data, fuzz_counting(n, c->sent), n) == 0);
    c->sent += (uint32_t) n;
}


/* A record in pieces, as OpenSSL may write it. */

static int
stage_seal(void *owner, const void *data, size_t len)
{
    size_t         i, n, piece;
    uint8_t       *record;
    stage_conn_t  *c;

    c = owner;
    (void) data;

    must(len > 0 && len <= ZLT_STAGE_RECORD);

    if (c->refuses == 0) {
        return (c->made & 1) ? -1 : 0;
    }

    c->refuses--;

    n = len + c->frame;
    record = fuzz_copy(fuzz_counting(n, c->made), n);

    must(zlt_stage_put(&stage, c + 1, record, 1) == 0);

    for (i = 0; i < n; i += piece) {
        piece = i == 0 ? 5 : n - i;
        must(zlt_stage_put(&stage, c, record + i, piece) == 1);
    }

    c->made += (uint32_t) n;
    free(record);

    return (int) len;
}


/* 0: the connection is given up. */

static int
stage_write(stage_conn_t *c, size_t size, size_t room)
{
    int       rc;
    size_t    done;
    uint8_t  *data;

    if (c->out) {
        return 1;
    }

    data = fuzz_copy(NULL, size);
    done = zlt_stage_fill(&stage, c, stage_seal, data, size, &rc);
    free(data);

    must(done <= size && stage.owner == NULL);
    must(stage.len <= ZLT_STAGE_SIZE);
    must(done == size || rc <= 0
         || stage.len > ZLT_STAGE_SIZE - ZLT_STAGE_SEALED);
    must(zlt_stage_put(&stage, c, &rc, 1) == 0);

    room = room < stage.len ? room : stage.len;
    stage_socket(c, stage.data, room);

    rc = zlt_stage_keep(&stage, room, &c->out, &memory);

    must(rc == 0 || (full && c->out == NULL && room < stage.len));
    must(rc == -1 || (c->out == NULL) == (room == stage.len));

    return rc == 0;
}


static void
stage_flush(stage_conn_t *c, size_t room)
{
    size_t  n;

    if (c->out) {
        n = zlt_unsent_left(c->out);
        must(n > 0);

        n = room < n ? room : n;
        stage_socket(c, zlt_unsent_next(c->out), n);
        zlt_unsent_sent(&c->out, &memory, n);
    }
}


/* A message that goes behind what is kept. */

static void
stage_behind(stage_conn_t *c, size_t len)
{
    uint8_t  *data;

    data = fuzz_copy(fuzz_counting(len, c->made), len);

    if (zlt_unsent_put(&c->out, &memory, data, len) == 0) {
        c->made += (uint32_t) len;

    } else {
        must(full);
    }

    free(data);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t         i, n;
    stage_conn_t   conns[3], *c;

    memset(conns, 0, sizeof(conns));
    full = 0;

    for (i = 0; i + 1 < size && i < 512; i += 2) {
        c = &conns[data[i] >> 7];
        n = data[i + 1];

        switch ((data[i] >> 4) & 7) {

        case 0:
        case 1:
        case 2:
            c->refuses = data[i] & 7;
            c->frame = n;

            if (!stage_write(c, n * 513, (data[i] & 15) * n * 19)) {
                /* records are lost, so nothing may follow */
                c->sent = c->made;
            }

            break;

        case 3:
        case 4:
            stage_flush(c, n * (1 + (data[i] & 15) * 64));
            break;

        case 5:
            stage_behind(c, n + 1);
            break;

        case 6:
            full = data[i] & 1;
            break;

        default:
            zlt_unsent_drop(&c->out, &memory);
            c->sent = c->made;
        }
    }

    for (i = 0; i < 2; i++) {
        stage_flush(&conns[i], SIZE_MAX);
        must(conns[i].out == NULL && conns[i].sent == conns[i].made);
    }

    must(blocks == 0);

    return 0;
}
