
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How many descriptors connections may take.  The reserve is for what must
 * not fail because of them: the control channel, its return, libuv's and the
 * resolver's, files read at SIGHUP.
 */


#include <sys/resource.h>

#include "io_limit.h"


#define ZLT_IO_RESERVE  48


static void zlt_io_limit_get(void);


static unsigned  zlt_io_limit;


int
zlt_io_limit_room(unsigned used, unsigned n)
{
    unsigned  reserve;

    zlt_io_limit_get();

    reserve = ZLT_IO_RESERVE;

    if (reserve > zlt_io_limit / 2) {
        reserve = zlt_io_limit / 2;
    }

    return used + n + reserve <= zlt_io_limit;
}


int
zlt_io_limit_ample(unsigned used)
{
    zlt_io_limit_get();

    return zlt_io_limit_room(used, 1 + zlt_io_limit / 4);
}


static void
zlt_io_limit_get(void)
{
    struct rlimit  rl;

    if (zlt_io_limit) {
        return;
    }

    if (getrlimit(RLIMIT_NOFILE, &rl) == -1 || rl.rlim_cur > 1 << 30) {
        zlt_io_limit = 1 << 30;

    } else {
        zlt_io_limit = (unsigned) rl.rlim_cur;
    }
}
