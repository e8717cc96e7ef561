
/*
 * Copyright (C) zltunnel authors
 */

/* Which files make the configuration. */


#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf_include.h"


static char *zlt_conf_include_path(const char *file, const char *pattern);
static int zlt_conf_include_error(const char *path, int error);
static int zlt_conf_include_add(zlt_conf_file_t *f, const char *name,
    unsigned depth, const struct stat *st);
static int zlt_conf_include_found(zlt_conf_file_t *f, const char *name,
    char *error);


int
zlt_conf_include_first(zlt_conf_file_t *f, const char *name)
{
    struct stat  st;

    if (stat(name, &st) == -1) {
        /* who opens it says why */
        memset(&st, 0, sizeof(struct stat));
    }

    return zlt_conf_include_add(f, name, 0, &st);
}


int
zlt_conf_include_pattern(zlt_conf_file_t *f, const char *pattern, char *error)
{
    int      rc;
    char    *path;
    size_t   i;
    glob_t   found;

    if (*pattern == '\0') {
        (void) strcpy(error, "\"include\" is empty");
        return -1;
    }

    path = zlt_conf_include_path(f->files[f->at.file].name, pattern);

    if (path == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    rc = glob(path, 0, zlt_conf_include_error, &found);

    free(path);

    if (rc == GLOB_NOMATCH) {

        if (strpbrk(pattern, "*?[") == NULL) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"include\": there "
                            "is no file \"%.200s\"", pattern);
            return -1;
        }

        return 0;
    }

    if (rc != 0) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"include\": "
                        "\"%.200s\" cannot be looked up: %s", pattern,
                        rc == GLOB_NOSPACE ? "out of memory"
                                           : strerror(errno));
        return -1;
    }

    rc = 0;

    for (i = 0; i < found.gl_pathc && rc == 0; i++) {
        rc = zlt_conf_include_found(f, found.gl_pathv[i], error);
    }

    globfree(&found);

    return rc;
}


/* In the folder of the file, whose own name is no pattern. */

static char *
zlt_conf_include_path(const char *file, const char *pattern)
{
    char        *path, *p;
    const char  *end;

    end = (*pattern == '/') ? NULL : strrchr(file, '/');

    path = malloc((end ? (size_t) (end - file) * 2 + 1 : 0)
                  + strlen(pattern) + 1);

    if (path == NULL) {
        return NULL;
    }

    p = path;

    if (end) {
        for ( /* void */ ; file < end; file++) {
            if (strchr("*?[\\", *file)) {
                *p++ = '\\';
            }

            *p++ = *file;
        }

        *p++ = '/';
    }

    (void) strcpy(p, pattern);

    return path;
}


/* A folder that is not there has no files in it; another error ends it. */

static int
zlt_conf_include_error(const char *path, int error)
{
    (void) path;

    errno = error;

    return error != ENOENT;
}


static int
zlt_conf_include_found(zlt_conf_file_t *f, const char *name, char *error)
{
    unsigned              i;
    struct stat           st;
    zlt_conf_include_t   *file;

    if (stat(name, &st) == -1) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"include\": "
                        "\"%.200s\": %s", name, strerror(errno));
        return -1;
    }

    if (!S_ISREG(st.st_mode)) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"include\": "
                        "\"%.200s\" is not a file; for those of a folder, "
                        "\"include = FOLDER/*.conf\"", name);
        return -1;
    }

    for (i = 0; i < f->nfiles; i++) {
        file = &f->files[i];

        if (file->dev == st.st_dev && file->ino == st.st_ino) {
            (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"include\": "
                            "\"%.200s\" is part of the configuration already",
                            name);
            return -1;
        }
    }

    if (f->nfiles == ZLT_CONF_INCLUDE_MAX) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "more than %d files",
                        ZLT_CONF_INCLUDE_MAX);
        return -1;
    }

    if (f->files[f->at.file].depth == ZLT_CONF_INCLUDE_DEPTH) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"include\" within "
                        "\"include\", more than %d deep",
                        ZLT_CONF_INCLUDE_DEPTH);
        return -1;
    }

    if (zlt_conf_include_add(f, name, f->files[f->at.file].depth + 1, &st)
        == -1)
    {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    return 0;
}


static int
zlt_conf_include_add(zlt_conf_file_t *f, const char *name, unsigned depth,
    const struct stat *st)
{
    zlt_conf_include_t  *files, *file;

    files = realloc(f->files, (f->nfiles + 1) * sizeof(zlt_conf_include_t));

    if (files == NULL) {
        return -1;
    }

    f->files = files;
    file = &files[f->nfiles];

    file->name = strdup(name);
    file->depth = depth;
    file->dev = st->st_dev;
    file->ino = st->st_ino;

    if (file->name == NULL) {
        return -1;
    }

    f->nfiles++;

    return 0;
}


void
zlt_conf_include_free(zlt_conf_file_t *f)
{
    while (f->nfiles) {
        free(f->files[--f->nfiles].name);
    }

    free(f->files);
}
