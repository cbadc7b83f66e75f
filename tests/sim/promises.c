#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "world.h"

enum {
    STALLED_US = 40 * 1000 * 1000, /* what a stall may last, slow syncs included */
    VIEWS_MAX = 64,
};

void promise(bool holds, const struct world *w, const char *format, ...)
{
    if (holds)
        return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "seed %" PRIu64 " at %.6f s: broken: ", w->plan->seed,
            (double)w->now_us / 1e6);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nagain: test_sim -v %s%" PRIu64 "\n",
            w->plan->limited ? "--limited " : "", w->plan->seed);
    va_end(args);
    fflush(stdout);
    exit(1);
}

uint32_t row_name(const struct world *w, uint32_t row)
{
    const struct recipients *list = w->plan->list;
    const char *name = recipients_domain_name(list, recipients_domain(list, row));
    return (uint32_t)strtoul(name + 1, NULL, 10);
}

void promise_order(struct world *w, const struct order *order)
{
    const struct plan *p = w->plan;
    for (int i = 0; i < order->rows_n; i++) {
        uint32_t row = order->rows[i];
        const struct story *story = &w->stories[row];
        promise(!story->lent, w, "row %u is with one connection", row);
        promise(!story->finals, w, "row %u has its result and rests", row);
        promise(w->now_us >= story->due_us, w,
                "row %u is tried no sooner than %" PRId64, row, story->due_us);
    }
    record_order(w, order);
    if (order->kind != ORDER_OPEN)
        return;
    promise(w->lanes_open < p->connections_total, w, "%u connections at most",
            p->connections_total);
    promise(order->rows_n > 0 && order->targets_n > 0, w, "a connection has a purpose");
}

static void promise_site(struct world *w, const struct site_view *view)
{
    uint32_t lent = 0;
    for (uint32_t i = 0; i < w->plan->connections_total; i++)
        if (w->lanes[i].open && w->lanes[i].site == view->name)
            lent += w->lanes[i].lent;
    promise(lent <= view->waiting, w, "%s: lent rows are counted", view->name);
    if (lent < view->waiting)
        record_waits(w, view);
}

void promise_idle(struct world *w)
{
    struct site_view views[VIEWS_MAX];
    /* A look costs something for each row: in a large world now and then will do. */
    bool looks = w->idle_turns++ % (1 + w->plan->rows / 1000) == 0;
    if (!looks || w->stopping || w->paused)
        return;
    record_ready(w);
    int n = scheduler_slowest(w->scheduler, views, VIEWS_MAX, w->now_us);
    for (int i = 0; i < n; i++)
        promise_site(w, &views[i]);
    for (uint32_t i = 0; i < w->plan->connections_total; i++) {
        const struct connection *c = w->connections[i];
        if (!c || w->now_us - w->lanes[i].progress_us < STALLED_US)
            continue;
        promise(c->rows.end - c->rows.head <= (uint32_t)c->together, w,
                "connection %u has stalled and keeps %u rows", i,
                c->rows.end - c->rows.head);
    }
}

static void promise_row(struct world *w, uint32_t row)
{
    const struct plan *p = w->plan;
    const struct story *story = &w->stories[row];
    const struct name *name = &p->names[row_name(w, row)];
    bool delivered = story->outcome == OUTCOME_DELIVERED;
    promise(story->finals == 1, w, "row %u has one result, not %u", row, story->finals);
    promise(story->accepted <= 2 || story->misled, w, "row %u was taken %u times", row,
            story->accepted);
    promise(story->accepted < 2 || story->flagged || story->misled, w,
            "row %u was taken twice, and flagged", row);
    promise(!story->accepted || delivered || story->flagged || story->misled, w,
            "row %u was taken, and ends as %d without a flag", row, story->last_code);
    promise(!delivered || story->accepted || story->assumed, w,
            "row %u was delivered, and nobody has it", row);
    /* A row in doubt by a kill is tried once more whatever its attempts. */
    if (story->ended == 607)
        promise(story->attempts == p->policy.max_attempts ||
                    (p->stops && story->flagged),
                w, "row %u: 607 after %u", row, story->attempts);
    if (story->ended == 606)
        promise(story->settled_us - story->first_us + p->intervals_ms[2] * 1000 +
                        SECOND_US >=
                    p->policy.lifetime_ms * 1000,
                w, "row %u: 606 too soon", row);
    promise(!story->ended || story->last_code >= 400, w,
            "row %u: %d keeps the last code", row, story->ended);
    if (name->kind == NAME_UNKNOWN)
        promise(story->last_code == 700, w, "row %u: no such name", row);
    if (name->kind == NAME_NULL_MX)
        promise(story->last_code == 720, w, "row %u: null MX", row);
    bool spared = !p->stops && !p->cut_until_us;
    if (name->kind == NAME_GOOD && p->places[name->place].good && spared)
        promise(delivered && story->attempts == 1 && story->accepted == 1, w,
                "row %u: its server takes whatever comes; it got %d at attempt %u", row,
                story->last_code, story->attempts);
}

void promise_end(struct world *w)
{
    for (uint32_t row = 1; row <= w->plan->rows; row++) {
        const struct story *story = &w->stories[row];
        promise_row(w, row);
        w->delivered += story->outcome == OUTCOME_DELIVERED;
        w->errors += story->outcome != OUTCOME_DELIVERED;
        w->doubts += story->flagged;
        w->twice += story->accepted > 1;
    }
}
