/* An intrusive doubly linked ring. The head is a struct link; each element embeds one.
 * An element that is in no ring points at itself, so that link_remove is always allowed. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *prev;
    struct link *next;
};

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

static inline void link_init(struct link *l)
{
    l->prev = l->next = l;
}

static inline bool link_alone(const struct link *l) /* also: the list is empty */
{
    return l->next == l;
}

static inline void link_remove(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    link_init(l);
}

/* Put an element that is in no ring before `where`: at the end, when that is the head. */
static inline void link_insert(struct link *where, struct link *l)
{
    l->prev = where->prev;
    l->next = where;
    where->prev->next = l;
    where->prev = l;
}

static inline void link_append(struct link *head, struct link *l)
{
    link_remove(l);
    link_insert(head, l);
}

#endif
