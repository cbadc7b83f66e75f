/* What the scheduler remembers of each row: 16 bytes, found by number, and FIFO lists
 * of rows that cost nothing but the link in each. Pure; the scheduler's thread alone.
 */
#ifndef QUEUE_ROWS_H
#define QUEUE_ROWS_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum row_state {
    ROW_FINAL,   /* has its result, or is no row of this job */
    ROW_ASKING,  /* in its domain's FIFO: the domain's MX set is not known */
    ROW_READY,   /* in its site's FIFO */
    ROW_LENT,    /* with a connection */
    ROW_WAITING, /* in the retry wheel */
};

enum { ROW_ATTEMPTS_MAX = UINT16_MAX };

struct row {
    uint32_t next; /* the following row of its FIFO or wheel slot; 0: none */
    uint32_t due;  /* tick: WAITING: of the next attempt; ASKING, READY: since when */
    uint32_t first_s;  /* second of its first attempt since the job's beginning, plus 1;
                          0: none */
    uint16_t attempts; /* made so far, its site's failed rounds included */
    uint8_t source;    /* retries come from this one, where MAIL was answered last; 0:
                          from any */
    uint8_t state : 7; /* enum row_state */
    bool doubted : 1;  /* an attempt may have delivered it */
};
_Static_assert(sizeof(struct row) == 16, "a row is 16 bytes");

/* Rows are numbered from 1, so that 0 can mean none: rows[0] is not used. */
struct fifo {
    uint32_t head, tail, n;
};

static inline void fifo_push(struct fifo *f, struct row *rows, uint32_t row)
{
    rows[row].next = 0;
    if (f->n++)
        rows[f->tail].next = row;
    else
        f->head = row;
    f->tail = row;
}

static inline void fifo_push_front(struct fifo *f, struct row *rows, uint32_t row)
{
    rows[row].next = f->head;
    if (f->n++ == 0) {
        rows[row].next = 0;
        f->tail = row;
    }
    f->head = row;
}

/* All of `from` behind what is there; `from` is empty then. */
static inline void fifo_join(struct fifo *f, struct row *rows, struct fifo *from)
{
    if (f->n == 0) {
        *f = *from;
    } else if (from->n) {
        rows[f->tail].next = from->head;
        f->tail = from->tail;
        f->n += from->n;
    }
    *from = (struct fifo){0};
}

static inline uint32_t fifo_pop(struct fifo *f, const struct row *rows) /* 0: empty */
{
    if (f->n == 0)
        return 0;
    uint32_t row = f->head;
    f->head = rows[row].next;
    f->n--;
    return row;
}

#endif
