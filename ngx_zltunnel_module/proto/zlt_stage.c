
/*
 * Copyright (C) zltunnel authors
 */


#include <string.h>

#include "zlt_stage.h"


size_t
zlt_stage_fill(zlt_stage_t *stage, void *owner, zlt_stage_seal_pt seal,
    const void *data, size_t size, int *rc)
{
    size_t  done, len;

    stage->owner = owner;
    stage->len = 0;
    *rc = 0;

    for (done = 0; done < size; done += (size_t) *rc) {

        if (stage->len > ZLT_STAGE_SIZE - ZLT_STAGE_SEALED) {
            break;
        }

        len = size - done;

        if (len > ZLT_STAGE_RECORD) {
            len = ZLT_STAGE_RECORD;
        }

        *rc = seal(owner, (const uint8_t *) data + done, len);

        if (*rc <= 0) {
            break;
        }
    }

    stage->owner = NULL;

    return done;
}


int
zlt_stage_put(zlt_stage_t *stage, const void *owner, const void *data,
    size_t len)
{
    if (stage->owner == NULL || stage->owner != owner
        || len > ZLT_STAGE_SIZE - stage->len)
    {
        return 0;
    }

    memcpy(stage->data + stage->len, data, len);
    stage->len += len;

    return 1;
}


int
zlt_stage_keep(const zlt_stage_t *stage, size_t sent, zlt_unsent_t **unsent,
    const zlt_memory_t *memory)
{
    if (sent == stage->len) {
        return 0;
    }

    return zlt_unsent_put(unsent, memory, stage->data + sent,
                          stage->len - sent);
}
