#include <stdlib.h>

#include "base/mem.h"
#include "world.h"

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static void swap(struct event *a, struct event *b)
{
    struct event t = *a;
    *a = *b;
    *b = t;
}

void events_add(struct events *e, int64_t at_us, enum event_kind kind, uint32_t who,
                uint32_t generation)
{
    if (e->n == e->cap) {
        e->cap = e->cap ? 2 * e->cap : 1024;
        e->heap = mem_resize(e->heap, e->cap, sizeof *e->heap);
    }
    uint32_t i = e->n++;
    e->heap[i] = (struct event){at_us, e->numbers++, kind, who, generation};
    for (; i && before(&e->heap[i], &e->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&e->heap[i], &e->heap[(i - 1) / 2]);
}

bool events_take(struct events *e, struct event *out)
{
    if (e->n == 0)
        return false;
    *out = e->heap[0];
    e->heap[0] = e->heap[--e->n];
    for (uint32_t i = 0;;) {
        uint32_t least = i, left = 2 * i + 1;
        for (uint32_t child = left; child < left + 2 && child < e->n; child++)
            if (before(&e->heap[child], &e->heap[least]))
                least = child;
        if (least == i)
            return true;
        swap(&e->heap[i], &e->heap[least]);
        i = least;
    }
}

void events_finish(struct events *e)
{
    free(e->heap);
    *e = (struct events){0};
}
