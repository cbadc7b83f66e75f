#include "report/results.h"

#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "report/field.h"
#include "report/fold.h"

enum result_column {
#define X(name, numeric) RESULT_##name,
    RESULT_COLUMNS(X)
#undef X
        RESULT_meaning,
    RESULT_COLUMN_COUNT
};

static const struct {
    const char *name;
    bool numeric;
} columns[RESULT_COLUMN_COUNT] = {
#define X(name, numeric) {#name, numeric},
    RESULT_COLUMNS(X)
#undef X
        {"meaning", false},
};

static const char *const state_words[] = {
    [ROW_UNTRIED] = "pending", [ROW_RETRY] = "pending", [ROW_DELIVERED] = "delivered",
    [ROW_ERROR] = "error",     [ROW_ABSENT] = "absent",
};

enum {
    FLUSH_AT = 64 * 1024,
    STAGE_WORD_MAX = 64, /* longer ones are in no table */
    SCRATCH = 2048,      /* numbers, times, flags and one address of one row */
};
_Static_assert(SCRATCH >= ATTEMPT_TEXT_MAX + 512, "an address and the small ones fit");

/* What results_print is busy with. */
struct printer {
    struct results *r;
    const struct results_print *how;
    struct buf out;
    int column_count;
    struct buf reason; /* message of the -11 event */
    struct buf words;  /* that, and the row's own */
};

/* One row about to be printed; made anew for each. */
struct result {
    struct span value[RESULT_COLUMN_COUNT];
    char scratch[SCRATCH];
    char *free; /* in scratch */
};

static struct span keep(struct result *result, char *end)
{
    struct span s = {result->free, (size_t)(end - result->free)};
    result->free = end;
    return s;
}

static struct span keep_number(struct result *result, int64_t v)
{
    char digits[20];
    size_t i = sizeof digits;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        digits[--i] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0)
        digits[--i] = '-';
    memcpy(result->free, digits + i, sizeof digits - i);
    return keep(result, result->free + sizeof digits - i);
}

static struct span keep_time(struct result *result, int64_t ms)
{
    if (ms == 0)
        return (struct span){0};
    time_rfc3339_ms(ms, result->free);
    return keep(result, result->free + RFC3339_MS_LEN);
}

/* The table's line for a code; for one whose stage is not known, its first line. */
static const struct code *table_line(int code, const char *stage)
{
    const struct code *c = codes_find(code, stage);
    for (size_t i = 0; !c && i < codes_count; i++)
        if (codes_table[i].code == code)
            c = &codes_table[i];
    return c;
}

static int number_in(enum code_vocabulary v, int code, const struct code *c)
{
    return c ? codes_number(code, c->stage, v) : code;
}

/* Code, class, stage, status, last_code and meaning. */
static void fill_code(const struct printer *p, const struct row *row,
                      const struct attempt_line *line, struct result *result)
{
    bool cancelled = row->marks & ROW_CANCELLED;
    int code = cancelled ? CODE_CANCELLED : line->code;
    char stage[STAGE_WORD_MAX + 1] = "";
    struct span word = line->column[ATTEMPT_stage];
    if (!cancelled && word.n <= STAGE_WORD_MAX && word.n)
        memcpy(stage, word.p, word.n);
    if (code == 250 && attempt_flags_parse(line->column[ATTEMPT_flags]) & FLAG_ASSUMED)
        memcpy(stage, "wait-end-assumed", sizeof "wait-end-assumed");
    const struct code *c = table_line(code, stage);
    if (code)
        result->value[RESULT_code] =
            keep_number(result, number_in(p->how->codes, code, c));
    result->value[RESULT_class] = line->column[ATTEMPT_class];
    result->value[RESULT_stage] = word;
    result->value[RESULT_status] = line->column[ATTEMPT_status];
    if (cancelled && c) {
        result->value[RESULT_class] = span_of(code_class_word(c->class));
        result->value[RESULT_stage] = span_of(c->stage);
        result->value[RESULT_status] = span_of(c->status);
    }
    int last = code_is_decision(code) ? row->last_code : line->last_code;
    if (last) {
        const char *last_stage =
            last == row->last_code ? p->r->stages.word[row->last_stage] : "";
        result->value[RESULT_last_code] = keep_number(
            result, number_in(p->how->codes, last, table_line(last, last_stage)));
    }
    if (c && p->how->meaning != MEANING_NONE)
        result->value[RESULT_meaning] =
            span_of(p->how->meaning == MEANING_JA ? c->meaning_ja : c->meaning_en);
}

/* Why it was cancelled, and the words of its last attempt. */
static void fill_reason(struct printer *p, struct result *result)
{
    struct span last = result->value[RESULT_message];
    buf_reset(&p->words);
    buf_add_span(&p->words, buf_span(&p->reason));
    if (p->reason.n && last.n)
        buf_add_str(&p->words, "; last: ");
    buf_add_span(&p->words, last);
    result->value[RESULT_message] = buf_span(&p->words);
}

/* What the line says, and what the fold knows better. line is all empty when the row
 * has none. */
static void fill(struct printer *p, uint32_t number, const struct row *row,
                 const struct attempt_line *line, struct result *result)
{
    static const struct {
        enum result_column to;
        enum attempt_column from;
    } copied[] = {
        {RESULT_email, ATTEMPT_email},
        {RESULT_message, ATTEMPT_message},
        {RESULT_domain, ATTEMPT_domain},
        {RESULT_mx_host, ATTEMPT_mx_host},
        {RESULT_mx_address, ATTEMPT_mx_address},
        {RESULT_source, ATTEMPT_source},
        {RESULT_tls, ATTEMPT_tls},
        {RESULT_message_id, ATTEMPT_message_id},
    };
    memset(result->value, 0, sizeof result->value);
    result->free = result->scratch;
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++)
        result->value[copied[i].to] = line->column[copied[i].from];
    result->value[RESULT_row] = keep_number(result, number);
    if (!row->offset) {
        struct span email = p->how->email(p->how->email_arg, number);
        result->value[RESULT_email] =
            keep(result, field_write(result->free, email, ATTEMPT_TEXT_MAX));
    }
    if (row->marks & ROW_CANCELLED)
        fill_reason(p, result);
    fill_code(p, row, line, result);
    result->value[RESULT_outcome] = span_of(state_words[row_state(row)]);
    result->value[RESULT_attempts] = keep_number(result, row->attempts);
    result->value[RESULT_first_attempt] = keep_time(result, row->first_ms);
    result->value[RESULT_last_attempt] = keep_time(result, row->last_ms);
    if (!row_final(row))
        result->value[RESULT_next_attempt] = keep_time(result, row->next_ms);
    unsigned flags = attempt_flags_parse(line->column[ATTEMPT_flags]);
    if (row->marks & (ROW_IN_DOUBT | ROW_DAMAGED))
        flags |= FLAG_IN_DOUBT;
    if (row->marks & ROW_ASSUMED)
        flags |= FLAG_ASSUMED;
    result->value[RESULT_flags] =
        keep(result, attempt_flags_write(result->free, flags));
}

/* s in double quotes; `mark` stands before each double quote and each `other`. */
static void add_quoted(struct buf *out, struct span s, char mark, char other)
{
    buf_add_char(out, '"');
    size_t done = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '"' && s.p[i] != other)
            continue;
        buf_add(out, s.p + done, i - done);
        buf_add_char(out, mark);
        done = i;
    }
    buf_add(out, s.p + done, s.n - done);
    buf_add_char(out, '"');
}

/* RFC 4180: quoted only where it must be. Fields hold no line ends. */
static void add_csv(struct buf *out, struct span s)
{
    if (s.n == 0 || (!memchr(s.p, ',', s.n) && !memchr(s.p, '"', s.n))) {
        buf_add_span(out, s);
        return;
    }
    add_quoted(out, s, '"', '"');
}

/* Fields are UTF-8 without control bytes: only two characters need a backslash. */
static void add_json(struct buf *out, struct span s)
{
    add_quoted(out, s, '\\', '\\');
}

static void add_object(struct printer *p, const struct span *value)
{
    struct buf *out = &p->out;
    for (int i = 0; i < p->column_count; i++) {
        buf_add_char(out, i ? ',' : '{');
        add_json(out, span_of(columns[i].name));
        buf_add_char(out, ':');
        if (value[i].n == 0)
            buf_add_str(out, "null");
        else if (columns[i].numeric)
            buf_add_span(out, value[i]);
        else
            add_json(out, value[i]);
    }
    buf_add_str(out, "}\n");
}

static void add_line(struct printer *p, const struct span *value)
{
    struct buf *out = &p->out;
    bool csv = p->how->format == RESULTS_CSV;
    for (int i = 0; i < p->column_count; i++) {
        if (i)
            buf_add_char(out, csv ? ',' : '\t');
        if (csv)
            add_csv(out, value[i]);
        else
            buf_add_span(out, value[i]);
    }
    buf_add_str(out, csv ? "\r\n" : "\n");
}

static void add_names(struct printer *p)
{
    struct span names[RESULT_COLUMN_COUNT];
    for (int i = 0; i < RESULT_COLUMN_COUNT; i++)
        names[i] = span_of(columns[i].name);
    add_line(p, names);
}

/* Read a line that was good when the log was loaded. */
static bool read_again(struct results *r, uint64_t offset, struct attempt_line *line,
                       struct fault *f)
{
    enum attempts_read read = attempts_reader_at(r->reader, offset, line);
    if (read == ATTEMPTS_LINE)
        return true;
    return fault_set(f, -20, "cannot read the attempts log again: %s",
                     read == ATTEMPTS_IO ? strerror(errno) : "it was changed");
}

static bool flush(struct printer *p, FILE *out, struct fault *f)
{
    if (p->out.n && fwrite(p->out.p, 1, p->out.n, out) != p->out.n)
        return fault_set(f, -20, "cannot write the results: %s", strerror(errno));
    buf_reset(&p->out);
    return true;
}

static bool print_rows(struct printer *p, FILE *out, struct fault *f)
{
    struct results *r = p->r;
    struct result result;
    for (uint64_t number = r->first; number <= r->last; number++) {
        const struct row *row = &r->rows[number - r->first];
        if (p->how->only && strcmp(p->how->only, state_words[row_state(row)]) != 0)
            continue;
        struct attempt_line line = {0};
        if (row->offset && !read_again(r, row->offset, &line, f))
            return false;
        fill(p, (uint32_t)number, row, &line, &result);
        if (p->how->format == RESULTS_JSONL)
            add_object(p, result.value);
        else
            add_line(p, result.value);
        if (p->out.n >= FLUSH_AT && !flush(p, out, f))
            return false;
    }
    return true;
}

bool results_print(struct results *r, FILE *out, const struct results_print *how,
                   struct fault *f)
{
    struct printer p = {
        .r = r,
        .how = how,
        .column_count = RESULT_COLUMN_COUNT - (how->meaning == MEANING_NONE),
    };
    struct attempt_line cancel;
    if (r->cancel_offset) {
        if (!read_again(r, r->cancel_offset, &cancel, f))
            return false;
        buf_add_span(&p.reason, cancel.column[ATTEMPT_message]);
    }
    if (how->format != RESULTS_JSONL)
        add_names(&p);
    bool good = print_rows(&p, out, f) && flush(&p, out, f);
    if (good && fflush(out) != 0)
        good = fault_set(f, -20, "cannot write the results: %s", strerror(errno));
    buf_finish(&p.out);
    buf_finish(&p.reason);
    buf_finish(&p.words);
    return good;
}
