
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What one entry of the configuration has registered, all or none: a service
 * for each of its ports, most often a single one.
 *
 * Channels and datagrams know the services only, the control channel and those
 * who ask for the status know the ranges.
 */


#ifndef ZLT_RANGE_H_INCLUDED
#define ZLT_RANGE_H_INCLUDED


#include "option_service.h"
#include "types.h"
#include "zlt_list.h"


#define ZLT_SERVICE_PUBLIC  280


typedef enum {
    ZLT_SERVICE_DOWN = 0,      /* not registered */
    ZLT_SERVICE_PENDING,       /* Register was sent */
    ZLT_SERVICE_UP,
    ZLT_SERVICE_REFUSED        /* of a range as a whole only */
} zlt_service_state_e;


/* what they are called, by their number */
extern const char *const  zlt_range_states[];


struct zlt_range_s {
    zlt_list_t           link;
    zlt_service_conf_t   conf;         /* as the entry has it */

    zlt_list_t           services;
    unsigned             counts[ZLT_SERVICE_UP + 1];   /* .. by their state */
    zlt_list_t           down;         /* .. as they are to be registered */

    zlt_service_state_e  state;
    unsigned             again:1;      /* refused, but worth another try */
    unsigned             twice:1;      /* it was there, in this attempt */
    unsigned             told:1;       /* where it is, or was */
    uint64_t             again_at;     /* ms */
    unsigned             spent;        /* requests, by the last attempt */
    char                 public_addr[ZLT_SERVICE_PUBLIC];  /* of a service */
    char                 shown[ZLT_SERVICE_PUBLIC];  /* printed last; "": there
                                                        is no port to tell of */
    char                *urls;         /* of its hosts, urls.c; NULL: none */
    char                *urls_shown;   /* printed last */
    char                 refused[ZLT_SERVICE_PUBLIC];/* reason logged last */
    uint8_t              code;         /* .. ZLT_E_*, 0: none */
};


/* A range and its services; NULL without memory, and nothing was added. */
zlt_range_t *zlt_range_create(zlt_list_t *ranges, zlt_list_t *services,
    const zlt_service_conf_t *conf);

/* Frees it, and removes its services. */
void zlt_range_remove(zlt_range_t *r);

/* One more service of it; NULL without memory. */
zlt_service_t *zlt_range_add(zlt_range_t *r, zlt_list_t *services,
    const zlt_service_conf_t *conf);

/* A service goes. */
void zlt_range_leave(zlt_service_t *s);

zlt_range_t *zlt_range_find(zlt_list_t *ranges, const char *name);

/* Sets the state of a service. */
void zlt_range_set(zlt_service_t *s, zlt_service_state_e state);

/* One that is down is to be registered before the others. */
void zlt_range_doubt(zlt_service_t *s);

/* The service to be registered next; NULL if none is down. */
zlt_service_t *zlt_range_next(const zlt_range_t *r);

/* Any of them, which is the only one of what is no range. */
zlt_service_t *zlt_range_first(const zlt_range_t *r);

/* The one that was not reached the last time, and was so last of all; NULL:
   they were. */
zlt_service_t *zlt_range_failed(const zlt_range_t *r);

/* The one that is down, by its check, and is so for the longest; NULL: none
   is. */
zlt_service_t *zlt_range_unhealthy(const zlt_range_t *r);

/* 1 if all of them are registered */
int zlt_range_is_up(const zlt_range_t *r);

/* Where all of it is public: ZLT_SERVICE_PUBLIC bytes. */
void zlt_range_public(const zlt_range_t *r, char *text);


#endif /* ZLT_RANGE_H_INCLUDED */
