
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A doubly linked list whose links are members of the elements.  A list is
 * a link that stands for both ends; a link that is in no list points to
 * itself, so that removing it again does no harm.
 */


#ifndef ZLT_LIST_H_INCLUDED
#define ZLT_LIST_H_INCLUDED


#include <stddef.h>


typedef struct zlt_list_s  zlt_list_t;

struct zlt_list_s {
    zlt_list_t  *prev;
    zlt_list_t  *next;
};


#define zlt_list_data(link, type, member)                                     \
    ((type *) (void *) ((char *) (link) - offsetof(type, member)))

#define zlt_list_each(link, list)                                             \
    for (link = (list)->next; link != (list); link = link->next)

/* the element may be removed, and freed, in the body */
#define zlt_list_each_safe(link, following, list)                             \
    for (link = (list)->next, following = link->next;                         \
         link != (list);                                                      \
         link = following, following = link->next)


static inline void
zlt_list_init(zlt_list_t *list)
{
    list->prev = list;
    list->next = list;
}


static inline int
zlt_list_empty(const zlt_list_t *list)
{
    return list->next == list;
}


static inline void
zlt_list_append(zlt_list_t *list, zlt_list_t *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}


static inline void
zlt_list_prepend(zlt_list_t *list, zlt_list_t *link)
{
    zlt_list_append(list->next, link);
}


static inline void
zlt_list_remove(zlt_list_t *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    zlt_list_init(link);
}


#endif /* ZLT_LIST_H_INCLUDED */
