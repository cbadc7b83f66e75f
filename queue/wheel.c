#include "queue/wheel.h"

#include <string.h>

static uint32_t digit(uint32_t tick, int level)
{
    return tick >> (WHEEL_BITS * level) & (WHEEL_SLOTS - 1);
}

/* The level is that of the highest digit in which due and now differ: all higher digits
 * are equal, so the slot is ahead of us on that level. */
static void put(struct wheel *w, struct row *rows, uint32_t row)
{
    uint32_t due = rows[row].due;
    uint32_t differ = due ^ w->now;
    int level = 0;
    while (level < WHEEL_LEVELS - 1 && differ >> (WHEEL_BITS * (level + 1)))
        level++;
    struct fifo *slot = &w->slots[level][digit(due, level)];
    uint32_t *first = &w->first[level][digit(due, level)];
    if (slot->n == 0 || due < *first)
        *first = due;
    fifo_push(slot, rows, row);
}

void wheel_init(struct wheel *w, uint32_t now)
{
    memset(w, 0, sizeof *w);
    w->now = now;
}

void wheel_add(struct wheel *w, struct row *rows, uint32_t row, uint32_t due)
{
    if (due <= w->now)
        due = w->now + 1;
    rows[row].due = due;
    put(w, rows, row);
    w->n++;
}

/* Entering a new slot of a level: its rows move down to where they belong now. */
static void cascade(struct wheel *w, struct row *rows, int level)
{
    struct fifo *slot = &w->slots[level][digit(w->now, level)];
    struct fifo moving = *slot;
    *slot = (struct fifo){0};
    for (uint32_t row; (row = fifo_pop(&moving, rows));)
        put(w, rows, row);
}

void wheel_advance(struct wheel *w, struct row *rows, uint32_t now, struct fifo *out)
{
    while (w->now < now) {
        if (w->n == 0) {
            w->now = now;
            return;
        }
        uint32_t next = wheel_next(w);
        w->now = next < now ? next : now;
        for (int level = WHEEL_LEVELS - 1; level > 0; level--)
            if ((w->now & ((1u << (WHEEL_BITS * level)) - 1)) == 0)
                cascade(w, rows, level);
        struct fifo *due = &w->slots[0][digit(w->now, 0)];
        for (uint32_t row; (row = fifo_pop(due, rows));) {
            fifo_push(out, rows, row);
            w->n--;
        }
    }
}

/* The first slot ahead that holds rows: all others hold later ones. */
static bool first_slot(const struct wheel *w, int *level_out, uint32_t *digit_out)
{
    if (w->n == 0)
        return false;
    for (int level = 0; level < WHEEL_LEVELS; level++)
        for (uint32_t d = digit(w->now, level) + 1; d < WHEEL_SLOTS; d++)
            if (w->slots[level][d].n) {
                *level_out = level;
                *digit_out = d;
                return true;
            }
    assert(false); /* n says that a row is there, and its slot is ahead of now */
    return false;
}

uint32_t wheel_next(const struct wheel *w)
{
    int level;
    uint32_t d;
    if (!first_slot(w, &level, &d))
        return UINT32_MAX;
    uint32_t shift = (uint32_t)(WHEEL_BITS * level);
    uint64_t above = (uint64_t)w->now >> shift >> WHEEL_BITS;
    return (uint32_t)((above << WHEEL_BITS | d) << shift);
}

uint32_t wheel_first(const struct wheel *w)
{
    int level;
    uint32_t d;
    return first_slot(w, &level, &d) ? w->first[level][d] : UINT32_MAX;
}
