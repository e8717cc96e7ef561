
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One buffer into which all connections are read whose bytes go on at once.
 *
 * It is lent to one at a time, for reading and for whatever is done with the
 * bytes where they lie.  Nobody who borrows it is called meanwhile: who would,
 * posts a task, or keeps a copy.  What is in it does not outlive the return.
 */


#ifndef ZLT_SCRATCH_H_INCLUDED
#define ZLT_SCRATCH_H_INCLUDED


#include <stdint.h>

#include "zlt_frames.h"


#define ZLT_SCRATCH_SIZE  65536


/* with room around it for what messages need */
extern uint8_t  zlt_scratch_room[ZLT_FRAMES_ROOM + ZLT_SCRATCH_SIZE
                                 + ZLT_FRAMES_ROOM];
#define zlt_scratch  (&zlt_scratch_room[ZLT_FRAMES_ROOM])


/* A second borrower would overwrite what the first one has not read yet, and
   take one's bytes for the other's: that ends the process. */
void zlt_scratch_borrow(void);
void zlt_scratch_return(void);


#endif /* ZLT_SCRATCH_H_INCLUDED */
