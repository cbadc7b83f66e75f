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
 *     A final line that comes behind it (it was on its way) still counts. RUN_RETRY
 *     makes them pending again;
 *   - a lease line lends rows; the next line of a row, RUN_RESUMED or a clean end take
 *     them back;
 *   - a damaged line is not believed. If one flipped bit explains it, it was about the
 *     row that it names then; else it may have been the result of any row that was
 *     lent, for a row number in it proves nothing. Such a row is `damaged` until its
 *     next line. When the number of that attempt shows that one is missing, the flag
 *     in-doubt is set, for the missing line may have had it;
 *   - a damaged lease lends what can be read of it. */
#ifndef REPORT_RESULTS_H
#define REPORT_RESULTS_H

#include <stdint.h>
#include <stdio.h>

#include "base/fault.h"
#include "codes/codes.h"
#include "report/attempts.h"

struct results;

/* Rows first … last (last < first: none). NULL and -20 when the log cannot be read.
 * Damaged lines, and lines of other rows, are counted and not believed; a torn tail is
 * passed over. The log stays open until free. */
struct results *results_load(const char *attempts_path, uint32_t first, uint32_t last,
                             struct fault *f);
/* What was appended since to the same file, which had no torn tail: as if all of it
 * were loaded only now. False and -20 when it cannot be read. */
bool results_read_on(struct results *r, const char *attempts_path, struct fault *f);
void results_free(struct results *r); /* NULL is allowed */

struct totals {
    uint64_t rows, delivered, error, absent,
        pending; /* rows is the sum of the others */
    /* Rows with that flag, whatever their outcome; in_doubt also those with `damaged`.
     */
    uint64_t in_doubt, assumed;
};
struct totals results_totals(const struct results *r);
uint64_t results_damaged(const struct results *r); /* lines, also those of other rows */
/* Bytes of the log that were read: a running job writes on. */
uint64_t results_size(const struct results *r);
/* "rows 100000 = delivered 99120 + error 310 + absent 570 + pending 0 (in-doubt 2,
 * assumed 0)", no newline. */
void totals_line(struct buf *out, const struct totals *t);
/* Delivered rows in percent with one decimal, "99.1"; rounded down, so that 100.0 means
 * every row. "-" when there are no rows. */
void totals_rate(struct buf *out, const struct totals *t);

/* What replay needs of a row. Its way through a resume:
 *   - damaged: in doubt;
 *   - leased, not damaged: what the flight file says; in doubt if it says nothing
 *     (another boot);
 *   - neither: not in doubt.
 * A row in doubt gets a line with the flag; when all have theirs, RUN_RESUMED follows,
 * and only when that is synced the flight file is begun anew. */
struct row_history {
    enum outcome outcome; /* DELIVERED, ERROR, ABSENT: final; RETRY: pending, was tried;
                             EVENT: never tried */
    uint32_t attempts;
    int last_code; /* of the last real attempt; 0: none */
    bool in_doubt; /* a line of it has that flag */
    bool assumed;
    int64_t first_ms, next_ms; /* Unix; 0: none */
    int64_t last_ms;
    bool leased;    /* it was lent and has no line since; also with a row that was
                       cancelled on its way, never with another final one */
    bool damaged;   /* it was lent when a damaged line came, and has no line since: that
                       line may have been its result. Otherwise like leased */
    bool cancelled; /* ERROR by -11 alone: pending again after RUN_RETRY */
    /* Names of ours; "": none. They live as long as the results. */
    const char *source; /* that it was lent to last */
    const char *bound;  /* whose MAIL for it was answered last: it is tried again from
                           there */
};
struct row_history results_row(const struct results *r, uint32_t row);

/* What replay needs of the job. */
enum run_event results_end(const struct results *r); /* STOPPED or FINISHED if that is
                                                        the last line, else NONE */
bool results_cancelled(const struct results *r);     /* -11 stands */
/* Damaged lines that may have held leases: rows lent by them whose lines are lost as
 * well are not known. To be told to people. */
uint64_t results_hidden_leases(const struct results *r);

/* Copy damaged lines to the file at path (attempts.damaged: offset, size, the line with
 * escapes), those that are not in it yet; made if need be, synced. The log keeps them:
 * offsets in it never change. Of more than 65,536 the first ones are copied.
 * *fresh_out: how many were new. False: -20. */
bool results_set_aside(const struct results *r, const char *path, uint64_t *fresh_out,
                       struct fault *f);

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
