
/*
 * Copyright (C) zltunnel authors
 */

/* What is meant by a key that is not known. */


#include <stdio.h>
#include <string.h>

#include "conf.h"
#include "key.h"
#include "near.h"


/* words that others have for it, or that are right elsewhere */

static const struct {
    unsigned      section;
    const char   *word;
    const char   *hint;
} zlt_key_hints[] = {

    { ZLT_KEY_AGENT|ZLT_KEY_TUNNEL, "token",
      "the token is in a file of its own: \"token_file = FILE\"" },

    { ZLT_KEY_AGENT|ZLT_KEY_TUNNEL, "url",
      "here it is \"server = URL\"" },

    { ZLT_KEY_AGENT, "service",
      "each service has a section of its own: \"[service NAME]\"" },

    { ZLT_KEY_SERVICE, "local_port", "here it is \"local = HOST:PORT\"" },
    { ZLT_KEY_SERVICE, "local_host", "here it is \"local = HOST:PORT\"" },
    { ZLT_KEY_SERVICE, "port", "here it is \"local = HOST:PORT\"" },
    { ZLT_KEY_SERVICE, "name",
      "it is that of the section: \"[service NAME]\"" },
    { ZLT_KEY_SERVICE, "type", "here it is \"protocol = tcp\", or udp" },

    { ZLT_KEY_TUNNEL, "local",
      "here it is \"local_host\" and \"local_port\"" },

    { 0, NULL, NULL }
};


const char *
zlt_key_hint(unsigned section, const char *name, char *buf)
{
    unsigned          i;
    zlt_near_t        near;
    const zlt_key_t  *k;

    for (i = 0; zlt_key_hints[i].word; i++) {
        if ((zlt_key_hints[i].section & section)
            && strcmp(zlt_key_hints[i].word, name) == 0)
        {
            (void) snprintf(buf, ZLT_KEY_HINT_SIZE, "; %s",
                            zlt_key_hints[i].hint);
            return buf;
        }
    }

    zlt_near_init(&near, name);
    buf[0] = '\0';

    for (k = zlt_key_table; k->name; k++) {

        if (k->sections & section) {
            zlt_near_try(&near, k->name);

        } else if (strcmp(k->name, name) == 0 && buf[0] == '\0') {
            (void) snprintf(buf, ZLT_KEY_HINT_SIZE, "; it belongs into %s",
                            zlt_key_section(k->sections & -k->sections));
        }
    }

    if (near.best) {
        (void) snprintf(buf, ZLT_KEY_HINT_SIZE, "; did you mean \"%s\"?",
                        near.best);
    }

    return buf;
}
