
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Runs a harness over files, and the files of directories, for compilers
 * without libFuzzer:
 *
 *   cc -std=c11 -g -fsanitize=address,undefined \
 *       -Ingx_zltunnel_module/proto -It/unit -It/fuzz \
 *       t/fuzz/fuzz_ws.c t/fuzz/replay_main.c ngx_zltunnel_module/proto/zlt_*.c
 */


#define _POSIX_C_SOURCE  200809L

#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"


static unsigned  replayed;


static int
replay_file(const char *name)
{
    FILE     *f;
    size_t    size, n;
    uint8_t  *data;

    f = fopen(name, "rb");

    if (f == NULL) {
        perror(name);
        return 1;
    }

    data = NULL;
    size = 0;

    do {
        data = realloc(data, size + 4096);
        must(data != NULL);

        n = fread(data + size, 1, 4096, f);
        size += n;

    } while (n);

    fclose(f);

    LLVMFuzzerTestOneInput(data, size);

    free(data);
    replayed++;

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
    int  i, rc;

    rc = 0;

    for (i = 1; i < argc; i++) {
        rc |= replay(argv[i]);
    }

    printf("%u inputs\n", replayed);

    return rc;
}
