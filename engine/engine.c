#include "engine/engine.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "base/mem.h"
#include "engine/record.h"

enum {
    DESCRIPTORS_KEPT = 64, /* for files, DNS, loops, and what a library opens */
    CONNECTIONS_MAX = 65536,
    UNRESOLVABLE_A_TURN =
        10000,         /* rows of dead domains settled before the loop breathes */
    LOOKUPS_AHEAD = 2, /* times resolver.in_flight: asked, not yet answered */
};

/* What the engine remembers of an open connection: for the log. */
struct lane {
    int worker;
    const char *site;
    struct event
        *closed; /* it is over, but rows are still on their way back; or NULL */
    struct task
        *targets; /* a task without rows, kept for its targets; NULL: number is free */
};

struct sender { /* a worker and its thread */
    struct worker worker;
    uv_loop_t loop;
    uv_thread_t thread;
};

struct engine {
    const struct engine_params *params;
    struct worker_params worker_params;
    struct scheduler *scheduler;
    struct resolver *resolver;
    struct mailbox inbox;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_timer_t wake, tick;
    uv_signal_t interrupt, terminate;
    uv_work_t sync;
    bool syncing;
    uint64_t synced_lines;
    struct fault fault; /* of the log: the run is over */
    struct fault sync_fault;

    struct sender *senders;
    int senders_n, next_sender;
    struct lane *lanes;
    uint32_t lanes_n, lanes_open;
    struct link lookups; /* asked of the resolver, not yet answered */
    int lookups_n;
    enum engine_state state;
    bool ending; /* TASK_END was posted, handles are closing */
    struct totals totals;
    uint64_t attempts;
    int64_t began_us, began_ms;
    struct order order;
};

const char *engine_state_word(enum engine_state state)
{
    static const char *const words[] = {"running", "stopping", "stopped", "finished"};
    return words[state];
}

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

/* Wall time of the log: the start's wall clock plus what has passed, so that a jump of
 * the clock disturbs nothing within a run. */
static int64_t wall_ms(const struct engine *e, int64_t us)
{
    return e->began_ms + (us - e->began_us) / 1000;
}

/* ---- the log ---- */

static struct record_where where_of(struct engine *e, uint32_t row)
{
    struct record_where where = {.flags = e->params->rehearsal ? FLAG_REHEARSAL : 0};
    if (row)
        where.domain = span_of(recipients_domain_name(
            e->params->list, recipients_domain(e->params->list, row)));
    return where;
}

static void where_target(struct engine *e, struct record_where *where,
                         uint32_t connection, int target, char address[IP_TEXT_MAX])
{
    const struct lane *lane = &e->lanes[connection];
    where->site = span_of(lane->site);
    if (target < 0 || target >= lane->targets->targets_n)
        return;
    const struct target *t = &lane->targets->targets[target];
    ip_print(&t->address, address);
    where->mx_host = span_of(t->host);
    where->mx_address = span_of(address);
}

/* Settle a row, log it, count it. connection: NO_CONNECTION for rows that none carried.
 */
static void settle(struct engine *e, uint32_t connection, uint32_t row,
                   const struct verdict *v, struct record_where *where,
                   struct span words, const int32_t *timings, bool worked)
{
    int64_t now = now_us();
    struct settlement what = {v->outcome, v->counted, worked, v->in_doubt};
    struct decision d = scheduler_settle(e->scheduler, connection, row, &what, now);
    if (!v->counted && !d.final)
        return; /* nobody's attempt: nothing to tell of this row */
    e->attempts++;
    struct recipient fields = {0};
    if (where->email.n == 0) {
        struct fault f = {0};
        if (recipients_read(e->params->list, row, &fields, &f))
            where->email = (struct span){fields.address.text, fields.address.n};
    }
    struct record r = {.now_ms = wall_ms(e, now),
                       .next_ms = d.final ? 0 : wall_ms(e, d.next_us),
                       .row = row,
                       .verdict = v,
                       .decision = d,
                       .words = words,
                       .timings_us = timings};
    record_attempt(e->params->attempts, &r, where);
    if (d.first_doubt)
        e->totals.in_doubt++;
    if (d.final) {
        record_count(&e->totals, v, d.ended);
        e->totals.pending--;
    }
    recipient_finish(&fields);
}

static void sync_log(uv_work_t *work)
{
    struct engine *e = work->data;
    attempts_sync(e->params->attempts, &e->sync_fault);
}

static void on_synced(uv_work_t *work, int status)
{
    struct engine *e = work->data;
    (void)status;
    e->syncing = false;
    if (e->sync_fault.code && !e->fault.code)
        e->fault = e->sync_fault;
}

static void write_log(struct engine *e)
{
    if (e->fault.code || !attempts_write(e->params->attempts, &e->fault))
        return;
    uint64_t lines = attempts_lines(e->params->attempts);
    if (e->syncing || lines == e->synced_lines)
        return;
    e->synced_lines = lines;
    e->syncing = true;
    e->sync.data = e;
    uv_queue_work(&e->loop, &e->sync, sync_log, on_synced);
}

/* ---- reports ---- */

static void on_settled(struct engine *e, const struct event *event)
{
    struct record_where where = where_of(e, event->row);
    char address[IP_TEXT_MAX];
    where_target(e, &where, event->connection, event->target, address);
    where.email = event_text(event, EVENT_EMAIL);
    where.message_id = event_text(event, EVENT_MESSAGE_ID);
    where.tls = event_text(event, EVENT_TLS);
    if (event->reused)
        where.flags |= FLAG_REUSED;
    int32_t timings[TIMING_COUNT];
    timings[TIMING_DNS] = event->dns_us;
    timings[TIMING_CONNECT] = event->connect_us;
    memcpy(timings + TIMING_STAGES, event->timings.us, sizeof event->timings.us);
    struct span words = event_text(event, EVENT_WORDS);
    bool worked = event->timings.us[SMTP_MAIL] >= 0;
    settle(e, event->connection, event->row, &event->verdict, &where, words, timings,
           worked);
}

static void on_epilogue(struct engine *e, const struct event *event)
{
    struct record_where where = where_of(e, 0);
    char address[IP_TEXT_MAX];
    where_target(e, &where, event->connection, event->target, address);
    record_event(e->params->attempts, wall_ms(e, now_us()), &event->verdict, &where,
                 event_text(event, EVENT_WORDS));
}

/* All rows of a connection that is over have come back. */
static void close_lane(struct engine *e, const struct event *event)
{
    struct lane *lane = &e->lanes[event->connection];
    if (event->closed == CLOSED_OURS) /* rows wait, and nobody's attempt tells why */
        on_epilogue(e, event);
    bool round = scheduler_closed(e->scheduler, event->connection, event->closed,
                                  event->group, now_us());
    if (round) {
        struct span words = event_text(event, EVENT_WORDS);
        struct verdict v = event->verdict;
        v.outcome =
            OUTCOME_RETRY; /* of the others: theirs was no dialogue of their own */
        v.counted = true;
        for (uint32_t row; (row = scheduler_round(e->scheduler));) {
            struct record_where where = where_of(e, row);
            char address[IP_TEXT_MAX];
            where_target(e, &where, event->connection, event->target, address);
            settle(e, NO_CONNECTION, row, &v, &where, words, NULL, false);
        }
    }
    free(lane->targets);
    lane->targets = NULL;
    e->lanes_open--;
}

/* Rows may be on their way to a connection that is over already: the worker sends them
 * back, and only then its number is free. */
static void on_closed(struct engine *e, const struct event *event)
{
    if (scheduler_lent(e->scheduler, event->connection) == 0) {
        close_lane(e, event);
        return;
    }
    scheduler_ending(e->scheduler, event->connection);
    struct event *copy = mem_alloc(event->size);
    memcpy(copy, event, event->size);
    e->lanes[event->connection].closed = copy;
}

static void on_returned(struct engine *e, const struct event *event)
{
    struct lane *lane = &e->lanes[event->connection];
    scheduler_returned(e->scheduler, event->connection, event->row, now_us());
    if (!lane->closed || scheduler_lent(e->scheduler, event->connection) > 0)
        return;
    close_lane(e, lane->closed);
    free(lane->closed);
    lane->closed = NULL;
}

static void deliver(void *owner, struct mail *mail)
{
    struct engine *e = owner;
    struct report *report = CONTAINER_OF(mail, struct report, mail);
    for (const struct event *event = NULL; (event = report_next(report, event));)
        switch (event->kind) {
        case EVENT_SETTLED:
            on_settled(e, event);
            break;
        case EVENT_RETURNED:
            on_returned(e, event);
            break;
        case EVENT_EPILOGUE:
            on_epilogue(e, event);
            break;
        case EVENT_CLOSED:
            on_closed(e, event);
            break;
        }
    free(report);
}

/* ---- resolving ---- */

struct lookup {
    struct link link; /* in engine->lookups */
    struct engine *engine;
    uint32_t domain;
};

static void forget_lookup(struct lookup *lookup)
{
    lookup->engine->lookups_n--;
    link_remove(&lookup->link);
    free(lookup);
}

static void on_resolved(void *arg, struct mx_set *set)
{
    struct lookup *lookup = arg;
    struct engine *e = lookup->engine;
    scheduler_resolved(e->scheduler, lookup->domain, set, now_us());
    forget_lookup(lookup);
}

static void ask(struct engine *e)
{
    uint32_t domain;
    while (e->lookups_n < LOOKUPS_AHEAD * e->params->resolver.in_flight &&
           (domain = scheduler_ask(e->scheduler)) != RECIPIENTS_NO_DOMAIN) {
        struct lookup *lookup = mem_alloc(sizeof *lookup);
        *lookup = (struct lookup){.engine = e, .domain = domain};
        link_insert(&e->lookups, &lookup->link);
        e->lookups_n++;
        resolver_lookup(e->resolver, recipients_domain_name(e->params->list, domain),
                        on_resolved, lookup);
    }
}

/* Rows whose domain has no place to send to. */
static bool settle_unresolvable(struct engine *e)
{
    const struct mx_set *set;
    for (int i = 0; i < UNRESOLVABLE_A_TURN; i++) {
        uint32_t row = scheduler_unresolvable(e->scheduler, &set);
        if (!row)
            return false;
        struct verdict v = verdict_of_code(set->code, "dns", false);
        if (set->status[0])
            memcpy(v.status, set->status, sizeof set->status);
        struct record_where where = where_of(e, row);
        int32_t timings[TIMING_COUNT];
        memset(timings, 0xff, sizeof timings);
        timings[TIMING_DNS] = set->took_us;
        settle(e, NO_CONNECTION, row, &v, &where, span_of(set->words), timings, false);
    }
    return true;
}

/* ---- orders ---- */

static void carry_out(struct engine *e, const struct order *order)
{
    if (order->kind == ORDER_OPEN) {
        struct lane *lane = &e->lanes[order->connection];
        assert(!lane->targets);
        struct order without_rows = {.kind = ORDER_OPEN, .targets_n = order->targets_n};
        memcpy(without_rows.targets, order->targets, sizeof order->targets);
        lane->targets = task_from_order(&without_rows);
        lane->site = order->site;
        lane->worker = e->next_sender;
        e->next_sender = (e->next_sender + 1) % e->senders_n;
        e->lanes_open++;
    }
    struct task *task = task_from_order(order);
    mailbox_post(&e->senders[e->lanes[order->connection].worker].worker.inbox,
                 &task->mail);
}

static void broadcast(struct engine *e, enum task_kind kind)
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
    broadcast(e, e->state == ENGINE_STOPPING ? TASK_ABORT : TASK_FINISH);
    e->state = ENGINE_STOPPING;
}

/* ---- turns ---- */

static void fill_stats(struct engine *e, struct engine_stats *out)
{
    int64_t now = now_us();
    *out = (struct engine_stats){
        .state = e->state,
        .totals = e->totals,
        .scheduler = scheduler_stats(e->scheduler),
        .resolver = resolver_stats(e->resolver),
        .attempts = e->attempts,
        .elapsed_us = now - e->began_us,
        .next_due_us = -1,
    };
    if (scheduler_wake(e->scheduler) != INT64_MAX)
        out->next_due_us = scheduler_wake(e->scheduler) - now;
    out->slowest_n =
        scheduler_slowest(e->scheduler, out->slowest, ENGINE_SLOWEST_MAX, now);
}

static void on_tick(uv_timer_t *timer)
{
    struct engine *e = timer->data;
    struct engine_stats stats;
    fill_stats(e, &stats);
    e->params->tick(e->params->tick_arg, &stats);
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer; /* the prepare handle does the work */
}

static void end(struct engine *e)
{
    e->ending = true;
    broadcast(e, TASK_END);
    resolver_close(e->resolver);
    while (!link_alone(&e->lookups)) /* never answered now */
        forget_lookup(CONTAINER_OF(e->lookups.next, struct lookup, link));
    mailbox_close(&e->inbox);
    uv_close((uv_handle_t *)&e->prepare, NULL);
    uv_close((uv_handle_t *)&e->wake, NULL);
    uv_close((uv_handle_t *)&e->tick, NULL);
    uv_close((uv_handle_t *)&e->interrupt, NULL);
    uv_close((uv_handle_t *)&e->terminate, NULL);
}

static bool over(struct engine *e)
{
    if (e->lanes_open > 0)
        return false;
    return scheduler_done(e->scheduler) || e->state == ENGINE_STOPPING;
}

static void pump(struct engine *e)
{
    if (e->fault.code && e->state != ENGINE_STOPPING) {
        /* What cannot be recorded must not be sent. */
        scheduler_stop(e->scheduler);
        broadcast(e, TASK_ABORT);
        e->state = ENGINE_STOPPING;
    }
    int64_t now = now_us();
    scheduler_advance(e->scheduler, now);
    ask(e);
    bool more = settle_unresolvable(e);
    while (scheduler_next(e->scheduler, &e->order, now) != ORDER_NONE)
        carry_out(e, &e->order);
    write_log(e);
    if (over(e) && !more) {
        end(e);
        return;
    }
    int64_t wake = more ? now : scheduler_wake(e->scheduler);
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

/* One worker of its own loop, or, with workers = 0, on the scheduler's. */
static bool make_worker(struct engine *e, struct sender *s, struct fault *f)
{
    if (e->params->workers == 0)
        return worker_init(&s->worker, &e->loop, &e->worker_params, &e->inbox, f);
    int failed = uv_loop_init(&s->loop);
    assert(!failed);
    if (worker_init(&s->worker, &s->loop, &e->worker_params, &e->inbox, f))
        return true;
    uv_loop_close(&s->loop);
    return false;
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
        assert(!failed);
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

/* Descriptors bound the connections of the whole job: the soft limit is raised to the
 * hard one. */
static uint32_t connections_possible(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CONNECTIONS_MAX;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t n = limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? limit.rlim_cur - DESCRIPTORS_KEPT
                                                     : DESCRIPTORS_KEPT;
    return n > CONNECTIONS_MAX ? CONNECTIONS_MAX : (uint32_t)n;
}

static void start(struct engine *e)
{
    const struct engine_params *p = e->params;
    e->worker_params = p->worker;
    e->worker_params.list = p->list;
    e->totals = p->totals;
    e->lanes_n = p->connections_total ? p->connections_total : connections_possible();
    e->lanes = mem_zero(e->lanes_n, sizeof *e->lanes);
    e->began_us = now_us();
    struct timeval wall;
    gettimeofday(&wall, NULL);
    e->began_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_usec / 1000;
    struct scheduler_params sp = {
        .list = p->list,
        .policy = p->policy,
        .connections_total = e->lanes_n,
        .seed = p->seed,
        .now_us = e->began_us,
    };
    e->scheduler = scheduler_create(&sp);
    link_init(&e->lookups);
    mailbox_init(&e->inbox, &e->loop, deliver, e);
    uv_prepare_init(&e->loop, &e->prepare);
    uv_timer_init(&e->loop, &e->wake);
    uv_timer_init(&e->loop, &e->tick);
    uv_signal_init(&e->loop, &e->interrupt);
    uv_signal_init(&e->loop, &e->terminate);
    e->prepare.data = e->wake.data = e->tick.data = e->interrupt.data =
        e->terminate.data = e;
    uv_signal_start(&e->interrupt, on_signal, SIGINT);
    uv_signal_start(&e->terminate, on_signal, SIGTERM);
    uv_prepare_start(&e->prepare, on_prepare);
    if (p->tick)
        uv_timer_start(&e->tick, on_tick, 0, (uint64_t)p->tick_ms);
    uv_timer_start(&e->wake, on_wake, 0, 0); /* the first turn must not sleep */
    if (!start_workers(e, &e->fault)) {
        scheduler_stop(e->scheduler);
        e->state = ENGINE_STOPPING;
    }
}

bool engine_run(const struct engine_params *params, struct engine_stats *stats,
                struct fault *f)
{
    struct engine *e = mem_zero(1, sizeof *e);
    e->params = params;
    int failed = uv_loop_init(&e->loop);
    assert(!failed);
    e->resolver = resolver_create(&e->loop, &params->resolver, f);
    if (!e->resolver) {
        uv_loop_close(&e->loop);
        free(e);
        return false;
    }
    start(e);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    join_workers(e);
    e->state = e->totals.pending ? ENGINE_STOPPED : ENGINE_FINISHED;
    if (!e->fault.code && attempts_write(params->attempts, &e->fault))
        attempts_sync(params->attempts, &e->fault);
    *stats = (struct engine_stats){
        .state = e->state,
        .totals = e->totals,
        .scheduler = scheduler_stats(e->scheduler),
        .attempts = e->attempts,
        .elapsed_us = now_us() - e->began_us,
        .next_due_us = -1,
    };
    if (e->fault.code)
        *f = e->fault;
    scheduler_destroy(e->scheduler);
    uv_loop_close(&e->loop);
    free(e->lanes);
    bool good = e->fault.code == 0;
    free(e);
    return good;
}
