/* What engine/engine.c, settle.c and journal.c do around the scheduler. Orders wait for
 * a sync of the log, news take a while from thread to thread, and a run may be ended
 * anywhere: politely, at once, or by the death of the process. */
#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "world.h"

enum { LOOKUPS_MAX = 100, IDLE_CHECK_EVERY = 61, NOT_CONNECTED = 601 };
enum { PATIENCE_US = 2 * 1000 * 1000 }; /* of who had no place, for its rate */

void world_log(struct world *w, const char *format, ...)
{
    buf_reset(&w->line);
    buf_printf(&w->line, "%" PRId64 " ", w->now_us);
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_add_str(&w->line, text);
    w->hash = (w->hash ^ hash_bytes(w->line.p, w->line.n)) * 0x9e3779b97f4a7c15u;
    if (w->plan->trace)
        printf("%.*s\n", (int)w->line.n, w->line.p);
}

/* ---- settling ---- */

static void settle(struct world *w, uint32_t connection, uint32_t row,
                   const struct verdict *v, bool worked, bool joined)
{
    struct story *story = &w->stories[row];
    struct settlement what = {.outcome = v->outcome,
                              .counted = v->counted,
                              .worked = worked,
                              .in_doubt = v->in_doubt,
                              .about_us = v->about_us,
                              .joined = joined,
                              .absent = v->outcome == OUTCOME_ABSENT};
    struct decision d =
        scheduler_settle(w->scheduler, connection, row, &what, w->now_us);
    if (!story->lent && story->first_us && w->now_us > story->due_us)
        story->waited_us +=
            w->now_us - story->due_us; /* of which a pause may be ours */
    story->lent = false;
    story->due_us = d.next_us;
    if (connection != NO_CONNECTION) {
        record_settled(w, &w->lanes[connection], v, &what, &d);
        if (v->counted && worked)
            story->source = w->lanes[connection].source;
    }
    if (!v->counted && !d.final) {
        promise(!v->in_doubt, w, "row %u: nobody's attempt leaves no doubt", row);
        return;
    }
    bool delivered = v->outcome == OUTCOME_DELIVERED;
    world_log(w, "settle %u %d %s attempt %u%s%s ended %d", row, v->code,
              outcome_word(d.given_up ? OUTCOME_ERROR : v->outcome), d.attempt,
              v->in_doubt ? " in-doubt" : "", v->assumed ? " assumed" : "", d.ended);
    w->attempts++;
    promise(v->code != 0, w, "row %u: an attempt has a code", row);
    promise(!delivered || v->assumed || story->accepted, w,
            "row %u is delivered, so its own dot got a 250", row);
    promise(d.attempt == story->attempts + (v->counted ? 1u : 0u), w,
            "row %u: attempt %u follows %u", row, d.attempt, story->attempts);
    promise(!d.given_up || story->flagged, w, "row %u: it was in doubt before", row);
    story->attempts = (uint16_t)d.attempt;
    story->flagged = story->flagged || v->in_doubt || v->assumed;
    story->assumed = story->assumed || v->assumed;
    story->outcome = (uint8_t)(d.given_up ? OUTCOME_ERROR : v->outcome);
    story->last_code = v->code;
    story->ended = d.ended;
    story->settled_us = w->now_us;
    if (!story->first_us)
        story->first_us = w->now_us;
    promise(d.final || d.next_us <= story->first_us +
                                        w->plan->policy.lifetime_ms * 1000 +
                                        w->stood_us + story->waited_us + 2 * SECOND_US,
            w, "row %u: nothing is planned for after its life", row);
    if (!d.final)
        return;
    story->finals++;
    w->pending--;
    if (w->plan->places[w->plan->names[row_name(w, row)].place].good)
        w->good_done_us = w->now_us;
}

static void steer_network(struct world *w, bool down)
{
    world_log(w, "network %s", down ? "down" : "up");
    scheduler_network(w->scheduler, down, w->now_us);
    if (down)
        w->down_us = w->now_us;
    else
        w->stood_us += w->now_us - w->down_us;
}

static void watch_network(struct world *w, const struct lane *lane,
                          const struct news *news)
{
    if (verdict_heard(&news->verdict)) {
        if (network_heard(&w->network, w->now_us))
            steer_network(w, false);
        return;
    }
    if (!verdict_silent(&news->verdict))
        return;
    if (network_give_up(&w->network, w->now_us))
        steer_network(w, false);
    bool known = news->verdict.code == NOT_CONNECTED &&
                 network_failed(&w->network, span_of(lane->site), w->now_us);
    bool unrouted = w->plan->cut_is_known && world_is_cut(w, w->now_us);
    if (known || (unrouted && network_unrouted(&w->network, w->now_us)))
        steer_network(w, true);
}

static bool is_excused(const struct world *w, const struct lane *lane,
                       const struct verdict *v)
{
    return verdict_silent(v) && !v->in_doubt &&
           network_excuses(&w->network, lane->opened_us);
}

static void close_lane(struct world *w, const struct news *news)
{
    struct lane *lane = &w->lanes[news->connection];
    world_log(w, "closed %u %d%s%s", news->connection, (int)news->closed,
              news->avoid & AVOID_AHEAD ? " group" : "",
              news->avoid & AVOID_BDAT ? " data" : "");
    enum close_kind how = news->closed;
    if (how == CLOSED_FAILED)
        watch_network(w, lane, news);
    if (how == CLOSED_FAILED && is_excused(w, lane, &news->verdict))
        how = CLOSED_NETWORK;
    int64_t short_us = how == CLOSED_OURS                            ? FEWER_US
                       : w->lanes_open == w->plan->connections_total ? PATIENCE_US
                                                                     : 0;
    if (short_us && w->now_us + short_us > w->short_until_us)
        w->short_until_us = w->now_us + short_us;
    enum round round =
        scheduler_closed(w->scheduler, news->connection, how, news->avoid, w->now_us);
    record_closed(w, lane, round);
    if (round != ROUND_NONE) {
        struct verdict v = news->verdict;
        v.outcome = OUTCOME_RETRY;
        v.counted = true;
        for (uint32_t row; (row = scheduler_round(w->scheduler));)
            settle(w, NO_CONNECTION, row, &v, false, false);
    }
    *lane = (struct lane){0};
    w->lanes_open--;
}

static void on_connected(struct world *w, const struct lane *lane)
{
    if (network_connected(&w->network, span_of(lane->site), w->now_us))
        steer_network(w, false);
}

static void on_settled(struct world *w, const struct lane *lane,
                       const struct news *news)
{
    struct verdict v = news->verdict;
    watch_network(w, lane, news);
    v.counted = v.counted && !is_excused(w, lane, &v);
    settle(w, news->connection, news->row, &v, news->worked, !news->heads);
}

static void on_news(struct world *w, const struct news *news)
{
    struct lane *lane = &w->lanes[news->connection];
    lane->progress_us = w->now_us;
    switch (news->kind) {
    case NEWS_CONNECTED:
        on_connected(w, lane);
        break;
    case NEWS_SETTLED:
        lane->lent--;
        on_settled(w, lane, news);
        break;
    case NEWS_RETURNED:
        lane->lent--;
        w->stories[news->row].lent = false;
        w->stories[news->row].due_us = w->now_us;
        if (news->heads)
            scheduler_spent(w->scheduler, news->connection);
        scheduler_returned(w->scheduler, news->connection, news->row, w->now_us);
        if (lane->has_closed && scheduler_lent(w->scheduler, news->connection) == 0) {
            struct news closed = lane->closed;
            close_lane(w, &closed);
        }
        break;
    case NEWS_CLOSED:
        if (scheduler_lent(w->scheduler, news->connection) == 0) {
            close_lane(w, news);
            break;
        }
        scheduler_ending(w->scheduler, news->connection);
        lane->closed = *news;
        lane->has_closed = true;
        break;
    }
}

void desk_report(struct world *w, const struct news *news)
{
    int64_t at = w->now_us;
    if (w->plan->news_us)
        at += rng_below(&w->rng, (uint32_t)w->plan->news_us);
    at = at > w->news_last_us ? at : w->news_last_us;
    w->news_last_us = at;
    if (w->news_n == w->news_cap) {
        w->news_cap = w->news_cap ? 2 * w->news_cap : 256;
        w->news = mem_resize(w->news, w->news_cap, sizeof *w->news);
    }
    w->news[w->news_n] = *news;
    w->news[w->news_n++].at_us = at;
    events_add(&w->events, at, EVENT_REPORTS, 0, 0);
}

void desk_news(struct world *w)
{
    if (w->news_first == w->news_n || w->news[w->news_first].at_us > w->now_us)
        return;
    while (w->news_first < w->news_n && w->news[w->news_first].at_us <= w->now_us) {
        struct news news = w->news[w->news_first++];
        on_news(w, &news);
    }
    if (w->news_first == w->news_n)
        w->news_first = w->news_n = 0;
    desk_turn(w);
}

/* ---- orders ---- */

static void give_back(struct world *w, const struct order *order)
{
    for (int i = 0; i < order->rows_n; i++)
        desk_report(w, &(struct news){.kind = NEWS_RETURNED,
                                      .connection = order->connection,
                                      .row = order->rows[i]});
}

/* A synced order reaches its worker. */
static void deliver(struct world *w, struct order *order)
{
    struct connection *c = w->connections[order->connection];
    switch (order->kind) {
    case ORDER_OPEN:
        if (!w->finishing) {
            assert(!c);
            connection_open(w, order);
            return;
        }
        give_back(w, order);
        desk_report(w, &(struct news){.kind = NEWS_CLOSED,
                                      .connection = order->connection,
                                      .closed = CLOSED_CLEAN});
        break;
    case ORDER_MORE:
        if (c)
            connection_lend(c, order);
        else
            give_back(w, order);
        break;
    case ORDER_RECALL:
        if (c)
            connection_recall(c);
        break;
    case ORDER_STOP:
        if (c)
            connection_finish(c);
        break;
    case ORDER_NONE:
        abort();
    }
    free(order);
}

void desk_tasks(struct world *w)
{
    while (w->tasks_first < w->tasks_n && w->tasks[w->tasks_first].at_us <= w->now_us) {
        struct order *order = w->tasks[w->tasks_first++].order;
        scheduler_posted(w->scheduler, order->connection, w->now_us);
        w->lanes[order->connection].progress_us = w->now_us;
        deliver(w, order);
    }
    if (w->tasks_first == w->tasks_n)
        w->tasks_first = w->tasks_n = 0;
}

/* With its gates, in one piece. */
static struct order *copy_order(const struct order *order)
{
    size_t gates_size = (size_t)order->gates_n * sizeof(struct gate *);
    struct order *copy = mem_alloc(sizeof *copy + 2 * gates_size);
    memcpy(copy, order, offsetof(struct order, rows) + (size_t)order->rows_n * 4);
    if (order->gates_n == 0)
        return copy;
    struct gate **gates = (struct gate **)(copy + 1);
    memcpy(gates, order->connect_gates, gates_size);
    memcpy(gates + order->gates_n, order->mail_gates, gates_size);
    copy->connect_gates = gates;
    copy->mail_gates = gates + order->gates_n;
    return copy;
}

static void carry_out(struct world *w, const struct order *order)
{
    struct lane *lane = &w->lanes[order->connection];
    if (order->kind == ORDER_OPEN) {
        assert(!lane->open);
        *lane = (struct lane){.open = true,
                              .site = order->site,
                              .source = order->source,
                              .opened_us = w->now_us};
    }
    promise_order(w, order);
    w->lanes_open += order->kind == ORDER_OPEN;
    for (int i = 0; i < order->rows_n; i++) {
        struct story *story = &w->stories[order->rows[i]];
        story->lent = true;
        story->lent_us = w->now_us;
        if (story->first_us && w->now_us > story->due_us)
            story->waited_us += w->now_us - story->due_us;
        story->flight = FLIGHT_LENT;
    }
    lane->lent += (uint32_t)order->rows_n;
    world_log(w, "order %d %u %s rows %d", (int)order->kind, order->connection,
              order->site, order->rows_n);
    struct order *copy = copy_order(order);
    int64_t at = w->now_us;
    if (w->plan->sync_us)
        at += rng_below(&w->rng, (uint32_t)w->plan->sync_us);
    if ((int)rng_below(&w->rng, 1000) < w->plan->slow_syncs)
        at += (1 + rng_below(&w->rng, 5)) * SECOND_US;
    at = at > w->tasks_last_us ? at : w->tasks_last_us;
    w->tasks_last_us = at;
    if (w->tasks_n == w->tasks_cap) {
        w->tasks_cap = w->tasks_cap ? 2 * w->tasks_cap : 256;
        w->tasks = mem_resize(w->tasks, w->tasks_cap, sizeof *w->tasks);
    }
    w->tasks[w->tasks_n++] = (struct held_order){at, copy};
    events_add(&w->events, at, EVENT_TASKS, 0, 0);
}

/* ---- names ---- */

static void ask(struct world *w)
{
    uint32_t domain;
    while (w->lookups < LOOKUPS_MAX &&
           (domain = scheduler_ask(w->scheduler)) != RECIPIENTS_NO_DOMAIN) {
        w->lookups++;
        w->record.asked[domain] = true;
        int64_t took = 1000 + rng_below(&w->rng, 400 * 1000);
        events_add(&w->events, w->now_us + took, EVENT_ANSWER, domain, 0);
    }
}

void desk_answer(struct world *w, uint32_t domain)
{
    const char *name = recipients_domain_name(w->plan->list, domain);
    uint32_t number = (uint32_t)strtoul(name + 1, NULL, 10);
    struct mx_set *set = plan_resolve(w->plan, number, w->now_us, 1000);
    world_log(w, "name %u %d %s", number, set->code, set->key);
    w->lookups--;
    w->record.asked[domain] = set->code != 0;
    scheduler_resolved(w->scheduler, domain, set, w->now_us);
    desk_turn(w);
}

static void settle_unresolvable(struct world *w)
{
    const struct mx_set *set;
    for (uint32_t row; (row = scheduler_unresolvable(w->scheduler, &set));) {
        struct verdict v = verdict_of_code(set->code, "dns", false);
        settle(w, NO_CONNECTION, row, &v, false, false);
    }
}

/* ---- turns ---- */

void desk_turn(struct world *w)
{
    int64_t now = w->now_us;
    scheduler_advance(w->scheduler, now);
    ask(w);
    settle_unresolvable(w);
    while (scheduler_recall(w->scheduler, &w->order, now))
        carry_out(w, &w->order);
    while (scheduler_next(w->scheduler, &w->order, now) != ORDER_NONE)
        carry_out(w, &w->order);
    record_told(w);
    if (w->taken % IDLE_CHECK_EVERY == 0 && w->lookups < LOOKUPS_MAX)
        promise_idle(w);
    int64_t wake = scheduler_wake(w->scheduler);
    if (wake < w->wake_us || w->wake_us <= now) {
        promise(wake > now, w, "the scheduler is not woken for nothing");
        w->wake_us = wake;
        if (wake != NEVER)
            events_add(&w->events, wake, EVENT_WAKE, 0, 0);
    }
}

static void past_of(void *arg, uint32_t row, struct row_past *out)
{
    const struct world *w = arg;
    const struct story *story = &w->stories[row];
    *out = (struct row_past){.final = story->finals > 0,
                             .attempts = story->attempts,
                             .first_us = story->first_us,
                             .due_us = story->due_us,
                             .source = story->source,
                             .doubted = story->flagged};
}

/* ---- hours ---- */

/* By the scheduler's number. */
static int64_t quiet_until_us(struct world *w, uint32_t number)
{
    const struct hours *hours = &w->plan->hours[w->policies[number]];
    int64_t now_ms = world_wall_ms(w), change_ms = hours_change_ms(hours, now_ms);
    w->quiet[number] = hours_hold(hours, now_ms);
    if (change_ms == INT64_MAX)
        return 0;
    int64_t at = w->now_us + (change_ms - now_ms) * 1000;
    events_add(&w->events, at, EVENT_HOURS, number, 0);
    return w->quiet[number] ? at : 0;
}

static void watch_hours(struct world *w, uint32_t number)
{
    scheduler_quiet(w->scheduler, number, quiet_until_us(w, number));
    desk_turn(w);
}

static uint32_t policy_of(void *arg, uint32_t domain, const struct mx_set *set,
                          struct scheduler_policy *out, bool *fresh)
{
    struct world *w = arg;
    const struct plan *p = w->plan;
    const char *name = recipients_domain_name(p->list, domain);
    uint32_t wanted = p->places[p->names[strtoul(name + 1, NULL, 10)].place].policy;
    /* Some go by the name, some by the hosts. */
    if (wanted % 2 == 0 && (!set || set->code))
        wanted = 0;
    for (uint32_t i = 0; i < w->policies_n; i++)
        if (w->policies[i] == wanted)
            return i;
    *fresh = true;
    *out = *plan_policy(p, wanted);
    w->policies[w->policies_n] = wanted;
    out->quiet_until_us = quiet_until_us(w, w->policies_n);
    return w->policies_n++;
}

/* Another open file of the same memory, as each process has its own. */
static void join_board(struct world *w)
{
    char path[40];
    bool full;
    struct fault f = {0};
    struct board_now now = {w->now_us, w->now_us};
    if (!w->plan->boarded)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", w->board_fd);
    w->board =
        board_join_file(open(path, O_RDWR | O_CLOEXEC), "this boot", now, &full, &f);
    promise(w->board != NULL, w, "the board: %s", f.words);
}

void desk_start(struct world *w)
{
    struct plan *p = w->plan;
    w->stopping = w->finishing = w->killed = w->paused = false;
    w->policies[0] = 0;
    w->policies_n = 1;
    w->wake_us = NEVER;
    struct scheduler_policy first = p->policy;
    first.quiet_until_us = quiet_until_us(w, 0);
    struct scheduler_params params = {.list = p->list,
                                      .policy = first,
                                      .policy_of = policy_of,
                                      .policy_arg = w,
                                      .allow = p->warmups ? record_allow : NULL,
                                      .allow_arg = w,
                                      .sources_n = p->sources_n,
                                      .refusals_max = p->refusals_max,
                                      .connections_total = p->connections_total,
                                      .seed = p->seed,
                                      .now_us = w->now_us,
                                      .epoch_us = 0,
                                      .past = past_of,
                                      .past_arg = w};
    join_board(w);
    record_begin(w);
    w->scheduler = scheduler_create(&params);
    if (w->board)
        scheduler_join(w->scheduler, w->board);
    network_init(&w->network, MINUTE_US, p->policy.lifetime_ms * 1000, w->now_us);
    hand_begin(w);
    desk_turn(w);
}

/* ---- the run ---- */

static void happen(struct world *w, const struct event *e)
{
    switch (e->kind) {
    case EVENT_WIRE: {
        struct wire *wire = w->wires[e->who];
        if (wire && wire->generation == e->generation && wire->wake_us == e->at_us)
            wire_turn(w, wire);
        break;
    }
    case EVENT_CONNECTION: {
        struct connection *c = w->connections[e->who];
        if (c && c->generation == e->generation && c->wake_us == e->at_us)
            connection_timer(c);
        break;
    }
    case EVENT_TASKS:
        desk_tasks(w);
        break;
    case EVENT_REPORTS:
        desk_news(w);
        break;
    case EVENT_ANSWER:
        if (e->generation == 0 && w->scheduler)
            desk_answer(w, e->who);
        break;
    case EVENT_WAKE:
        if (e->at_us == w->wake_us)
            desk_turn(w);
        break;
    case EVENT_HAND:
        hand_turn(w, e);
        break;
    case EVENT_HOURS:
        if (w->scheduler)
            watch_hours(w, e->who);
        break;
    case EVENT_STOP:
        break;
    }
}

/* Forget what belonged to a run that is over; the net goes on. */
static void forget_run(struct world *w)
{
    scheduler_destroy(w->scheduler);
    w->scheduler = NULL;
    board_leave(w->board);
    w->board = NULL;
    network_finish(&w->network);
    record_finish(w);
    while (w->tasks_first < w->tasks_n) /* to connections that are over */
        free(w->tasks[w->tasks_first++].order);
    w->tasks_first = w->tasks_n = 0;
    struct events old = w->events;
    w->events = (struct events){.numbers = old.numbers};
    for (struct event e; events_take(&old, &e);)
        if (e.kind == EVENT_WIRE)
            events_add(&w->events, e.at_us, e.kind, e.who, e.generation);
    events_finish(&old);
    w->lookups = 0;
}

static bool run_over(const struct world *w)
{
    if (w->killed)
        return true;
    /* Word that it gets no more rows may still be on its way to one that is gone. */
    return w->lanes_open == 0 && w->tasks_first == w->tasks_n &&
           (scheduler_done(w->scheduler) || w->stopping);
}

/* One life of the process. */
static void live(struct world *w)
{
    struct event e;
    desk_start(w);
    while (!run_over(w)) {
        promise(events_take(&w->events, &e), w, "something is still to happen");
        promise(e.at_us >= w->now_us, w, "time goes on");
        w->now_us = e.at_us;
        happen(w, &e);
        if (++w->taken == w->stop_at && !w->stopping)
            hand_stop(w);
    }
    promise(w->killed || w->stopping || w->pending == 0, w, "the run is over too soon");
    forget_run(w);
}

/* Nobody sends, but what is under way goes on: until then, or until it is quiet. */
static void let_time_pass(struct world *w, int64_t until_us)
{
    while (w->events.n && w->events.heap[0].at_us <= until_us) {
        struct event e;
        events_take(&w->events, &e);
        w->now_us = e.at_us;
        happen(w, &e);
    }
    if (until_us != NEVER)
        w->now_us = until_us;
}

void world_run(struct world *w, struct plan *p)
{
    *w = (struct world){.plan = p, .rng = {p->seed ^ 0x5eed}, .now_us = SECOND_US};
    w->record_fd = memfd_create("record", MFD_CLOEXEC);
    w->board_fd = memfd_create("board", MFD_CLOEXEC);
    w->sink = sink_world_create(w->record_fd, NULL);
    w->stories = mem_zero(p->rows + 1, sizeof *w->stories);
    w->lanes = mem_zero(p->connections_total, sizeof *w->lanes);
    w->connections = mem_zero(p->connections_total, sizeof(struct connection *));
    w->pending = p->rows;
    w->hands_left = p->hands;
    for (int i = 0; i < p->stops && w->pending; i++) {
        w->stop_at = w->taken + 1 + rng_below(&w->rng, 20 * p->rows);
        live(w);
        let_time_pass(w, w->now_us + rng_below(&w->rng, 600) * SECOND_US);
    }
    w->stop_at = 0;
    while (w->pending)
        live(w);
    /* What is still on its way to a server is part of the truth. */
    let_time_pass(w, NEVER);
    promise_end(w);
}

void world_finish(struct world *w)
{
    for (uint32_t i = 0; i < w->wires_n; i++)
        if (w->wires[i])
            wire_free(w, w->wires[i]);
    sink_world_destroy(w->sink);
    close(w->record_fd);
    close(w->board_fd);
    record_forget(w);
    events_finish(&w->events);
    free(w->wires);
    free(w->free_wires);
    free(w->connections);
    free(w->lanes);
    free(w->tasks);
    free(w->news);
    free(w->stories);
    free(w->shared);
    buf_finish(&w->line);
}
