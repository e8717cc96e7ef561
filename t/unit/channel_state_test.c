
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: a step of a data channel that is none is not made, and ends the
 * connection, on a lane as on a channel of its own; others on the same channel
 * go on.  (Elsewhere the sanitized agent aborts there, so that tests fail.)
 */


#undef __SANITIZE_ADDRESS__

#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

#include "../../agent/channel/channel_state.c"


static zlt_owner_t    owner = { .label = "test: " };
static zlt_channel_t  channel;
static zlt_conn_t    *conn = &channel.relay.side[ZLT_RELAY_CHANNEL];


static void
begin(zlt_channel_state_e state)
{
    memset(&channel, 0, sizeof(zlt_channel_t));

    channel.owner = &owner;
    channel.state = state;
    conn->io.fd = -1;
}


static void
test_own(void)
{
    int   s[2];
    char  c;

    check(socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK, 0, s) == 0);

    begin(ZLT_CHANNEL_IDLE);
    conn->io.fd = s[0];

    zlt_channel_state(&channel, ZLT_CHANNEL_TAKEN);
    check(channel.state == ZLT_CHANNEL_TAKEN);
    check(read(s[1], &c, 1) == -1);

    zlt_channel_state(&channel, ZLT_CHANNEL_SHARED);
    check(channel.state == ZLT_CHANNEL_TAKEN);
    check(read(s[1], &c, 1) == 0);

    (void) close(s[0]);
    (void) close(s[1]);
}


static void
test_lane(void)
{
    zlt_lane_t  lane;

    memset(&lane, 0, sizeof(zlt_lane_t));
    zlt_list_init(&lane.task.link);

    begin(ZLT_CHANNEL_IDLE);
    conn->lane = &lane;
    lane.conn = conn;

    zlt_channel_state(&channel, ZLT_CHANNEL_TAKEN);
    check(channel.state == ZLT_CHANNEL_TAKEN);
    check(!zlt_lanebox_over(&lane.box));
    check(zlt_list_empty(&lane.task.link));

    zlt_channel_state(&channel, ZLT_CHANNEL_SHARED);
    check(channel.state == ZLT_CHANNEL_TAKEN);

    /* its handler is called, and finds it reset */

    check(zlt_lanebox_over(&lane.box));
    check(!zlt_list_empty(&lane.task.link));
    check(conn->io.ready & ZLT_IO_READ);

    zlt_list_remove(&lane.task.link);
}


int
main(void)
{
    if (zlt_io_init(uv_default_loop()) == -1) {
        return 1;
    }

    tap_run(test_own, "a channel of its own");
    tap_run(test_lane, "a lane");

    return tap_done();
}
