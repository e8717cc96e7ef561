
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: whoever reads the agent's log or status, from texts of a peer that
   a terminal would obey, or that end a line, or are shown in another order
   than they are written. */


#include "log.h"
#include "tap.h"
#include "text.h"
#include "zlt_types.h"


/* what may not be shown, and what it becomes in the log and in JSON */

typedef struct {
    const char  *text;
    const char  *log;
    const char  *json;
} text_case_t;


static const text_case_t  text_cases[] = {
    { "\x1b[2J",           "\\x1b[2J",       "\"\\u001b[2J\"" },
    { "a\nb",              "a\\x0ab",        "\"a\\u000ab\"" },
    { "\x7f",              "\\x7f",          "\"\\u007f\"" },
    { "\xc2\x9b" "2J",     "\\xc2\\x9b2J",   "\"\\u009b2J\"" },
    { "\xc2\x85",          "\\xc2\\x85",     "\"\\u0085\"" },
    { "\xe2\x80\xa8",      "\\xe2\\x80\\xa8", "\"\\u2028\"" },
    { "\xe2\x80\xa9",      "\\xe2\\x80\\xa9", "\"\\u2029\"" },
    { "\xe2\x80\xae" "x",  "\\xe2\\x80\\xaex", "\"\\u202ex\"" },
    { "\xe2\x81\xa6",      "\\xe2\\x81\\xa6", "\"\\u2066\"" },
    { "\xe2\x80\x8f",      "\\xe2\\x80\\x8f", "\"\\u200f\"" },
    { "\xd8\x9c",          "\\xd8\\x9c",     "\"\\u061c\"" },

    /* no characters at all */

    { "a\xff" "b",         "a\\xffb",        "\"a\\ufffdb\"" },
    { "\xc2",              "\\xc2",          "\"\\ufffd\"" },
    { "\xed\xa0\x80",      "\\xed\\xa0\\x80", "\"\\ufffd\\ufffd\\ufffd\"" },

    /* what is left as it is */

    { "caf\xc3\xa9",       "caf\xc3\xa9",    "\"caf\xc3\xa9\"" },
    { "\xd9\x85\xd8\xb1",  "\xd9\x85\xd8\xb1", "\"\xd9\x85\xd8\xb1\"" },
    { "\xf0\x9f\x98\x80",  "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"" },
    { "\xc2\xa0",          "\xc2\xa0",       "\"\xc2\xa0\"" },
    { "say \"a\\b\"",      "say \"a\\b\"",   "\"say \\\"a\\\\b\\\"\"" },
    { "",                  "",               "\"\"" }
};

#define TEXT_CASES  (sizeof(text_cases) / sizeof(text_cases[0]))


static zlt_str_t
str(const char *text, size_t len)
{
    zlt_str_t  s;

    s.data = (const uint8_t *) text;
    s.len = len;

    return s;
}


static void
log_texts(void)
{
    char      buf[ZLT_LOG_TEXT_SIZE];
    unsigned  i;

    for (i = 0; i < TEXT_CASES; i++) {
        tap_note("case %u", i);
        (void) zlt_log_text(buf, str(text_cases[i].text,
                                     strlen(text_cases[i].text)));
        check(strcmp(buf, text_cases[i].log) == 0);
    }
}


static void
json_texts(void)
{
    unsigned    i;
    zlt_text_t  t;

    for (i = 0; i < TEXT_CASES; i++) {
        tap_note("case %u", i);
        memset(&t, 0, sizeof(zlt_text_t));
        zlt_text_json(&t, text_cases[i].text);
        check(t.len == strlen(text_cases[i].json)
              && memcmp(t.data, text_cases[i].json, t.len) == 0);
        zlt_text_free(&t);
    }
}


/* However long it is, and whatever its bytes are, it fits. */

static void
fits(void)
{
    char      buf[ZLT_LOG_TEXT_SIZE], text[2 * ZLT_LOG_TEXT_MAX];
    size_t    len;
    unsigned  c;

    for (c = 0; c < 256; c++) {
        memset(text, (int) c, sizeof(text));

        for (len = 0; len <= sizeof(text); len += 17) {
            (void) zlt_log_text(buf, str(text, len));
            check(strlen(buf) < sizeof(buf));
        }
    }

    check(strcmp(zlt_log_text(buf, str("\0x", 2)), "\\x00x") == 0);
}


int
main(void)
{
    tap_run(log_texts, "a peer's text in the log");
    tap_run(json_texts, "and in JSON");
    tap_run(fits, "of any length");

    return tap_done();
}
