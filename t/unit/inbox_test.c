
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: what has come on a lane.  Bytes come out in their order, whatever
 * the pieces in which they came and are taken; memory is given back as they
 * are read, and all of it at the end, also where there was none.
 */


#include "tap.h"
#include "counted.h"

#include "zlt_inbox.h"


static void
put(zlt_inbox_t *in, size_t at, size_t n)
{
    size_t    i;
    uint8_t  *p;

    p = tap_copy(NULL, n);

    for (i = 0; i < n; i++) {
        p[i] = byte_at(at + i);
    }

    check(zlt_inbox_put(in, &memory, p, n) == 0);
    tap_free(p, n);
}


static size_t
take(zlt_inbox_t *in, size_t at, size_t n)
{
    size_t    i, got;
    uint8_t  *p;

    p = tap_copy(NULL, n);
    got = zlt_inbox_take(in, &memory, p, n);

    check(got <= n);

    for (i = 0; i < got; i++) {
        if (!check(p[i] == byte_at(at + i))) {
            break;
        }
    }

    tap_free(p, n);

    return got;
}


static void
test_pieces(void)
{
    size_t       came, read, in_piece, out_piece, n;
    zlt_inbox_t  in;

    static const size_t  sizes[] = { 1, 7, 100, 4095, 4096, 4097, 16384,
                                     16385, 32768, 50000 };

    for (in_piece = 0; in_piece < 10; in_piece++) {
        for (out_piece = 0; out_piece < 10; out_piece++) {
            tap_note("%zu in, %zu out", sizes[in_piece], sizes[out_piece]);

            memset(&in, 0, sizeof(in));
            left = 1000;
            came = 0;
            read = 0;

            while (came < 150000 && came - read < 100000) {
                put(&in, came, sizes[in_piece]);
                came += sizes[in_piece];

                if (came - read > 60000) {
                    read += take(&in, read, sizes[out_piece]);
                }

                check(in.len == came - read);
            }

            while ((n = take(&in, read, sizes[out_piece])) > 0) {
                check(n == sizes[out_piece] || in.len == 0);
                read += n;
            }

            check(read == came && in.len == 0);
            check(blocks <= 1);

            zlt_inbox_drop(&in, &memory);
            check(blocks == 0);
        }
    }
}


static void
test_memory(void)
{
    zlt_inbox_t  in;
    uint8_t      buf[ZLT_INBOX_BLOCK];

    memset(&in, 0, sizeof(in));
    memset(buf, 0, sizeof(buf));

    check(take(&in, 0, 1) == 0);

    /* small ones, one by one: the block stays */

    left = 1;

    put(&in, 0, 10);
    check(take(&in, 0, 10) == 10);
    put(&in, 0, ZLT_INBOX_SMALL);
    check(take(&in, 0, ZLT_INBOX_SMALL) == ZLT_INBOX_SMALL);
    check(blocks == 1);

    /* there is none */

    check(zlt_inbox_put(&in, &memory, buf, sizeof(buf)) == -1);
    zlt_inbox_drop(&in, &memory);
    check(blocks == 0);
    check(in.len == 0 && take(&in, 0, 1) == 0);
}


int
main(void)
{
    tap_run(test_pieces, "bytes, however they come and go");
    tap_run(test_memory, "memory");

    return tap_done();
}
