
/*
 * Copyright (C) zltunnel authors
 */

/* A message between workers, as it was received. */


#include "zlt_ipc.h"


int
zlt_ipc_check(const zlt_ipc_t *msg, size_t size)
{
    if (size < sizeof(zlt_ipc_t)
        || size - sizeof(zlt_ipc_t) != msg->data_len
        || msg->text_len > ZLT_IPC_TEXT || msg->state > msg->data_len)
    {
        return ZLT_ERR_SIZE;
    }

    return ZLT_OK;
}
