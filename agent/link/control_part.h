
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONTROL_PART_H_INCLUDED
#define ZLT_CONTROL_PART_H_INCLUDED


#include <stdint.h>

#include "types.h"


/* What follows one that was kept is there.  A former one of another tunnel
   gives its services up, and ends when its connections have, or after so many
   ms: then zlt_control_part_over() says 1. */
void zlt_control_part(zlt_control_t *c, const zlt_control_t *follows,
    uint32_t timeout);
int zlt_control_part_over(const zlt_control_t *c, uint64_t now);


#endif /* ZLT_CONTROL_PART_H_INCLUDED */
