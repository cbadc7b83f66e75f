/* What became of every row: the attempts log read once and folded, then one result for
 * each row of the job in list order. One thread. Format: docs/results.md.
 *
 * How lines fold into the result of a row:
 *   - delivered stays, whatever comes later; among other final lines the last one
 * counts;
 *   - a retry line counts until a final one comes;
 *   - 606, 607 and -11 are decisions, not attempts: what really went wrong stays in
 *     last_code;
 *   - the flags in-doubt and assumed, once set, stay;
 *   - an event line (row 0) with code -11 ends all rows that are pending at that line.
 * A final line that comes behind it (it was on its way) still counts. */
#ifndef REPORT_RESULTS_H
#define REPORT_RESULTS_H

#include <stdint.h>
#include <stdio.h>

#include "base/fault.h"
#include "codes/codes.h"

struct results;

/* Rows first … last (last < first: none). NULL and -20 when the log cannot be read.
 * Damaged lines, and lines of other rows, are counted and not believed; a torn tail is
 * passed over. The log stays open until free. */
struct results *results_load(const char *attempts_path, uint32_t first, uint32_t last,
                             struct fault *f);
void results_free(struct results *r); /* NULL is allowed */

struct totals {
    uint64_t rows, delivered, error, absent,
        pending;                /* rows is the sum of the others */
    uint64_t in_doubt, assumed; /* rows with that flag, whatever their outcome */
};
struct totals results_totals(const struct results *r);
uint64_t results_damaged(const struct results *r);
/* "rows 100000 = delivered 99120 + error 310 + absent 570 + pending 0 (in-doubt 2,
 * assumed 0)", no newline. */
void totals_line(struct buf *out, const struct totals *t);
/* Delivered rows in percent with one decimal, "99.1"; rounded down, so that 100.0 means
 * every row. "-" when there are no rows. */
void totals_rate(struct buf *out, const struct totals *t);

/* What replay needs of a row. */
struct row_history {
    enum outcome outcome; /* DELIVERED, ERROR, ABSENT: final; RETRY: pending, was tried;
                             EVENT: never tried */
    uint32_t attempts;
    int last_code; /* of the last real attempt; 0: none */
    bool in_doubt, assumed;
    int64_t first_ms, next_ms; /* Unix; 0: none */
};
struct row_history results_row(const struct results *r, uint32_t row);

/* The columns, in order, and whether they are numbers in JSON. */
/* clang-format off */
#define RESULT_COLUMNS(X) \
    X(row, true) X(email, false) X(code, true) X(class, false) X(message, false) \
    X(outcome, false) X(stage, false) X(status, false) X(last_code, true) \
    X(attempts, true) X(first_attempt, false) X(last_attempt, false) \
    X(next_attempt, false) X(domain, false) X(mx_host, false) X(mx_address, false) \
    X(source, false) X(tls, false) X(flags, false) X(message_id, false)
/* clang-format on */

enum results_format { RESULTS_TSV, RESULTS_CSV, RESULTS_JSONL };
enum results_meaning { MEANING_NONE, MEANING_EN, MEANING_JA };
struct results_print {
    enum results_format format;
    enum code_vocabulary codes; /* for code and last_code */
    const char *only; /* "delivered", "error", "absent", "pending"; NULL: all */
    enum results_meaning meaning; /* one more column, `meaning`: the table's words */
    /* The address of a row that has no line yet, as a line of it would have it; it is
       made safe here. */
    struct span (*email)(void *arg, uint32_t row);
    void *email_arg;
};
/* One line for every row, in list order, first line the column names (not with jsonl).
 * false: -20, the log cannot be read again or out cannot be written. */
bool results_print(struct results *r, FILE *out, const struct results_print *how,
                   struct fault *f);

#endif
