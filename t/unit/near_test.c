
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: what was meant by a word with a typo, and by none. */


#include "tap.h"
#include "near.h"


static void
words(void)
{
    unsigned     i, j;
    zlt_near_t   n;

    static const char *const  known[] = {
        "server", "service", "token_file", "remote_port", "ttl", "to", "run",
        "status", "start", "stop"
    };

    static const struct {
        const char  *word;
        const char  *meant;    /* NULL: nothing */
    } list[] = {
        { "servre", "server" },
        { "sevice", "service" },
        { "Server", "server" },
        { "remoteport", "remote_port" },
        { "remote-port", "remote_port" },
        { "remot_prot", "remote_port" },
        { "tokenfile", "token_file" },
        { "ttll", "ttl" },
        { "statsu", "status" },
        { "strat", "start" },
        { "x", NULL },
        { "", NULL },
        { "colour", NULL },
        { "tt", "ttl" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL }
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].word);
        zlt_near_init(&n, list[i].word);

        for (j = 0; j < sizeof(known) / sizeof(known[0]); j++) {
            zlt_near_try(&n, known[j]);
        }

        if (!check(list[i].meant ? n.best && !strcmp(n.best, list[i].meant)
                                 : n.best == NULL))
        {
            fprintf(stderr, "# %s\n", n.best ? n.best : "nothing");
        }
    }
}


int
main(void)
{
    tap_run(words, "words");

    return tap_done();
}
