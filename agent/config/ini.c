
/*
 * Copyright (C) zltunnel authors
 */

/* A reader of INI files. */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ini.h"


#define ZLT_INI_BLANKS  " \t\r\v\f"
#define ZLT_INI_WORD    "abcdefghijklmnopqrstuvwxyz"                          \
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


static char *zlt_ini_read(FILE *f, size_t *len, const char **error);
static char *zlt_ini_line(zlt_ini_t *ini);
static void zlt_ini_trim(char *line);
static zlt_ini_e zlt_ini_section(zlt_ini_t *ini, char *line);
static int zlt_ini_continues(const char *line);
static zlt_ini_e zlt_ini_fail(zlt_ini_t *ini, const char *error);


int
zlt_ini_open(zlt_ini_t *ini, const char *file, const char **error)
{
    FILE    *f;
    size_t   len;

    memset(ini, 0, sizeof(zlt_ini_t));

    f = fopen(file, "re");

    if (f == NULL) {
        *error = strerror(errno);
        return -1;
    }

    ini->text = zlt_ini_read(f, &len, error);

    (void) fclose(f);

    if (ini->text == NULL) {
        return -1;
    }

    ini->next = ini->text;

    if (strncmp(ini->text, "\xef\xbb\xbf", 3) == 0) {
        ini->next += 3;

    } else if (len >= 2 && (memcmp(ini->text, "\xff\xfe", 2) == 0
                            || memcmp(ini->text, "\xfe\xff", 2) == 0))
    {
        *error = "the file is in UTF-16: save it as UTF-8";
        goto failed;
    }

    if (strlen(ini->text) != len) {
        *error = "there is a zero byte in the file: it is no text";
        goto failed;
    }

    return 0;

failed:

    zlt_ini_close(ini);

    return -1;
}


/* All of it, with a zero byte behind; NULL after an error. */

static char *
zlt_ini_read(FILE *f, size_t *len, const char **error)
{
    char    *text, *larger;
    size_t   size;

    text = NULL;
    size = 4096;
    *len = 0;

    for ( ;; ) {
        larger = realloc(text, size + 1);

        if (larger == NULL) {
            *error = "out of memory";
            break;
        }

        text = larger;
        errno = 0;
        *len += fread(text + *len, 1, size - *len, f);

        if (ferror(f)) {
            *error = strerror(errno);
            break;
        }

        if (*len < size) {
            text[*len] = '\0';
            return text;
        }

        if (size >= ZLT_INI_MAX) {
            *error = "the file is larger than 16 MB";
            break;
        }

        size *= 2;
    }

    free(text);

    return NULL;
}


void
zlt_ini_close(zlt_ini_t *ini)
{
    free(ini->text);
    memset(ini, 0, sizeof(zlt_ini_t));
}


zlt_ini_e
zlt_ini_next(zlt_ini_t *ini)
{
    char    *line, *start, *delimiter;

    do {
        line = zlt_ini_line(ini);

        if (line == NULL) {
            return ZLT_INI_END;
        }

        zlt_ini_trim(line);
        start = line + strspn(line, ZLT_INI_BLANKS);

    } while (*start == '\0');

    if (*start == '[') {
        return zlt_ini_section(ini, start);
    }

    if (start > line && ini->key && zlt_ini_continues(start)) {
        ini->value = start;
        return ZLT_INI_MORE;
    }

    delimiter = strpbrk(start, "=:");

    if (delimiter == NULL) {
        return zlt_ini_fail(ini, "expected \"key = value\" or \"[section]\"");
    }

    *delimiter = '\0';
    zlt_ini_trim(start);

    ini->key = start;
    ini->value = delimiter + 1 + strspn(delimiter + 1, ZLT_INI_BLANKS);

    return ZLT_INI_KEY;
}


/* The next line without its end; NULL if there is none. */

static char *
zlt_ini_line(zlt_ini_t *ini)
{
    char  *line;

    line = ini->next;

    if (line == NULL || *line == '\0') {
        ini->next = NULL;
        return NULL;
    }

    ini->line++;
    ini->next = strchr(line, '\n');

    if (ini->next) {
        *ini->next++ = '\0';
    }

    return line;
}


/* Takes off a comment, and the blanks at the end. */

static void
zlt_ini_trim(char *line)
{
    char  *end, *p;

    end = line + strlen(line);

    for (p = line; *p; p++) {
        if ((*p == ';' || *p == '#')
            && (p == line || strchr(ZLT_INI_BLANKS, p[-1])))
        {
            end = p;
            break;
        }
    }

    while (end > line && strchr(ZLT_INI_BLANKS, end[-1])) {
        end--;
    }

    *end = '\0';
}


static zlt_ini_e
zlt_ini_section(zlt_ini_t *ini, char *line)
{
    char  *end;

    end = strchr(line, ']');

    if (end == NULL) {
        return zlt_ini_fail(ini, "\"]\" is missing");
    }

    if (end[1] != '\0') {
        return zlt_ini_fail(ini, "there is more in the line than a "
                                 "\"[section]\": its keys come in lines of "
                                 "their own");
    }

    *end = '\0';
    line++;
    line += strspn(line, ZLT_INI_BLANKS);
    zlt_ini_trim(line);

    ini->key = NULL;
    ini->value = line;

    return ZLT_INI_SECTION;
}


/*
 * 0 if the line, which begins with a blank, is a key all the same: a word with
 * "=" behind it, or with ":" and a blank, since "db.lan:5432" is a value.
 */

static int
zlt_ini_continues(const char *line)
{
    size_t       word;
    const char  *p;

    word = strspn(line, ZLT_INI_WORD);
    p = line + word + strspn(line + word, ZLT_INI_BLANKS);

    if (word == 0 || (*p != '=' && *p != ':')) {
        return 1;
    }

    return *p == ':' && p[1] != '\0' && strchr(ZLT_INI_BLANKS, p[1]) == NULL;
}


static zlt_ini_e
zlt_ini_fail(zlt_ini_t *ini, const char *error)
{
    ini->error = error;
    ini->next = NULL;

    return ZLT_INI_ERROR;
}
