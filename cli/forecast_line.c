/* Connections and the gates that they wait at, as far as time goes. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/forecast_inside.h"

enum { IDLE_US = 2 * 1000 * 1000, TICK_ROWS = 1 << 16, SPREAD = 20 /* percent */ };

/* ---- gates ---- */

/* Gates come and go, what they limit stays. */
struct door_key {
    const char *site; /* with no provider */
    uint32_t provider;
    uint32_t other; /* an outer budget; of a door with some: the policy and one */
    uint32_t source, lack;
};
_Static_assert(sizeof(struct door_key) == sizeof(char *) + 16, "no byte is undefined");

static uint32_t number_of(struct map *numbers, const struct door_key *key, uint32_t n,
                          bool *fresh)
{
    return map_put(numbers, (struct span){(const char *)key, sizeof *key}, n, fresh,
                   NULL);
}

static struct passage *passage_of(struct run *r, const struct door_key *key)
{
    bool fresh;
    uint32_t number = number_of(&r->passage_of, key, r->passages_n, &fresh);
    if (fresh) {
        r->passages =
            mem_resize(r->passages, r->passages_n + 1, sizeof(struct passage *));
        r->passages[r->passages_n++] = mem_zero(1, sizeof(struct passage));
    }
    return r->passages[number];
}

static struct door *make_door(struct run *r, const struct order *o, uint32_t group,
                              struct door_key key)
{
    struct door *door = mem_alloc(sizeof *door);
    size_t n = (size_t)o->gates_n;
    *door = (struct door){.due = {.of_door = true},
                          .gates = mem_alloc(n * sizeof(struct gate *)),
                          .passages = mem_alloc(n * sizeof(struct passage *)),
                          .gates_n = o->gates_n,
                          .group = group,
                          .lack = (enum lack)key.lack};
    link_init(&door->waiting);
    key.other = 0;
    door->passages[0] = passage_of(r, &key);
    key.site = NULL;
    key.provider = 0;
    for (int i = 1; i < o->gates_n; i++) {
        key.other = r->policies[o->policy].outer[i - 1].number;
        door->passages[i] = passage_of(r, &key);
    }
    return door;
}

static struct door *door_of(struct run *r, const struct order *o,
                            struct gate *const *gates, uint32_t group, enum lack lack)
{
    bool fresh;
    uint32_t provider = r->policies[o->policy].provider;
    const struct door_key key = {.site = provider ? NULL : o->site,
                                 .provider = provider,
                                 .other = o->gates_n > 1 ? o->policy + 1 : 0,
                                 .source = o->source,
                                 .lack = lack};
    uint32_t number = number_of(&r->door_of, &key, r->doors_n, &fresh);
    if (fresh) {
        r->doors = mem_resize(r->doors, r->doors_n + 1, sizeof(struct door *));
        r->doors[r->doors_n++] = make_door(r, o, group, key);
    }
    struct door *door = r->doors[number];
    memcpy(door->gates, gates, (size_t)door->gates_n * sizeof *gates);
    return door;
}

static bool let_through(struct run *r, struct door *door, int64_t *again_us)
{
    if (!gates_pass(door->gates, door->gates_n, r->now_us, again_us))
        return false;
    for (int i = 0; i < door->gates_n; i++) {
        door->passages[i]->passed++;
        door->passages[i]->interval_ns = atomic_load(&door->gates[i]->interval_ns);
    }
    return true;
}

/* True: it is through. Else its turn comes. */
static bool pass(struct run *r, struct connection *c, struct door *door)
{
    int64_t again_us;
    bool first = link_alone(&door->waiting);
    if (first && let_through(r, door, &again_us))
        return true;
    link_insert(&door->waiting, &c->at_door);
    if (first)
        heap_set(&r->heap, &door->due.node, again_us);
    return false;
}

/* ---- a connection ---- */

/* No two messages take the same time: without that all connections would march in
 * step, and open and close together, as they never do. */
static void vary(struct run *r, struct connection *c)
{
    c->percent = 100 - SPREAD + (int)rng_below(&r->rng, 2 * SPREAD + 1);
}

static int64_t about(const struct connection *c, int64_t us)
{
    return us * c->percent / 100;
}

static void wake_at(struct run *r, struct connection *c, int64_t us)
{
    heap_set(&r->heap, &c->due.node, us);
}

/* Of its rows those that are not begun. */
static uint32_t waiting(const struct connection *c)
{
    return c->rows_n - c->body - c->envelope;
}

static void add_rows(struct connection *c, const uint32_t *rows, int n)
{
    uint32_t more = (uint32_t)n;
    if (c->first > 0 && c->first + c->rows_n + more > c->cap) {
        memmove(c->rows, c->rows + c->first, c->rows_n * sizeof *c->rows);
        c->first = 0;
    }
    if (c->rows_n + more > c->cap) {
        c->cap = 2 * (c->rows_n + more);
        c->rows = mem_resize(c->rows, c->cap, sizeof *c->rows);
    }
    if (more)
        memcpy(c->rows + c->first + c->rows_n, rows, more * sizeof *rows);
    c->rows_n += more;
}

/* What is not begun, all but so many. */
static void return_rows(struct run *r, struct connection *c, uint32_t keep)
{
    while (waiting(c) > keep)
        scheduler_returned(r->scheduler, c->number, c->rows[c->first + --c->rows_n],
                           r->now_us);
}

/* The message is taken, for all that share it. */
static void settle(struct run *r, struct connection *c)
{
    struct settlement delivered = {
        .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
    struct forecast_group *group = &r->out->groups[c->group];
    for (; c->body > 0; c->body--, c->first++, c->rows_n--) {
        scheduler_settle(r->scheduler, c->number, c->rows[c->first], &delivered,
                         r->now_us);
        delivered.joined = true;
        group->sent++;
        if (++r->out->sent % TICK_ROWS == 0 && r->p->tick)
            r->p->tick(r->p->tick_arg, r->out->sent);
    }
    group->end_ms = r->out->end_ms = forecast_wall_ms(r, r->now_us);
    r->accounts[c->group].held_us = r->policies[c->policy].quiet_us;
    r->out->last = c->group;
}

static void close_connection(struct run *r, struct connection *c)
{
    struct account *a = &r->accounts[c->group];
    a->open_us += r->now_us - c->opened_us;
    if (c->left == 0)
        a->renewing_us += c->ready_us - c->opened_us + r->p->assumed.round_trip_us;
    heap_remove(&r->heap, &c->due.node);
    link_remove(&c->at_door);
    return_rows(r, c, 0);
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
    vary(r, c);
    c->body_done_us = from_ns / 1000 + about(c, takes_us + a->accept_us);
}

/* So many rows share the next message, as engine/messages.c does it. */
static uint32_t rows_of_next(const struct run *r, const struct connection *c)
{
    const uint32_t *rows = c->rows + c->first + c->body;
    uint32_t domain = recipients_domain(r->p->list, rows[0]), n = 1;
    while (n < r->policies[c->policy].recipients && n < waiting(c) &&
           recipients_domain(r->p->list, rows[n]) == domain)
        n++;
    return n;
}

/* Answers come in order: the one to this MAIL not before that to the dot. */
static void begin_envelope(struct run *r, struct connection *c)
{
    c->envelope = rows_of_next(r, c);
    c->envelope_done_us = r->now_us + about(c, r->p->assumed.round_trip_us);
    if (c->body && c->body_done_us > c->envelope_done_us)
        c->envelope_done_us = c->body_done_us;
    if (c->left != UINT32_MAX)
        c->left--;
}

/* What may be said now, and when there is more. */
static void speak(struct run *r, struct connection *c)
{
    bool waits = !link_alone(&c->at_door);
    bool limited = gates_limit(c->mail_door->gates, c->mail_door->gates_n);
    bool free = !c->envelope && !waits && !(limited && c->body);
    if (free && c->left > 0 && waiting(c) > 0) {
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
        wake_at(r, c, r->now_us + about(c, r->p->assumed.round_trip_us));
        return;
    }
    wake_at(r, c, c->idle_until_us);
}

static void connect_now(struct run *r, struct connection *c)
{
    c->phase = PHASE_OPENING;
    c->opened_us = r->now_us;
    wake_at(r, c, r->now_us + about(c, r->p->assumed.opening_us));
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
        if (!let_through(r, door, &again_us)) {
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
    uint32_t group = r->p->groups[domain];
    *c = (struct connection){
        .phase = PHASE_GATE,
        .number = o->connection,
        .group = group,
        .policy = o->policy,
        .rows = c->rows,
        .cap = c->cap,
        .left = o->messages ? o->messages : UINT32_MAX,
        .last = o->last,
        .connect_door = door_of(r, o, o->connect_gates, group, LACK_CONNECTION_RATE),
        .mail_door = door_of(r, o, o->mail_gates, group, LACK_RATE),
        .opened_us = r->now_us,
        .ready_us = r->now_us,
    };
    link_init(&c->at_door);
    vary(r, c);
    add_rows(c, o->rows, o->rows_n);
    if (pass(r, c, c->connect_door))
        connect_now(r, c);
}

/* What waits to say MAIL and has no row any more need not wait. */
static void leave_door(struct connection *c)
{
    if (c->phase == PHASE_OPEN && waiting(c) == 0)
        link_remove(&c->at_door);
}

/* What waits for its turn to connect keeps a row, so that it connects for something. */
static void recall(struct run *r, struct connection *c)
{
    return_rows(r, c, c->phase < PHASE_OPEN ? 1 : 0);
    leave_door(c);
}

/* What is under way ends, what is not begun comes back. */
static void stop(struct run *r, struct connection *c)
{
    if (c->phase == PHASE_NONE)
        return;
    return_rows(r, c, 0);
    c->last = true;
    if (c->phase < PHASE_OPEN) {
        close_connection(r, c);
    } else if (c->phase == PHASE_OPEN) {
        leave_door(c);
        speak(r, c);
    }
}

void line_order(struct run *r, const struct order *o)
{
    struct connection *c = &r->connections[o->connection];
    switch (o->kind) {
    case ORDER_OPEN:
        open_connection(r, o);
        return;
    case ORDER_MORE:
        add_rows(c, o->rows, o->rows_n);
        c->last = c->last || o->last;
        break;
    case ORDER_RECALL:
        recall(r, c);
        break;
    case ORDER_STOP:
        stop(r, c);
        return;
    case ORDER_NONE:
        abort();
    }
    if (c->phase == PHASE_OPEN)
        speak(r, c);
}

void line_due(struct run *r, struct due *due)
{
    if (due->of_door)
        door_due(r, CONTAINER_OF(due, struct door, due));
    else
        connection_due(r, CONTAINER_OF(due, struct connection, due));
}
