
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: whether a channel that one worker passes on for another is idle,
 * wherever what passes is cut.  It is when both directions of each connection
 * have ended, between two messages; not any more when it has become something
 * else, or is retired.  And whether what the server sent would be cut off.
 */


#include "tap.h"
#include "vector.h"
#include "zlt_track.h"


/* what passes, ">" from the server, "<" from the agent */

typedef struct {
    const char  *name;
    const char  *bytes[8];
    int          idle;
    int          busy;
    int          whole;             /* of the server */
} passing_t;


#define ID     "11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 20 "
#define CONNECT  ">20 00 00 00 22" ID ID "00 00"
#define ACK    "<21 00 00 00 10" ID


static const passing_t  passing[] = {

    { "nothing", { NULL }, 1, 0, 1 },
    { "Heartbeat", { ">30 00000008 0000000000000001",
                     "<31 00000008 0000000000000001" }, 1, 0, 1 },
    { "Connect", { CONNECT }, 0, 1, 0 },
    { "ConnectAck", { CONNECT, ACK }, 0, 1, 0 },
    { "bytes", { CONNECT, ACK, "<55 00000003 56 57 57", ">55 00000000" },
      0, 1, 0 },
    { "the client's end", { CONNECT, ">56 00000000", ACK }, 0, 1, 1 },
    { "the service's end", { CONNECT, ACK, "<56 00000000" }, 0, 1, 0 },
    { "both", { CONNECT, ">56 00000000", ACK, "<56 00000000" }, 1, 0, 1 },
    { "bytes that look like an end",
      { CONNECT, ACK, "<55 00000005 56 00000000", ">56 00000000" }, 0, 1, 1 },
    { "Reset", { CONNECT, ACK, "<57 00000000", ">57 00000000" }, 1, 0, 0 },
    { "ConnectFail", { CONNECT, "<22 00000012" ID "00 00",
                       ">57 00000000" }, 1, 0, 0 },
    { "ConnectFail alone", { CONNECT, "<22 00000012" ID "00 00" }, 0, 1, 0 },
    { "again", { CONNECT, ">56 00000000", ACK, "<56 00000000", CONNECT,
                 ACK }, 0, 1, 0 },
    { "over again", { CONNECT, ">56 00000000", ACK, "<56 00000000", CONNECT,
                      ACK, "<57 00000000", ">57 00000000" }, 1, 0, 0 },
    { "half a header of the server", { ">31 00 00" }, 0, 0, 0 },
    { "bytes in part", { ">55 00000003 56" }, 0, 0, 0 },
    { "half a header", { "<31 00 00" }, 0, 0, 1 },
    { "half a message", { "<31 00000008 00" }, 0, 0, 1 },
    { "Retire", { "<53 00000000" }, 0, 0, 1 },
    { "Retire behind an end",
      { CONNECT, ACK, "<56 00000000 53 00000000", ">56 00000000" }, 0, 0, 1 },
    { "Raw", { CONNECT, ACK, "<54 00000000 31", ">56 00000000" }, 0, 1, 1 },
    { "DatagramOpen", { ">50 00000000" }, 0, 0, 1 },
    { "Lane", { ">60 00000000" }, 0, 0, 1 }
};


static void
test_passing(void)
{
    size_t        i, j, n, len, step;
    uint8_t       bytes[256], *buf;
    zlt_track_t   t;
    const char   *text;

    for (i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {

        for (step = 1; step < 40; step++) {
            tap_note("%s, by %zu bytes", passing[i].name, step);

            memset(&t, 0, sizeof(zlt_track_t));

            for (j = 0; j < 8 && (text = passing[i].bytes[j]); j++) {
                len = vector_read(bytes, 0, text + 1);

                for (n = 0; n < len; n += step) {
                    size_t  size = len - n < step ? len - n : step;

                    buf = tap_copy(bytes + n, size);
                    zlt_track_bytes(&t, text[0] == '>' ? ZLT_TRACK_SERVER
                                                       : ZLT_TRACK_AGENT,
                                    buf, size);
                    tap_free(buf, size);
                }
            }

            check(zlt_track_idle(&t) == passing[i].idle);
            check(zlt_track_busy(&t) == passing[i].busy);
            check(zlt_track_whole(&t, ZLT_TRACK_SERVER) == passing[i].whole);
        }
    }
}


/* a channel that answers a Connect begins with its connection */

static void
test_fresh(void)
{
    size_t       len;
    uint8_t      end[8];
    zlt_track_t  t;

    memset(&t, 0, sizeof(zlt_track_t));
    zlt_track_begin(&t);
    check(!zlt_track_idle(&t));

    len = vector_read(end, 0, "56 00000000");

    zlt_track_bytes(&t, ZLT_TRACK_SERVER, end, len);
    check(!zlt_track_idle(&t));

    zlt_track_bytes(&t, ZLT_TRACK_AGENT, end, len);
    check(zlt_track_idle(&t));
}


int
main(void)
{
    tap_run(test_passing, "what passes");
    tap_run(test_fresh, "a fresh channel");

    return tap_done();
}
