/* Rows lent to a connection and not begun, in order. Worker's thread only. */
#ifndef ENGINE_LENT_H
#define ENGINE_LENT_H

#include "engine/post.h"

struct lent_queue { /* a zeroed struct is an empty one */
    struct lent *rows;
    uint32_t head, end, cap; /* rows[head … end) */
};

void lent_finish(struct lent_queue *q);
static inline bool lent_empty(const struct lent_queue *q)
{
    return q->head == q->end;
}
void lent_add(struct lent_queue *q, const struct lent *rows, int n);
void lent_put_first(struct lent_queue *q, struct lent lent);
struct lent lent_take_first(struct lent_queue *q); /* not of an empty one */
struct lent lent_take_last(struct lent_queue *q);

#endif
