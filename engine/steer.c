/* What people, the clock and the network say of the job as a whole. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/inside.h"
#include "engine/record.h"
#include "engine/status.h"

enum {
    MINUTE_MS = 60 * 1000,
    CLOCK_MS = 500, /* how often start, until and other jobs are looked at */
    JOIN_AGAIN_US = 5 * 1000 * 1000,
    STATUS_SITES = 100,    /* that `status` lists */
    STATUS_SITES_TEXT = 20 /* for people */
};

/* What is said of a hold; of several, of the first one here. */
static const struct said {
    unsigned hold;
    const char *note, *reason; /* for the log, for status */
} holds_said[] = {
    {HOLD_START, "waits for its start", "waits for its start"},
    {HOLD_PAUSE, "paused", "by `hikyaku pause`"},
    {HOLD_QUIET, "paused for quiet hours", "quiet hours"},
    {0, "goes on", NULL},
};

static const struct said *said_of(unsigned holds)
{
    const struct said *said = holds_said;
    while (said->hold && !(said->hold & holds))
        said++;
    return said;
}

static void note(struct engine *e, const char *words)
{
    record_note(e->params->attempts, engine_wall_ms(e, engine_now_us()), words);
}

/* ---- stopping and going on ---- */

/* Where nobody can see us we send as if we were alone; but of too many, each takes its
 * part. */
static void take_part(struct engine *e)
{
    struct fault f = {0};
    char boot_id[FLIGHT_BOOT_ID_MAX];
    bool full, again = e->sharing;
    struct board_now now = {engine_now_us(), engine_clock_ms() * 1000};
    flight_boot_id(boot_id);
    e->board = board_join(e->params->control.fd, boot_id, now, &full, &f);
    e->sharing = true;
    e->join_us = now.us + JOIN_AGAIN_US;
    if (!e->board && again)
        return;
    struct sharing share = {.jobs = full ? BOARD_JOBS_MAX + 1 : 1};
    scheduler_share(e->scheduler, &share);
    if (e->board) {
        scheduler_join(e->scheduler, e->board);
        if (again)
            note(e, "other jobs see this one now");
        return;
    }
    struct buf words = {0};
    buf_printf(&words, "other jobs do not see this one: %s", f.words);
    note(e, buf_cstr(&words));
    buf_finish(&words);
}

static void leave(struct engine *e)
{
    e->sharing = false;
    scheduler_join(e->scheduler, NULL);
    board_leave(e->board);
    e->board = NULL;
}

static void hear_others(struct engine *e)
{
    struct buf words = {0};
    uint32_t before, jobs = board_jobs(e->board, &before);
    scheduler_hear(e->scheduler, jobs, engine_now_us());
    if (!e->board_gone && board_is_gone(e->board)) {
        e->board_gone = true;
        note(e,
             "somebody deleted \".running\" of the spool: jobs that begin now do not "
             "see this one");
    }
    if (jobs == e->jobs)
        return;
    e->jobs = jobs;
    if (jobs > 1)
        buf_printf(&words, "%u jobs of this spool run: they share limits", jobs);
    else
        buf_add_str(&words, "no other job of this spool runs");
    note(e, buf_cstr(&words));
    buf_finish(&words);
}

/* A job that stands still leaves its share to the others. */
static void share_limits(struct engine *e, bool still)
{
    const struct engine_params *p = e->params;
    if (p->rehearsal || !p->control.job)
        return;
    if (still && e->sharing && e->lanes_open == 0)
        leave(e);
    if (!still && (!e->sharing || (!e->board && engine_now_us() >= e->join_us)))
        take_part(e);
    if (e->board)
        hear_others(e);
}

/* Connections end when the first reason to hold comes, and may be opened again when
 * the last is gone. */
static void set_holds(struct engine *e, unsigned holds)
{
    share_limits(e, holds != 0);
    bool was = e->holds != 0, is = holds != 0;
    const struct said *before = said_of(e->holds), *after = said_of(holds);
    e->holds = holds;
    if (before != after)
        note(e, after->note);
    if (was == is)
        return;
    scheduler_pause(e->scheduler, is, engine_now_us());
    if (e->state == ENGINE_RUNNING)
        engine_broadcast(e, is ? TASK_FINISH : TASK_CONTINUE);
}

static void wind_up(struct engine *e)
{
    scheduler_stop(e->scheduler);
    engine_broadcast(e, TASK_FINISH);
    e->state = ENGINE_STOPPING;
}

void steer_cancel(struct engine *e, enum engine_state as, struct span reason)
{
    if (e->cancelled)
        return;
    e->cancelled = as;
    snprintf(e->cause, sizeof e->cause, "%.*s", (int)reason.n, reason.p);
    attempts_event(e->params->attempts, engine_wall_ms(e, engine_now_us()),
                   RUN_CANCELLED, reason);
    if (e->state == ENGINE_RUNNING)
        wind_up(e);
}

void steer_network(struct engine *e, bool down)
{
    scheduler_network(e->scheduler, down, engine_now_us());
    note(e, down && e->network.unrouted
                ? "network-down: no route to any host, one probe at a time"
            : down ? "network-down: nothing connects any more, one probe at a time"
            : e->network.given_up ? "network-down for too long: tries count again"
                                  : "the network is back");
}

/* ---- the clock ---- */

/* The two clocks are read one behind the other, and may have come apart a little: it is
 * a whole minute on both. */
int64_t steer_quiet_until_us(const struct engine *e, const struct hours *hours)
{
    int64_t now_ms = engine_clock_ms();
    if (!hours_hold(hours, now_ms))
        return 0;
    int64_t left_ms = hours_change_ms(hours, now_ms) - now_ms;
    int64_t until_ms = engine_wall_ms(e, engine_now_us()) + left_ms + MINUTE_MS / 2;
    return engine_us_of(e, until_ms - until_ms % MINUTE_MS);
}

/* anew: the hours may be others. */
static void watch_hours(struct engine *e, bool anew)
{
    int64_t now_ms = engine_clock_ms();
    for (uint32_t i = 0; i < e->policies_n; i++) {
        struct policy *p = &e->policies[i];
        if (!anew && hours_hold(&p->hours, now_ms) == p->quiet)
            continue;
        int64_t until_us = steer_quiet_until_us(e, &p->hours);
        p->quiet = until_us != 0;
        scheduler_quiet(e->scheduler, i, until_us);
    }
}

/* Unix time; 0: there is a destination that may be mailed. */
static int64_t all_quiet_until_ms(const struct engine *e)
{
    const struct engine_policies *p = &e->params->policies;
    return p->all_quiet_until_ms(p->arg, engine_clock_ms());
}

/* Quiet hours are for people and go by the clock on the wall. Start and end go by the
 * run's own clock, which no correction moves. */
static void on_clock(uv_timer_t *timer)
{
    struct engine *e = timer->data;
    const struct engine_params *p = e->params;
    int64_t now_ms = engine_wall_ms(e, engine_now_us());
    if (e->state != ENGINE_RUNNING)
        return;
    unsigned holds = e->holds & ~(unsigned)(HOLD_START | HOLD_QUIET);
    if (now_ms < p->start_ms)
        holds |= HOLD_START;
    if (all_quiet_until_ms(e))
        holds |= HOLD_QUIET;
    watch_hours(e, false);
    set_holds(e, holds);
    if (p->until_ms && now_ms >= p->until_ms) {
        e->expired = true;
        note(e, "its time is over");
        wind_up(e);
    }
}

/* ---- status ---- */

/* Unix time; 0: nobody knows. */
static int64_t end_of_hold(const struct engine *e)
{
    switch (said_of(e->holds)->hold) {
    case HOLD_START:
        return e->params->start_ms;
    case HOLD_QUIET:
        return all_quiet_until_ms(e);
    default:
        return 0;
    }
}

struct span steer_reason(const struct engine *e, int64_t *until_ms)
{
    *until_ms = 0;
    if (e->cancelled)
        return span_of(e->cause);
    if (e->state == ENGINE_STOPPING)
        return SPAN("ending what is in flight");
    if (e->holds) {
        *until_ms = end_of_hold(e);
        return span_of(said_of(e->holds)->reason);
    }
    if (e->network.down)
        return e->network.unrouted
                   ? SPAN("no route to any host, one probe at a time")
                   : SPAN("nothing connects any more, one probe at a time");
    if (resolver_stats(e->resolver).dead)
        return SPAN("no name server answers");
    if (e->disk_full)
        return SPAN("the spool's disk is full, waiting for room");
    return (struct span){0};
}

static void tell(struct engine *e, bool json, struct buf *out)
{
    struct site_view sites[STATUS_SITES];
    struct moment now = engine_moment(e);
    struct status s = {
        .job = e->params->control.job,
        .state = engine_state_now(e),
        .jobs = e->sharing ? e->jobs : 0,
        .totals = e->totals,
        .survey = {.sites = sites,
                   .sites_max = json ? STATUS_SITES : STATUS_SITES_TEXT},
        .scheduler = scheduler_stats(e->scheduler),
        .now = now,
    };
    scheduler_survey(e->scheduler, &s.survey, now.us);
    s.reason = steer_reason(e, &s.until_ms);
    if (json)
        status_json(&s, out);
    else
        status_text(&s, out);
}

static bool tell_why(struct engine *e, uint32_t row, struct buf *out)
{
    const struct recipients *list = e->params->list;
    int64_t until_ms;
    if (row < recipients_first(list) || row > recipients_last(list)) {
        buf_printf(out, "the job has no row %u", row);
        return false;
    }
    struct row_view view;
    struct moment now = engine_moment(e);
    scheduler_view_row(e->scheduler, row, &view, now.us);
    const struct worker_source *sources = e->params->worker.sources;
    status_row(&view, view.source ? sources[view.source - 1].name : NULL, &now, out);
    struct span reason = steer_reason(e, &until_ms);
    if (view.state != ROW_FINAL)
        status_whole(engine_state_now(e), reason, until_ms, out);
    return true;
}

/* ---- other settings ---- */

static void take(struct engine *e, const struct engine_params *fresh)
{
    struct scheduler_policy *policies = mem_alloc(e->policies_n * sizeof *policies);
    for (uint32_t i = 0; i < e->policies_n; i++)
        policies[i] = engine_get_policy(e, i);
    scheduler_set_policies(e->scheduler, policies, e->policies_n);
    e->patience_us = policies[0].lifetime_ms * 1000;
    free(policies);
    watch_hours(e, true);
    e->reactions = fresh->reactions;
    memset(e->reacted, 0, sizeof e->reacted); /* its rules are gone */
    network_set(&e->network, fresh->network_silence_us, e->patience_us);
    storm_destroy(e->storm); /* what was counted by other rules is forgotten */
    e->storm = storm_create(&fresh->storm);
}

/* not_taken: which keys stay as they were, for people. */
static bool reload(struct engine *e, struct buf *not_taken, struct fault *f)
{
    struct engine_params fresh;
    if (!e->params->reload)
        return fault_set(f, -4, "this run has no settings that could be read anew");
    if (!e->params->reload(e->params->reload_arg, &fresh, not_taken, f) ||
        !engine_take_resolver(e, &fresh.resolver, f))
        return false;
    take(e, &fresh);
    struct buf words = {0};
    buf_add_str(&words, "settings were read anew");
    if (not_taken->n)
        buf_printf(&words, "; a running job does not take %s", buf_cstr(not_taken));
    note(e, buf_cstr(&words));
    buf_finish(&words);
    return true;
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct engine *e = handle->data;
    struct fault f = {0};
    struct buf words = {0}, not_taken = {0};
    (void)number;
    if (e->state == ENGINE_RUNNING && !reload(e, &not_taken, &f)) {
        buf_printf(&words, "settings stay: %d %s", f.code, f.words);
        note(e, buf_cstr(&words));
    }
    buf_finish(&words);
    buf_finish(&not_taken);
}

/* ---- commands ---- */

/* What was not taken, or why nothing was. */
static bool answer_reload(struct engine *e, struct buf *answer)
{
    struct fault f = {0};
    if (reload(e, answer, &f))
        return true;
    buf_reset(answer);
    buf_printf(answer, "%d LE %s", f.code, f.words);
    return false;
}

static bool on_command(void *arg, enum control_command command, uint32_t row,
                       struct buf *answer)
{
    struct engine *e = arg;
    bool steers = command != CONTROL_STATUS && command != CONTROL_STATUS_JSON &&
                  command != CONTROL_WHY;
    if (steers && e->state != ENGINE_RUNNING) {
        buf_add_str(answer, e->cancelled ? "it is cancelled already"
                                         : "it is stopping already");
        return false;
    }
    if (command == CONTROL_RELOAD)
        return answer_reload(e, answer);
    if (command == CONTROL_WHY)
        return tell_why(e, row, answer);
    switch (command) {
    case CONTROL_STATUS:
    case CONTROL_STATUS_JSON:
        tell(e, command == CONTROL_STATUS_JSON, answer);
        break;
    case CONTROL_PAUSE:
        set_holds(e, e->holds | HOLD_PAUSE);
        break;
    case CONTROL_CONTINUE:
        set_holds(e, e->holds & ~(unsigned)HOLD_PAUSE);
        break;
    case CONTROL_CANCEL:
        steer_cancel(e, ENGINE_CANCELLED, SPAN("cancelled"));
        break;
    case CONTROL_WHY:
    case CONTROL_RELOAD:
    case CONTROL_UNKNOWN:
        break;
    }
    return true;
}

/* ---- begin and end ---- */

/* Without a socket the job runs all the same; the log says why there is none. */
static void open_control(struct engine *e)
{
    const struct engine_control *c = &e->params->control;
    struct fault f = {0};
    if (!c->job)
        return;
    e->control = control_open(&e->loop, c->path, c->fd, on_command, e, &f);
    if (!e->control)
        note(e, f.words);
}

void steer_begin(struct engine *e)
{
    const struct engine_params *p = e->params;
    e->storm = storm_create(&p->storm);
    e->jobs = 1;
    network_init(&e->network, p->network_silence_us, e->patience_us, e->began_us);
    uv_signal_init(&e->loop, &e->hangup);
    uv_timer_init(&e->loop, &e->clock);
    e->hangup.data = e->clock.data = e;
    uv_signal_start(&e->hangup, on_hangup, SIGHUP);
    open_control(e);
    e->reactions = p->reactions;
    uv_timer_start(&e->clock, on_clock, CLOCK_MS, CLOCK_MS);
    on_clock(&e->clock); /* before anything is begun */
}

void steer_end(struct engine *e)
{
    control_close(e->control);
    e->control = NULL;
    if (e->sharing)
        leave(e);
    uv_close((uv_handle_t *)&e->clock, NULL);
    uv_unref((uv_handle_t *)&e->hangup); /* closed last, like the other signals */
}

void steer_finish(struct engine *e)
{
    storm_destroy(e->storm);
    network_finish(&e->network);
}
