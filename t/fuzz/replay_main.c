
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Runs a harness over files, and the files of directories, without libFuzzer;
 * without arguments fuzz_NAME runs over t/fuzz/corpus/NAME, as "make check"
 * does.  Prints TAP: a line for each input.  Where the harness or a sanitizer
 * ends it all, the input is named.
 */


#define _POSIX_C_SOURCE  200809L

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"


static unsigned     replayed;
static const char  *replay_name;


/* a sanitizer, if there is one, calls it before it ends the process */

void __sanitizer_set_death_callback(void (*callback)(void))
    __attribute__((weak));


static void
replay_died(void)
{
    if (replay_name) {
        (void) !write(2, "input: ", 7);
        (void) !write(2, replay_name, strlen(replay_name));
        (void) !write(2, "\n", 1);
    }
}


static void
replay_aborted(int signo)
{
    replay_died();

    (void) signal(signo, SIG_DFL);
    (void) raise(signo);
}


static int
replay_file(const char *name)
{
    FILE     *f;
    size_t    size, n;
    uint8_t  *data, *p;

    f = fopen(name, "rb");

    if (f == NULL) {
        perror(name);
        return 1;
    }

    data = NULL;
    size = 0;

    do {
        p = realloc(data, size + 4096);
        must(p != NULL);
        data = p;

        n = fread(data + size, 1, 4096, f);
        size += n;

    } while (n);

    fclose(f);

    replay_name = name;
    (void) LLVMFuzzerTestOneInput(data, size);
    replay_name = NULL;

    free(data);

    printf("ok %u - %s\n", ++replayed, name);
    (void) fflush(stdout);

    return 0;
}


static int
replay(const char *name)
{
    int             rc, n;
    char            path[4096];
    DIR            *dir;
    struct stat     st;
    struct dirent  *entry;

    if (stat(name, &st) == -1) {
        perror(name);
        return 1;
    }

    if (!S_ISDIR(st.st_mode)) {
        return replay_file(name);
    }

    dir = opendir(name);

    if (dir == NULL) {
        perror(name);
        return 1;
    }

    rc = 0;

    while ((entry = readdir(dir)) != NULL) {

        if (entry->d_name[0] == '.') {
            continue;
        }

        n = snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
        must(n > 0 && (size_t) n < sizeof(path));

        rc |= replay(path);
    }

    closedir(dir);

    return rc;
}


int
main(int argc, char *argv[])
{
    int          i, rc;
    char         path[256];
    const char  *name;

    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(replay_died);
    }

    (void) signal(SIGABRT, replay_aborted);

    rc = 0;

    for (i = 1; i < argc; i++) {
        rc |= replay(argv[i]);
    }

    if (argc == 1) {
        name = strstr(argv[0], "fuzz_");
        must(name != NULL);

        (void) snprintf(path, sizeof(path), "t/fuzz/corpus/%s", name + 5);
        rc = replay(path);
    }

    printf("1..%u\n", replayed);

    return rc;
}
