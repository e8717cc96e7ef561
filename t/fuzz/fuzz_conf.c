
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the reader of agent.conf: any file is read, or refused with a
 * complaint that names it, and all memory is given back.
 */


#include <sys/mman.h>
#include <stdio.h>
#include <unistd.h>

#include "fuzz.h"
#include "config.h"
#include "conf_file.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int            fd;
    const void    *include;
    char           name[64], error[ZLT_CONF_ERROR_SIZE];
    zlt_config_t   config;

    /* what it includes is here, and no file of the machine */

    include = memmem(data, size, "include", 7);

    if (include && memchr(include, '/', size - (size_t) ((const uint8_t *)
                                                         include - data)))
    {
        return 0;
    }

    fd = memfd_create("agent.conf", MFD_CLOEXEC);
    must(fd != -1);
    must(write(fd, data, size) == (ssize_t) size);

    (void) snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);

    zlt_config_init(&config);
    error[0] = '\0';

    if (zlt_conf_file_read(&config, name, NULL, error) == -1) {
        must(include || strncmp(error, name, strlen(name)) == 0);
        must(strlen(error) < sizeof(error));

    } else {
        must(zlt_config_links(&config) == 0);
    }

    zlt_config_free(&config);

    (void) close(fd);

    return 0;
}
