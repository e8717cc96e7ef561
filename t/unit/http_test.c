
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: what a server, or a proxy, answers to an upgrade.  Whatever bytes
 * there are, each answer is judged, and at once: none makes the agent go round
 * for ever, as a NUL in a list did.
 */


#include <unistd.h>

#include "tap.h"
#include "http.h"


static zlt_http_answer_t  a;


/* Parses a copy of exactly that size, and for no longer than 5 seconds. */

static ssize_t
parse(const char *text, size_t len)
{
    ssize_t   n;
    uint8_t  *copy;

    copy = tap_copy((const uint8_t *) text, len);

    (void) alarm(5);
    n = zlt_http_parse(&a, (char *) copy, len);
    (void) alarm(0);

    tap_free(copy, len);

    return n;
}


#define PARSE(text)  parse(text, sizeof(text) - 1)


static void
test_answers(void)
{
    static const char  upgraded[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                    "Upgrade: WebSocket\r\n"
                                    "connection: keep-alive , Upgrade\r\n"
                                    "Zltunnel-Worker: 2/4\r\n\r\nmore";

    check(PARSE(upgraded) == (ssize_t) (strlen(upgraded) - strlen("more")));
    check(a.status == 101 && a.websocket && a.upgrade && !a.zltunnel);
    check(a.worker == 2 && a.workers == 4);
    check(strcmp(a.reason, "Switching Protocols") == 0);

    check(a.has_node == 0);

    check(PARSE("HTTP/1.1 421 M\r\nZltunnel-Node: "
                "000102030405060708090a0b0c0d0e0F\r\n\r\n") > 0);
    check(a.has_node && !a.beside && a.node[1] == 1 && a.node[15] == 15);
    check(PARSE("HTTP/1.1 421 M\r\nZltunnel-Node: "
                "000102030405060708090a0b0c0d0e0f; upgrade\r\n\r\n") > 0);
    check(a.has_node && a.beside);
    check(PARSE("HTTP/1.1 421 M\r\nZltunnel-Node: 0001\r\n\r\n") > 0);
    check(a.has_node == 0 && a.beside == 0);

    check(PARSE("HTTP/1.1 101 S\r\nConnection: upgrades, up, grade\r\n\r\n")
          > 0);
    check(a.upgrade == 0);

    check(PARSE("HTTP/1.1 200 OK\r\nConnection: ,,\t, \r\n\r\n") > 0);
    check(a.upgrade == 0);

    check(PARSE("HTTP/1.1 200 OK\r\nConnection:\r\n\r\n") > 0);
    check(PARSE("HTTP/1.1 200 OK\r\n") == 0);
    check(PARSE("SSH-2.0-x") == -1);
}


static void
test_controls(void)
{
    char      text[64];
    size_t    i, len;
    unsigned  c;

    static const char  answer[] = "HTTP/1.1 101 S\r\nConnection: a?b\r\n\r\n";

    check(PARSE("HTTP/1.1 101 S\r\nConnection: a\0b\r\n\r\n") == -1);
    check(PARSE("HTTP/1.1 101 S\r\nConnection: \0\r\n\r\n") == -1);
    check(PARSE("HTTP/1.1 101 S\r\nConn\0ection: upgrade\r\n\r\n") == -1);
    check(PARSE("HTTP/1.1 101 S\r\nX: \x1b[2J\r\n\r\n") == -1);

    /* all bytes, at each place of a header */

    len = sizeof(answer) - 1;

    for (i = 16; i < len - 4; i++) {
        for (c = 0; c < 256; c++) {
            tap_note("byte %u at %zu", c, i);

            memcpy(text, answer, len);
            text[i] = (char) c;

            if ((c < 0x20 && c != '\t') || c == 0x7f) {
                check(parse(text, len) == -1);

            } else {
                check(parse(text, len) == (ssize_t) len);
            }
        }
    }
}


static void
test_retry_after(void)
{
    check(PARSE("HTTP/1.1 503 S\r\nRetry-After: 7\r\n\r\n") > 0);
    check(a.retry_after == 7000);

    check(PARSE("HTTP/1.1 503 S\r\nRetry-After: 86400\r\n\r\n") > 0);
    check(a.retry_after == ZLT_RETRY_MAX);

    check(PARSE("HTTP/1.1 503 S\r\nRetry-After: 4294968\r\n\r\n") > 0);
    check(a.retry_after == ZLT_RETRY_MAX);

    check(PARSE("HTTP/1.1 503 S\r\nRetry-After: 99999999999999999999\r\n\r\n")
          > 0);
    check(a.retry_after == ZLT_RETRY_MAX);

    check(PARSE("HTTP/1.1 503 S\r\nRetry-After: -5\r\n\r\n") > 0);
    check(a.retry_after == 0);

    check(PARSE("HTTP/1.1 503 S\r\n"
                "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n") > 0);
    check(a.retry_after == 0);
}


int
main(void)
{
    tap_run(test_answers, "answers");
    tap_run(test_controls, "controls in a header");
    tap_run(test_retry_after, "how long to wait");

    return tap_done();
}
