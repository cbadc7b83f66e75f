#include "engine/status.h"

#include "base/text.h"
#include "base/when.h"

static void add_string(struct buf *out, struct span text)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else
            buf_add_char(out, (char)c);
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

void status_site(const struct site_view *site, const struct moment *now,
                 struct buf *out)
{
    buf_printf(out, "  %-32.32s %8u rows  %u/%u connections  ", site->name,
               site->waiting, site->connections, site->window);
    add_lacks(site, now, CLOCK_LOCAL, out);
}

/* A time, or null. */
static void add_time_member(struct buf *out, const char *name, bool known, int64_t ms)
{
    buf_printf(out, ",\"%s\":%s", name, known ? "\"" : "null");
    if (!known)
        return;
    add_wall(out, ms, CLOCK_UTC);
    buf_add_char(out, '"');
}

static void add_waits(const struct status *s, struct buf *out)
{
    const struct scheduler_stats *q = &s->scheduler;
    int64_t due_ms = s->now.wall_ms + (q->due_us - s->now.us) / 1000;
    add_time_member(out, "until", s->until_ms > 0, s->until_ms);
    buf_printf(out, ",\"resolving\":%llu,\"retrying\":%llu",
               (unsigned long long)q->asking, (unsigned long long)q->waiting);
    add_time_member(out, "next_attempt", q->waiting > 0, due_ms);
}

void status_json(const struct status *s, struct buf *out)
{
    const struct totals *t = &s->totals;
    struct buf lacks = {0};
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
    buf_add_str(out, ",\"sites\":[");
    for (int i = 0; i < s->sites_n; i++) {
        const struct site_view *site = &s->sites[i];
        buf_add_str(out, i ? ",{" : "{");
        add_member(out, "name", span_of(site->name));
        buf_printf(out, ",\"waiting\":%u,\"connections\":%u,", site->waiting,
                   site->connections);
        buf_reset(&lacks);
        add_lacks(site, &s->now, CLOCK_UTC, &lacks);
        add_member(out, "reason", buf_span(&lacks));
        buf_add_char(out, '}');
    }
    buf_finish(&lacks);
    buf_add_str(out, "]}\n");
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
    if (q->asking)
        buf_printf(out, "  %llu rows wait for DNS\n", (unsigned long long)q->asking);
    if (q->waiting) {
        buf_printf(out, "  %llu rows wait for their next attempt, the first at ",
                   (unsigned long long)q->waiting);
        add_time(out, q->due_us, &s->now, CLOCK_LOCAL);
        buf_add_char(out, '\n');
    }
    for (int i = 0; i < s->sites_n; i++) {
        status_site(&s->sites[i], &s->now, out);
        buf_add_char(out, '\n');
    }
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
    buf_printf(out,
               ".\nThere %u rows are on their way or wait, with %u of %u "
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
    if (row->site.name && row->site.until_us > row->due_us) {
        buf_add_str(out, "Nor before this ends at ");
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
