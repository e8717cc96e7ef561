
/*
 * Copyright (C) zltunnel authors
 */

/* Private to io_*.c: the limit of descriptors. */


#ifndef ZLT_IO_LIMIT_H_INCLUDED
#define ZLT_IO_LIMIT_H_INCLUDED


/* 1 if n descriptors are left beside those in use and the reserve */
int zlt_io_limit_room(unsigned used, unsigned n);
int zlt_io_limit_ample(unsigned used);


#endif /* ZLT_IO_LIMIT_H_INCLUDED */
