
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The files that "zltunnel-agent init" writes.
 *
 * Users and groups are looked up in the files alone: an agent without libraries
 * must not load those of the machine.
 */


#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd_init_file.h"
#include "log.h"


#define ZLT_CMD_INIT_PATH  4096


static int zlt_cmd_init_file_open(const char *file, int flags,
    const zlt_cmd_init_owner_t *owner);
static int zlt_cmd_init_file_own(int fd, const zlt_cmd_init_owner_t *owner);
static int zlt_cmd_init_file_user(const char *name, uid_t *uid, gid_t *gid);
static int zlt_cmd_init_file_group(const char *name, gid_t *gid);
static int zlt_cmd_init_file_put(int fd, const char *file,
    const zlt_text_t *text);


int
zlt_cmd_init_file_dir(const char *dir)
{
    int    rc;
    char   path[ZLT_CMD_INIT_PATH], *p;

    if (snprintf(path, sizeof(path), "%s", dir) >= (int) sizeof(path)) {
        zlt_log_complain("\"%.100s...\" is too long a name", dir);
        return -1;
    }

    for (p = path + 1; ; p++) {

        if (*p != '/' && *p != '\0') {
            continue;
        }

        if (*p == '\0') {
            break;
        }

        *p = '\0';
        (void) mkdir(path, 0755);
        *p = '/';
    }

    rc = mkdir(path, 0755);

    if (rc == -1 && errno != EEXIST) {
        zlt_log_complain("the directory \"%s\" cannot be made: %s", dir,
                         strerror(errno));
        return -1;
    }

    return 0;
}


int
zlt_cmd_init_file_free(const char *file, int force)
{
    int     busy;
    char    line[1024];
    FILE   *f;
    size_t  blank;

    f = fopen(file, "re");

    if (f == NULL) {

        if (errno == ENOENT) {
            return 0;
        }

        zlt_log_complain("\"%s\" cannot be read: %s", file, strerror(errno));
        return -1;
    }

    busy = 0;

    while (!busy && fgets(line, sizeof(line), f)) {
        blank = strspn(line, " \t\r\n");
        busy = line[blank] != '\0' && strchr(";#", line[blank]) == NULL;
    }

    (void) fclose(f);

    if (busy && !force) {
        zlt_log_complain("\"%s\" is there already: edit it, or --force writes "
                         "it anew", file);
        return -1;
    }

    return 0;
}


int
zlt_cmd_init_file_write(const char *file, const zlt_text_t *text,
    const zlt_cmd_init_owner_t *owner)
{
    int   fd;
    char  temp[ZLT_CMD_INIT_PATH];

    (void) snprintf(temp, sizeof(temp), "%s.new", file);

    fd = zlt_cmd_init_file_open(temp, O_WRONLY|O_CREAT|O_TRUNC, owner);

    if (fd == -1) {
        return -1;
    }

    if (zlt_cmd_init_file_put(fd, temp, text) == -1) {
        (void) unlink(temp);
        return -1;
    }

    if (rename(temp, file) == -1) {
        zlt_log_complain("\"%s\" cannot be written: %s", file,
                         strerror(errno));
        (void) unlink(temp);
        return -1;
    }

    return 0;
}


int
zlt_cmd_init_file_add(const char *file, const zlt_text_t *text,
    const zlt_cmd_init_owner_t *owner)
{
    int   fd;
    char  last;

    if (access(file, F_OK) == 0) {
        owner = NULL;
    }

    fd = zlt_cmd_init_file_open(file, O_RDWR|O_CREAT|O_APPEND, owner);

    if (fd == -1) {
        return -1;
    }

    /* an editor may have left the last line without its end */

    if (lseek(fd, -1, SEEK_END) != -1 && read(fd, &last, 1) == 1
        && last != '\n' && write(fd, "\n", 1) != 1)
    {
        zlt_log_complain("\"%s\" cannot be written: %s", file,
                         strerror(errno));
        (void) close(fd);
        return -1;
    }

    return zlt_cmd_init_file_put(fd, file, text);
}


/* owner may be NULL: as it is */

static int
zlt_cmd_init_file_open(const char *file, int flags,
    const zlt_cmd_init_owner_t *owner)
{
    int  fd;

    fd = open(file, flags|O_CLOEXEC|O_NOFOLLOW, 0600);

    if (fd == -1 || (owner && zlt_cmd_init_file_own(fd, owner) == -1)) {
        zlt_log_complain("\"%s\" cannot be written: %s", file,
                         strerror(errno));

        if (fd != -1) {
            (void) close(fd);
        }

        return -1;
    }

    return fd;
}


static int
zlt_cmd_init_file_own(int fd, const zlt_cmd_init_owner_t *owner)
{
    uid_t  uid;
    gid_t  gid;

    uid = (uid_t) -1;
    gid = (gid_t) -1;

    if (owner->user) {
        (void) zlt_cmd_init_file_user(owner->user, &uid, &gid);
    }

    if (owner->group) {
        (void) zlt_cmd_init_file_group(owner->group, &gid);
    }

    if (geteuid() == 0 && fchown(fd, uid, gid) == -1) {
        return -1;
    }

    return fchmod(fd, owner->mode);
}


static int
zlt_cmd_init_file_user(const char *name, uid_t *uid, gid_t *gid)
{
    int             rc;
    FILE           *f;
    struct passwd  *user;

    f = fopen("/etc/passwd", "re");
    rc = -1;

    while (f && rc == -1 && (user = fgetpwent(f)) != NULL) {

        if (strcmp(user->pw_name, name) == 0) {
            *uid = user->pw_uid;
            *gid = user->pw_gid;
            rc = 0;
        }
    }

    if (f) {
        (void) fclose(f);
    }

    return rc;
}


static int
zlt_cmd_init_file_group(const char *name, gid_t *gid)
{
    int            rc;
    FILE          *f;
    struct group  *group;

    f = fopen("/etc/group", "re");
    rc = -1;

    while (f && rc == -1 && (group = fgetgrent(f)) != NULL) {

        if (strcmp(group->gr_name, name) == 0) {
            *gid = group->gr_gid;
            rc = 0;
        }
    }

    if (f) {
        (void) fclose(f);
    }

    return rc;
}


/* Closes it. */

static int
zlt_cmd_init_file_put(int fd, const char *file, const zlt_text_t *text)
{
    size_t   done;
    ssize_t  n;

    n = text->failed ? -1 : 0;
    errno = ENOMEM;

    for (done = 0; n != -1 && done < text->len; done += (size_t) n) {
        n = write(fd, text->data + done, text->len - done);

        if (n == -1 && errno == EINTR) {
            n = 0;
        }
    }

    if (n != -1 && fsync(fd) == -1) {
        n = -1;
    }

    if (n == -1) {
        zlt_log_complain("\"%s\" cannot be written: %s", file,
                         strerror(errno));
    }

    (void) close(fd);

    return n == -1 ? -1 : 0;
}
