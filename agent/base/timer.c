
/*
 * Copyright (C) zltunnel authors
 */

/* Coarse timeouts: one list for each duration in use. */


#include <stdlib.h>

#include "timer.h"


/* the constants of the program and a few from the configuration; what does
   not find a class of its own any more goes to the last, which is searched */

#define ZLT_TIMER_CLASSES  16


typedef struct {
    zlt_list_t    list;
    unsigned      seconds;
} zlt_timer_class_t;


static zlt_timer_class_t  zlt_timer_classes[ZLT_TIMER_CLASSES];
static unsigned           zlt_timer_nclasses;
static uint32_t           zlt_timer_now;


static zlt_timer_class_t *zlt_timer_class(unsigned seconds);


void
zlt_timer_init(zlt_timer_t *timer)
{
    zlt_list_init(&timer->link);
    timer->handler = NULL;
    timer->due = 0;
}


void
zlt_timer_start(zlt_timer_t *timer, unsigned seconds, zlt_timer_pt handler)
{
    zlt_list_t         *link;
    zlt_timer_t        *t;
    zlt_timer_class_t  *class;

    zlt_list_remove(&timer->link);

    timer->handler = handler;
    timer->due = zlt_timer_now + seconds + 1;

    class = zlt_timer_class(seconds);

    /* from the end; in a class of one duration that is where it belongs */

    for (link = class->list.prev; link != &class->list; link = link->prev) {
        t = zlt_list_data(link, zlt_timer_t, link);

        if (t->due <= timer->due) {
            break;
        }
    }

    zlt_list_prepend(link, &timer->link);
}


void
zlt_timer_stop(zlt_timer_t *timer)
{
    zlt_list_remove(&timer->link);
}


static zlt_timer_class_t *
zlt_timer_class(unsigned seconds)
{
    unsigned            i;
    zlt_timer_class_t  *class;

    for (i = 0; i < zlt_timer_nclasses; i++) {
        if (zlt_timer_classes[i].seconds == seconds) {
            return &zlt_timer_classes[i];
        }
    }

    if (zlt_timer_nclasses == ZLT_TIMER_CLASSES) {
        return &zlt_timer_classes[ZLT_TIMER_CLASSES - 1];
    }

    class = &zlt_timer_classes[zlt_timer_nclasses++];
    class->seconds = seconds;
    zlt_list_init(&class->list);

    return class;
}


void
zlt_timer_tick(void)
{
    unsigned      i;
    zlt_list_t   *list;
    zlt_timer_t  *timer;

    zlt_timer_now++;

    for (i = 0; i < zlt_timer_nclasses; i++) {
        list = &zlt_timer_classes[i].list;

        while (!zlt_list_empty(list)) {
            timer = zlt_list_data(list->next, zlt_timer_t, link);

            if (timer->due > zlt_timer_now) {
                break;
            }

            zlt_list_remove(&timer->link);
            timer->handler(timer);
        }
    }
}
