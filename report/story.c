#include "report/story.h"

#include <errno.h>

#include "base/text.h"
#include "report/fold.h"

enum {
    STAGE_WORD_MAX = 64,     /* longer ones are in no table */
    SLOW_US = 1000 * 1000,   /* a step that is worth a word */
    NAMED_US = SLOW_US / 10, /* and steps that are named beside it */
};

struct teller {
    struct story *stories;
    size_t n;
    bool japanese;
};

/* What a reply was to, by the step that waited for it. */
/* clang-format off */
static const struct { const char *stage, *words; } answers[] = {
    {"wait-opening", "as its greeting"},
    {"wait-helo",    "to EHLO, STARTTLS or AUTH"},
    {"wait-from",    "to MAIL FROM"},
    {"wait-rcpt",    "to RCPT TO"},
    {"wait-data",    "to DATA"},
    {"wait-end",     "to the end of the message"},
    {"reply-end",    "to the end of the message"},
};
/* clang-format on */

static const char *answer_words(struct span stage)
{
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (span_equal(stage, span_of(answers[i].stage)))
            return answers[i].words;
    return NULL;
}

/* Sentences about a line are indented below its time. */
static void begin_line(struct buf *out)
{
    buf_add_str(out, "  ");
}

static void add_quoted(struct buf *out, struct span words)
{
    buf_add_str(out, ": \"");
    buf_add_span(out, words);
    buf_add_str(out, "\"");
}

/* When, and what it was, up to the line's end. */
static void add_head(struct buf *out, struct span time, const char *what)
{
    buf_add_span(out, time);
    buf_add_str(out, "  ");
    buf_add_str(out, what);
    buf_add_char(out, '\n');
}

/* ---- one attempt ---- */

static void add_what(struct buf *out, const struct attempt_line *line, unsigned flags)
{
    buf_add_span(out, line->column[ATTEMPT_time]);
    if (line->code == CODE_LIFETIME || line->code == CODE_ATTEMPTS) {
        buf_printf(out, "  given up after attempt %u\n", line->attempt);
        return;
    }
    if (line->attempt)
        buf_printf(out, "  attempt %u: ", line->attempt);
    else
        buf_add_str(out, "  decided without an attempt: ");
    if (line->outcome == OUTCOME_DELIVERED)
        buf_add_str(out, flags & FLAG_ASSUMED ? "counted as delivered" : "delivered");
    else if (line->outcome == OUTCOME_RETRY)
        buf_add_str(out, "not yet");
    else if (line->outcome == OUTCOME_ABSENT)
        buf_add_str(out, "failed for good (absent)");
    else
        buf_add_str(out, "failed for good (error)");
    buf_add_char(out, '\n');
}

/* "mx.example.jp [192.0.2.1]", "our relay …"; false if nobody was spoken to. */
static bool add_peer(struct buf *out, const struct attempt_line *line, unsigned flags)
{
    struct span host = line->column[ATTEMPT_mx_host];
    struct span address = line->column[ATTEMPT_mx_address];
    if (host.n == 0 && address.n == 0)
        return false;
    if (flags & FLAG_RELAY)
        buf_add_str(out, "our relay ");
    buf_add_span(out, host);
    if (host.n && address.n)
        buf_add_char(out, ' ');
    if (address.n) {
        buf_add_char(out, '[');
        buf_add_span(out, address);
        buf_add_char(out, ']');
    }
    return true;
}

/* Who said what, or at which step it ended. */
static void add_words(struct buf *out, const struct attempt_line *line, unsigned flags)
{
    struct span stage = line->column[ATTEMPT_stage];
    struct span words = line->column[ATTEMPT_message];
    begin_line(out);
    if (code_is_decision(line->code)) {
        buf_add_str(out, "the last trouble was");
        if (line->last_code)
            buf_printf(out, " %d", line->last_code);
        add_quoted(out, words);
        buf_add_char(out, '\n');
        return;
    }
    bool met = add_peer(out, line, flags);
    const char *to = answer_words(stage);
    if (met && to && line->code >= 200 && line->code < 600 && !(flags & FLAG_ASSUMED)) {
        buf_printf(out, " answered %d %s", line->code, to);
    } else {
        if (met)
            buf_add_str(out, ", ");
        buf_add_str(out, "step ");
        buf_add_span(out, stage);
    }
    if (words.n)
        add_quoted(out, words);
    buf_add_char(out, '\n');
}

/* What the code means, in the table's words, and who is to blame. */
static void add_meaning(struct buf *out, const struct attempt_line *line,
                        unsigned flags, bool japanese)
{
    char stage[STAGE_WORD_MAX + 1] = "";
    struct span word = line->column[ATTEMPT_stage];
    struct span class = line->column[ATTEMPT_class];
    if (line->code == 250 && flags & FLAG_ASSUMED)
        word = SPAN("wait-end-assumed");
    if (word.n && word.n <= STAGE_WORD_MAX)
        memcpy(stage, word.p, word.n);
    begin_line(out);
    buf_printf(out, "%d", line->code);
    if (line->column[ATTEMPT_status].n) {
        buf_add_char(out, ' ');
        buf_add_span(out, line->column[ATTEMPT_status]);
    }
    if (span_equal(class, SPAN("BE")))
        buf_add_str(out, " (BE, the recipient's side)");
    else if (span_equal(class, SPAN("LE")))
        buf_add_str(out, flags & FLAG_RELAY ? " (LE, our relay)" : " (LE, our side)");
    const struct code *c = codes_find(line->code, stage);
    const char *meaning = !c         ? "a reply that is in no table"
                          : japanese ? c->meaning_ja
                                     : c->meaning_en;
    buf_printf(out, ": %s\n", meaning);
}

/* Take "name=123" off the front of the timings. */
static bool next_timing(struct span *text, struct span *name_out, uint64_t *us_out)
{
    const char *equals = text->n ? memchr(text->p, '=', text->n) : NULL;
    if (!equals)
        return false;
    *name_out = (struct span){text->p, (size_t)(equals - text->p)};
    *us_out = 0;
    size_t i = name_out->n + 1;
    for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++)
        *us_out = *us_out * 10 + (uint64_t)(text->p[i] - '0');
    i += i < text->n; /* the comma */
    text->p += i;
    text->n -= i;
    return true;
}

/* Did MAIL FROM go out? Then an empty tls column means in clear, and not that nobody
 * got so far. */
static bool spoke_mail(struct span timings)
{
    struct span name;
    uint64_t us;
    while (next_timing(&timings, &name, &us))
        if (span_equal(name, SPAN("mail")))
            return true;
    return false;
}

/* The connection: TLS, source, whether it was fresh; and the site, if that is another
 * name than the host's. */
static void add_connection(struct buf *out, const struct attempt_line *line,
                           unsigned flags)
{
    struct span tls = line->column[ATTEMPT_tls];
    struct span source = line->column[ATTEMPT_source];
    struct span site = line->column[ATTEMPT_site];
    size_t before = out->n;
    begin_line(out);
    size_t empty = out->n;
    if (tls.n) {
        buf_add_str(out, "under ");
        buf_add_span(out, tls);
    } else if (spoke_mail(line->column[ATTEMPT_timings])) {
        buf_add_str(out, "in clear");
    }
    if (flags & FLAG_REUSED)
        buf_printf(out, "%snot the first message of its connection",
                   out->n > empty ? ", " : "");
    if (source.n) {
        buf_printf(out, "%sfrom ", out->n > empty ? ", " : "");
        buf_add_span(out, source);
    }
    if (site.n && !span_equal(site, line->column[ATTEMPT_mx_host])) {
        buf_printf(out, "%ssite ", out->n > empty ? ", " : "");
        buf_add_span(out, site);
    }
    if (out->n > empty)
        buf_add_char(out, '\n');
    else
        out->n = before;
}

/* Steps that took long. Pipelined ones overlap, so there is no sum. */
static void add_slowness(struct buf *out, struct span timings)
{
    struct span rest = timings, name;
    uint64_t us, longest = 0;
    while (next_timing(&rest, &name, &us))
        longest = us > longest ? us : longest;
    if (longest < SLOW_US)
        return;
    begin_line(out);
    buf_add_str(out, "slow:");
    const char *comma = " ";
    while (next_timing(&timings, &name, &us)) {
        if (us < NAMED_US)
            continue;
        buf_add_str(out, comma);
        buf_add_span(out, name);
        buf_printf(out, " %.1f s", (double)us / 1e6);
        comma = ", ";
    }
    buf_add_char(out, '\n');
}

static void add_flags(struct buf *out, const struct story *story,
                      const struct attempt_line *line, unsigned flags)
{
    if (flags & FLAG_IN_DOUBT)
        buf_add_str(out,
                    "  in doubt: the end of the message may have left and no whole "
                    "reply to it was read, so the\n  mail may have arrived\n");
    if (flags & FLAG_ASSUMED)
        buf_add_str(out, "  assumed: the setting end_timeout or in_doubt says "
                         "delivered, not the server\n");
    if (story->doubted && line->outcome == OUTCOME_DELIVERED &&
        !(flags & (FLAG_ASSUMED | FLAG_IN_DOUBT)))
        buf_add_str(out, "  an earlier attempt was in doubt: this may be the second "
                         "copy\n");
}

static void add_lent(struct buf *out, const struct story *story)
{
    char time[RFC3339_MS_LEN];
    time_rfc3339_ms(story->lent_ms, time);
    buf_add_str(out, "handed to a connection of ");
    buf_add_span(out, buf_span(&story->site));
    buf_add_str(out, " at ");
    buf_add(out, time, sizeof time);
}

static void tell_attempt(struct story *story, const struct attempt_line *line,
                         bool japanese)
{
    struct buf *out = &story->text;
    unsigned flags = attempt_flags_parse(line->column[ATTEMPT_flags]);
    add_what(out, line, flags);
    if (story->lent_ms && line->column[ATTEMPT_mx_host].n == 0 &&
        line->column[ATTEMPT_site].n == 0) { /* written by resume: where it was */
        begin_line(out);
        add_lent(out, story);
        buf_add_char(out, '\n');
    }
    add_words(out, line, flags);
    add_meaning(out, line, flags, japanese);
    if (!code_is_decision(line->code)) {
        add_connection(out, line, flags);
        add_slowness(out, line->column[ATTEMPT_timings]);
        add_flags(out, story, line, flags);
    }
    if (line->next_attempt_ms) {
        buf_add_str(out, "  next attempt not before ");
        buf_add_span(out, line->column[ATTEMPT_next_attempt]);
        buf_add_char(out, '\n');
    }
    if (flags & FLAG_IN_DOUBT)
        story->doubted = true;
    story->final = line->outcome != OUTCOME_RETRY;
    story->lent_ms = 0;
    story->damaged = false;
}

/* ---- what is not about one row ---- */

/* It was lent, and no line came of that. */
static void tell_return(struct story *story, const char *how)
{
    if (story->lent_ms == 0)
        return;
    char time[RFC3339_MS_LEN];
    time_rfc3339_ms(story->lent_ms, time);
    buf_add(&story->text, time, sizeof time);
    buf_add_str(&story->text, "  handed to a connection of ");
    buf_add_span(&story->text, buf_span(&story->site));
    buf_printf(&story->text, "; %s\n",
               story->damaged ? "what came of it is not known" : how);
    story->lent_ms = 0;
}

/* The first story whose row is not less. */
static size_t first_from(const struct teller *t, uint32_t row)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->stories[middle].row < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void name_site(struct story *story, struct span site)
{
    if (site.n == 0)
        return;
    buf_reset(&story->site);
    buf_add_span(&story->site, site);
}

static void tell_lease(struct teller *t, const struct attempt_line *line)
{
    struct span ranges = line->column[ATTEMPT_message];
    struct row_range range;
    bool good = true;
    while (row_range_next(&ranges, &range, &good)) {
        for (size_t i = first_from(t, range.from);
             i < t->n && t->stories[i].row <= range.to; i++) {
            struct story *story = &t->stories[i];
            if (story->final)
                continue;
            tell_return(story, "it came back untried");
            name_site(story, line->column[ATTEMPT_site]);
            story->lent_ms = line->time_ms;
        }
    }
}

/* -11 means in the table what most often causes it; the line has what it was. */
static void tell_cancelled(struct story *story, const struct attempt_line *line)
{
    add_head(&story->text, line->column[ATTEMPT_time],
             "everything that was pending was cancelled");
    buf_printf(&story->text, "  %d (LE, our side), the reason", line->code);
    add_quoted(&story->text, line->column[ATTEMPT_message]);
    buf_add_char(&story->text, '\n');
}

/* An event of the whole job, for a row that was pending then. */
static void tell_event(struct story *story, const struct attempt_line *line,
                       enum run_event what)
{
    struct span time = line->column[ATTEMPT_time];
    switch (what) {
    case RUN_NONE:
    case RUN_FINISHED: /* then no row is pending */
        break;
    case RUN_RESUMED:
        tell_return(story, "that run ended before the mail had left");
        add_head(&story->text, time, "the job was resumed");
        break;
    case RUN_STOPPED:
        tell_return(story, "it came back untried");
        add_head(&story->text, time, "the run was stopped, this row was pending");
        break;
    case RUN_CANCELLED:
        tell_cancelled(story, line);
        story->cancelled = true;
        break;
    case RUN_RETRY:
        add_head(&story->text, time, "cancelled rows were taken up again");
        story->cancelled = false;
        break;
    }
}

static void tell_line(struct teller *t, const struct attempt_line *line)
{
    if (line->row) {
        size_t i = first_from(t, line->row);
        if (i == t->n || t->stories[i].row != line->row)
            return;
        name_site(&t->stories[i], line->column[ATTEMPT_site]);
        tell_attempt(&t->stories[i], line, t->japanese);
        return;
    }
    if (line->outcome == OUTCOME_LEASE) {
        tell_lease(t, line);
        return;
    }
    enum run_event what = attempt_run_event(line);
    for (size_t i = 0; what != RUN_NONE && i < t->n; i++)
        if (!t->stories[i].final && (!t->stories[i].cancelled || what == RUN_RETRY))
            tell_event(&t->stories[i], line, what);
}

/* A damaged line may have been the result of each row that was lent. */
static void tell_damage(struct teller *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct story *story = &t->stories[i];
        if (story->lent_ms == 0 || story->damaged)
            continue;
        story->damaged = true;
        buf_add_str(&story->text,
                    "A damaged line stands here in the log. It may have been about "
                    "this row.\n");
    }
}

bool stories_read(const char *attempts_path, uint64_t size, struct story *stories,
                  size_t n, bool japanese, struct fault *f)
{
    struct teller t = {stories, n, japanese};
    struct attempts_reader *reader = attempts_reader_open(attempts_path, f);
    if (!reader)
        return false;
    struct attempt_line line = {0};
    enum attempts_read read;
    do {
        read = attempts_reader_next(reader, &line);
        if (read != ATTEMPTS_END && read != ATTEMPTS_IO && line.offset >= size)
            read = ATTEMPTS_END;
        if (read == ATTEMPTS_LINE)
            tell_line(&t, &line);
        else if (read == ATTEMPTS_DAMAGED)
            tell_damage(&t);
    } while (read == ATTEMPTS_LINE || read == ATTEMPTS_DAMAGED);
    if (read == ATTEMPTS_IO)
        fault_set(f, -20, "cannot read \"%s\": %s", attempts_path, strerror(errno));
    attempts_reader_close(reader);
    return read != ATTEMPTS_IO;
}

void story_finish(struct story *story)
{
    buf_finish(&story->text);
    buf_finish(&story->site);
}
