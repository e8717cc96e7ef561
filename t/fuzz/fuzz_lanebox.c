
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects what both sides keep of a lane, and what is taken for bulk: a
 * sender that keeps to its credit is never told that it has sent too much, one
 * that does not always is; bytes come out in their order; whoever reads all is
 * given credit for more; windows stay within their bounds and give back what
 * they had; and all memory is freed, also where there was none.
 *
 * Two bytes of an input are a step: what is done, and how much.
 */


#include "fuzz.h"
#include "zlt_bulk.h"
#include "zlt_lanebox.h"
#include "zlt_lanes.h"


#define LANES  3


typedef struct {
    zlt_lanebox_t  sends;      /* of the one side */
    zlt_lanebox_t  receives;   /* of the other */
    size_t         under_way;  /* bytes */
    uint32_t       sent;
    uint32_t       came;
    uint32_t       read;
    uint32_t       credit;     /* on its way back */
    zlt_bulk_t     bulk;
} lanebox_t;


static size_t  blocks;
static int     full;           /* there is no memory */


static void *
lanebox_alloc(size_t size)
{
    if (full) {
        return NULL;
    }

    blocks++;

    return fuzz_copy(NULL, size);
}


static void
lanebox_free(void *p)
{
    must(p != NULL && blocks > 0);

    blocks--;
    free(p);
}


static const zlt_memory_t  memory = { lanebox_alloc, lanebox_free };


static void
lanebox_send(lanebox_t *l, size_t size, size_t room)
{
    size_t  n, fit;

    n = zlt_lanebox_may(&l->sends, size);

    must(n <= size && n <= ZLT_LANE_MAX && n <= l->sends.credit);
    must(n > 0 || size == 0 || l->sends.credit == 0);

    fit = zlt_lanebox_fit(n, room);

    must(fit <= n && (fit == 0 || fit + ZLT_LANE_HEADER <= room));
    must(fit == n || room < n + ZLT_LANE_HEADER);

    zlt_lanebox_sent(&l->sends, fit);
    l->sent += (uint32_t) fit;
    l->under_way += fit;
}


static void
lanebox_come(lanebox_t *l, size_t n, int liar)
{
    int       rc, over;
    size_t    open;
    uint8_t  *data;

    open = l->receives.window.open;
    over = zlt_lanebox_over(&l->receives);

    if (!liar && n > l->under_way) {
        n = l->under_way;
    }

    if (n == 0) {
        return;
    }

    data = fuzz_copy(fuzz_counting(n, l->came), n);

    rc = zlt_lanebox_came(&l->receives, data, n);
    free(data);

    if (over) {
        must(rc == 0);

    } else if (n > open) {
        must(liar && rc == -1);
        l->receives.ended = 1;
        return;

    } else {
        must(rc == 1);
        must(full || !l->receives.broken);
        must(zlt_lanebox_readable(&l->receives));
    }

    if (liar) {
        /* of a connection that is wrong nothing more is looked at */
        l->receives.ended = 1;
        return;
    }

    l->under_way -= n;
    l->came += (uint32_t) n;
}


static void
lanebox_read(lanebox_t *l, size_t size, uint32_t now, uint32_t rtt)
{
    size_t    have;
    ssize_t   n;
    uint8_t  *buf;
    uint32_t  credit;

    have = l->receives.in.len;
    buf = fuzz_copy(NULL, size);

    n = zlt_lanebox_take(&l->receives, buf, size, now, rtt);

    if (have == 0 || size == 0) {
        must(n == (zlt_lanebox_over(&l->receives) ? -1 : 0));

    } else {
        must(n == (ssize_t) (size < have ? size : have));

        must(memcmp(buf, fuzz_counting((size_t) n, l->read), (size_t) n) == 0);

        l->read += (uint32_t) n;
        zlt_bulk_went(&l->bulk, (size_t) n, 0, now);
        (void) zlt_bulk_lasts(&l->bulk, rtt);
    }

    free(buf);

    credit = zlt_lanebox_due(&l->receives);

    must(credit == 0 || !l->receives.ended);
    must(credit <= ZLT_WINDOW_LANE);
    must(l->receives.window.open + credit <= l->receives.window.size);

    zlt_window_given(&l->receives.window, credit);
    l->credit += credit;

    /* all that has come was read, and nothing is due: the sender has most */

    must(zlt_lanebox_over(&l->receives) || l->receives.in.len
         || l->receives.window.open > l->receives.window.size / 4 * 3
         || l->under_way || l->sends.credit || l->credit);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t              i, n;
    uint8_t             run;
    uint32_t            now;
    lanebox_t           lanes[LANES], *l;
    zlt_window_share_t  process, channel;

    memset(lanes, 0, sizeof(lanes));

    process.used = 0;
    process.most = 3 * 1024 * 1024;
    process.of = NULL;
    channel.used = 0;
    channel.most = 2 * 1024 * 1024;
    channel.of = &process;

    full = 0;
    run = 0;
    now = 1;

    for (i = 0; i < LANES; i++) {
        zlt_lanebox_start(&lanes[i].receives, &memory, &channel);
        zlt_lanebox_start(&lanes[i].sends, &memory, &process);
    }

    for (i = 0; i + 1 < size && i < 1024; i += 2) {
        l = &lanes[(data[i] >> 6) % LANES];
        n = (size_t) data[i + 1] * 257;

        switch (data[i] & 15) {

        case 0:
        case 1:
        case 2:
        case 3:
            lanebox_send(l, n, n + (data[i] & 16) - 8);
            break;

        case 4:
        case 5:
        case 6:
            lanebox_come(l, n + 1, 0);
            break;

        case 7:
        case 8:
        case 9:
        case 10:
            lanebox_read(l, n, now, 1 + (data[i] & 16));
            break;

        case 11:
            must(zlt_lanebox_credit(&l->sends, l->credit) == 0);
            must(zlt_lanebox_credit(&l->sends, UINT32_MAX) == -1);
            l->credit = 0;
            break;

        case 12:
            now += data[i + 1];
            break;

        case 13:
            full = data[i] & 16;
            break;

        case 14:
            if (data[i] & 16) {
                lanebox_come(l, n + ZLT_WINDOW_FIRST, 1);

            } else {
                l->receives.ended = 1;
            }

            break;

        default:
            must(zlt_bulk_read(&run, n) == run);
            must(n >= ZLT_BULK_READ ? run > 0 : run == 0);
        }

        must(channel.used <= channel.most && process.used <= process.most);
        must(l->receives.window.size <= ZLT_WINDOW_LANE);
        must(l->receives.in.len <= l->receives.window.kept);
    }

    for (i = 0; i < LANES; i++) {
        zlt_lanebox_end(&lanes[i].receives);
        zlt_lanebox_end(&lanes[i].sends);
    }

    must(blocks == 0 && channel.used == 0 && process.used == 0);

    return 0;
}
