
/*
 * Copyright (C) zltunnel authors
 */

/* Private to control*.c. */


#ifndef ZLT_SESSION_H_INCLUDED
#define ZLT_SESSION_H_INCLUDED


#include "link.h"
#include "http.h"
#include "zlt_ws.h"


#define ZLT_SESSION_TIMEOUT  40000     /* ms, where the server tells none */


struct zlt_session_s {
    zlt_conn_t         conn;
    zlt_agent_t       *agent;
    zlt_list_t         link;           /* agent->kept */
    zlt_task_t         task;
    zlt_reach_t       *reach;
    uint32_t           serial;

    char               accept[ZLT_HTTP_ACCEPT_SIZE];
    zlt_ws_parser_t    ws;

    uint8_t           *message;        /* that is not complete yet */
    size_t             message_len;
    size_t             message_size;

    uint8_t           *out;            /* not written yet */
    size_t             out_len;
    size_t             out_size;

    zlt_service_t    **pending;        /* Registers without an answer; NULL:
                                          the service is gone */
    unsigned           npending;
    unsigned           pending_size;

    zlt_list_t         asks;           /* about access, without an answer */

    uint32_t           features;
    zlt_pool_param_t   param;
    uint32_t           interval;       /* ms, 0: not told */
    uint32_t           timeout;

    uint64_t           up_since;       /* ms, as all below */
    uint64_t           deadline;       /* 0: none */
    uint64_t           next_beat;
    uint64_t           beat;           /* the last Heartbeat's timestamp */
    uint64_t           beat_at;        /* ns, when it was sent; 0: answered */
    uint64_t           asked;          /* an answer is due; 0: none is */

    unsigned           up:1;
    unsigned           closing:1;
    unsigned           kept:1;
    unsigned           freed:1;
};


/* control.c */

void zlt_session_fail(zlt_session_t *s, zlt_down_e how, uint32_t retry_after,
    const char *fmt, ...) zlt_printf_like(4, 5);

/* control_ws.c */

/* Bytes from the connection; the session may be gone afterwards (fd -1). */
void zlt_session_input(zlt_session_t *s, uint8_t *data, size_t len);
void zlt_session_send(zlt_session_t *s, const zlt_msg_t *m);
void zlt_session_frame(zlt_session_t *s, unsigned opcode,
    const uint8_t *payload, size_t len);

/* Writes now, or keeps it: 0 or -1. */
int zlt_session_output(zlt_session_t *s, const void *data, size_t len);

/* -1: the session is gone */
int zlt_session_flush(zlt_session_t *s);

/* Appends to the message that is being received: 0 or -1. */
int zlt_session_keep(zlt_session_t *s, const uint8_t *data, size_t len);

/* control_msg.c */

/* One whole message. */
void zlt_session_message(zlt_session_t *s, const uint8_t *data, size_t len);

/* access_msg.c */

void zlt_session_access_ok(zlt_session_t *s, const zlt_msg_t *m);
void zlt_session_access_fail(zlt_session_t *s, const zlt_msg_t *m);
void zlt_session_access_close(zlt_session_t *s, const zlt_msg_t *m);

/* No answers come any more. */
void zlt_session_access_lost(zlt_session_t *s);


#endif /* ZLT_SESSION_H_INCLUDED */
