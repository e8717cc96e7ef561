
/*
 * Copyright (C) zltunnel authors
 */

/*
 * QR codes.  A character is two modules, one above the other, in half blocks;
 * a margin of two modules is what scanners need at least with light all around.
 */


#include <stdio.h>
#include <string.h>

#include "log.h"
#include "out.h"
#include "qr.h"


#if defined(ZLT_QRENCODE) && !defined(ZLT_STATIC)


#include <qrencode.h>


#define ZLT_QR_MARGIN  2               /* modules */
#define ZLT_QR_LIGHT   "\033[30;107m"  /* black on white */
#define ZLT_QR_RESET   "\033[0m"


static int zlt_qr_dark(const QRcode *qr, int x, int y);


int
zlt_qr_can(void)
{
    return 1;
}


void
zlt_qr_print(const char *text)
{
    int      x, y;
    char     line[ZLT_OUT_LINE], *p;
    QRcode  *qr;

    /* half blocks: none, the lower, the upper, both */

    static const char *const  blocks[] = {
        " ", "\xe2\x96\x84", "\xe2\x96\x80", "\xe2\x96\x88"
    };

    qr = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);

    if (qr == NULL) {
        return;
    }

    for (y = -ZLT_QR_MARGIN; y < qr->width + ZLT_QR_MARGIN; y += 2) {
        p = line;

        for (x = -ZLT_QR_MARGIN; x < qr->width + ZLT_QR_MARGIN; x++) {
            p = stpcpy(p, blocks[2 * zlt_qr_dark(qr, x, y)
                                 + zlt_qr_dark(qr, x, y + 1)]);
        }

        zlt_log_print(ZLT_QR_LIGHT "%s" ZLT_QR_RESET "\n", line);
    }

    QRcode_free(qr);
}


static int
zlt_qr_dark(const QRcode *qr, int x, int y)
{
    return x >= 0 && y >= 0 && x < qr->width && y < qr->width
           && (qr->data[y * qr->width + x] & 1);
}


#else


int
zlt_qr_can(void)
{
    return 0;
}


void
zlt_qr_print(const char *text)
{
    (void) text;
}


#endif
