/* A binary heap of things that become due: the least time first. Nodes are embedded in
 * what they belong to and know their place, so that each can be moved or taken out.
 * One holder, one thread. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap_node { /* all zero: in no heap */
    int64_t key;
    size_t at; /* place in the heap, from 1; 0: in none */
};

struct heap {                 /* all zero: empty */
    struct heap_node **nodes; /* from 1 */
    size_t n, cap;
};

void heap_finish(struct heap *h); /* the nodes stay their owners' */
/* Put it in, or move it, to this time. */
void heap_set(struct heap *h, struct heap_node *node, int64_t key);
void heap_remove(struct heap *h, struct heap_node *node); /* in none: nothing */
/* The one with the least key; NULL: empty. */
struct heap_node *heap_first(const struct heap *h);

#endif
