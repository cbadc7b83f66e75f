#include "engine/lent.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

void lent_finish(struct lent_queue *q)
{
    free(q->rows);
    *q = (struct lent_queue){0};
}

void lent_add(struct lent_queue *q, const struct lent *rows, int n)
{
    if (n == 0)
        return;
    uint32_t waiting = q->end - q->head;
    if (q->head)
        memmove(q->rows, q->rows + q->head, waiting * sizeof *q->rows);
    q->head = 0;
    q->end = waiting;
    if (waiting + (uint32_t)n > q->cap) {
        q->cap = 2 * (waiting + (uint32_t)n);
        q->rows = mem_resize(q->rows, q->cap, sizeof *q->rows);
    }
    memcpy(q->rows + q->end, rows, (uint32_t)n * sizeof *rows);
    q->end += (uint32_t)n;
}

void lent_put_first(struct lent_queue *q, struct lent lent)
{
    if (q->head == 0) {
        lent_add(q, &lent, 1); /* makes room */
        memmove(q->rows + 1, q->rows, (q->end - 1) * sizeof *q->rows);
        q->rows[0] = lent;
    } else {
        q->rows[--q->head] = lent;
    }
}

struct lent lent_take_first(struct lent_queue *q)
{
    assert(!lent_empty(q));
    return q->rows[q->head++];
}

struct lent lent_take_last(struct lent_queue *q)
{
    assert(!lent_empty(q));
    return q->rows[--q->end];
}
