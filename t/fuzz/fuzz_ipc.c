
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects workers from what comes as a message of another one: if it passes,
 * its text, its data and what a moved channel brings along can be read, all of
 * them, and lie within what was received.
 *
 * The first byte of an input means nothing.
 */


#include "fuzz.h"
#include "zlt_ipc.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t            i;
    uint8_t          *bytes;
    unsigned          sum;
    const uint8_t    *p;
    const zlt_ipc_t  *msg;

    if (size < 1) {
        return 0;
    }

    size--;

    bytes = fuzz_copy(data + 1, size);
    msg = (const zlt_ipc_t *) (void *) bytes;

    if (zlt_ipc_check(msg, size) != ZLT_OK) {
        must(size != sizeof(zlt_ipc_t) || msg->data_len
             || msg->text_len > ZLT_IPC_TEXT || msg->state);
        free(bytes);
        return 0;
    }

    sum = 0;
    p = bytes + sizeof(zlt_ipc_t);

    for (i = 0; i < msg->text_len; i++) {
        sum += msg->text[i];
    }

    must(msg->text + i <= bytes + sizeof(zlt_ipc_t));

    must(msg->state <= msg->data_len);

    for (i = 0; i < msg->data_len; i++) {
        sum += p[i];
    }

    must(p + i == bytes + size);
    must(sum <= 255u * (msg->text_len + (unsigned) msg->data_len));

    free(bytes);

    return 0;
}
