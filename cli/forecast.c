#include "cli/forecast.h"

#include <assert.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum {
    BEGIN_US = 1000 * 1000, /* on the false clock */
    IDLE_US = 2 * 1000 * 1000,
    TURN_US = 1000, /* what comes so close together the scheduler hears at once */
    SAMPLE_US = 10 * 1000,
    SAMPLE_PART = 64, /* later samples are this part of the time so far apart */
    VIEWS_MAX = 64,
    TICK_ROWS = 1 << 16,
    MINUTE_MS = 60 * 1000,
};
static const int64_t year_us = INT64_C(365) * 24 * 3600 * 1000 * 1000;

static const char own_words[] = "our own throughput";
static const char quiet_words[] = "quiet hours";
static const char renewing_words[] = "messages_per_connection";

/* What becomes due: a connection, or a gate that some of them wait at. */
struct due {
    struct heap_node node;
    bool of_door;
};

struct door { /* connections at a gate, first come, first served */
    struct due due;
    struct gate *gate;
    struct link waiting;
};

enum phase {
    PHASE_NONE,
    PHASE_GATE,    /* wants to connect */
    PHASE_OPENING, /* up to the answer to the last EHLO */
    PHASE_OPEN,
    PHASE_CLOSING, /* QUIT is said */
};

/* One row's message is on its way while the next one's envelope is: that is a round
 * trip for each message, as long as the next one is there in time. Under a rate MAIL is
 * said only when nothing else is under way, as engine/connection.c does it. */
struct connection {
    struct due due;
    enum phase phase;
    uint32_t number, group;
    uint32_t *rows; /* lent, not begun: head … end */
    uint32_t head, end, cap;
    uint32_t left; /* messages; UINT32_MAX: no limit */
    bool last;
    uint32_t body, envelope; /* rows under way; 0: none */
    int64_t body_done_us, envelope_done_us;
    int64_t idle_until_us; /* valid if nothing is under way */
    struct door *connect_door, *mail_door;
    struct link at_door;
    int64_t opened_us, ready_us;
};

struct account {                          /* of a group */
    int64_t open_us, own_us, renewing_us; /* of its connections: all their time, what of
                                             it waited for us, what the limit of
                                             messages cost */
    int64_t held_us;                      /* by quiet hours, before its last message */
    int views;                            /* in the present sample */
    int64_t *why_us;                      /* by reason */
};

struct run {
    const struct forecast_params *p;
    struct forecast *out;
    struct scheduler *scheduler;
    struct heap heap;
    struct connection *connections;
    struct map door_of, group_of; /* by the bytes of a pointer: to a gate, to a name */
    struct door **doors;
    uint32_t doors_n;
    struct account *accounts;
    struct mx_set *nowhere;
    int64_t now_us, own_free_ns;
    int64_t sampled_us, sample_us; /* the last and the next sample */
    bool held;
    int64_t held_from_us, held_us, hold_change_us;
    struct order order;
};

static int64_t wall_ms(const struct run *r, int64_t us)
{
    return r->p->begin_ms + (us - BEGIN_US) / 1000;
}

/* ---- why ---- */

/* Its number; -1: there are too many. */
static int reason(struct forecast *f, const char *words)
{
    for (int i = 0; i < f->reasons_n; i++)
        if (strcmp(f->reasons[i], words) == 0)
            return i;
    if (f->reasons_n == FORECAST_REASONS)
        return -1;
    f->reasons[f->reasons_n] = mem_strdup(words);
    return f->reasons_n++;
}

static struct account *account_of(struct run *r, const struct site_view *view)
{
    struct span key = {(const char *)&view->name, sizeof view->name};
    uint32_t group = map_get(&r->group_of, key);
    return group == MAP_NONE ? NULL : &r->accounts[group];
}

/* What the scheduler says of whoever waits, for the time since it was last asked. */
static void sample(struct run *r)
{
    if (r->held || r->now_us < r->sample_us)
        return;
    struct site_view views[VIEWS_MAX];
    struct account *account;
    int64_t passed = r->now_us - r->sampled_us;
    int n = scheduler_slowest(r->scheduler, views, VIEWS_MAX, r->now_us);
    for (int i = 0; i < n; i++)
        if ((account = account_of(r, &views[i])))
            account->views++;
    for (int i = 0; i < n; i++) {
        int why = reason(r->out, views[i].reason);
        account = account_of(r, &views[i]);
        if (!account || why < 0)
            continue;
        if (!account->why_us)
            account->why_us = mem_zero(FORECAST_REASONS, sizeof *account->why_us);
        account->why_us[why] += passed / account->views;
    }
    for (int i = 0; i < n; i++)
        if ((account = account_of(r, &views[i])))
            account->views = 0;
    int64_t apart = (r->now_us - BEGIN_US) / SAMPLE_PART;
    r->sampled_us = r->now_us;
    r->sample_us = r->now_us + (apart > SAMPLE_US ? apart : SAMPLE_US);
}

/* The scheduler's longest reason, unless ours are longer: what it cannot see is how its
 * connections spend their time. */
static const char *bound_of(struct forecast *f, const struct account *a)
{
    const char *words = "";
    int64_t longest = 0;
    for (int i = 0; a->why_us && i < f->reasons_n; i++)
        if (a->why_us[i] > longest) {
            longest = a->why_us[i];
            words = f->reasons[i];
        }
    if (a->held_us > longest)
        return quiet_words;
    if (2 * a->own_us > a->open_us)
        return own_words;
    return 2 * a->renewing_us > a->open_us ? renewing_words : words;
}

/* ---- gates ---- */

static struct door *door_of(struct run *r, struct gate *gate)
{
    if (!gate)
        return NULL;
    bool fresh;
    struct span key = {(const char *)&gate, sizeof gate};
    uint32_t number = map_put(&r->door_of, key, r->doors_n, &fresh, NULL);
    if (fresh) {
        struct door *door = mem_alloc(sizeof *door);
        *door = (struct door){.due = {.of_door = true}, .gate = gate};
        link_init(&door->waiting);
        r->doors = mem_resize(r->doors, r->doors_n + 1, sizeof(struct door *));
        r->doors[r->doors_n++] = door;
    }
    return r->doors[number];
}

/* True: it is through. Else its turn comes. */
static bool pass(struct run *r, struct connection *c, struct door *door)
{
    int64_t again_us;
    if (!door)
        return true;
    bool first = link_alone(&door->waiting);
    if (first && gate_pass(door->gate, r->now_us, &again_us))
        return true;
    link_insert(&door->waiting, &c->at_door);
    if (first)
        heap_set(&r->heap, &door->due.node, again_us);
    return false;
}

/* ---- a connection ---- */

static void wake_at(struct run *r, struct connection *c, int64_t us)
{
    heap_set(&r->heap, &c->due.node, us);
}

static void add_rows(struct connection *c, const uint32_t *rows, int n)
{
    if (c->head == c->end)
        c->head = c->end = 0;
    if (c->end + (uint32_t)n > c->cap) {
        c->cap = 2 * (c->end + (uint32_t)n);
        c->rows = mem_resize(c->rows, c->cap, sizeof *c->rows);
    }
    memcpy(c->rows + c->end, rows, (size_t)n * sizeof *rows);
    c->end += (uint32_t)n;
}

static void return_rows(struct run *r, struct connection *c)
{
    while (c->end > c->head)
        scheduler_returned(r->scheduler, c->number, c->rows[--c->end], r->now_us);
}

static void settle(struct run *r, struct connection *c)
{
    static const struct settlement delivered = {
        .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
    struct forecast_group *group = &r->out->groups[c->group];
    scheduler_settle(r->scheduler, c->number, c->body, &delivered, r->now_us);
    c->body = 0;
    group->sent++;
    group->end_ms = r->out->end_ms = wall_ms(r, r->now_us);
    r->accounts[c->group].held_us = r->held_us;
    r->out->last = c->group;
    if (++r->out->sent % TICK_ROWS == 0 && r->p->tick)
        r->p->tick(r->p->tick_arg, r->out->sent);
}

static void close_connection(struct run *r, struct connection *c)
{
    struct account *a = &r->accounts[c->group];
    a->open_us += r->now_us - c->opened_us;
    if (c->left == 0)
        a->renewing_us += c->ready_us - c->opened_us + r->p->assumed.round_trip_us;
    heap_remove(&r->heap, &c->due.node);
    link_remove(&c->at_door);
    return_rows(r, c);
    c->phase = PHASE_NONE;
    scheduler_closed(r->scheduler, c->number, CLOSED_CLEAN, false, r->now_us);
}

/* The message leaves as soon as our processors have made it. */
static void begin_body(struct run *r, struct connection *c)
{
    const struct forecast_assumed *a = &r->p->assumed;
    int64_t now_ns = r->now_us * 1000;
    int64_t from_ns = r->own_free_ns > now_ns ? r->own_free_ns : now_ns;
    r->own_free_ns = from_ns + a->own_ns;
    r->accounts[c->group].own_us += (from_ns - now_ns) / 1000;
    int64_t takes_us = (int64_t)r->p->message_size * 1000000 / a->bytes_a_second;
    if (takes_us < a->round_trip_us)
        takes_us = a->round_trip_us;
    c->body = c->envelope;
    c->envelope = 0;
    c->body_done_us = from_ns / 1000 + takes_us + a->accept_us;
}

/* Answers come in order: the one to this MAIL not before that to the dot. */
static void begin_envelope(struct run *r, struct connection *c)
{
    c->envelope = c->rows[c->head++];
    c->envelope_done_us = r->now_us + r->p->assumed.round_trip_us;
    if (c->body && c->body_done_us > c->envelope_done_us)
        c->envelope_done_us = c->body_done_us;
    if (c->left != UINT32_MAX)
        c->left--;
}

/* What may be said now, and when there is more. */
static void speak(struct run *r, struct connection *c)
{
    bool waits = !link_alone(&c->at_door);
    bool limited = c->mail_door && gate_limits(c->mail_door->gate);
    bool free = !c->envelope && !waits && !(limited && c->body);
    if (free && c->left > 0 && c->head < c->end) {
        if (pass(r, c, c->mail_door))
            begin_envelope(r, c);
        else
            waits = true;
    }
    if (c->body || c->envelope) {
        wake_at(r, c, c->body ? c->body_done_us : c->envelope_done_us);
        c->idle_until_us = 0;
        return;
    }
    if (waits) {
        heap_remove(&r->heap, &c->due.node);
        return;
    }
    if (!c->idle_until_us)
        c->idle_until_us = r->now_us + IDLE_US;
    if (c->left == 0 || c->last || r->now_us >= c->idle_until_us) {
        c->phase = PHASE_CLOSING;
        wake_at(r, c, r->now_us + r->p->assumed.round_trip_us);
        return;
    }
    wake_at(r, c, c->idle_until_us);
}

static void connect_now(struct run *r, struct connection *c)
{
    c->phase = PHASE_OPENING;
    c->opened_us = r->now_us;
    wake_at(r, c, r->now_us + r->p->assumed.opening_us);
}

static void connection_due(struct run *r, struct connection *c)
{
    switch (c->phase) {
    case PHASE_OPENING:
        c->phase = PHASE_OPEN;
        c->ready_us = r->now_us;
        break;
    case PHASE_OPEN:
        if (c->body && c->body_done_us <= r->now_us)
            settle(r, c);
        if (c->envelope && !c->body && c->envelope_done_us <= r->now_us)
            begin_body(r, c);
        break;
    case PHASE_CLOSING:
        close_connection(r, c);
        return;
    case PHASE_NONE:
    case PHASE_GATE:
        abort();
    }
    speak(r, c);
}

static void door_due(struct run *r, struct door *door)
{
    int64_t again_us;
    while (!link_alone(&door->waiting)) {
        struct connection *c =
            CONTAINER_OF(door->waiting.next, struct connection, at_door);
        if (!gate_pass(door->gate, r->now_us, &again_us)) {
            heap_set(&r->heap, &door->due.node, again_us);
            return;
        }
        link_remove(&c->at_door);
        if (c->phase == PHASE_GATE) {
            connect_now(r, c);
            continue;
        }
        begin_envelope(r, c);
        speak(r, c);
    }
}

/* ---- orders ---- */

static void open_connection(struct run *r, const struct order *o)
{
    struct connection *c = &r->connections[o->connection];
    uint32_t domain = recipients_domain(r->p->list, o->rows[0]);
    assert(c->phase == PHASE_NONE && o->rows_n > 0);
    *c = (struct connection){
        .phase = PHASE_GATE,
        .number = o->connection,
        .group = r->p->groups[domain],
        .rows = c->rows,
        .cap = c->cap,
        .left = o->messages ? o->messages : UINT32_MAX,
        .last = o->last,
        .connect_door = door_of(r, o->connect_gate),
        .mail_door = door_of(r, o->mail_gate),
        .opened_us = r->now_us,
        .ready_us = r->now_us,
    };
    link_init(&c->at_door);
    map_put(&r->group_of, (struct span){(const char *)&o->site, sizeof o->site},
            c->group, NULL, NULL);
    add_rows(c, o->rows, o->rows_n);
    if (pass(r, c, c->connect_door))
        connect_now(r, c);
}

/* What waits to say MAIL and has no row any more need not wait. */
static void leave_door(struct connection *c)
{
    if (c->phase == PHASE_OPEN && c->head == c->end)
        link_remove(&c->at_door);
}

static void carry_out(struct run *r, const struct order *o)
{
    struct connection *c = &r->connections[o->connection];
    if (o->kind == ORDER_OPEN) {
        open_connection(r, o);
        return;
    }
    if (o->kind == ORDER_MORE) {
        add_rows(c, o->rows, o->rows_n);
        c->last = c->last || o->last;
    } else {
        uint32_t keep =
            c->phase < PHASE_OPEN && c->head < c->end ? c->rows[c->head++] : 0;
        return_rows(r, c);
        if (keep)
            add_rows(c, &keep, 1);
        leave_door(c);
    }
    if (c->phase == PHASE_OPEN)
        speak(r, c);
}

static void turn(struct run *r)
{
    uint32_t number;
    const struct mx_set *ignored;
    static const struct settlement no_way = {.outcome = OUTCOME_ERROR};
    scheduler_advance(r->scheduler, r->now_us);
    while ((number = scheduler_ask(r->scheduler)) != RECIPIENTS_NO_DOMAIN) {
        struct mx_set *set = r->p->sets[number];
        scheduler_resolved(r->scheduler, number,
                           mx_set_ref(set->code ? r->nowhere : set), r->now_us);
    }
    while ((number = scheduler_unresolvable(r->scheduler, &ignored)))
        scheduler_settle(r->scheduler, NO_CONNECTION, number, &no_way, r->now_us);
    while (scheduler_recall(r->scheduler, &r->order, r->now_us))
        carry_out(r, &r->order);
    while (scheduler_next(r->scheduler, &r->order, r->now_us) != ORDER_NONE)
        carry_out(r, &r->order);
}

/* ---- quiet hours ---- */

/* When they begin or end: the minute of the wall's clock at which it changes. */
static int64_t next_change_us(const struct run *r)
{
    const struct hours *quiet = &r->p->quiet;
    if (quiet->from == quiet->to)
        return INT64_MAX;
    int64_t now_ms = wall_ms(r, r->now_us);
    bool within = hours_hold(quiet, now_ms);
    int64_t ms = now_ms - now_ms % MINUTE_MS;
    do
        ms += MINUTE_MS;
    while (hours_hold(quiet, ms) == within);
    return r->now_us + (ms - now_ms) * 1000;
}

/* What is under way ends; what is not begun comes back. */
static void hold(struct run *r)
{
    scheduler_pause(r->scheduler, true, r->now_us);
    r->held = true;
    r->held_from_us = r->now_us;
    for (uint32_t i = 0; i < r->p->connections_total; i++) {
        struct connection *c = &r->connections[i];
        if (c->phase == PHASE_NONE)
            continue;
        return_rows(r, c);
        c->last = true;
        if (c->phase < PHASE_OPEN) {
            close_connection(r, c);
        } else if (c->phase == PHASE_OPEN) {
            leave_door(c);
            speak(r, c);
        }
    }
}

static void go_on(struct run *r)
{
    scheduler_pause(r->scheduler, false, r->now_us);
    r->held = false;
    r->held_us += r->now_us - r->held_from_us;
    r->sampled_us = r->now_us;
}

static void watch_hours(struct run *r)
{
    if (r->now_us < r->hold_change_us)
        return;
    bool within = hours_hold(&r->p->quiet, wall_ms(r, r->now_us));
    if (within && !r->held)
        hold(r);
    else if (!within && r->held)
        go_on(r);
    r->hold_change_us = next_change_us(r);
}

/* ---- the run ---- */

/* INT64_MAX: nothing will ever happen. */
static int64_t next_us(const struct run *r)
{
    const struct heap_node *first = heap_first(&r->heap);
    int64_t at = first ? first->key : INT64_MAX;
    if (!r->held && scheduler_wake(r->scheduler) < at)
        at = scheduler_wake(r->scheduler);
    if (r->hold_change_us < at)
        at = r->hold_change_us;
    return at > r->now_us ? at : r->now_us + 1;
}

static void happen(struct run *r, int64_t until_us)
{
    struct heap_node *first;
    while ((first = heap_first(&r->heap)) && first->key <= until_us) {
        if (first->key > r->now_us)
            r->now_us = first->key;
        heap_remove(&r->heap, first);
        struct due *due = CONTAINER_OF(first, struct due, node);
        if (due->of_door)
            door_due(r, CONTAINER_OF(due, struct door, due));
        else
            connection_due(r, CONTAINER_OF(due, struct connection, due));
    }
}

static void simulate(struct run *r)
{
    int64_t limit_us = BEGIN_US + year_us;
    if (r->p->until_ms)
        limit_us = BEGIN_US + (r->p->until_ms - r->p->begin_ms) * 1000;
    if (r->p->quiet.from == r->p->quiet.to)
        r->hold_change_us = INT64_MAX;
    for (;;) {
        watch_hours(r);
        turn(r);
        sample(r);
        if (scheduler_done(r->scheduler))
            return;
        int64_t at = next_us(r);
        if (at >= limit_us)
            return;
        r->now_us = at;
        happen(r, at + TURN_US);
    }
}

static void finish(struct run *r)
{
    for (uint32_t i = 0; i < r->p->connections_total; i++)
        free(r->connections[i].rows);
    for (uint32_t i = 0; i < r->doors_n; i++)
        free(r->doors[i]);
    for (uint32_t i = 0; i < r->p->groups_n; i++)
        free(r->accounts[i].why_us);
    scheduler_destroy(r->scheduler);
    mx_set_unref(r->nowhere);
    map_finish(&r->door_of);
    map_finish(&r->group_of);
    heap_finish(&r->heap);
    free(r->connections);
    free(r->doors);
    free(r->accounts);
}

void forecast_make(struct forecast *f, const struct forecast_params *params)
{
    *f = (struct forecast){
        .groups = mem_zero(params->groups_n, sizeof *f->groups),
        .end_ms = params->begin_ms,
    };
    const struct scheduler_params sp = {
        .list = params->list,
        .policy = params->policy,
        .policy_of = params->policy_of,
        .policy_arg = params->policy_arg,
        .connections_total = params->connections_total,
        .now_us = BEGIN_US,
        .epoch_us = BEGIN_US,
    };
    struct run *r = mem_zero(1, sizeof *r);
    r->p = params;
    r->out = f;
    r->now_us = r->sampled_us = r->sample_us = BEGIN_US;
    r->connections = mem_zero(params->connections_total, sizeof *r->connections);
    r->accounts = mem_zero(params->groups_n, sizeof *r->accounts);
    r->nowhere = mx_set_copy(&(struct mx_set){.code = 710});
    r->scheduler = scheduler_create(&sp);
    simulate(r);
    f->left = scheduler_stats(r->scheduler).pending;
    for (uint32_t i = 0; i < params->groups_n; i++)
        f->groups[i].bound = bound_of(f, &r->accounts[i]);
    finish(r);
    free(r);
}

void forecast_finish(struct forecast *f)
{
    for (int i = 0; i < f->reasons_n; i++)
        free(f->reasons[i]);
    free(f->groups);
    *f = (struct forecast){0};
}
