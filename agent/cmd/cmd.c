
/*
 * Copyright (C) zltunnel authors
 */

/* What the commands have in common. */


#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "log.h"
#include "token.h"
#include "version.h"


void
zlt_cmd_version(void)
{
    (void) printf("zltunnel-agent " ZLT_AGENT_VERSION "\n");
}


void
zlt_cmd_option(int c, char **argv)
{
    int          len;
    const char  *option;

    option = argv[optind - 1];
    len = (int) strcspn(option, "=");

    if (option[0] != '-') {
        zlt_log_complain("\"-%c\" is not an option", optopt);
        return;
    }

    zlt_log_complain(c == ':' ? "\"%.*s\" needs a value"
                              : "\"%.*s\" is not an option", len, option);
}


void
zlt_cmd_token_option(void)
{
    zlt_log_complain("there is no --token, since every user of this machine "
                     "could see it: use --token-file, or " ZLT_TOKEN_ENV);
}
