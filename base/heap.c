#include "base/heap.h"

#include <stdlib.h>

#include "base/mem.h"

void heap_finish(struct heap *h)
{
    free(h->nodes);
    *h = (struct heap){0};
}

static void put(struct heap *h, size_t at, struct heap_node *node)
{
    h->nodes[at] = node;
    node->at = at;
}

static void rise(struct heap *h, struct heap_node *node, size_t at)
{
    for (; at > 1 && h->nodes[at / 2]->key > node->key; at /= 2)
        put(h, at, h->nodes[at / 2]);
    put(h, at, node);
}

static void sink(struct heap *h, struct heap_node *node, size_t at)
{
    for (;;) {
        size_t child = 2 * at;
        if (child > h->n)
            break;
        if (child < h->n && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (h->nodes[child]->key >= node->key)
            break;
        put(h, at, h->nodes[child]);
        at = child;
    }
    put(h, at, node);
}

void heap_set(struct heap *h, struct heap_node *node, int64_t key)
{
    if (node->at == 0) {
        if (h->n + 1 >= h->cap) {
            h->cap = h->cap ? 2 * h->cap : 16;
            h->nodes = mem_resize(h->nodes, h->cap, sizeof *h->nodes);
        }
        node->key = key;
        rise(h, node, ++h->n);
        return;
    }
    int64_t was = node->key;
    node->key = key;
    if (key < was)
        rise(h, node, node->at);
    else
        sink(h, node, node->at);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    if (node->at == 0)
        return;
    size_t at = node->at;
    struct heap_node *last = h->nodes[h->n--];
    node->at = 0;
    if (last == node)
        return;
    if (at > 1 && h->nodes[at / 2]->key > last->key)
        rise(h, last, at);
    else
        sink(h, last, at);
}

struct heap_node *heap_first(const struct heap *h)
{
    return h->n ? h->nodes[1] : NULL;
}
