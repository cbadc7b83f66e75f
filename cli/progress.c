#include "cli/progress.h"
#include "base/when.h"
#include "engine/status.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    BAR_TICK_MS = 200,
    LINES_TICK_MS = 1000,
    LINES_EVERY_US = 10 * 1000 * 1000,
    RATE_LEAST_US = 100 * 1000,
    WIDTH_DEFAULT = 80,
    WIDTH_MAX = 120,
};

void progress_init(struct progress *p, bool quiet, bool json)
{
    *p = (struct progress){0};
    const char *term = getenv("TERM");
    bool terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    p->style = quiet      ? PROGRESS_QUIET
               : json     ? PROGRESS_JSON
               : terminal ? PROGRESS_BAR
                          : PROGRESS_LINES;
    p->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

int progress_tick_ms(const struct progress *p)
{
    return p->style == PROGRESS_BAR ? BAR_TICK_MS : LINES_TICK_MS;
}

static uint64_t settled(const struct engine_stats *s)
{
    return s->totals.rows - s->totals.pending;
}

/* Rows settled a second, smoothed over some seconds. */
static void measure(struct progress *p, const struct engine_stats *s)
{
    int64_t passed = s->elapsed_us - p->rate_us;
    if (passed < RATE_LEAST_US) /* too short to say anything */
        return;
    double now = (double)(settled(s) - p->rate_settled) * 1e6 / (double)passed;
    double weight = p->rate_us == 0 ? 1.0 : (double)passed / (double)(passed + 2000000);
    p->rate += (now - p->rate) * weight;
    p->rate_settled = settled(s);
    p->rate_us = s->elapsed_us;
}

static void add_time(struct buf *b, int64_t us)
{
    int64_t s = us / 1000000;
    if (s >= 3600)
        buf_printf(b, "%lld:%02d:%02d", (long long)(s / 3600), (int)(s / 60 % 60),
                   (int)(s % 60));
    else
        buf_printf(b, "%d:%02d", (int)(s / 60), (int)(s % 60));
}

/* "paused, by `hikyaku pause`"; a job that runs and cannot go on has the reason alone.
 */
static void add_state(struct buf *b, const struct engine_stats *s)
{
    char until[WHEN_LOCAL_MAX];
    if (s->state != ENGINE_RUNNING)
        buf_printf(b, "%s%s", engine_state_word(s->state), s->reason[0] ? ", " : "");
    buf_add_str(b, s->reason);
    if (s->until_ms)
        buf_printf(b, " until %s", when_local(s->until_ms, until));
}

/* How long it will take, as far as one can tell: what is ready at the present rate;
 * rows that wait for a retry are not guessed at, only when the next of them is due. */
static void add_time_to_go(struct buf *b, const struct progress *p,
                           const struct engine_stats *s)
{
    uint64_t now = s->scheduler.ready + s->scheduler.lent + s->scheduler.asking;
    if (s->state != ENGINE_RUNNING || s->reason[0]) {
        add_state(b, s);
    } else if (now == 0 && s->scheduler.waiting > 0) {
        buf_printf(b, "%llu wait for a retry",
                   (unsigned long long)s->scheduler.waiting);
        buf_add_str(b, ", the next in ");
        int64_t us = s->scheduler.due_us - s->now.us;
        add_time(b, us > 0 ? us : 0);
    } else if (now > 0 && p->rate >= 0.05) {
        add_time(b, (int64_t)((double)now / p->rate * 1e6));
        buf_add_str(b, " to go");
    }
}

static void add_counts(struct buf *b, const struct engine_stats *s)
{
    const struct totals *t = &s->totals;
    buf_printf(b, "delivered %llu  error %llu  absent %llu  pending %llu",
               (unsigned long long)t->delivered, (unsigned long long)t->error,
               (unsigned long long)t->absent, (unsigned long long)t->pending);
}

static void add_bar(struct buf *b, const struct progress *p,
                    const struct engine_stats *s, int width)
{
    double share = s->totals.rows ? (double)settled(s) / (double)s->totals.rows : 1.0;
    int full = (int)(share * width);
    buf_add_char(b, '[');
    for (int i = 0; i < width; i++)
        buf_add_str(b, i < full ? (p->utf8 ? "█" : "#") : (p->utf8 ? "·" : "."));
    /* Cut, not rounded: 100 % means all. */
    buf_printf(b, "] %5.1f %%", (double)(int)(share * 1000) / 10);
}

/* One line of the picture: cut to the terminal, the rest of the line wiped. */
static void end_line(struct buf *b, size_t *begin, int columns)
{
    size_t at = *begin;
    int seen = 0;
    while (at < b->n && seen < columns - 1) {
        at++;
        while (at < b->n && ((unsigned char)b->p[at] & 0xc0) == 0x80)
            at++;
        seen++;
    }
    b->n = at;
    buf_add_str(b, "\x1b[K\n");
    *begin = b->n;
}

static void draw(struct progress *p, const struct engine_stats *s)
{
    struct winsize size;
    int columns = WIDTH_DEFAULT;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col < WIDTH_MAX ? size.ws_col : WIDTH_MAX;
    struct buf b = {0};
    if (p->drawn)
        buf_printf(&b, "\x1b[%dA", p->drawn);
    size_t begin = b.n;
    int lines = 0;
    add_bar(&b, p, s, columns > 50 ? columns - 40 : 10);
    buf_printf(&b, "  %.0f/s  ", p->rate);
    add_time(&b, s->elapsed_us);
    end_line(&b, &begin, columns);
    add_counts(&b, s);
    buf_printf(&b, "  connections %u", s->scheduler.connections);
    end_line(&b, &begin, columns);
    add_time_to_go(&b, p, s);
    if (s->scheduler.asking)
        buf_printf(&b, "  %llu rows wait for DNS",
                   (unsigned long long)s->scheduler.asking);
    end_line(&b, &begin, columns);
    for (lines = 3; lines < 3 + ENGINE_SLOWEST_MAX; lines++) {
        int i = lines - 3;
        if (i < s->slowest_n)
            status_site(&s->slowest[i], &s->now, &b);
        end_line(&b, &begin, columns);
    }
    fwrite(b.p, 1, b.n, stderr);
    fflush(stderr);
    p->drawn = lines;
    buf_finish(&b);
}

static void print_line(struct progress *p, const struct engine_stats *s)
{
    if (p->last_us && s->elapsed_us - p->last_us < LINES_EVERY_US)
        return;
    p->last_us = s->elapsed_us + 1;
    struct buf b = {0};
    add_time(&b, s->elapsed_us);
    buf_add_str(&b, "  ");
    add_counts(&b, s);
    buf_printf(&b, "  %.0f/s  connections %u", p->rate, s->scheduler.connections);
    size_t n = b.n;
    buf_add_str(&b, "  ");
    add_time_to_go(&b, p, s);
    if (b.n == n + 2) /* nothing to say */
        b.n = n;
    /* What most rows wait for: who reads the log later wants to know why nothing moved.
     */
    if (s->slowest_n > 0 && s->state == ENGINE_RUNNING)
        status_site(&s->slowest[0], &s->now, &b);
    fprintf(stderr, "%s\n", buf_cstr(&b));
    buf_finish(&b);
}

static void print_json(const struct progress *p, const struct engine_stats *s,
                       const char *job)
{
    const struct totals *t = &s->totals;
    printf("{\"state\":\"%s\"", engine_state_word(s->state));
    if (job) /* names are letters, digits, '.', '_' and '-' */
        printf(",\"job\":\"%s\"", job);
    printf(",\"rows\":%llu,\"delivered\":%llu,\"error\":%llu,\"absent\":%llu,"
           "\"pending\":%llu,\"in_doubt\":%llu,\"assumed\":%llu,\"attempts\":%llu,"
           "\"seconds\":%.3f,\"rate\":%.1f,\"connections\":%u}\n",
           (unsigned long long)t->rows, (unsigned long long)t->delivered,
           (unsigned long long)t->error, (unsigned long long)t->absent,
           (unsigned long long)t->pending, (unsigned long long)t->in_doubt,
           (unsigned long long)t->assumed, (unsigned long long)s->attempts,
           (double)s->elapsed_us / 1e6, p->rate, s->scheduler.connections);
    fflush(stdout);
}

void progress_tick(void *arg, const struct engine_stats *stats)
{
    struct progress *p = arg;
    measure(p, stats);
    switch (p->style) {
    case PROGRESS_BAR:
        draw(p, stats);
        break;
    case PROGRESS_LINES:
        print_line(p, stats);
        break;
    case PROGRESS_JSON:
        print_json(p, stats, NULL);
        break;
    case PROGRESS_QUIET:
        break;
    }
}

void progress_end(struct progress *p, const struct engine_stats *stats, const char *job)
{
    if (p->style == PROGRESS_BAR && p->drawn)
        draw(p, stats);
    if (p->style == PROGRESS_JSON) {
        print_json(p, stats, job);
        return;
    }
    struct buf b = {0};
    totals_line(&b, &stats->totals);
    printf("%s\n", buf_cstr(&b));
    buf_finish(&b);
}
