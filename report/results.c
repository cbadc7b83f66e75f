#include "report/results.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "report/fold.h"
#include "report/mend.h"
#include "smtp/verdict.h"

static uint64_t row_count(const struct results *r)
{
    return r->last < r->first ? 0 : (uint64_t)r->last - r->first + 1;
}

static const struct row *row_of(const struct results *r, uint32_t row)
{
    assert(row >= r->first && row <= r->last);
    return &r->rows[row - r->first];
}

static uint8_t word_number(struct words *w, struct span word)
{
    uint32_t known = map_get(&w->numbers, word);
    if (known != MAP_NONE)
        return (uint8_t)known;
    uint32_t fresh = w->numbers.n + 1;
    if (fresh > WORDS_MAX)
        return WORD_UNKNOWN;
    map_put(&w->numbers, word, fresh, NULL, &w->word[fresh]);
    return (uint8_t)fresh;
}

/* Attempts, times and the last real code of a row. */
static void fold_attempt(struct results *r, struct row *row,
                         const struct attempt_line *line)
{
    if (line->attempt > row->attempts)
        row->attempts =
            line->attempt < UINT16_MAX ? (uint16_t)line->attempt : UINT16_MAX;
    if (code_is_decision(line->code)) {
        /* A row that never had its own attempt takes the last failure of its site. */
        if (line->last_code && line->last_code != row->last_code) {
            row->last_code = (int16_t)line->last_code;
            row->last_stage = WORD_UNKNOWN;
        }
    } else if (line->attempt) {
        if (!row->first_ms)
            row->first_ms = line->time_ms;
        row->last_ms = line->time_ms;
        row->last_code = (int16_t)line->code;
        row->last_stage = word_number(&r->stages, line->column[ATTEMPT_stage]);
        struct span source = line->column[ATTEMPT_source];
        if (source.n && verdict_past_mail(line->code, line->column[ATTEMPT_stage]))
            row->bound = word_number(&r->sources, source);
    }
}

/* A row that may have lost a line has the next one: does its number tell of a missing
 * one? That may have been in doubt. 606 and 607 have the number of the line before. */
static bool attempt_is_missing(const struct row *row, const struct attempt_line *line)
{
    uint32_t most = row->attempts + !code_is_decision(line->code);
    return row->marks & ROW_DAMAGED && line->attempt > most;
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
    if (flags & FLAG_IN_DOUBT || attempt_is_missing(row, line))
        marks |= ROW_IN_DOUBT;
    if (flags & FLAG_ASSUMED)
        marks |= ROW_ASSUMED;
    marks &= ~(unsigned)(ROW_LEASED | ROW_DAMAGED);
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

/* What the row was before stays there, for RUN_RETRY. */
static void cancel_pending(struct results *r, uint64_t offset)
{
    r->cancelled = true;
    r->cancel_offset = offset;
    for (uint64_t i = 0; i < row_count(r); i++)
        if (!row_final(&r->rows[i]))
            r->rows[i].marks |= ROW_CANCELLED;
}

static void take_up_cancelled(struct results *r)
{
    r->cancelled = false;
    r->cancel_offset = 0;
    for (uint64_t i = 0; i < row_count(r); i++)
        r->rows[i].marks &= (uint8_t)~ROW_CANCELLED;
}

static void fold_event(struct results *r, const struct attempt_line *line)
{
    r->end = RUN_NONE;
    switch (attempt_run_event(line)) {
    case RUN_NONE:
        break;
    case RUN_RESUMED: /* a row that is damaged has lost the line that judged it */
        leases_end(&r->leases, r->rows);
        break;
    case RUN_STOPPED:
    case RUN_FINISHED:
        leases_end(&r->leases, r->rows);
        r->end = attempt_run_event(line);
        break;
    case RUN_CANCELLED:
        cancel_pending(r, line->offset);
        break;
    case RUN_RETRY:
        take_up_cancelled(r);
        break;
    }
}

/* Rows without a result of their own are lent. False: not all of it are row ranges. */
static bool lend(struct results *r, const struct attempt_line *line)
{
    struct span ranges = line->column[ATTEMPT_message];
    struct span source = line->column[ATTEMPT_source];
    uint8_t lender = source.n ? word_number(&r->sources, source) : WORD_UNKNOWN;
    bool good = ranges.n > 0;
    struct row_range range;
    while (row_range_next(&ranges, &range, &good)) {
        uint32_t from = range.from > r->first ? range.from : r->first;
        uint32_t to = range.to < r->last ? range.to : r->last;
        for (uint64_t row = from; row <= to; row++) {
            uint32_t index = (uint32_t)row - r->first;
            if ((r->rows[index].marks & ROW_STATE) > ROW_RETRY)
                continue;
            leases_add(&r->leases, r->rows, index);
            r->rows[index].source = lender;
        }
    }
    return good;
}

static void fold(struct results *r, const struct attempt_line *line)
{
    if (line->row == 0 && line->outcome == OUTCOME_LEASE) {
        r->end = RUN_NONE;
        if (!lend(r, line)) {
            r->damaged++;
            r->hidden_leases++;
        }
    } else if (line->row == 0) {
        fold_event(r, line);
    } else if (line->row < r->first || line->row > r->last) {
        r->end = RUN_NONE;
        r->damaged++;
    } else {
        r->end = RUN_NONE;
        fold_row(r, &r->rows[line->row - r->first], line);
    }
}

static void keep_damage(struct results *r, const struct attempt_line *line)
{
    if (r->damages_n == DAMAGES_KEPT)
        return;
    if (r->damages_n == r->damages_cap) {
        r->damages_cap = r->damages_cap ? 2 * r->damages_cap : 16;
        r->damages = mem_resize(r->damages, r->damages_cap, sizeof *r->damages);
    }
    r->damages[r->damages_n++] = (struct damage){line->offset, line->size};
}

/* A damaged line may have been the result of this row. A row that was not lent was not
 * sent, unless a lease is hidden: then it is just pending again. */
static void damage_row(struct results *r, uint32_t number)
{
    if (number < r->first || number > r->last)
        return;
    uint32_t index = number - r->first;
    struct row *row = &r->rows[index];
    if (r->hidden_leases && (row->marks & ROW_STATE) <= ROW_RETRY)
        leases_add(&r->leases, r->rows, index);
    if (row->marks & ROW_LEASED)
        row->marks |= ROW_DAMAGED;
}

/* The line as it very likely was. What it says is not believed, only whom it was about;
 * but events that change what is pending are obeyed: nothing else could tell. */
static void fold_mended(struct results *r, struct span text)
{
    struct attempt_line line;
    if (!attempt_form(text, &line))
        return;
    if (line.row) {
        damage_row(r, line.row);
        return;
    }
    if (line.outcome == OUTCOME_LEASE)
        lend(r, &line);
    enum run_event what = attempt_run_event(&line);
    if (what == RUN_CANCELLED)
        cancel_pending(r, 0);
    else if (what == RUN_RETRY)
        take_up_cancelled(r);
}

/* Nobody knows what it was: one line or, its newlines gone, many. No row in it proves
 * anything. So it may have held the results of all rows that are lent, and leases, of
 * which what can be read is lent. What still looks like -11 is obeyed: to send nothing
 * can be made good. */
static void fold_unknown(struct results *r, struct span text)
{
    struct attempt_line line;
    r->hidden_leases++;
    if (attempt_form(text, &line)) {
        if (attempt_run_event(&line) == RUN_CANCELLED)
            cancel_pending(r, 0);
        if (line.outcome == OUTCOME_LEASE)
            lend(r, &line);
        damage_row(r, line.row);
    }
    leases_damage(&r->leases, r->rows);
}

static void fold_damaged(struct results *r, const struct attempt_line *line)
{
    r->end = RUN_NONE;
    r->damaged++;
    keep_damage(r, line);
    if (!r->mended)
        r->mended = mem_alloc(ATTEMPT_LINE_MAX);
    if (line->text.n > ATTEMPT_LINE_MAX || !mend_line(line->text, r->mended)) {
        fold_unknown(r, line->text);
        return;
    }
    struct span rest = {r->mended, line->text.n};
    const char *newline = memchr(rest.p, '\n', rest.n);
    if (newline) {
        size_t n = (size_t)(newline - rest.p);
        fold_mended(r, (struct span){rest.p, n});
        rest.p += n + 1;
        rest.n -= n + 1;
    }
    fold_mended(r, rest);
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
    r->stages.word[WORD_UNKNOWN] = r->sources.word[WORD_UNKNOWN] = "";
    if (results_read_on(r, attempts_path, f))
        return r;
    results_free(r);
    return NULL;
}

bool results_read_on(struct results *r, const char *attempts_path, struct fault *f)
{
    assert(!r->torn);
    for (;;) {
        struct attempt_line line;
        switch (attempts_reader_next(r->reader, &line)) {
        case ATTEMPTS_LINE:
            r->size = line.offset + line.size + 1;
            fold(r, &line);
            break;
        case ATTEMPTS_DAMAGED:
            r->size = line.offset + line.size + 1;
            fold_damaged(r, &line);
            break;
        case ATTEMPTS_TORN:
            r->end = RUN_NONE;
            r->torn = true;
            return true;
        case ATTEMPTS_END:
            return true;
        case ATTEMPTS_IO:
            return fault_set(f, -20, "cannot read \"%s\": %s", attempts_path,
                             strerror(errno));
        }
    }
}

void results_free(struct results *r)
{
    if (!r)
        return;
    attempts_reader_close(r->reader);
    map_finish(&r->stages.numbers);
    map_finish(&r->sources.numbers);
    leases_finish(&r->leases);
    free(r->damages);
    free(r->mended);
    free(r->rows);
    free(r);
}

uint64_t results_damaged(const struct results *r)
{
    return r->damaged;
}

uint64_t results_size(const struct results *r)
{
    return r->size;
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
        t.in_doubt += (row->marks & (ROW_IN_DOUBT | ROW_DAMAGED)) != 0;
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
        .source = r->sources.word[it->source],
        .bound = r->sources.word[it->bound],
        .first_ms = it->first_ms,
        .next_ms = row_final(it) ? 0 : it->next_ms,
        .last_ms = it->last_ms,
        .leased = it->marks & ROW_LEASED,
        .damaged = it->marks & ROW_DAMAGED,
        .cancelled = it->marks & ROW_CANCELLED,
    };
}

enum run_event results_end(const struct results *r)
{
    return r->end;
}

bool results_cancelled(const struct results *r)
{
    return r->cancelled;
}

uint64_t results_hidden_leases(const struct results *r)
{
    return r->hidden_leases;
}
