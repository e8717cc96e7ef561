
/*
 * Copyright (C) zltunnel authors
 */

/* QR codes for a terminal, if libqrencode was there when this was built. */


#ifndef ZLT_QR_H_INCLUDED
#define ZLT_QR_H_INCLUDED


/* 1 if it was */
int zlt_qr_can(void);

/* Prints the text as a QR code to stdout, dark on light whatever the terminal's
   colours are; nothing if it is too long for one. */
void zlt_qr_print(const char *text);


#endif /* ZLT_QR_H_INCLUDED */
