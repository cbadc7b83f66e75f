/* Whoever steps in from outside: rules that suspend what a reply was about, operators
 * who pause or end the run, other jobs of the spool that begin and end, and death. */
#include <stdlib.h>

#include "world.h"

enum step { STEP_NEW, STEP_GO_ON };

static void come_again(struct world *w)
{
    if (w->hands_left-- <= 0)
        return;
    int64_t after = 1 + (int64_t)(rng_next(&w->rng) % (uint64_t)w->plan->hands_us);
    events_add(&w->events, w->now_us + after, EVENT_HAND, 0, STEP_NEW);
}

void hand_begin(struct world *w)
{
    if (w->plan->hands)
        come_again(w);
}

/* Short times are as likely as long ones. */
static int64_t draw_time(struct world *w)
{
    return (int64_t)(1 + rng_below(&w->rng, 100)) * SECOND_US
           << (2 * rng_below(&w->rng, 4));
}

static void suspend(struct world *w)
{
    uint32_t total = w->plan->connections_total, from = rng_below(&w->rng, total);
    struct suspension what = {.reach = (enum reach)rng_below(&w->rng, 3),
                              .for_us = draw_time(w),
                              .connections = rng_below(&w->rng, 4),
                              .why = "a rule says so"};
    what.slow = rng_below(&w->rng, 2);
    for (uint32_t i = 0; i < total; i++) {
        uint32_t number = (from + i) % total;
        const struct lane *lane = &w->lanes[number];
        if (!lane->open)
            continue;
        world_log(w, "suspend %u reach %d slow %d for %" PRId64 " then %u", number,
                  (int)what.reach, what.slow, what.for_us, what.connections);
        scheduler_suspend(w->scheduler, number, &what, w->now_us);
        record_suspended(w, lane, &what);
        return;
    }
}

static void share(struct world *w)
{
    struct sharing share = {.jobs = 1 + rng_below(&w->rng, 4)};
    world_log(w, "jobs %u", share.jobs);
    if (w->board) {
        scheduler_hear(w->scheduler, share.jobs, w->now_us);
        return;
    }
    scheduler_share(w->scheduler, &share);
    record_shared(w, &share);
}

static void pause(struct world *w)
{
    int64_t time = draw_time(w);
    world_log(w, "pause %" PRId64, time);
    scheduler_pause(w->scheduler, true, w->now_us);
    w->paused = w->finishing = true;
    w->paused_us = w->now_us;
    for (uint32_t i = 0; i < w->plan->connections_total; i++)
        if (w->connections[i])
            connection_finish(w->connections[i]);
    events_add(&w->events, w->now_us + time, EVENT_HAND, 0, STEP_GO_ON);
}

static void go_on(struct world *w)
{
    world_log(w, "goes on");
    scheduler_pause(w->scheduler, false, w->now_us);
    w->paused = w->finishing = false;
    w->stood_us += w->now_us - w->paused_us;
}

void hand_turn(struct world *w, const struct event *e)
{
    if (w->stopping)
        return;
    uint32_t luck = rng_below(&w->rng, 10);
    if (e->generation == STEP_GO_ON)
        go_on(w);
    else if (luck == 0 && !w->paused)
        pause(w);
    else if (luck <= 2)
        share(w);
    else
        suspend(w);
    if (e->generation == STEP_NEW)
        come_again(w);
    desk_turn(w);
}

/* ---- the end of a run ---- */

/* The process dies. Its kernel closes what was open, and flight says what each row was
 * doing (cli/replay.c). */
static void die(struct world *w)
{
    for (uint32_t i = 0; i < w->plan->connections_total; i++)
        if (w->connections[i]) {
            struct wire *wire = w->connections[i]->wire;
            connection_free(w->connections[i]);
            if (wire)
                wire_close(w, wire, true);
        }
    while (w->tasks_first < w->tasks_n)
        free(w->tasks[w->tasks_first++].order);
    w->tasks_first = w->tasks_n = w->news_first = w->news_n = 0;
    memset(w->lanes, 0, w->plan->connections_total * sizeof *w->lanes);
    w->lanes_open = 0;
    for (uint32_t row = 1; row <= w->plan->rows; row++) {
        struct story *story = &w->stories[row];
        if (!story->lent)
            continue;
        story->lent = false;
        story->due_us = w->now_us;
        if (story->flight != FLIGHT_DOT && story->flight != FLIGHT_TAKEN)
            continue;
        bool taken = story->flight == FLIGHT_TAKEN;
        bool again = !taken && !story->flagged;
        promise(!taken || story->accepted, w, "row %u: 250 was read for it", row);
        story->attempts++;
        story->last_code = taken ? 250 : 625;
        story->outcome = taken   ? OUTCOME_DELIVERED
                         : again ? OUTCOME_RETRY
                                 : OUTCOME_ERROR;
        story->flagged = story->flagged || !taken;
        if (!story->first_us)
            story->first_us = w->now_us;
        if (!again) {
            story->finals++;
            w->pending--;
        }
    }
}

enum way { WAY_FINISH, WAY_ABORT, WAY_KILL };

void hand_stop(struct world *w)
{
    enum way way = rng_below(&w->rng, 3);
    world_log(w, "stop %d", (int)way);
    if (way == WAY_KILL) {
        w->killed = true;
        die(w);
        return;
    }
    scheduler_stop(w->scheduler);
    w->stopping = true;
    w->finishing = true;
    for (uint32_t i = 0; i < w->plan->connections_total; i++)
        if (w->connections[i])
            (way == WAY_FINISH ? connection_finish
                               : connection_abort)(w->connections[i]);
}
