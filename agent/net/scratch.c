
/*
 * Copyright (C) zltunnel authors
 */

/* The buffer that all connections share. */


#undef NDEBUG

#include <assert.h>

#include "scratch.h"


uint8_t  zlt_scratch_room[ZLT_FRAMES_ROOM + ZLT_SCRATCH_SIZE
                          + ZLT_FRAMES_ROOM];

static int  zlt_scratch_lent;


void
zlt_scratch_borrow(void)
{
    assert(!zlt_scratch_lent);

    zlt_scratch_lent = 1;
}


void
zlt_scratch_return(void)
{
    assert(zlt_scratch_lent);

    zlt_scratch_lent = 0;
}
