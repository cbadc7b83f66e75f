/* What results.c keeps of the log and results_print.c prints. Only for these two; the
 * codes of decisions also for story.c. */
#ifndef REPORT_FOLD_H
#define REPORT_FOLD_H

#include "base/map.h"
#include "report/attempts.h"
#include "report/leases.h"
#include "report/results.h"

enum row_state { ROW_UNTRIED, ROW_RETRY, ROW_DELIVERED, ROW_ERROR, ROW_ABSENT };

enum row_mark {
    ROW_STATE = 7, /* enum row_state */
    ROW_IN_DOUBT = 1 << 3,
    ROW_ASSUMED = 1 << 4,
    ROW_CANCELLED = 1 << 5, /* pending when the -11 event came, which ended it */
    ROW_LEASED = 1 << 6,    /* lent, and no line since */
    ROW_DAMAGED = 1 << 7,   /* and a damaged line came meanwhile */
};

/* One for every row of the job: size matters. */
struct row {
    int64_t first_ms, last_ms, next_ms; /* of real attempts; 0: none */
    uint64_t offset;                    /* of the line that tells the result; 0: none */
    uint16_t attempts;  /* never more: ROW_ATTEMPTS_MAX of queue/rows.h */
    int16_t last_code;  /* of the last real attempt */
    uint8_t last_stage; /* its stage: number in results.stages */
    uint8_t source;     /* of its last lease: number in results.sources */
    uint8_t bound;      /* whose MAIL was answered last, likewise */
    uint8_t marks;
};
_Static_assert(sizeof(struct row) == 40, "memory a row");

enum { WORDS_MAX = 255, WORD_UNKNOWN = 0 };

struct words { /* by number */
    struct map numbers;
    const char *word[WORDS_MAX + 1];
};

struct damage {
    uint64_t offset, size;
};
enum { DAMAGES_KEPT = 1 << 16 };

struct results {
    struct attempts_reader *reader;
    uint64_t size; /* of the log, up to the last whole line */
    uint32_t first, last;
    struct row *rows;
    struct leases leases;
    bool cancelled;
    uint64_t cancel_offset; /* of the last -11 event; 0: none, or it cannot be read */
    enum run_event end;
    bool torn; /* behind the last whole line something stands */
    uint64_t damaged, hidden_leases;
    struct damage *damages; /* the first DAMAGES_KEPT */
    size_t damages_n, damages_cap;
    char *mended; /* ATTEMPT_LINE_MAX; NULL until there is damage */
    struct words stages, sources;
};

enum { CODE_CANCELLED = -11, CODE_LIFETIME = 606, CODE_ATTEMPTS = 607 };

/* Was the result decided here, and not by what happened at an attempt? */
static inline bool code_is_decision(int code)
{
    return code == CODE_LIFETIME || code == CODE_ATTEMPTS || code == CODE_CANCELLED;
}

static inline enum row_state row_state(const struct row *row)
{
    return row->marks & ROW_CANCELLED ? ROW_ERROR
                                      : (enum row_state)(row->marks & ROW_STATE);
}

static inline bool row_final(const struct row *row)
{
    return row_state(row) >= ROW_DELIVERED;
}

#endif
