#include "engine/status.h"

#include "base/text.h"
#include "base/when.h"
#include "engine/reason.h"

/* Another job's words may have been cut within a character. */
static void add_string(struct buf *out, struct span text)
{
    buf_add_char(out, '"');
    while (text.n) {
        size_t n = utf8_sequence(text);
        char c = text.p[0];
        if (n == 0)
            buf_add_str(out, "\\ufffd");
        else if (n == 1 && (unsigned char)c < 0x20)
            buf_printf(out, "\\u%04x", (unsigned char)c);
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else
            buf_add(out, text.p, n);
        n = n ? n : 1;
        text = (struct span){text.p + n, text.n - n};
    }
    buf_add_char(out, '"');
}

static void add_member(struct buf *out, const char *name, struct span text)
{
    buf_printf(out, "\"%s\":", name);
    add_string(out, text);
}

enum clock { CLOCK_LOCAL, CLOCK_UTC };

static void add_wall(struct buf *out, int64_t ms, enum clock clock)
{
    char text[RFC3339_MS_LEN], local[WHEN_LOCAL_MAX];
    time_rfc3339_ms(ms, text);
    if (clock == CLOCK_UTC)
        buf_add(out, text, sizeof text);
    else
        buf_add_str(out, when_local(ms + 500, local)); /* rounded */
}

static void add_time(struct buf *out, int64_t us, const struct moment *now,
                     enum clock clock)
{
    add_wall(out, now->wall_ms + (us - now->us) / 1000, clock);
}

/* ---- sites ---- */

/* "rate", "suspended until 2026-11-22T10:00:00.000Z: why". */
static void add_lacks(const struct site_view *site, const struct moment *now,
                      enum clock clock, struct buf *out)
{
    scheduler_lacks(site->lacks, out);
    if (site->until_us) {
        buf_add_str(out, " until ");
        add_time(out, site->until_us, now, clock);
    }
    if (site->why)
        buf_printf(out, ": %s", site->why);
}

/* Before that, of rows that wait for their own time: when it comes. */
static void add_reason(const struct site_view *site, const struct moment *now,
                       enum clock clock, struct buf *out)
{
    if (site->retrying) {
        if (site->waiting)
            buf_printf(out, "%u wait for their next attempt, the first at ",
                       site->retrying);
        else
            buf_add_str(out, "next attempt at ");
        add_time(out, site->due_us, now, clock);
    }
    if (site->retrying && !site->waiting && !site->lacks)
        return;
    if (site->retrying)
        buf_add_str(out, "; ");
    add_lacks(site, now, clock, out);
}

void status_site(const struct site_view *site, const struct moment *now,
                 struct buf *out)
{
    buf_printf(out, "  %-32.32s %8u rows  %u/%u connections  ", site->name,
               site->waiting + site->retrying, site->connections, site->window);
    add_reason(site, now, CLOCK_LOCAL, out);
}

/* ---- for programs ---- */

/* A time, or null. */
static void add_time_member(struct buf *out, const char *name, bool known, int64_t ms)
{
    buf_printf(out, ",\"%s\":%s", name, known ? "\"" : "null");
    if (!known)
        return;
    add_wall(out, ms, CLOCK_UTC);
    buf_add_char(out, '"');
}

static void add_us_member(struct buf *out, const char *name, bool known, int64_t us,
                          const struct moment *now)
{
    add_time_member(out, name, known, now->wall_ms + (us - now->us) / 1000);
}

/* A string, or null. */
static void add_span_member(struct buf *out, const char *name, struct span text)
{
    buf_add_char(out, ',');
    if (text.n)
        add_member(out, name, text);
    else
        buf_printf(out, "\"%s\":null", name);
}

/* The same reasons in fixed words. */
static void add_words(struct buf *out, const struct site_view *site)
{
    const char *word;
    int n = 0;
    buf_add_str(out, ",\"reasons\":[");
    for (; (word = scheduler_lack_word(site->lacks, n)); n++)
        buf_printf(out, "%s\"%s\"", n ? "," : "", word);
    if (n == 0 && site->waiting)
        buf_printf(out, "\"sending\"%s", site->retrying ? "," : "");
    else if (n > 0 && site->retrying)
        buf_add_char(out, ',');
    buf_printf(out, "%s]", site->retrying ? "\"next-attempt\"" : "");
}

static void add_site_object(struct buf *out, const struct site_view *site,
                            const struct moment *now)
{
    struct buf words = {0};
    struct reason why = reason_split(site->why);
    buf_add_char(out, '{');
    add_member(out, "name", span_of(site->name));
    buf_printf(out, ",\"waiting\":%u,\"retrying\":%u", site->waiting, site->retrying);
    add_us_member(out, "due", site->retrying > 0, site->due_us, now);
    buf_printf(out, ",\"connections\":%u,\"window\":%u,", site->connections,
               site->window);
    add_reason(site, now, CLOCK_UTC, &words);
    add_member(out, "reason", buf_span(&words));
    add_words(out, site);
    add_us_member(out, "until", site->until_us != 0, site->until_us, now);
    add_span_member(out, "rule", why.rule);
    add_span_member(out, "reply", why.reply);
    buf_add_char(out, '}');
    buf_finish(&words);
}

static const struct {
    const char *word, *words;
} lookup_words[LOOKUPS] = {
    [LOOKUP_MUTE] = {"no-name-server", "no name server answers, asked again"},
    [LOOKUP_ASKED] = {"being-looked-up", "being looked up"},
    [LOOKUP_FAILED] = {"lookup-failed", "lookup failed, next attempt"},
    [LOOKUP_LATER] = {"not-looked-up", "not looked up in this run, next attempt"},
};

static void add_lookup_objects(struct buf *out, const struct status *s)
{
    const char *comma = "";
    buf_add_str(out, ",\"lookups\":[");
    for (int i = 0; i < LOOKUPS; i++) {
        const struct lookup_view *l = &s->survey.lookups[i];
        if (l->rows == 0)
            continue;
        buf_printf(out, "%s{\"reason\":\"%s\",\"rows\":%llu,\"domains\":%u,", comma,
                   lookup_words[i].word, (unsigned long long)l->rows, l->domains);
        add_member(out, "domain", span_of(l->domain));
        add_us_member(out, "due", l->due_us != 0, l->due_us, &s->now);
        buf_add_char(out, '}');
        comma = ",";
    }
    buf_add_char(out, ']');
}

static void add_waits(const struct status *s, struct buf *out)
{
    const struct scheduler_stats *q = &s->scheduler;
    add_time_member(out, "until", s->until_ms > 0, s->until_ms);
    buf_printf(out, ",\"resolving\":%llu,\"retrying\":%llu",
               (unsigned long long)q->asking, (unsigned long long)q->waiting);
    add_us_member(out, "next_attempt", q->waiting > 0, q->due_us, &s->now);
}

void status_json(const struct status *s, struct buf *out)
{
    const struct totals *t = &s->totals;
    buf_add_char(out, '{');
    add_member(out, "job", span_of(s->job));
    buf_add_char(out, ',');
    add_member(out, "state", span_of(engine_state_word(s->state)));
    buf_add_char(out, ',');
    add_member(out, "reason", s->reason);
    buf_printf(out,
               ",\"jobs\":%u,\"rows\":%llu,\"delivered\":%llu,\"error\":%llu,"
               "\"absent\":%llu,\"pending\":%llu,\"in_doubt\":%llu,\"assumed\":%llu",
               s->jobs, (unsigned long long)t->rows, (unsigned long long)t->delivered,
               (unsigned long long)t->error, (unsigned long long)t->absent,
               (unsigned long long)t->pending, (unsigned long long)t->in_doubt,
               (unsigned long long)t->assumed);
    add_waits(s, out);
    add_lookup_objects(out, s);
    buf_add_str(out, ",\"sites\":[");
    for (int i = 0; i < s->survey.sites_n; i++) {
        buf_add_str(out, i ? "," : "");
        add_site_object(out, &s->survey.sites[i], &s->now);
    }
    buf_printf(out, "],\"more_sites\":%u,\"more_rows\":%llu}\n", s->survey.more_sites,
               (unsigned long long)s->survey.more_rows);
}

/* ---- for people ---- */

/* "servfail.example and others" */
static void add_lookups(struct buf *out, const struct status *s)
{
    for (int i = 0; i < LOOKUPS; i++) {
        const struct lookup_view *l = &s->survey.lookups[i];
        if (l->rows == 0)
            continue;
        buf_printf(out, "  %-32s %8llu rows  %u domain%s  %s", "resolver",
                   (unsigned long long)l->rows, l->domains, l->domains == 1 ? "" : "s",
                   lookup_words[i].words);
        if (l->due_us) {
            buf_add_str(out, " at ");
            add_time(out, l->due_us, &s->now, CLOCK_LOCAL);
        }
        buf_printf(out, ": %s%s\n", l->domain, l->domains == 1 ? "" : " and others");
    }
}

void status_text(const struct status *s, struct buf *out)
{
    buf_printf(out, "job %s: %s", s->job, engine_state_word(s->state));
    if (s->reason.n) {
        buf_printf(out, " (%.*s", (int)s->reason.n, s->reason.p);
        if (s->until_ms) {
            buf_add_str(out, " until ");
            add_wall(out, s->until_ms, CLOCK_LOCAL);
        }
        buf_add_char(out, ')');
    }
    buf_add_char(out, '\n');
    totals_line(out, &s->totals);
    buf_add_char(out, '\n');
    if (s->jobs > 1)
        buf_printf(out, "%u jobs of this spool run: they share connections and rates\n",
                   s->jobs);
    const struct scheduler_stats *q = &s->scheduler;
    if (q->waiting) {
        buf_printf(out, "  %llu rows wait for their next attempt, the first at ",
                   (unsigned long long)q->waiting);
        add_time(out, q->due_us, &s->now, CLOCK_LOCAL);
        buf_add_char(out, '\n');
    }
    add_lookups(out, s);
    for (int i = 0; i < s->survey.sites_n; i++) {
        status_site(&s->survey.sites[i], &s->now, out);
        buf_add_char(out, '\n');
    }
    if (s->survey.more_sites)
        buf_printf(out, "  and %u sites more, with %llu rows\n", s->survey.more_sites,
                   (unsigned long long)s->survey.more_rows);
}

/* ---- why ---- */

const char *status_row_word(enum row_state state)
{
    static const char *const words[] = {
        [ROW_FINAL] = "final", [ROW_ASKING] = "asking",   [ROW_READY] = "ready",
        [ROW_LENT] = "lent",   [ROW_WAITING] = "waiting",
    };
    return words[state];
}

static void add_asking(const struct row_view *row, const struct moment *now,
                       struct buf *out)
{
    if (row->due_us) {
        buf_add_str(out, "No name server answers; its domain is looked up again at ");
        add_time(out, row->due_us, now, CLOCK_UTC);
        buf_add_str(out, ".\n");
        return;
    }
    buf_add_str(out, row->asked ? "Its domain is being looked up.\n"
                                : "Its domain waits to be looked up.\n");
}

/* "mx.example: suspended until …: why." */
static void add_site(const struct row_view *row, const struct moment *now,
                     struct buf *out)
{
    const struct site_view *site = &row->site;
    buf_printf(out, "%s: ", site->name);
    add_lacks(site, now, CLOCK_UTC, out);
    buf_add_str(out, ".\n");
    if (site->waiting)
        buf_printf(out,
                   "There %u rows are on their way or wait, with %u of %u "
                   "connections.\n",
                   site->waiting, site->connections, site->window);
}

static void add_waiting(const struct row_view *row, const struct moment *now,
                        struct buf *out)
{
    int64_t ms = (row->due_us - now->us) / 1000;
    buf_add_str(out, "It waits for its next attempt, at ");
    add_time(out, row->due_us, now, CLOCK_UTC);
    buf_add_str(out, " (in ");
    duration_say(out, ms > 0 ? ms : 0);
    buf_add_str(out, ") or later.\n");
    if (row->failed) {
        buf_printf(out,
                   "Its domain could not be looked up (%d); that is tried again "
                   "then.\n",
                   row->failed);
    } else if (row->site.name && row->site.lacks) {
        buf_add_str(out, row->site.until_us > row->due_us ? "Nor before this ends at "
                                                          : "Meanwhile, at ");
        add_site(row, now, out);
    }
}

void status_row(const struct row_view *row, const char *source,
                const struct moment *now, struct buf *out)
{
    buf_printf(out, "%s\n", status_row_word(row->state));
    switch (row->state) {
    case ROW_FINAL:
        buf_add_str(out, "It has its result.\n");
        break;
    case ROW_ASKING:
        add_asking(row, now, out);
        break;
    case ROW_READY:
        buf_add_str(out, "It waits for its turn at ");
        add_site(row, now, out);
        break;
    case ROW_LENT: /* the log and the flight file tell more */
        break;
    case ROW_WAITING:
        add_waiting(row, now, out);
        break;
    }
    if (source && row->state != ROW_FINAL)
        buf_printf(out, "It leaves from source %s, as before.\n", source);
}

void status_whole(enum engine_state state, struct span reason, int64_t until_ms,
                  struct buf *out)
{
    if (state == ENGINE_RUNNING && reason.n == 0)
        return;
    buf_printf(out, "The job is %s: %.*s", engine_state_word(state), (int)reason.n,
               reason.p);
    if (until_ms) {
        buf_add_str(out, " until ");
        add_wall(out, until_ms, CLOCK_UTC);
    }
    buf_add_str(out, ".\n");
}
