#include "engine/status.h"

#include "base/text.h"

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

/* "rate", "suspended until 2026-11-22T10:00:00.000Z: why". */
static void add_lacks(const struct site_view *site, const struct moment *now,
                      struct buf *out)
{
    scheduler_lacks(site->lacks, out);
    if (site->until_us) {
        char time[RFC3339_MS_LEN];
        time_rfc3339_ms(now->wall_ms + (site->until_us - now->us) / 1000, time);
        buf_printf(out, " until %.*s", RFC3339_MS_LEN, time);
    }
    if (site->why)
        buf_printf(out, ": %s", site->why);
}

void status_site(const struct site_view *site, const struct moment *now,
                 struct buf *out)
{
    buf_printf(out, "  %-32.32s %8u rows  %u/%u connections  ", site->name,
               site->waiting, site->connections, site->window);
    add_lacks(site, now, out);
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
               "\"absent\":%llu,\"pending\":%llu,\"in_doubt\":%llu,\"assumed\":%llu,"
               "\"sites\":[",
               s->jobs, (unsigned long long)t->rows, (unsigned long long)t->delivered,
               (unsigned long long)t->error, (unsigned long long)t->absent,
               (unsigned long long)t->pending, (unsigned long long)t->in_doubt,
               (unsigned long long)t->assumed);
    for (int i = 0; i < s->sites_n; i++) {
        const struct site_view *site = &s->sites[i];
        buf_add_str(out, i ? ",{" : "{");
        add_member(out, "name", span_of(site->name));
        buf_printf(out, ",\"waiting\":%u,\"connections\":%u,", site->waiting,
                   site->connections);
        buf_reset(&lacks);
        add_lacks(site, &s->now, &lacks);
        add_member(out, "reason", buf_span(&lacks));
        buf_add_char(out, '}');
    }
    buf_finish(&lacks);
    buf_add_str(out, "]}\n");
}

void status_text(const struct status *s, struct buf *out)
{
    buf_printf(out, "job %s: %s", s->job, engine_state_word(s->state));
    if (s->reason.n)
        buf_printf(out, " (%.*s)", (int)s->reason.n, s->reason.p);
    buf_add_char(out, '\n');
    totals_line(out, &s->totals);
    buf_add_char(out, '\n');
    if (s->jobs > 1)
        buf_printf(
            out, "%u jobs of this spool run: connections and rates are divided by %u\n",
            s->jobs, s->jobs);
    for (int i = 0; i < s->sites_n; i++) {
        status_site(&s->sites[i], &s->now, out);
        buf_add_char(out, '\n');
    }
}
