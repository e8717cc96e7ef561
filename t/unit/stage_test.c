
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: records of TLS on their way to the socket.  They go in their order
 * and whole, whatever the socket takes at a time and wherever OpenSSL stops;
 * nobody else's bytes get among them; a record never lacks room; and without
 * memory nothing is lost but that is said.
 */


#include "tap.h"
#include "counted.h"

#include "zlt_stage.h"


#define FRAME  29              /* of a record */


typedef struct {
    unsigned       room;       /* records that may be made yet */
    size_t         plain;      /* bytes in those that were */
    size_t         sealed;
    unsigned       records;
} fake_t;


static zlt_stage_t  stage;


/* As SSL_write(): a record in two writes, header and the rest. */

static int
seal(void *owner, const void *data, size_t len)
{
    size_t    i, n;
    fake_t   *fake, other;
    uint8_t   record[ZLT_STAGE_RECORD + FRAME];

    fake = owner;

    check(len > 0 && len <= ZLT_STAGE_RECORD);

    if (fake->room == 0) {
        return -1;
    }

    n = len + FRAME;

    for (i = 0; i < n; i++) {
        record[i] = byte_at(fake->sealed + i);
    }

    if (len) {
        /* data is read where it is */
        check(((const uint8_t *) data)[0] == (uint8_t) fake->plain);
    }

    check(zlt_stage_put(&stage, &other, record, 5) == 0);
    check(zlt_stage_put(&stage, NULL, record, 5) == 0);

    check(zlt_stage_put(&stage, fake, record, 5) == 1);
    check(zlt_stage_put(&stage, fake, record + 5, n - 5) == 1);

    fake->room--;
    fake->records++;
    fake->plain += len;
    fake->sealed += n;

    return (int) len;
}


/* The first byte at each place where a record may begin is the place. */

static uint8_t *
text(size_t size)
{
    size_t    i;
    uint8_t  *p;

    p = tap_copy(NULL, size);

    for (i = 0; i < size; i += ZLT_STAGE_RECORD) {
        p[i] = (uint8_t) i;
    }

    return p;
}


static void
test_fill(void)
{
    int       rc;
    size_t    i, n, done, expect;
    fake_t    fake;
    uint8_t  *data;
    unsigned  room;

    static const size_t  sizes[] = { 1, 16383, 16384, 16385, 32768, 65536,
                                     65537, 200000 };

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        data = text(sizes[i]);

        for (room = 0; room < 6; room++) {
            tap_note("%zu bytes, %u records", sizes[i], room);

            memset(&fake, 0, sizeof(fake));
            fake.room = room;

            done = zlt_stage_fill(&stage, &fake, seal, data, sizes[i], &rc);

            n = room < 4 ? room : 4;
            expect = n * ZLT_STAGE_RECORD;

            if (expect > sizes[i]) {
                expect = sizes[i];
            }

            check(done == expect && done == fake.plain);
            check(stage.len == fake.sealed && stage.owner == NULL);
            check(rc == -1 ? done < sizes[i] && room == n : rc > 0);
        }

        tap_free(data, sizes[i]);
    }

    tap_note("nothing");

    check(zlt_stage_fill(&stage, &fake, seal, "", 0, &rc) == 0);
    check(rc == 0 && stage.len == 0);

    /* afterwards it takes nothing */

    check(zlt_stage_put(&stage, &fake, "x", 1) == 0);
    check(zlt_stage_put(&stage, NULL, "x", 1) == 0);
    check(stage.len == 0);
}


static void
test_room(void)
{
    uint8_t  *data;

    data = tap_copy(NULL, ZLT_STAGE_SIZE + 1);

    stage.owner = data;
    stage.len = 0;

    check(zlt_stage_put(&stage, data, data, ZLT_STAGE_SIZE + 1) == 0);
    check(zlt_stage_put(&stage, data, data, ZLT_STAGE_SIZE - 3) == 1);
    check(zlt_stage_put(&stage, data, data, 4) == 0);
    check(stage.len == ZLT_STAGE_SIZE - 3);
    check(zlt_stage_put(&stage, data, data, 3) == 1);
    check(zlt_stage_put(&stage, data, data, 0) == 1);
    check(zlt_stage_put(&stage, data, data, 1) == 0);

    stage.owner = NULL;
    tap_free(data, ZLT_STAGE_SIZE + 1);
}


/* What the socket takes at a time, until all has gone. */

static void
test_keep(void)
{
    int            rc;
    size_t         at, i, n, step;
    fake_t         fake;
    uint8_t       *data;
    zlt_unsent_t  *unsent;

    data = text(50000);

    for (step = 1; step < 70000; step = step * 3 + 1) {
        tap_note("%zu at a time", step);

        memset(&fake, 0, sizeof(fake));
        fake.room = 100;
        unsent = NULL;
        left = 1;

        check(zlt_stage_fill(&stage, &fake, seal, data, 50000, &rc) == 50000);

        at = step < stage.len ? step : stage.len;

        check(zlt_stage_keep(&stage, at, &unsent, &memory) == 0);
        check((unsent == NULL) == (at == fake.sealed));

        stage.len = 0;

        while (unsent) {
            n = zlt_unsent_left(unsent);
            n = step < n ? step : n;

            for (i = 0; i < n; i++) {
                if (!check(zlt_unsent_next(unsent)[i] == byte_at(at + i))) {
                    break;
                }
            }

            at += n;
            zlt_unsent_sent(&unsent, &memory, n);
        }

        check(at == fake.sealed && blocks == 0);
    }

    tap_note("no memory");

    left = 0;
    fake.room = 100;
    fake.plain = 0;
    fake.sealed = 0;

    check(zlt_stage_fill(&stage, &fake, seal, data, 50000, &rc) == 50000);
    check(zlt_stage_keep(&stage, 7, &unsent, &memory) == -1);
    check(unsent == NULL);
    check(zlt_stage_keep(&stage, stage.len, &unsent, &memory) == 0);

    tap_free(data, 50000);
}


static void
test_unsent(void)
{
    uint8_t       *data;
    zlt_unsent_t  *unsent;

    unsent = NULL;
    left = 2;

    data = tap_copy("abcdef", 6);

    check(zlt_unsent_put(&unsent, &memory, data, 3) == 0);
    zlt_unsent_sent(&unsent, &memory, 2);
    check(zlt_unsent_put(&unsent, &memory, data + 3, 3) == 0);
    check(blocks == 1);

    check(zlt_unsent_left(unsent) == 4);
    check(memcmp(zlt_unsent_next(unsent), "cdef", 4) == 0);

    /* there is none: what is there stays */

    check(zlt_unsent_put(&unsent, &memory, data, 6) == -1);
    check(zlt_unsent_left(unsent) == 4);
    check(memcmp(zlt_unsent_next(unsent), "cdef", 4) == 0);

    zlt_unsent_drop(&unsent, &memory);
    check(unsent == NULL && blocks == 0);
    zlt_unsent_drop(&unsent, &memory);
    check(blocks == 0);

    tap_free(data, 6);
}


int
main(void)
{
    tap_run(test_fill, "so many records as there is room for");
    tap_run(test_room, "the stage ends where it ends");
    tap_run(test_keep, "what the socket does not take is kept");
    tap_run(test_unsent, "bytes behind bytes that are kept");

    return tap_done();
}
