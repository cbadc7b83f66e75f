#include "engine/inside.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "base/map.h"
#include "base/mem.h"

enum {
    DESCRIPTORS_KEPT = 64,  /* for files, DNS, and what a library opens */
    DESCRIPTORS_A_LOOP = 8, /* epoll, wake-up, timers of libuv */
    CONNECTIONS_MAX = 65536,
    LINE_ROOM = 1024,           /* bytes kept for a line that a lent row will have */
    DISK_FULL_US = 1000 * 1000, /* then it is asked again */
};

const char *engine_state_word(enum engine_state state)
{
    static const char *const words[] = {
        [ENGINE_SCHEDULED] = "scheduled", [ENGINE_RUNNING] = "running",
        [ENGINE_PAUSED] = "paused",       [ENGINE_NETWORK_DOWN] = "network-down",
        [ENGINE_STOPPING] = "stopping",   [ENGINE_STOPPED] = "stopped",
        [ENGINE_FINISHED] = "finished",   [ENGINE_CANCELLED] = "cancelled",
        [ENGINE_STORM] = "storm",
    };
    return words[state];
}

int64_t engine_clock_ms(void)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    return (int64_t)now.tv_sec * 1000 + now.tv_usec / 1000;
}

int64_t engine_now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

int64_t engine_wall_ms(const struct engine *e, int64_t us)
{
    return e->began_ms + (us - e->began_us) / 1000;
}

int64_t engine_us_of(const struct engine *e, int64_t wall_ms)
{
    return e->began_us + (wall_ms - e->began_ms) * 1000;
}

struct moment engine_moment(const struct engine *e)
{
    int64_t ms = engine_wall_ms(e, engine_now_us());
    return (struct moment){engine_us_of(e, ms), ms};
}

static void free_policies(struct engine *e)
{
    for (struct kept_destination *next; e->kept; e->kept = next) {
        next = e->kept->next;
        free(e->kept);
    }
    free(e->policies);
}

/* ---- orders ---- */

const char *engine_source(const struct engine *e, const struct lane *lane)
{
    return lane->source ? e->params->worker.sources[lane->source - 1].name : "";
}

static void carry_out(struct engine *e, const struct order *order)
{
    if (order->kind == ORDER_OPEN) {
        struct lane *lane = &e->lanes[order->connection];
        assert(!lane->targets);
        struct order without_rows = {.kind = ORDER_OPEN, .targets_n = order->targets_n};
        memcpy(without_rows.targets, order->targets, sizeof order->targets);
        lane->targets = task_from_order(&without_rows, NULL);
        lane->site = order->site;
        lane->source = order->source;
        lane->relayed = e->policies[order->policy].destination->verdict.relay;
        lane->opened_us = engine_now_us();
        lane->worker = e->next_sender;
        e->next_sender = (e->next_sender + 1) % e->senders_n;
        e->lanes_open++;
    }
    struct task *task = task_from_order(order, e->params->worker.flight);
    if (order->kind == ORDER_OPEN)
        task->destination = e->policies[order->policy].destination;
    const struct lane *lane = &e->lanes[order->connection];
    journal_lend(&e->journal, task, order->site, engine_source(e, lane),
                 engine_wall_ms(e, engine_now_us()),
                 &e->senders[lane->worker].worker.inbox);
}

void engine_broadcast(struct engine *e, enum task_kind kind)
{
    for (int i = 0; i < e->senders_n; i++)
        mailbox_post(&e->senders[i].worker.inbox, &task_create(kind)->mail);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct engine *e = handle->data;
    (void)number;
    if (e->ending)
        return;
    scheduler_stop(e->scheduler);
    engine_broadcast(e, e->interrupted ? TASK_ABORT : TASK_FINISH);
    e->interrupted = true;
    e->state = ENGINE_STOPPING;
}

/* ---- turns ---- */

enum engine_state engine_state_now(const struct engine *e)
{
    if (e->state != ENGINE_RUNNING)
        return e->state;
    if (e->holds & HOLD_START)
        return ENGINE_SCHEDULED;
    if (e->holds)
        return ENGINE_PAUSED;
    return e->network.down ? ENGINE_NETWORK_DOWN : ENGINE_RUNNING;
}

void engine_stats_now(const struct engine *e, struct engine_stats *out)
{
    int64_t now = engine_now_us();
    *out = (struct engine_stats){
        .now = engine_moment(e),
        .state = engine_state_now(e),
        .totals = e->totals,
        .scheduler = scheduler_stats(e->scheduler),
        .resolver = resolver_stats(e->resolver),
        .attempts = e->attempts,
        .elapsed_us = now - e->began_us,
    };
    struct span reason = steer_reason(e, &out->until_ms);
    snprintf(out->reason, sizeof out->reason, "%.*s", (int)reason.n, reason.p);
    out->slowest_n =
        scheduler_slowest(e->scheduler, out->slowest, ENGINE_SLOWEST_MAX, now);
}

static void on_tick(uv_timer_t *timer)
{
    struct engine *e = timer->data;
    struct engine_stats stats;
    engine_stats_now(e, &stats);
    e->params->tick(e->params->tick_arg, &stats);
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer; /* the prepare handle does the work */
}

static void end(struct engine *e)
{
    e->ending = true;
    engine_broadcast(e, TASK_END);
    resolver_close(e->resolver);
    lookups_forget(e);
    mailbox_close(&e->inbox);
    uv_close((uv_handle_t *)&e->prepare, NULL);
    uv_close((uv_handle_t *)&e->wake, NULL);
    uv_close((uv_handle_t *)&e->tick, NULL);
    steer_end(e);
    /* A second ^C may still come, and must not end us before the last sync: these are
     * closed last, but keep no loop alive. */
    uv_unref((uv_handle_t *)&e->interrupt);
    uv_unref((uv_handle_t *)&e->terminate);
}

/* All is decided; libuv gives the signals back to the kernel, who would kill. */
static void close_signals(struct engine *e)
{
    uv_close((uv_handle_t *)&e->interrupt, NULL);
    uv_close((uv_handle_t *)&e->hangup, NULL);
    uv_close((uv_handle_t *)&e->terminate, NULL);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
}

/* A connection may be gone before word that it gets no more rows has left the journal:
 * also that must find its worker there. The sync that it waits for wakes us. */
static bool over(struct engine *e)
{
    if (e->lanes_open > 0 || journal_holds(&e->journal))
        return false;
    return scheduler_done(e->scheduler) || e->state == ENGINE_STOPPING;
}

/* What cannot be recorded must not be sent. */
static void give_up(struct engine *e, const struct fault *f)
{
    if (e->fault.code)
        return;
    e->fault = *f;
    scheduler_stop(e->scheduler);
    engine_broadcast(e, TASK_ABORT);
    e->state = ENGINE_STOPPING;
    journal_let_go(&e->journal);
}

/* Room for the lines of all rows that are lent, of one more lease, and of what a turn
 * settles without one. A full disk loses nothing: nothing is begun until there is room.
 */
static bool has_room(struct engine *e)
{
    uint64_t lent = FLIGHT_ENTRIES - flight_free_entries(e->params->worker.flight);
    uint64_t next = e->totals.pending < LEASE_MAX ? e->totals.pending : LEASE_MAX;
    e->disk_full = !attempts_reserve(e->params->attempts, (lent + next) * LINE_ROOM);
    return !e->disk_full;
}

static void pump(struct engine *e)
{
    int64_t now = engine_now_us();
    scheduler_advance(e->scheduler, now);
    lookups_ask(e);
    bool more = has_room(e) && settle_unresolvable(e);
    if (e->expired && e->lanes_open == 0 && !more && !e->disk_full)
        more = settle_expired(e);
    while (scheduler_recall(e->scheduler, &e->order, now))
        carry_out(e, &e->order);
    /* An entry is free again when its row's line is on disk; the sync will wake us. */
    while (flight_free_entries(e->params->worker.flight) >= LEASE_MAX && has_room(e) &&
           scheduler_next(e->scheduler, &e->order, now) != ORDER_NONE)
        carry_out(e, &e->order);
    int64_t sync_us;
    if (!journal_turn(&e->journal, now, &sync_us))
        give_up(e, &e->journal.fault);
    if (over(e) && !more) {
        end(e);
        return;
    }
    int64_t wake = more ? now : scheduler_wake(e->scheduler);
    if (sync_us < wake)
        wake = sync_us;
    if (e->disk_full && now + DISK_FULL_US < wake)
        wake = now + DISK_FULL_US;
    if (wake == INT64_MAX)
        uv_timer_stop(&e->wake);
    else
        uv_timer_start(&e->wake, on_wake,
                       wake > now ? (uint64_t)(wake - now + 999) / 1000 : 0, 0);
}

static void on_prepare(uv_prepare_t *prepare)
{
    pump(prepare->data);
}

/* ---- start and end ---- */

static void run_worker(void *arg)
{
    struct sender *sender = arg;
    uv_run(&sender->loop, UV_RUN_DEFAULT);
}

static const char no_loop[] = "cannot make an event loop: %s";

/* One worker of its own loop, or, with workers = 0, on the scheduler's. */
static bool make_worker(struct engine *e, struct sender *s, struct fault *f)
{
    uv_loop_t *loop = e->params->workers == 0 ? &e->loop : &s->loop;
    int failed = e->params->workers == 0 ? 0 : uv_loop_init(loop);
    if (failed)
        return fault_set(f, -20, no_loop, uv_strerror(failed));
    worker_init(&s->worker, loop, &e->worker_params, &e->inbox);
    return true;
}

/* Those that could be made end by TASK_END like all others. */
static bool start_workers(struct engine *e, struct fault *f)
{
    int n = e->params->workers > 0 ? e->params->workers : 1;
    e->senders = mem_zero((size_t)n, sizeof *e->senders);
    for (; e->senders_n < n; e->senders_n++) {
        struct sender *s = &e->senders[e->senders_n];
        if (!make_worker(e, s, f))
            return false;
        if (e->params->workers == 0)
            continue;
        int failed = uv_thread_create(&s->thread, run_worker, s);
        if (failed) { /* it ends here and now */
            mailbox_post(&s->worker.inbox, &task_create(TASK_END)->mail);
            run_worker(s);
            uv_loop_close(&s->loop);
            worker_finish(&s->worker);
            return fault_set(f, -20, "cannot start a thread: %s", uv_strerror(failed));
        }
    }
    return true;
}

static void join_workers(struct engine *e)
{
    for (int i = 0; i < e->senders_n; i++) {
        struct sender *s = &e->senders[i];
        if (e->params->workers > 0) {
            uv_thread_join(&s->thread);
            uv_loop_close(&s->loop);
        }
        worker_finish(&s->worker);
    }
    free(e->senders);
}

uint32_t engine_connections(int workers)
{
    const rlim_t kept = DESCRIPTORS_KEPT + DESCRIPTORS_A_LOOP * (rlim_t)(workers + 1);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CONNECTIONS_MAX;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t n = limit.rlim_cur > 2 * kept ? limit.rlim_cur - kept : kept;
    return n > CONNECTIONS_MAX ? CONNECTIONS_MAX : (uint32_t)n;
}

/* A name of an earlier run may be nobody's now. */
static uint8_t source_number(const struct worker_params *p, const char *name)
{
    for (int i = 0; name && *name && i < p->sources_n; i++)
        if (strcmp(p->sources[i].name, name) == 0)
            return (uint8_t)(i + 1);
    return 0;
}

/* The past of a row on this run's clock. */
static void past_of(void *arg, uint32_t row, struct row_past *out)
{
    const struct engine *e = arg;
    struct engine_past past = {0};
    e->params->past(e->params->past_arg, row, &past);
    *out = (struct row_past){
        .final = past.final,
        .attempts = past.attempts,
        .first_us = engine_us_of(e, past.first_ms),
        .due_us = past.due_ms ? engine_us_of(e, past.due_ms) : e->began_us,
        .source = source_number(&e->params->worker, past.source),
        .doubted = past.doubted,
    };
}

/* Receivers know a source by its address. */
static uint64_t *keys_of_sources(const struct worker_params *p)
{
    uint64_t *keys = mem_zero((size_t)p->sources_n + 1, sizeof *keys);
    for (int i = 0; i < p->sources_n; i++)
        keys[i + 1] = hash_bytes(&p->sources[i].address, sizeof p->sources[i].address);
    return keys;
}

/* The handlers stand: what was held back until now (cli/run.h) comes in. Workers
 * inherit the mask as it is here. */
static void let_signals_in(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void on_posted(void *arg, uint32_t connection)
{
    struct engine *e = arg;
    scheduler_posted(e->scheduler, connection, engine_now_us());
}

static void start(struct engine *e)
{
    const struct engine_params *p = e->params;
    e->worker_params = p->worker;
    e->worker_params.list = p->list;
    e->totals = p->totals;
    e->lanes_n =
        p->connections_total ? p->connections_total : engine_connections(p->workers);
    e->lanes = mem_zero(e->lanes_n, sizeof *e->lanes);
    e->began_us = engine_now_us();
    e->began_ms = engine_clock_ms();
    int64_t age_ms = e->began_ms - p->created_ms; /* a clock set back makes it young */
    e->epoch_us = e->began_us - (age_ms > 0 ? age_ms * 1000 : 0);
    const struct scheduler_policy policy = engine_get_policy(e, 0);
    e->patience_us = policy.lifetime_ms * 1000;
    e->source_keys = keys_of_sources(&p->worker);
    struct scheduler_params sp = {
        .list = p->list,
        .policy = policy,
        .policy_of = p->policies.number ? engine_policy_of : NULL,
        .policy_arg = e,
        .allow = e->warmup ? warmup_allow : NULL,
        .allow_arg = e,
        .retry_longest_ms = p->policies.retry_longest_ms,
        .connections_total = e->lanes_n,
        .sources_n = p->worker.sources_n,
        .source_keys = e->source_keys,
        .refusals_max = storm_of_one_site(&p->storm),
        .seed = p->seed,
        .now_us = e->began_us,
        .epoch_us = e->epoch_us,
        .past = p->past ? past_of : NULL,
        .past_arg = e,
        .until_us = p->until_ms ? engine_us_of(e, p->until_ms) : 0,
    };
    e->scheduler = scheduler_create(&sp);
    if (p->past)
        p->past_done(p->past_arg);
    mailbox_init(&e->inbox, &e->loop, settle_report, e);
    journal_init(&e->journal, &e->loop, p->attempts, p->worker.flight, on_posted, e);
    if (e->warmup)
        e->journal.beside = warmup_fd(e->warmup);
    uv_prepare_init(&e->loop, &e->prepare);
    uv_timer_init(&e->loop, &e->wake);
    uv_timer_init(&e->loop, &e->tick);
    uv_signal_init(&e->loop, &e->interrupt);
    uv_signal_init(&e->loop, &e->terminate);
    e->prepare.data = e->wake.data = e->tick.data = e->interrupt.data =
        e->terminate.data = e;
    e->state = ENGINE_RUNNING;
    uv_signal_start(&e->interrupt, on_signal, SIGINT);
    uv_signal_start(&e->terminate, on_signal, SIGTERM);
    uv_prepare_start(&e->prepare, on_prepare);
    if (p->tick)
        uv_timer_start(&e->tick, on_tick, 0, (uint64_t)p->tick_ms);
    uv_timer_start(&e->wake, on_wake, 0, 0); /* the first turn must not sleep */
    steer_begin(e);
    let_signals_in();
    struct fault f = {0};
    if (!start_workers(e, &f))
        give_up(e, &f);
}

bool engine_run(const struct engine_params *params, struct engine_stats *stats,
                struct fault *f)
{
    struct engine *e = mem_zero(1, sizeof *e);
    e->params = params;
    *stats = (struct engine_stats){.state = ENGINE_STOPPED, .totals = params->totals};
    int failed = uv_loop_init(&e->loop);
    if (failed) {
        free(e);
        return fault_set(f, -20, no_loop, uv_strerror(failed));
    }
    link_init(&e->lookups);
    if (params->warmups)
        e->warmup = warmup_open(params->control.fd, f);
    if ((params->warmups && !e->warmup) ||
        !engine_take_resolver(e, &params->resolver, f)) {
        warmup_close(e->warmup);
        uv_loop_close(&e->loop);
        free(e);
        return false;
    }
    start(e);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    join_workers(e);
    if (e->cancelled) { /* the event line has said so of all of them */
        e->totals.error += e->totals.pending;
        e->totals.pending = 0;
    }
    e->state = e->cancelled        ? e->cancelled
               : e->totals.pending ? ENGINE_STOPPED
                                   : ENGINE_FINISHED;
    if (!e->fault.code)
        attempts_end(params->attempts, engine_wall_ms(e, engine_now_us()),
                     e->totals.pending ? RUN_STOPPED : RUN_FINISHED, &e->fault);
    close_signals(e);
    *stats = (struct engine_stats){
        .state = e->state,
        .totals = e->totals,
        .scheduler = scheduler_stats(e->scheduler),
        .attempts = e->attempts,
        .elapsed_us = engine_now_us() - e->began_us,
    };
    memcpy(stats->reason, e->cause, sizeof e->cause);
    if (e->fault.code)
        *f = e->fault;
    steer_finish(e);
    journal_finish(&e->journal);
    warmup_close(e->warmup);
    scheduler_destroy(e->scheduler);
    free(e->source_keys);
    free_policies(e);
    uv_loop_close(&e->loop);
    free(e->lanes);
    bool good = e->fault.code == 0;
    free(e);
    return good;
}
