
/*
 * Copyright (C) zltunnel authors
 */

/* What a probe knows, for the parts of it. */


#ifndef ZLT_PROBE_STATE_H_INCLUDED
#define ZLT_PROBE_STATE_H_INCLUDED


#include "conf.h"
#include "conn.h"
#include "probe.h"
#include "timer.h"
#include "upgrade.h"
#include "zlt_ws.h"


#define ZLT_PROBE_IN     ZLT_UPGRADE_IN
#define ZLT_PROBE_OUT    8192


typedef enum {
    ZLT_PROBE_PATH = 0,
    ZLT_PROBE_RAW,
    ZLT_PROBE_WEBSOCKET,
    ZLT_PROBE_TOKEN,
    ZLT_PROBE_STEPS
} zlt_probe_step_e;


typedef struct {
    uv_loop_t          *loop;
    zlt_conf_t         *conf;
    zlt_tls_t          *tls;
    const zlt_token_t  *token;
    zlt_addrs_t        *at;            /* NULL: wherever it is reached */
    zlt_probe_pt        tell;

    zlt_probe_step_e    step;
    zlt_upgrade_t      *upgrade;       /* NULL: it has ended */
    zlt_conn_t          conn;
    uv_timer_t          timer;         /* each second */
    zlt_timer_t         late;          /* this step's */

    uint8_t             out[ZLT_PROBE_OUT];
    size_t              out_pos;
    size_t              out_len;
    uint8_t             in[ZLT_PROBE_IN];
    uint8_t            *pos;
    uint8_t            *last;

    zlt_ws_parser_t     ws;
    uint8_t             message[ZLT_MAX_MESSAGE_SIZE];
    size_t              message_len;

    unsigned            failed;
    unsigned            named:1;       /* the name has been told */
    unsigned            raw:1;         /* such channels can be had */
    unsigned            over:1;        /* this step */
} zlt_probe_t;


/* What this step has come to: it is over. */
void zlt_probe_said(zlt_probe_t *p, zlt_probe_result_e result,
    const char *fmt, ...) zlt_printf_like(3, 4);

/* It is over, for what has failed before it could be asked. */
void zlt_probe_failed(zlt_probe_t *p, const char *step, const char *why);

/* The result of another one, by its name; this one goes on. */
void zlt_probe_tell(zlt_probe_t *p, const char *step,
    zlt_probe_result_e result, const char *fmt, ...) zlt_printf_like(4, 5);


#endif /* ZLT_PROBE_STATE_H_INCLUDED */
