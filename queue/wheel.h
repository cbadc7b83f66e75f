/* The one timing wheel of a job: rows that wait for their next attempt, in slots of 100
 * ms, by their own 4-byte links. Intervals differ by policy, rule and resume, so FIFOs
 * for each retry step would not stay in order; here any due time costs O(1). Pure; the
 * scheduler's thread alone. */
#ifndef QUEUE_WHEEL_H
#define QUEUE_WHEEL_H

#include "queue/rows.h"

enum {
    WHEEL_TICK_US = 100 * 1000,
    WHEEL_BITS = 8,
    WHEEL_SLOTS = 1 << WHEEL_BITS,
    WHEEL_LEVELS = 4, /* 2^32 ticks are 13 years */
};

struct wheel {
    uint32_t now; /* every row due at or before this tick has been given out */
    uint32_t n;   /* rows in the wheel */
    struct fifo slots[WHEEL_LEVELS][WHEEL_SLOTS];
    uint32_t first[WHEEL_LEVELS][WHEEL_SLOTS]; /* due tick of the earliest in each */
};

void wheel_init(struct wheel *w, uint32_t now);

/* Put a row in; a due tick that has passed means the next tick. Sets rows[row].due. */
void wheel_add(struct wheel *w, struct row *rows, uint32_t row, uint32_t due);

/* Advance to tick `now` and append all rows that are due to `out`, those due earlier
 * first. */
void wheel_advance(struct wheel *w, struct row *rows, uint32_t now, struct fifo *out);

/* A tick not later than the next due one; UINT32_MAX when the wheel is empty. Waking
 * then and asking again finds the row in at most WHEEL_LEVELS steps. */
uint32_t wheel_next(const struct wheel *w);
/* The next due tick itself. */
uint32_t wheel_first(const struct wheel *w);

#endif
