
/*
 * Copyright (C) zltunnel authors
 */


#include <string.h>

#include "stamp.h"


void
zlt_stamp_take(zlt_stamp_t *stamp, const char *file)
{
    struct stat  st;

    memset(stamp, 0, sizeof(zlt_stamp_t));

    if (file == NULL || stat(file, &st) == -1
        || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
    {
        return;
    }

    stamp->dev = st.st_dev;
    stamp->ino = st.st_ino;
    stamp->size = st.st_size;
    stamp->modified = st.st_mtim;
    stamp->changed = st.st_ctim;
}


int
zlt_stamp_changed(zlt_stamp_t *stamp, const char *file)
{
    zlt_stamp_t  now;

    zlt_stamp_take(&now, file);

    if (memcmp(&now, stamp, sizeof(zlt_stamp_t)) == 0) {
        return 0;
    }

    *stamp = now;

    return 1;
}
