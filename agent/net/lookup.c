
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Lookups by getaddrinfo(), so that hosts files, mDNS and the rest of the
 * system's configuration apply.
 *
 * It cannot be stopped once it runs, and takes ten seconds and more where a
 * name server is silent.  So each has a thread of its own: in a pool of a few
 * a handful of such names would keep all others waiting.  There are bounds all
 * the same, most of all for names that a visitor may choose; what is above
 * waits.  Of servers there are no more than are configured.
 *
 * A thread hands its job back by a list, and wakes the loop.
 *
 * SRV records are no part of that, and asked from the name servers (srv.c).
 *
 * "localhost" needs no thread: it is both addresses of the loopback interface,
 * of which a hosts file may know but one (RFC 6761).
 *
 * An agent without libraries (STATIC=1) is told by glibc what the hosts file and
 * name servers know.  Other sources of nsswitch.conf are libraries of the
 * machine, for its libc and not for the one that is in the agent.
 */


#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#if (defined(ZLT_STATIC) && defined(__GLIBC__))
#include <nss.h>
#endif

#include "io.h"
#include "lookup.h"
#include "random.h"


#define ZLT_LOOKUP_STACK  (1024 * 1024)


struct zlt_lookup_job_s {
    zlt_list_t         link;           /* done */
    zlt_lookup_t      *lookup;         /* NULL: nobody wants to know */
    zlt_lookup_e       kind;
    int                error;
    struct addrinfo   *res;
    zlt_srv_t         *srv;            /* or that */
    char               host[];
};


static int zlt_lookup_room(zlt_lookup_e kind);
static int zlt_lookup_begin(zlt_lookup_t *l);
static int zlt_lookup_is_local(const zlt_lookup_job_t *job);
static int zlt_lookup_thread_start(zlt_lookup_job_t *job);
static void *zlt_lookup_thread(void *data);
static void zlt_lookup_finished(zlt_lookup_job_t *job);
static void zlt_lookup_event(zlt_io_t *io);
static void zlt_lookup_over(zlt_lookup_job_t *job);
static void zlt_lookup_queued(zlt_lookup_e kind);
static unsigned zlt_lookup_family(const struct addrinfo *ai, int family,
    int is, int many, const struct addrinfo **list);
static uint32_t zlt_lookup_rank(const struct addrinfo *ai);
static void zlt_lookup_add(zlt_addrs_t *a, const struct addrinfo *ai);


/* threads of a kind, at most; 0: as many as there are names */

static const unsigned  zlt_lookup_most[ZLT_LOOKUP_KINDS] = { 0, 64, 16, 0 };

static unsigned         zlt_lookup_threads[ZLT_LOOKUP_KINDS];
static zlt_list_t       zlt_lookup_queues[ZLT_LOOKUP_KINDS];

/* the loop's end of what the threads share; it stays open, since one of them
   may outlive the loop */

static zlt_io_t         zlt_lookup_io = { .fd = -1 };
static int              zlt_lookup_wake = -1;
static pthread_mutex_t  zlt_lookup_mutex = PTHREAD_MUTEX_INITIALIZER;
static zlt_list_t       zlt_lookup_jobs;


int
zlt_lookup_init(void)
{
    unsigned  i;

    for (i = 0; i < ZLT_LOOKUP_KINDS; i++) {
        zlt_list_init(&zlt_lookup_queues[i]);
    }

    zlt_list_init(&zlt_lookup_jobs);

#if (defined(ZLT_STATIC) && defined(__GLIBC__))

    if (__nss_configure_lookup("hosts", "files dns") == -1) {
        return -1;
    }

#endif

    zlt_lookup_wake = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

    if (zlt_lookup_wake == -1) {
        return -1;
    }

    return zlt_io_add(&zlt_lookup_io, zlt_lookup_wake, zlt_lookup_event);
}


int
zlt_lookup_done(void)
{
    unsigned  i, n;

    n = 0;

    for (i = 0; i < ZLT_LOOKUP_KINDS; i++) {
        n += zlt_lookup_threads[i];
    }

    return n != 0;
}


void
zlt_lookup_prepare(zlt_lookup_t *l, zlt_lookup_pt handler)
{
    zlt_list_init(&l->link);
    l->job = NULL;
    l->handler = handler;
}


int
zlt_lookup_runs(const zlt_lookup_t *l)
{
    return l->job || !zlt_list_empty(&l->link);
}


int
zlt_lookup_start(zlt_lookup_t *l, zlt_lookup_e kind, const char *host)
{
    if (l->job || (!zlt_list_empty(&l->link) && kind >= l->kind)) {
        return 0;
    }

    if (zlt_list_empty(&l->link)) {
        l->begun = zlt_io_now();
    }

    l->kind = kind;
    l->host = host;

    zlt_list_remove(&l->link);

    if (zlt_lookup_room(kind)) {
        return zlt_lookup_begin(l);
    }

    zlt_list_append(&zlt_lookup_queues[kind], &l->link);

    return 0;
}


static int
zlt_lookup_room(zlt_lookup_e kind)
{
    return zlt_lookup_most[kind] == 0
           || zlt_lookup_threads[kind] < zlt_lookup_most[kind];
}


/* 0, or -1 without memory */

static int
zlt_lookup_begin(zlt_lookup_t *l)
{
    size_t             len;
    zlt_lookup_job_t  *job;

    len = strlen(l->host);
    job = calloc(1, sizeof(zlt_lookup_job_t) + len + 1);

    if (job == NULL) {
        return -1;
    }

    memcpy(job->host, l->host, len);
    zlt_list_init(&job->link);
    job->kind = l->kind;
    job->lookup = l;
    l->job = job;

    zlt_lookup_threads[job->kind]++;

    if (zlt_lookup_is_local(job)) {
        zlt_lookup_finished(job);

    } else if (zlt_lookup_thread_start(job) == -1) {
        job->error = EAI_MEMORY;
        zlt_lookup_finished(job);
    }

    return 0;
}


static int
zlt_lookup_is_local(const zlt_lookup_job_t *job)
{
    return job->kind != ZLT_LOOKUP_SRV
           && strcasecmp(job->host, "localhost") == 0;
}


/* 0 or -1 */

static int
zlt_lookup_thread_start(zlt_lookup_job_t *job)
{
    int             rc;
    sigset_t        all, former;
    pthread_t       thread;
    pthread_attr_t  attr;

    if (pthread_attr_init(&attr) != 0) {
        return -1;
    }

    (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void) pthread_attr_setstacksize(&attr, ZLT_LOOKUP_STACK);

    /* signals are the loop's */

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &former);

    rc = pthread_create(&thread, &attr, zlt_lookup_thread, job);

    (void) pthread_sigmask(SIG_SETMASK, &former, NULL);
    (void) pthread_attr_destroy(&attr);

    return rc == 0 ? 0 : -1;
}


static void *
zlt_lookup_thread(void *data)
{
    struct addrinfo    hints;
    zlt_lookup_job_t  *job;

    job = data;

    if (job->kind == ZLT_LOOKUP_SRV) {
        job->srv = calloc(1, sizeof(zlt_srv_t));
        job->error = job->srv ? zlt_srv_ask(job->srv, job->host) : EAI_MEMORY;

        zlt_lookup_finished(job);

        return NULL;
    }

    memset(&hints, 0, sizeof(struct addrinfo));
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;

    job->error = getaddrinfo(job->host, NULL, &hints, &job->res);

    zlt_lookup_finished(job);

    return NULL;
}


/* In the thread, if there is one: the job is the loop's from here on. */

static void
zlt_lookup_finished(zlt_lookup_job_t *job)
{
    ssize_t   n;
    uint64_t  one;

    one = 1;

    (void) pthread_mutex_lock(&zlt_lookup_mutex);
    zlt_list_append(&zlt_lookup_jobs, &job->link);
    (void) pthread_mutex_unlock(&zlt_lookup_mutex);

    do {
        n = write(zlt_lookup_wake, &one, sizeof(one));
    } while (n == -1 && errno == EINTR);
}


static void
zlt_lookup_event(zlt_io_t *io)
{
    ssize_t            n;
    uint64_t           count;
    zlt_list_t        *link;
    zlt_lookup_job_t  *job;

    do {
        n = read(io->fd, &count, sizeof(count));
    } while (n == -1 && errno == EINTR);

    for ( ;; ) {
        (void) pthread_mutex_lock(&zlt_lookup_mutex);

        link = zlt_lookup_jobs.next;
        job = NULL;

        if (link != &zlt_lookup_jobs) {
            job = zlt_list_data(link, zlt_lookup_job_t, link);
            zlt_list_remove(link);
        }

        (void) pthread_mutex_unlock(&zlt_lookup_mutex);

        if (job == NULL) {
            return;
        }

        zlt_lookup_over(job);
    }
}


static void
zlt_lookup_over(zlt_lookup_job_t *job)
{
    int            error;
    zlt_srv_t     *srv;
    zlt_addrs_t    addrs;
    zlt_lookup_e   kind;
    zlt_lookup_t  *l;

    addrs.n = 0;
    error = job->error;
    srv = job->srv;

    if (zlt_lookup_is_local(job)) {
        zlt_addr_loopback(&addrs, 0, 1);
    }

    if (job->res) {
        zlt_lookup_collect(&addrs, job->res);
        freeaddrinfo(job->res);
    }

    if (error == 0 && addrs.n == 0 && srv == NULL) {
        error = EAI_NONAME;
    }

    l = job->lookup;
    kind = job->kind;

    free(job);

    zlt_lookup_threads[kind]--;

    if (l) {
        l->job = NULL;
        l->handler(l, error, &addrs, srv);

    } else {
        free(srv);
    }

    zlt_lookup_queued(kind);
}


/* The next one that waits for a thread. */

static void
zlt_lookup_queued(zlt_lookup_e kind)
{
    zlt_addrs_t    addrs;
    zlt_lookup_t  *l;

    while (!zlt_list_empty(&zlt_lookup_queues[kind])
           && zlt_lookup_room(kind))
    {
        l = zlt_list_data(zlt_lookup_queues[kind].next, zlt_lookup_t, link);
        zlt_list_remove(&l->link);

        if (zlt_lookup_begin(l) == -1) {
            addrs.n = 0;
            l->handler(l, EAI_MEMORY, &addrs, NULL);
        }
    }
}


void
zlt_lookup_unwanted(zlt_lookup_t *l)
{
    zlt_list_remove(&l->link);
}


void
zlt_lookup_cancel(zlt_lookup_t *l)
{
    zlt_list_remove(&l->link);

    if (l->job) {
        l->job->lookup = NULL;
        l->job = NULL;
    }
}


const char *
zlt_lookup_error(int error)
{
    return error == EAI_SYSTEM ? "the system's resolver has failed"
                               : gai_strerror(error);
}


/*
 * The families in turn, beginning with that of the first address, so that
 * one that leads nowhere delays us by one attempt only (RFC 8305).
 *
 * Name servers answer in another order each time.  Of more addresses than are
 * kept it is the same ones nevertheless, as long as this process lives: links
 * are spread over them, and what is missing from two answers is gone.
 */

void
zlt_lookup_collect(zlt_addrs_t *a, const struct addrinfo *res)
{
    int                     family, many;
    unsigned                i, n, m;
    const struct addrinfo  *ai, *own[ZLT_ADDRS_MAX], *other[ZLT_ADDRS_MAX];

    family = res->ai_family;
    n = 0;

    for (ai = res; ai; ai = ai->ai_next) {
        n++;
    }

    many = (n > ZLT_ADDRS_MAX);

    n = zlt_lookup_family(res, family, 1, many, own);
    m = zlt_lookup_family(res, family, 0, many, other);

    for (i = 0; i < n || i < m; i++) {

        if (i < n) {
            zlt_lookup_add(a, own[i]);
        }

        if (i < m) {
            zlt_lookup_add(a, other[i]);
        }
    }
}


/* Those of the family, or those of others; of many the ones of the least rank,
   by their ranks. */

static unsigned
zlt_lookup_family(const struct addrinfo *ai, int family, int is, int many,
    const struct addrinfo **list)
{
    uint32_t  rank, ranks[ZLT_ADDRS_MAX];
    unsigned  i, n;

    n = 0;

    for ( /* void */ ; ai; ai = ai->ai_next) {

        if ((ai->ai_family == family) != is
            || ai->ai_addrlen > sizeof(zlt_sockaddr_t))
        {
            continue;
        }

        rank = many ? zlt_lookup_rank(ai) : 0;

        if (n < ZLT_ADDRS_MAX) {
            n++;

        } else if (rank >= ranks[n - 1]) {
            continue;
        }

        for (i = n - 1; i && ranks[i - 1] > rank; i--) {
            list[i] = list[i - 1];
            ranks[i] = ranks[i - 1];
        }

        list[i] = ai;
        ranks[i] = rank;
    }

    return n;
}


/* Another one in each process, so that agents are spread (FNV-1a, mixed). */

static uint32_t
zlt_lookup_rank(const struct addrinfo *ai)
{
    size_t          i;
    uint32_t        rank;
    const uint8_t  *p;

    static uint32_t  seed;

    if (seed == 0) {
        seed = 1 + zlt_random_below(UINT32_MAX - 1);
    }

    p = (const uint8_t *) ai->ai_addr;
    rank = seed;

    for (i = 0; i < ai->ai_addrlen; i++) {
        rank = (rank ^ p[i]) * 16777619;
    }

    rank = (rank ^ rank >> 16) * 0x85ebca6b;
    rank = (rank ^ rank >> 13) * 0xc2b2ae35;

    return rank ^ rank >> 16;
}


static void
zlt_lookup_add(zlt_addrs_t *a, const struct addrinfo *ai)
{
    if (a->n < ZLT_ADDRS_MAX) {
        memcpy(&a->addrs[a->n].addr, ai->ai_addr, ai->ai_addrlen);
        a->addrs[a->n].len = ai->ai_addrlen;
        a->addrs[a->n].priority = 0;
        a->n++;
    }
}
