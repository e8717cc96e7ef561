
/*
 * Copyright (C) zltunnel authors
 */

/* Files with a secret in them. */


#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "secret.h"


#define ZLT_SECRET_GROUPS  1024


static int zlt_secret_member(gid_t gid);


const char *
zlt_secret_exposed(const char *file, const struct stat *st)
{
    if (!S_ISREG(st->st_mode) || (st->st_mode & 077) == 0
        || zlt_secret_credential(file))
    {
        return NULL;
    }

    if (st->st_mode & 007) {
        return "can be read by others: chmod 600 it";
    }

    if (st->st_mode & 030) {
        return "can be written by its group: chmod 600 it";
    }

    if (!zlt_secret_member(st->st_gid)) {
        return "can be read by a group that the agent is not in: chmod 600 it";
    }

    zlt_log_info("\"%.200s\" can be read by the group %u as well", file,
                 (unsigned) st->st_gid);

    return NULL;
}


static int
zlt_secret_member(gid_t gid)
{
    int    i, n;
    gid_t  groups[ZLT_SECRET_GROUPS];

    if (gid == getegid()) {
        return 1;
    }

    n = getgroups(ZLT_SECRET_GROUPS, groups);

    for (i = 0; i < n; i++) {
        if (groups[i] == gid) {
            return 1;
        }
    }

    return 0;
}


int
zlt_secret_credential(const char *file)
{
    size_t       len;
    const char  *dir;

    dir = getenv("CREDENTIALS_DIRECTORY");

    if (dir == NULL || *dir != '/' || strstr(file, "/../")) {
        return 0;
    }

    len = strlen(dir);

    return strncmp(file, dir, len) == 0 && file[len] == '/';
}
