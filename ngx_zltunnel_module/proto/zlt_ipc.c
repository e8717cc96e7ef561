
/*
 * Copyright (C) zltunnel authors
 */

/* A message between workers, as it was received. */


#include "zlt_ipc.h"
#include "zlt_wsd.h"


int
zlt_ipc_check(const zlt_ipc_t *msg, size_t size, int moved)
{
    if (size < sizeof(zlt_ipc_t)
        || size - sizeof(zlt_ipc_t) != msg->data_len
        || msg->text_len > ZLT_IPC_TEXT)
    {
        return ZLT_ERR_SIZE;
    }

    if (moved && msg->ws && msg->data_len < sizeof(zlt_wsd_t)) {
        return ZLT_ERR_SIZE;
    }

    return ZLT_OK;
}
