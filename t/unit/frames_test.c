
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the bytes of a connection as messages: the same payload and the
 * same end wherever the input is cut, what follows an end marker left alone,
 * and a sender that may be cut short at any byte, header or not.
 */


#include "tap.h"
#include "vector.h"
#include "zlt_frames.h"


static uint8_t  input[1024];
static uint8_t  output[1024];


/*
 * Feeds the vector in pieces of "step" bytes, each in a buffer of its size.
 * Returns the payload's length, or the error; *behind: bytes behind the end.
 */

static ssize_t
feed(zlt_frames_in_t *in, const char *text, size_t step, size_t *behind)
{
    size_t    len, n, got, rest;
    ssize_t   rc;
    uint8_t  *buf;

    len = vector_read(input, 0, text);
    got = 0;
    *behind = 0;

    memset(in, 0, sizeof(zlt_frames_in_t));

    for (n = 0; n < len; n += step) {

        if (in->end == ZLT_FRAMES_EOF || in->end == ZLT_FRAMES_RESET) {
            *behind += len - n;
            break;
        }

        if (step > len - n) {
            step = len - n;
        }

        buf = tap_copy(input + n, step);

        rc = zlt_frames_decode(in, buf, step, &rest);

        if (rc < 0) {
            tap_free(buf, step);
            return rc;
        }

        check((size_t) rc + rest <= step);

        /* what is behind an end marker has stayed where it was */

        check(memcmp(buf + step - rest, input + n + step - rest, rest) == 0);

        memcpy(output + got, buf, (size_t) rc);
        got += (size_t) rc;
        *behind += rest;

        tap_free(buf, step);
    }

    return (ssize_t) got;
}


static void
expect(const char *text, const char *payload, unsigned end, size_t behind)
{
    size_t           step, rest;
    ssize_t          n;
    uint8_t          want[1024];
    zlt_frames_in_t  in;

    for (step = 1; step < 64; step++) {
        tap_note("%s, %zu at a time", text, step);

        n = feed(&in, text, step, &rest);

        check(n == (ssize_t) vector_read(want, 0, payload));
        check(n < 0 || memcmp(output, want, (size_t) n) == 0);
        check(in.end == end);
        check(rest == behind);
    }
}


static void
payload(void)
{
    expect("55 00000003 'abc'", "'abc'", ZLT_FRAMES_OPEN, 0);
    expect("55 00000003 'abc' 55 00000002 'de'", "'abcde'", ZLT_FRAMES_OPEN,
           0);
    expect("55 00000000 55 00000001 'x'", "'x'", ZLT_FRAMES_OPEN, 0);
    expect("55 00000005 'abc'", "'abc'", ZLT_FRAMES_OPEN, 0);
}


static void
ends(void)
{
    expect("56 00000000", "", ZLT_FRAMES_EOF, 0);
    expect("57 00000000", "", ZLT_FRAMES_RESET, 0);
    expect("55 00000003 'abc' 56 00000000", "'abc'", ZLT_FRAMES_EOF, 0);
    expect("55 00000003 'abc' 57 00000000", "'abc'", ZLT_FRAMES_RESET, 0);

    /* the next message is not ours */

    expect("55 00000001 'a' 56 00000000 53 00000000", "'a'", ZLT_FRAMES_EOF,
           5);
    expect("57 00000000 55 00000001 'a'", "", ZLT_FRAMES_RESET, 6);
}


static void
raw(void)
{
    expect("54 00000000", "", ZLT_FRAMES_RAW, 0);
    expect("55 00000001 'a' 54 00000000", "'a'", ZLT_FRAMES_RAW, 0);
    expect("54 00000000 'bcd'", "'bcd'", ZLT_FRAMES_RAW, 0);
    expect("55 00000001 'a' 54 00000000 56 00000000", "'a' 56 00000000",
           ZLT_FRAMES_RAW, 0);
}


static void
errors(void)
{
    size_t           step, rest;
    zlt_frames_in_t  in;

    for (step = 1; step < 16; step++) {
        tap_note("%zu at a time", step);

        check(feed(&in, "55 0000fffc", step, &rest) == ZLT_ERR_SIZE);
        check(feed(&in, "55 ffffffff", step, &rest) == ZLT_ERR_SIZE);
        check(feed(&in, "55 0000fffb", step, &rest) == 0);
        check(in.left == ZLT_MAX_PAYLOAD);

        check(feed(&in, "56 00000001 00", step, &rest) == ZLT_ERR_SIZE);
        check(feed(&in, "57 00000001 00", step, &rest) == ZLT_ERR_SIZE);
        check(feed(&in, "54 01000000", step, &rest) == ZLT_ERR_SIZE);

        /* messages of an idle channel, and unknown ones */

        check(feed(&in, "30 00000008", step, &rest) == ZLT_ERR_TYPE);
        check(feed(&in, "20 00000022", step, &rest) == ZLT_ERR_TYPE);
        check(feed(&in, "00 00000000", step, &rest) == ZLT_ERR_TYPE);
        check(feed(&in, "ff 00000000", step, &rest) == ZLT_ERR_TYPE);
    }
}


/* A sender whose every write takes "step" bytes. */

static size_t
emit(zlt_frames_out_t *out, const char *data, size_t step, uint8_t *to)
{
    size_t    len, n, size, sent;
    uint8_t   area[ZLT_FRAMES_ROOM + 64], *p;

    len = strlen(data);
    sent = 0;

    while (len || zlt_frames_pending(out)) {

        n = len ? zlt_frames_data(out, len) : 0;

        if (n) {
            memcpy(area + ZLT_FRAMES_ROOM, data, n);
        }

        p = zlt_frames_prefix(out, area + ZLT_FRAMES_ROOM);
        check(p >= area);

        size = zlt_frames_pending(out) + n;

        if (size > step) {
            size = step;
        }

        memcpy(to + sent, p, size);
        sent += size;

        n = zlt_frames_sent(out, size);

        data += n;
        len -= n;
    }

    return sent;
}


static void
sending(void)
{
    size_t            step, n, want;
    uint8_t           got[256];
    zlt_frames_out_t  out;

    want = vector_read(input, 0, "21 00000000 55 00000005 'hello' 55 00000001 '!'"
                         "56 00000000");

    for (step = 1; step < 40; step++) {
        tap_note("%zu at a time", step);

        memset(&out, 0, sizeof(zlt_frames_out_t));

        zlt_frames_put(&out, (const uint8_t *) "\x21\0\0\0\0", 5);

        n = emit(&out, "hello", step, got);
        check(zlt_frames_whole(&out));

        n += emit(&out, "!", step, got + n);
        check(out.end == ZLT_FRAMES_OPEN);

        zlt_frames_end(&out, ZLT_FRAMES_EOF);
        check(out.end == ZLT_FRAMES_EOF);

        n += emit(&out, "", step, got + n);

        check(n == want);
        check(memcmp(got, input, want) == 0);
        check(zlt_frames_pending(&out) == 0);
    }
}


static void
announced(void)
{
    zlt_frames_out_t  out;

    memset(&out, 0, sizeof(zlt_frames_out_t));

    /* no more than a message holds */

    check(zlt_frames_data(&out, 70000) == ZLT_MAX_PAYLOAD);
    check(zlt_frames_sent(&out, ZLT_HEADER_SIZE + 65000) == 65000);
    check(!zlt_frames_whole(&out));

    /* what was announced is announced: fewer may go, and no more */

    check(zlt_frames_data(&out, 70000) == ZLT_MAX_PAYLOAD - 65000);
    check(zlt_frames_pending(&out) == 0);
    check(zlt_frames_data(&out, 7) == 7);
    check(zlt_frames_sent(&out, 7) == 7);
    check(zlt_frames_sent(&out, ZLT_MAX_PAYLOAD - 65007)
          == ZLT_MAX_PAYLOAD - 65007);
    check(zlt_frames_whole(&out));
}


int
main(void)
{
    tap_run(payload, "payload, wherever it is cut");
    tap_run(ends, "Eof and Reset, and what is behind them");
    tap_run(raw, "Raw, and what is behind it");
    tap_run(errors, "lengths and types that are not allowed");
    tap_run(sending, "messages are sent whole, wherever a write is cut");
    tap_run(announced, "no more is sent than was announced");

    return tap_done();
}
