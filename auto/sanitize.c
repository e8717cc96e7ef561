
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What an nginx under AddressSanitizer is linked with: how it is to be looked
 * at.  ASAN_OPTIONS and LSAN_OPTIONS add to that.
 */


int dlclose(void *handle);
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);


/*
 * At its exit nginx unloads its modules, after which LeakSanitizer sees their
 * static variables no more, takes what hangs on them for lost, and has no name
 * for who allocated it.  So modules stay loaded.
 */

int
dlclose(void *handle)
{
    (void) handle;

    return 0;
}


/*
 * A module and nginx may have variables of one name.  The libraries are built
 * without frame pointers: a stack that ends in them says nothing, and nothing
 * of it can be suppressed.
 */

const char *
__asan_default_options(void)
{
    return "detect_odr_violation=0:fast_unwind_on_malloc=0";
}


/*
 * What nginx never frees, and does not have at hand when it exits: a
 * configuration that was only tested, with -t; and of each server of an
 * upstream the TLS session to begin the next one with.
 */

const char *
__lsan_default_suppressions(void)
{
    return "leak:^ngx_init_cycle$\n"
           "leak:^SSL_SESSION_new$\n";
}
