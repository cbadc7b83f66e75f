#include "report/results.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "report/fold.h"

static uint64_t row_count(const struct results *r)
{
    return r->last < r->first ? 0 : (uint64_t)r->last - r->first + 1;
}

static const struct row *row_of(const struct results *r, uint32_t row)
{
    assert(row >= r->first && row <= r->last);
    return &r->rows[row - r->first];
}

static uint8_t stage_number(struct results *r, struct span stage)
{
    uint32_t known = map_get(&r->stages, stage);
    if (known != MAP_NONE)
        return (uint8_t)known;
    uint32_t fresh = r->stages.n + 1;
    if (fresh > STAGES_MAX)
        return STAGE_UNKNOWN;
    map_put(&r->stages, stage, fresh, NULL, &r->stage_words[fresh]);
    return (uint8_t)fresh;
}

/* Attempts, times and the last real code of a row. */
static void fold_attempt(struct results *r, struct row *row,
                         const struct attempt_line *line)
{
    if (line->attempt > row->attempts)
        row->attempts = line->attempt;
    if (code_is_decision(line->code)) {
        /* A row that never had its own attempt takes the last failure of its site. */
        if (line->last_code && line->last_code != row->last_code) {
            row->last_code = (int16_t)line->last_code;
            row->last_stage = STAGE_UNKNOWN;
        }
    } else if (line->attempt) {
        if (!row->first_ms)
            row->first_ms = line->time_ms;
        row->last_ms = line->time_ms;
        row->last_code = (int16_t)line->code;
        row->last_stage = stage_number(r, line->column[ATTEMPT_stage]);
    }
}

static void fold_row(struct results *r, struct row *row,
                     const struct attempt_line *line)
{
    static const enum row_state states[] = {
        [OUTCOME_DELIVERED] = ROW_DELIVERED, [OUTCOME_ERROR] = ROW_ERROR,
        [OUTCOME_ABSENT] = ROW_ABSENT,       [OUTCOME_RETRY] = ROW_RETRY,
        [OUTCOME_EVENT] = ROW_UNTRIED,       [OUTCOME_LEASE] = ROW_UNTRIED,
    };
    enum row_state state = states[line->outcome];
    if (state == ROW_UNTRIED)
        return;
    unsigned flags = attempt_flags_parse(line->column[ATTEMPT_flags]);
    unsigned marks = row->marks;
    if (flags & FLAG_IN_DOUBT)
        marks |= ROW_IN_DOUBT;
    if (flags & FLAG_ASSUMED)
        marks |= ROW_ASSUMED;
    enum row_state before = (enum row_state)(marks & ROW_STATE);
    if (state == ROW_RETRY ? before <= ROW_RETRY : before != ROW_DELIVERED) {
        fold_attempt(r, row, line);
        marks = (marks & ~(unsigned)ROW_STATE) | state;
        if (state != ROW_RETRY) /* it was on its way when the rest was cancelled */
            marks &= ~(unsigned)ROW_CANCELLED;
        row->offset = line->offset;
        row->next_ms = line->next_attempt_ms;
    }
    row->marks = (uint8_t)marks;
}

/* The opposite of this event, to come with `resume --retry-cancelled`, only has to
 * clear ROW_CANCELLED: what the row was before is still there. */
static void cancel_pending(struct results *r, const struct attempt_line *line)
{
    r->cancel_offset = line->offset;
    for (uint64_t i = 0; i < row_count(r); i++)
        if (!row_final(&r->rows[i]))
            r->rows[i].marks |= ROW_CANCELLED;
}

static void fold(struct results *r, const struct attempt_line *line)
{
    if (line->row == 0) {
        if (line->outcome == OUTCOME_EVENT && line->code == CODE_CANCELLED)
            cancel_pending(r, line);
    } else if (line->row < r->first || line->row > r->last) {
        r->damaged++;
    } else {
        fold_row(r, &r->rows[line->row - r->first], line);
    }
}

struct results *results_load(const char *attempts_path, uint32_t first, uint32_t last,
                             struct fault *f)
{
    assert(first >= 1);
    struct attempts_reader *reader = attempts_reader_open(attempts_path, f);
    if (!reader)
        return NULL;
    struct results *r = mem_zero(1, sizeof *r);
    r->reader = reader;
    r->first = first;
    r->last = last;
    r->rows = mem_zero(row_count(r), sizeof *r->rows);
    r->stage_words[STAGE_UNKNOWN] = "";
    for (;;) {
        struct attempt_line line;
        switch (attempts_reader_next(reader, &line)) {
        case ATTEMPTS_LINE:
            fold(r, &line);
            break;
        case ATTEMPTS_DAMAGED:
            r->damaged++;
            break;
        case ATTEMPTS_TORN:
        case ATTEMPTS_END:
            return r;
        case ATTEMPTS_IO:
            fault_set(f, -20, "cannot read \"%s\": %s", attempts_path, strerror(errno));
            results_free(r);
            return NULL;
        }
    }
}

void results_free(struct results *r)
{
    if (!r)
        return;
    attempts_reader_close(r->reader);
    map_finish(&r->stages);
    free(r->rows);
    free(r);
}

uint64_t results_damaged(const struct results *r)
{
    return r->damaged;
}

static void assert_sum(const struct totals *t)
{
    assert(t->rows == t->delivered + t->error + t->absent + t->pending);
}

struct totals results_totals(const struct results *r)
{
    struct totals t = {.rows = row_count(r)};
    for (uint64_t i = 0; i < t.rows; i++) {
        const struct row *row = &r->rows[i];
        enum row_state state = row_state(row);
        t.delivered += state == ROW_DELIVERED;
        t.error += state == ROW_ERROR;
        t.absent += state == ROW_ABSENT;
        t.pending += state == ROW_RETRY || state == ROW_UNTRIED;
        t.in_doubt += (row->marks & ROW_IN_DOUBT) != 0;
        t.assumed += (row->marks & ROW_ASSUMED) != 0;
    }
    assert_sum(&t);
    return t;
}

void totals_line(struct buf *out, const struct totals *t)
{
    assert_sum(t);
    buf_printf(out,
               "rows %llu = delivered %llu + error %llu + absent %llu + pending %llu "
               "(in-doubt %llu, assumed %llu)",
               (unsigned long long)t->rows, (unsigned long long)t->delivered,
               (unsigned long long)t->error, (unsigned long long)t->absent,
               (unsigned long long)t->pending, (unsigned long long)t->in_doubt,
               (unsigned long long)t->assumed);
}

void totals_rate(struct buf *out, const struct totals *t)
{
    if (t->rows == 0) {
        buf_add_char(out, '-');
        return;
    }
    uint64_t tenths = t->delivered * 1000 / t->rows;
    buf_add_u64(out, tenths / 10);
    buf_add_char(out, '.');
    buf_add_u64(out, tenths % 10);
}

struct row_history results_row(const struct results *r, uint32_t row)
{
    static const enum outcome outcomes[] = {
        [ROW_UNTRIED] = OUTCOME_EVENT,       [ROW_RETRY] = OUTCOME_RETRY,
        [ROW_DELIVERED] = OUTCOME_DELIVERED, [ROW_ERROR] = OUTCOME_ERROR,
        [ROW_ABSENT] = OUTCOME_ABSENT,
    };
    const struct row *it = row_of(r, row);
    return (struct row_history){
        .outcome = outcomes[row_state(it)],
        .attempts = it->attempts,
        .last_code = it->last_code,
        .in_doubt = it->marks & ROW_IN_DOUBT,
        .assumed = it->marks & ROW_ASSUMED,
        .first_ms = it->first_ms,
        .next_ms = row_final(it) ? 0 : it->next_ms,
    };
}
