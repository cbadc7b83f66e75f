/* Row ranges of a lease line, for report/; and which rows are lent while a log is
 * replayed, only for results.c. */
#ifndef REPORT_LEASES_H
#define REPORT_LEASES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct row;

struct row_range {
    uint32_t from, to; /* 1 <= from <= to */
};
/* Take the next range off "5-9,12,…". False at the end; what is no range is passed
 * over, and *good_out becomes false. */
bool row_range_next(struct span *text, struct row_range *out, bool *good_out);

/* Rows that were lent, in the order in which that was read; a row may stand here twice,
 * and rows that came back since are swept out when room is needed. A zeroed struct is
 * empty. */
struct leases {
    uint32_t *index; /* of rows in results.rows */
    size_t n, cap;
    size_t marked; /* so many at the front were lent when the last damaged line came */
};
void leases_add(struct leases *l, struct row *rows, uint32_t index);
/* A damaged line: each row that is lent may have lost its result. */
void leases_damage(struct leases *l, struct row *rows);
/* All rows came back, but those that may have lost their result. */
void leases_end(struct leases *l, struct row *rows);
void leases_finish(struct leases *l);

#endif
