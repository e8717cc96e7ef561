
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Private to proto/: how the fields of zlt_msg_t lie on the wire.
 *
 * The layout of a message is a list of fields in a table, and so is that of
 * a value in the extension block.  Decoder and encoder walk the same tables,
 * so that they cannot disagree, and a new message is a new line.
 */


#ifndef ZLT_FIELDS_H_INCLUDED
#define ZLT_FIELDS_H_INCLUDED


#include "zlt_msg.h"


typedef enum {
    ZLT_FIELD_END = 0,     /* zero, so that tables end by themselves */
    ZLT_FIELD_U8,
    ZLT_FIELD_U16,
    ZLT_FIELD_U32,
    ZLT_FIELD_U64,
    ZLT_FIELD_PROTOCOL,    /* u8, 0 or 1 */
    ZLT_FIELD_ID,          /* ZLT_ID_SIZE bytes */
    ZLT_FIELD_KEY,         /* ZLT_KEY_SIZE bytes */
    ZLT_FIELD_STR8,        /* u8 length, UTF-8 */
    ZLT_FIELD_STR16,       /* u16 length, UTF-8 */
    ZLT_FIELD_TEXT,        /* UTF-8 up to the end */
    ZLT_FIELD_BYTES        /* whatever there is up to the end */
} zlt_field_kind_t;


typedef struct {
    uint16_t        kind;          /* zlt_field_kind_t */
    uint16_t        offset;        /* in zlt_msg_t */
} zlt_field_t;


#define zlt_field(kind, member)                                               \
    { ZLT_FIELD_##kind, offsetof(zlt_msg_t, member) }

#define zlt_field_none  { ZLT_FIELD_END, 0 }


/*
 * Reads a list of fields from *pos, never past end, and advances *pos.
 * ZLT_OK, or ZLT_ERR_SHORT, ZLT_ERR_UTF8, ZLT_ERR_VALUE.
 */
int zlt_fields_read(zlt_msg_t *m, const zlt_field_t *f, const uint8_t **pos,
    const uint8_t *end);

/*
 * Writes a list of fields at p and returns the position behind them, or NULL
 * if they do not fit before end or a field cannot be put on the wire.
 */
uint8_t *zlt_fields_write(const zlt_msg_t *m, const zlt_field_t *f,
    uint8_t *p, uint8_t *end);


#endif /* ZLT_FIELDS_H_INCLUDED */
