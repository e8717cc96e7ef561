
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel-agent token: a new token, and its line for the server. */


#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "cmd.h"
#include "cmd_page.h"
#include "log.h"
#include "zlt_hex.h"
#include "zlt_name.h"


#define ZLT_TOKEN_BYTES   32
#define ZLT_TOKEN_PREFIX  "zlt_"


static const zlt_cmd_option_t  zlt_token_options[] = {
    { "name", 'n', "NAME",
      "the token's name in the server's file; the default is \"agent\"" },
    { "help", 'h', NULL, NULL },
    { "version", 'V', NULL, NULL },
    { NULL, 0, NULL, NULL }
};


static const zlt_cmd_page_t  zlt_token_page = {
    "token [--name NAME]",
    NULL,
    zlt_token_options,
    0,
    "Prints a new token, to be kept secret by the agent, and the line for\n"
    "the server's token file, which is no secret.\n",
    "  zltunnel-agent token --name alice\n"
};


int
zlt_cmd_token(int argc, char **argv)
{
    int           c, code;
    char          token[ZLT_CMD_TOKEN_SIZE], hex[ZLT_CMD_TOKEN_HASH_SIZE];
    const char   *name;
    struct stat   st;
    struct option options[ZLT_CMD_PAGE_OPTIONS];

    name = "agent";

    if (zlt_cmd_options(argc, argv, &zlt_token_page, options) == -1) {
        return ZLT_EXIT_USAGE;
    }

    while ((c = getopt_long(argc, argv, ":n:hV", options, NULL)) != -1) {

        code = zlt_cmd_common(c, argv, &zlt_token_page, options);

        if (code != -1) {
            return code;
        }

        name = optarg;
    }

    if (zlt_cmd_rest(argc, argv) == -1) {
        return ZLT_EXIT_USAGE;
    }

    if (zlt_cmd_token_name(name) == -1) {
        return ZLT_EXIT_USAGE;
    }

    if (zlt_cmd_token_make(token, hex) == -1) {
        return ZLT_EXIT_FAILED;
    }

    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode)
        && (st.st_mode & 077))
    {
        zlt_log_complain("warning: what the token is written to can be read "
                         "by others");
    }

    (void) printf("%s\n%s %s\n", token, hex, name);

    OPENSSL_cleanse(token, sizeof(token));

    return fflush(stdout) == 0 ? ZLT_EXIT_OK : ZLT_EXIT_FAILED;
}


int
zlt_cmd_token_name(const char *name)
{
    size_t  len;

    len = strlen(name);

    if (len <= ZLT_MAX_TOKEN_NAME
        && zlt_name_valid((const uint8_t *) name, len))
    {
        return 0;
    }

    zlt_log_complain("a token's name is 1 to %d letters, digits, \"-\", "
                     "\"_\", \".\"", ZLT_MAX_TOKEN_NAME);

    return -1;
}


int
zlt_cmd_token_make(char *token, char *hex)
{
    size_t    prefix;
    uint8_t   random[ZLT_TOKEN_BYTES], digest[EVP_MAX_MD_SIZE];
    unsigned  len;

    if (RAND_bytes(random, sizeof(random)) != 1) {
        zlt_log_complain("there are no random numbers");
        return -1;
    }

    prefix = sizeof(ZLT_TOKEN_PREFIX) - 1;

    memcpy(token, ZLT_TOKEN_PREFIX, prefix);
    zlt_hex_encode(token + prefix, random, ZLT_TOKEN_BYTES);
    token[prefix + 2 * ZLT_TOKEN_BYTES] = '\0';

    OPENSSL_cleanse(random, sizeof(random));

    if (EVP_Digest(token, strlen(token), digest, &len, EVP_sha256(), NULL)
        != 1)
    {
        zlt_log_complain("SHA-256 is not available");
        return -1;
    }

    zlt_hex_encode(hex, digest, 32);
    hex[64] = '\0';

    return 0;
}
