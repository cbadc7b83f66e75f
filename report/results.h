/* What became of every row: the attempts log read once and folded, then one result for each
 * row of the job in list order. One thread. Format: docs/results.md. */
#ifndef REPORT_RESULTS_H
#define REPORT_RESULTS_H

#include <stdint.h>
#include <stdio.h>

#include "base/fault.h"
#include "codes/codes.h"

struct results;

/* Rows first … last (last < first: none). -20 when the log cannot be read. Damaged lines are counted, not
 * believed; a torn tail is passed over. */
struct results *results_load(const char *attempts_path, uint32_t first, uint32_t last,
                             struct fault *f);
void results_free(struct results *r);

struct totals {
    uint64_t rows, delivered, error, absent, pending; /* rows is the sum of the other four */
    uint64_t in_doubt, assumed;
};
struct totals results_totals(const struct results *r);
uint64_t results_damaged(const struct results *r);
/* "rows 100000 = delivered 99120 + error 310 + absent 570 + pending 0 (in-doubt 2, assumed 0)" */
void totals_line(struct buf *out, const struct totals *t);

/* What replay needs of a row. */
struct row_history {
    enum outcome outcome;   /* DELIVERED, ERROR, ABSENT: final; RETRY: pending, was tried; EVENT: never tried */
    uint32_t attempts;
    int last_code;          /* of the last real attempt; 0: none */
    bool in_doubt, assumed;
    int64_t first_ms, next_ms; /* Unix; 0: none */
};
struct row_history results_row(const struct results *r, uint32_t row);

enum results_format { RESULTS_TSV, RESULTS_CSV, RESULTS_JSONL };
struct results_print {
    enum results_format format;
    enum code_vocabulary codes;
    const char *only;       /* "delivered", "error", "absent", "pending"; NULL: all */
    bool japanese;          /* --lang ja: a last column `meaning` in Japanese; otherwise in English */
    /* The address of a row that has no line yet, as the list has it. */
    struct span (*email)(void *arg, uint32_t row);
    void *email_arg;
};
/* One line for every row, in list order, first line the column names (not with jsonl). */
bool results_print(struct results *r, FILE *out, const struct results_print *how,
                   struct fault *f);

#endif
