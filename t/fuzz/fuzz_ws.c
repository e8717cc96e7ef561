
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the WebSocket parser: an input fed whole, one byte at a time, and
 * in pieces gives one and the same trace, and that trace is the one of a
 * second parser, which sees all of the input at once and keeps no state.
 *
 * The first byte of an input is the role and the limit of a message, the
 * second the seed of the pieces.
 */


#include "fuzz.h"
#include "zlt_ws.h"


typedef struct {
    uint8_t  *bytes;
    size_t    len;
    size_t    size;
} ws_trace_t;


static ws_trace_t  ws_want;
static ws_trace_t  ws_seen;


static void
ws_put(ws_trace_t *t, unsigned what, unsigned value)
{
    if (t->len + 2 > t->size) {
        t->size = 2 * t->size + 4096;
        t->bytes = realloc(t->bytes, t->size);
        must(t->bytes != NULL);
    }

    t->bytes[t->len++] = (uint8_t) what;
    t->bytes[t->len++] = (uint8_t) value;
}


static void
ws_put_error(ws_trace_t *t, unsigned code, size_t pos)
{
    ws_put(t, 'x', code == ZLT_WS_TOO_BIG);
    ws_put(t, 'x', (unsigned) (pos >> 8));
    ws_put(t, 'x', (unsigned) pos);
}


/*
 * The reference: RFC 6455 read from top to bottom, without regard for speed.
 * Indices only; returns where the input ends within a frame.
 */

static void
ws_reference(ws_trace_t *t, unsigned role, size_t max, const uint8_t *in,
    size_t size)
{
    int       open, text, fin, masked;
    size_t    i, j, n, start, bytes, total;
    uint64_t  len;
    unsigned  op;
    uint8_t   key[4];

    open = 0;
    text = 0;
    total = 0;

    for (i = 0; i < size; /* void */ ) {
        start = i;
        fin = in[i] >> 7;
        op = in[i] & 15;
        i++;

        if ((in[start] & 0x70)
            || (op > 2 && op < 8) || op > 10
            || (op >= 8 && !fin)
            || (op == 0 && !open)
            || ((op == 1 || op == 2) && open))
        {
            ws_put_error(t, ZLT_WS_PROTOCOL, i);
            return;
        }

        if (i == size) {
            return;
        }

        masked = in[i] >> 7;
        len = in[i] & 127;
        i++;

        if (masked != (role == ZLT_WS_SERVER) || (op >= 8 && len > 125)) {
            ws_put_error(t, ZLT_WS_PROTOCOL, i);
            return;
        }

        bytes = len == 127 ? 8 : len == 126 ? 2 : 0;

        if (bytes) {
            if (size - i < bytes) {
                return;
            }

            len = 0;

            for (j = 0; j < bytes; j++) {
                len = len * 256 + in[i++];
            }

            if (len > INT64_MAX || len < (bytes == 8 ? 65536 : 126)) {
                ws_put_error(t, ZLT_WS_PROTOCOL, i);
                return;
            }
        }

        if (op < 8) {
            if (op) {
                total = 0;
                text = (op == 1);
            }

            if (len > max || total + len > max) {
                ws_put_error(t, ZLT_WS_TOO_BIG, i);
                return;
            }

            total += (size_t) len;
        }

        memset(key, 0, 4);

        if (masked) {
            if (size - i < 4) {
                return;
            }

            memcpy(key, in + i, 4);
            i += 4;
        }

        n = len < size - i ? (size_t) len : size - i;

        if (op >= 8) {
            if (n < len) {
                return;
            }

            ws_put(t, 'c', op);
            ws_put(t, 'n', (unsigned) n);
        }

        for (j = 0; j < n; j++) {
            if (op >= 8 || !text) {
                ws_put(t, op >= 8 ? 'p' : 'd', in[i + j] ^ key[j % 4]);
            }
        }

        i += n;

        if (n < len) {
            return;
        }

        if (op < 8) {
            open = !fin;

            if (fin && !text) {
                ws_put(t, 'e', 0);
            }
        }
    }
}


/* Feeds the input in pieces of "piece" bytes, or of random ones if it is 0. */

static void
ws_feed(ws_trace_t *t, unsigned role, size_t max, const uint8_t *in,
    size_t size, size_t piece, uint32_t seed)
{
    size_t           i, n, from;
    uint8_t         *copy, *pos, *end;
    zlt_ws_event_t   event;
    zlt_ws_parser_t  p;

    zlt_ws_init(&p, role, max);

    for (from = 0; from < size; from += n) {
        seed = seed * 1103515245 + 12345;
        n = piece ? piece : (seed >> 16) % ((seed >> 28) ? 9 : 300);

        if (n > size - from) {
            n = size - from;
        }

        copy = fuzz_copy(in + from, n);
        pos = copy;
        end = copy + n;

        do {
            event = zlt_ws_parse(&p, &pos, end);

            must(pos >= copy && pos <= end);

            switch (event) {

            case ZLT_WS_AGAIN:
                must(pos == end);
                break;

            case ZLT_WS_DATA:
                must(p.chunk_len || p.message_end);
                must(p.chunk >= copy && p.chunk + p.chunk_len <= pos);

                for (i = 0; i < p.chunk_len; i++) {
                    ws_put(t, 'd', p.chunk[i]);
                }

                if (p.message_end) {
                    ws_put(t, 'e', 0);
                }

                break;

            case ZLT_WS_CONTROL:
                must(p.control_len <= ZLT_WS_MAX_CONTROL);

                ws_put(t, 'c', p.opcode);
                ws_put(t, 'n', (unsigned) p.control_len);

                for (i = 0; i < p.control_len; i++) {
                    ws_put(t, 'p', p.control[i]);
                }

                if (p.opcode == ZLT_WS_OP_CLOSE) {
                    (void) zlt_ws_close_code(p.control, p.control_len);
                }

                break;

            default:
                must(p.close_code == ZLT_WS_PROTOCOL
                     || p.close_code == ZLT_WS_TOO_BIG);
                must(p.error && p.error[0]);
                must(zlt_ws_parse(&p, &pos, end) == ZLT_WS_ERROR);

                ws_put_error(t, p.close_code, from + (size_t) (pos - copy));
                free(copy);
                return;
            }

        } while (event != ZLT_WS_AGAIN);

        free(copy);
    }
}


static void
ws_same(void)
{
    must(ws_want.len == ws_seen.len);
    must(ws_want.len == 0
         || memcmp(ws_want.bytes, ws_seen.bytes, ws_want.len) == 0);

    ws_seen.len = 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t    max;
    uint32_t  seed;
    unsigned  role;
    static const size_t  limits[] = { 0, 10, 125, 126, 1000, 65536, 65541,
                                      SIZE_MAX / 2 };

    if (size < 2) {
        return 0;
    }

    role = data[0] & 1;
    max = limits[(data[0] >> 1) & 7];
    seed = data[1] * 2654435761u;

    data += 2;
    size -= 2;

    ws_want.len = 0;
    ws_seen.len = 0;

    ws_reference(&ws_want, role, max, data, size);

    ws_feed(&ws_seen, role, max, data, size, size + 1, seed);
    ws_same();

    ws_feed(&ws_seen, role, max, data, size, 1, seed);
    ws_same();

    ws_feed(&ws_seen, role, max, data, size, 0, seed);
    ws_same();

    return 0;
}
