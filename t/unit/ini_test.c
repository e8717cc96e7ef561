
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: the reader of INI files.  What is a section, a key, a value that
 * goes on, a comment; which line it stands in; no line is too long.
 */


#include <sys/mman.h>
#include <stdio.h>
#include <unistd.h>

#include "tap.h"
#include "ini.h"


static char  seen[65536];


/* All of it as text: "[name] key=value +more", or "!line error". */

static const char *
read_ini(const char *text, size_t len)
{
    int          fd;
    char         name[64], *p;
    size_t       left;
    zlt_ini_e    what;
    zlt_ini_t    ini;
    const char  *error;

    fd = memfd_create("ini", MFD_CLOEXEC);
    check(fd != -1 && write(fd, text, len) == (ssize_t) len);
    (void) snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);

    seen[0] = '\0';

    if (zlt_ini_open(&ini, name, &error) == -1) {
        (void) close(fd);
        (void) snprintf(seen, sizeof(seen), "!0 %s", error);
        return seen;
    }

    (void) close(fd);

    do {
        what = zlt_ini_next(&ini);
        p = seen + strlen(seen);
        left = sizeof(seen) - strlen(seen);

        switch (what) {

        case ZLT_INI_SECTION:
            (void) snprintf(p, left, "%u[%s] ", ini.line, ini.value);
            break;

        case ZLT_INI_KEY:
            (void) snprintf(p, left, "%u%s=%s ", ini.line, ini.key, ini.value);
            break;

        case ZLT_INI_MORE:
            (void) snprintf(p, left, "%u+%s=%s ", ini.line, ini.key,
                            ini.value);
            break;

        case ZLT_INI_ERROR:
            (void) snprintf(p, left, "!%u %s", ini.line, ini.error);
            break;

        case ZLT_INI_END:
            break;
        }

    } while (what != ZLT_INI_END && what != ZLT_INI_ERROR);

    check(zlt_ini_next(&ini) == ZLT_INI_END);
    zlt_ini_close(&ini);

    return seen;
}


static void
lines(void)
{
    unsigned  i;

    static const struct {
        const char  *text;
        const char  *read;
    } list[] = {
        { "", "" },
        { "\n\n", "" },
        { "[a]", "1[a] " },
        { "[a]\nk=v", "1[a] 2k=v " },
        { "[a]\nk = v\n", "1[a] 2k=v " },
        { "[a]\n\n\tk\t=\tv w \n", "1[a] 3k=v w " },
        { "[a]\nk: v\n", "1[a] 2k=v " },
        { "[a]\nk = ws://h:80/?a=b\n", "1[a] 2k=ws://h:80/?a=b " },
        { "[a]\nk =\n", "1[a] 2k= " },
        { "k = v\n[ service x ]\n", "1k=v 2[service x] " },

        /* comments */
        { "; c\n# c\n  ; c\n[a] ; c\nk = v # c ; d\n", "4[a] 5k=v " },
        { "k = a;b#c\n", "1k=a;b#c " },
        { "k = v\t# c\n", "1k=v " },
        { "k = ; c\n", "1k= " },

        /* ends of lines, and the mark that Windows puts in front */
        { "\xef\xbb\xbf[a]\r\nk = v\r\n", "1[a] 2k=v " },

        /* blanks in front, as git has them */
        { "[a]\n\tk = v\n\tl: w\n", "1[a] 2k=v 3l=w " },
        { "  [a]\n  k = v\n  [b]\n", "1[a] 2k=v 3[b] " },
        { "[a]\n  k v = w\n", "1[a] 2k v=w " },

        /* another value */
        { "[a]\nk = v\n  w ; c\n\n  x\n", "1[a] 2k=v 3+k=w 5+k=x " },
        { "[a]\nk = v\n  db.lan:5432\n", "1[a] 2k=v 3+k=db.lan:5432 " },
        { "[a]\nk = v\n  db:5432\n", "1[a] 2k=v 3+k=db:5432 " },
        { "[a]\nk = v\n  ws://h/?a=b\n", "1[a] 2k=v 3+k=ws://h/?a=b " },
        { "[a]\nk = v\n  [b]\nl = w\n", "1[a] 2k=v 3[b] 4l=w " },

        /* errors */
        { "[a]\nwhat is this\n",
          "1[a] !2 expected \"key = value\" or \"[section]\"" },
        { "[a]\n  what is this\n",
          "1[a] !2 expected \"key = value\" or \"[section]\"" },
        { "[a\nk = v\n", "!1 \"]\" is missing" },
        { "[a] k = v\n",
          "!1 there is more in the line than a \"[section]\": its keys come "
          "in lines of their own" }
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%s", list[i].text);

        if (!check(strcmp(read_ini(list[i].text, strlen(list[i].text)),
                          list[i].read) == 0))
        {
            fprintf(stderr, "# read: %s\n", seen);
        }
    }
}


static void
no_text(void)
{
    check(strcmp(read_ini("\xff\xfe[\0a\0]\0", 8),
                 "!0 the file is in UTF-16: save it as UTF-8") == 0);
    check(strcmp(read_ini("\xfe\xff\0[\0a\0]", 8),
                 "!0 the file is in UTF-16: save it as UTF-8") == 0);
    check(strncmp(read_ini("[a]\nk = \0v\n", 11), "!0 there is a zero byte",
                  23) == 0);
}


/* Lines of any length, in keys, values and comments, around each size at
   which the file is read on. */

static void
lengths(void)
{
    char                 *text;
    unsigned              i;
    size_t                len;
    const char           *p;
    static const size_t   sizes[] = { 100, 196, 197, 198, 1022, 1023, 1024,
                                      4083, 4084, 4085, 4096, 20000 };

    text = malloc(3 * 20000 + 100);

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        len = sizes[i];
        tap_note("%zu", len);

        p = text;
        (void) strcpy(text, "[a]\n; ");
        memset(text + strlen(text), 'c', len);
        (void) strcpy((char *) p + 6 + len, "\nk = ");
        memset((char *) p + 6 + len + 5, 'v', len);
        (void) strcpy((char *) p + 6 + len + 5 + len, "\nl = w\n");

        (void) read_ini(text, strlen(text));

        check(strncmp(seen, "1[a] 3k=v", 9) == 0);
        check(strlen(seen) == 8 + len + 6);
        check(strcmp(seen + 8 + len, " 4l=w ") == 0);
    }

    free(text);
}


static void
no_file(void)
{
    zlt_ini_t    ini;
    const char  *error;

    error = NULL;
    check(zlt_ini_open(&ini, "/no/such/file", &error) == -1 && error);

    error = NULL;
    check(zlt_ini_open(&ini, "/", &error) == -1 && error);

    /* without end */

    error = NULL;
    check(zlt_ini_open(&ini, "/dev/zero", &error) == -1 && error
          && strstr(error, "larger than 16 MB"));
}


int
main(void)
{
    tap_run(lines, "lines");
    tap_run(no_text, "what is no text");
    tap_run(lengths, "lengths");
    tap_run(no_file, "files that cannot be read");

    return tap_done();
}
