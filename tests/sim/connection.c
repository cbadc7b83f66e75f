/* What engine/connection.c does with libuv, over a wire of this world: the decisions
 * are the same, line by line, so that what is promised here holds there. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "world.h"

enum {
    IDLE_US = 2 * 1000 * 1000,
    WRITE_PIECES_MAX = 128,
};

static void drive(struct connection *c);
static void try_target(struct connection *c);

/* ---- rows that are not begun ---- */

static bool queue_empty(const struct row_queue *q)
{
    return q->head == q->end;
}

static void queue_add(struct row_queue *q, const uint32_t *rows, int n)
{
    if (queue_empty(q))
        q->head = q->end = 0;
    if (q->end + (uint32_t)n > q->cap) {
        q->cap = 2 * (q->end + (uint32_t)n);
        q->rows = mem_resize(q->rows, q->cap, sizeof *q->rows);
    }
    if (n)
        memcpy(q->rows + q->end, rows, (size_t)n * sizeof *rows);
    q->end += (uint32_t)n;
}

static void put_first(struct row_queue *q, uint32_t row)
{
    if (q->head == 0) {
        queue_add(q, &row, 1); /* for the room */
        memmove(q->rows + 1, q->rows, (q->end - 1) * sizeof *q->rows);
        q->rows[0] = row;
    } else {
        q->rows[--q->head] = row;
    }
}

static uint32_t take_first(struct row_queue *q)
{
    assert(!queue_empty(q));
    return q->rows[q->head++];
}

/* ---- reports ---- */

/* Is it the first to tell of its message? */
static bool heads(struct slot *slot)
{
    bool first = !slot->told;
    slot->told = true;
    return first;
}

static void report_returned(struct connection *c, struct slot *slot, uint32_t row)
{
    c->w->stories[row].flight = FLIGHT_OTHER;
    desk_report(c->w, &(struct news){.kind = NEWS_RETURNED,
                                     .connection = c->number,
                                     .row = row,
                                     .heads = slot && heads(slot)});
}

static void return_rows(struct connection *c)
{
    while (!queue_empty(&c->rows))
        report_returned(c, NULL, c->rows.rows[--c->rows.end]);
}

static struct verdict judge(const struct connection *c, const struct smtp_result *r)
{
    return verdict_of_result(r, true, &c->w->plan->verdict);
}

static void report_settled(struct connection *c, struct slot *slot, int i, uint32_t row,
                           const struct verdict *v)
{
    struct story *story = &c->w->stories[row];
    if (!v->in_doubt && !v->assumed)
        story->flight = v->outcome == OUTCOME_DELIVERED ? FLIGHT_TAKEN : FLIGHT_OTHER;
    else
        promise(slot && story->dots > slot->rows[i].dots_before, c->w,
                "row %u is in doubt (%d), so its dot has left", row, v->code);
    desk_report(
        c->w,
        &(struct news){.kind = NEWS_SETTLED,
                       .connection = c->number,
                       .row = row,
                       .verdict = *v,
                       .heads = !slot || heads(slot),
                       .worked = slot && slot->transaction.timings.us[SMTP_MAIL] >= 0});
}

/* ---- the end ---- */

void connection_free(struct connection *c)
{
    c->w->connections[c->number] = NULL;
    smtp_session_destroy(c->session);
    free(c->rows.rows);
    free(c->order);
    free(c);
}

static void end_session(struct connection *c)
{
    if (c->session) {
        c->avoid |= smtp_session_wants_group(c->session) ? AVOID_AHEAD : 0u;
        c->avoid |= smtp_session_wants_data(c->session) ? AVOID_BDAT : 0u;
        smtp_session_destroy(c->session);
        c->session = NULL;
    }
    if (c->wire) {
        wire_close(c->w, c->wire, c->w->plan->lingers);
        c->wire = NULL;
    }
}

static void close_as(struct connection *c, enum close_kind how,
                     const struct verdict *why)
{
    end_session(c);
    return_rows(c);
    struct news news = {
        .kind = NEWS_CLOSED, .connection = c->number, .closed = how, .avoid = c->avoid};
    if (why)
        news.verdict = *why;
    desk_report(c->w, &news);
    connection_free(c);
}

static void fail(struct connection *c, const struct verdict *v)
{
    if (c->finishing) {
        close_as(c, CLOSED_CLEAN, NULL);
        return;
    }
    if (!queue_empty(&c->rows))
        report_settled(c, NULL, 0, take_first(&c->rows), v);
    close_as(c, CLOSED_FAILED, v);
}

static void next_target(struct connection *c)
{
    end_session(c);
    c->target++;
    try_target(c);
}

static void target_failed(struct connection *c, const struct verdict *v)
{
    bool more = v->next_host && !c->finishing && c->target + 1 < c->order->targets_n;
    if (!more) {
        fail(c, v);
        return;
    }
    next_target(c);
}

/* ---- time ---- */

static void set_timer(struct connection *c)
{
    int64_t at = c->idle_until_us;
    if (c->connect_began_us)
        at = c->connect_at_us;
    else if (c->session && smtp_session_deadline(c->session) < at)
        at = smtp_session_deadline(c->session);
    if (c->finish_until_us < at)
        at = c->finish_until_us;
    if (c->again_us < at)
        at = c->again_us;
    if (at >= c->wake_us)
        return;
    c->wake_us = at;
    events_add(&c->w->events, at, EVENT_CONNECTION, c->number, c->generation);
}

static void connect_failed(struct connection *c, bool timed_out)
{
    c->connect_began_us = 0;
    struct verdict v =
        verdict_of_code(601, timed_out ? "connect-timeout" : "connect", true);
    v.next_host = true;
    target_failed(c, &v);
}

static void break_off(struct connection *c)
{
    c->broken_off = true;
    smtp_session_lost(c->session, "stopped by us", false, wire_where(c->wire),
                      c->w->now_us);
}

static void break_off_idle(struct connection *c)
{
    c->finish_until_us = NEVER;
    for (int i = 0; i < SLOTS; i++)
        if (c->slots[i].rows_n && c->slots[i].marked)
            return;
    break_off(c);
}

/* ---- rows ---- */

static struct slot *free_slot(struct connection *c)
{
    for (int i = 0; i < SLOTS; i++)
        if (!c->slots[i].rows_n)
            return &c->slots[i];
    abort();
}

int sim_message(const struct world *w, char *out, size_t size, uint32_t number,
                bool dotted)
{
    uint32_t rows[TOGETHER_MAX];
    message_rows(w, number, rows);
    return snprintf(out, size,
                    "From: <news@example.com>\r\nMessage-ID: <%u@sim>\r\nSubject: "
                    "news\r\n\r\n%s.a line with a dot\r\n%.*s\r\n",
                    number, dotted ? "." : "", (int)(rows[0] % 100),
                    "text text text text text text text text text text text text text "
                    "text text text text text text text text text ");
}

static uint32_t domain_of(const struct connection *c, uint32_t row)
{
    return recipients_domain(c->w->plan->list, row);
}

static void join(struct connection *c, struct slot *slot, uint32_t row)
{
    struct slot_row *r = &slot->rows[slot->rows_n];
    int n = snprintf(r->address, sizeof r->address, "r%u@%s", row,
                     recipients_domain_name(c->w->plan->list, domain_of(c, row)));
    r->row = row;
    r->dots_before = c->w->stories[row].dots;
    slot->recipients[slot->rows_n++] =
        (struct smtp_recipient){.address = r->address, .address_n = (uint16_t)n};
}

int message_rows(const struct world *w, uint32_t number, uint32_t rows[TOGETHER_MAX])
{
    rows[0] = number;
    if (number <= w->plan->rows)
        return 1;
    const struct shared *shared = &w->shared[number - w->plan->rows - 1];
    memcpy(rows, shared->rows, sizeof shared->rows);
    return shared->n;
}

static uint32_t number_of(struct world *w, const struct slot *slot)
{
    if (slot->rows_n == 1)
        return slot->rows[0].row;
    w->shared = mem_resize(w->shared, w->shared_n + 1, sizeof *w->shared);
    struct shared *shared = &w->shared[w->shared_n];
    shared->n = slot->rows_n;
    for (int i = 0; i < slot->rows_n; i++)
        shared->rows[i] = slot->rows[i].row;
    return w->plan->rows + ++w->shared_n;
}

/* A message for the first row, and for those behind it that may share it. */
static void prepare(struct connection *c, struct slot *slot)
{
    uint32_t row = take_first(&c->rows);
    slot->marked = slot->told = false;
    join(c, slot, row);
    while (slot->rows_n < c->together && !queue_empty(&c->rows) &&
           domain_of(c, c->rows.rows[c->rows.head]) == domain_of(c, row))
        join(c, slot, take_first(&c->rows));
    bool dotted = smtp_session_wants_dots(c->session);
    int n =
        sim_message(c->w, slot->body, sizeof slot->body, number_of(c->w, slot), dotted);
    slot->piece = (struct iovec){slot->body, (size_t)n};
    slot->transaction = (struct smtp_transaction){.sender = "bounce@example.com",
                                                  .recipients = slot->recipients,
                                                  .recipients_n = slot->rows_n,
                                                  .body = &slot->piece,
                                                  .body_n = 1,
                                                  .body_size = (size_t)n,
                                                  .dotted = dotted};
    link_init(&slot->transaction.link);
}

static bool moves_on(const struct connection *c, const struct smtp_result *r,
                     const struct verdict *v)
{
    return v->next_host && r->how == SMTP_HOW_REPLY && r->stage == SMTP_MAIL &&
           !c->moved && !c->finishing && c->target + 1 < c->order->targets_n;
}

static bool was_broken_off(const struct connection *c, const struct smtp_result *r)
{
    return c->broken_off && r->how == SMTP_HOW_LOST && !r->dot_left;
}

static void settle_message(struct connection *c, struct slot *slot)
{
    bool moves = false;
    for (int i = 0; i < slot->rows_n && !moves; i++) {
        const struct smtp_result *r = &slot->recipients[i].result;
        struct verdict v = judge(c, r);
        if (was_broken_off(c, r))
            continue;
        moves = moves_on(c, r, &v);
        if (moves)
            break;
        if (r->how == SMTP_HOW_LOST || r->how == SMTP_HOW_TIMEOUT ||
            r->how == SMTP_HOW_GARBAGE ||
            (r->how == SMTP_HOW_REPLY && r->reply.code == 421))
            c->trouble = true;
        report_settled(c, slot, i, slot->rows[i].row, &v);
    }
    for (int i = slot->rows_n - 1; i >= 0; i--)
        if (moves)
            put_first(&c->rows, slot->rows[i].row);
        else if (was_broken_off(c, &slot->recipients[i].result))
            report_returned(c, slot, slot->rows[i].row);
    slot->rows_n = 0;
    if (!moves)
        return;
    c->moving = true;
    record_moved(c->w, c);
    if (c->left != UINT32_MAX)
        c->left++;
    smtp_session_stop(c->session, c->w->now_us);
}

static void settle(struct connection *c)
{
    for (struct smtp_transaction *t; (t = smtp_session_settled(c->session));)
        settle_message(c, CONTAINER_OF(t, struct slot, transaction));
}

static bool mail_may_leave(struct connection *c)
{
    const struct order *order = c->order;
    if (!gates_limit(order->mail_gates, order->gates_n))
        return true;
    if (!smtp_session_idle(c->session) ||
        !gates_pass(order->mail_gates, order->gates_n, c->w->now_us, &c->again_us))
        return false;
    record_passed(c->w, c);
    return true;
}

static void begin_rows(struct connection *c)
{
    int64_t now = c->w->now_us;
    c->again_us = NEVER;
    while (smtp_session_ready(c->session) && c->left > 0 && !queue_empty(&c->rows) &&
           mail_may_leave(c)) {
        struct slot *slot = free_slot(c);
        prepare(c, slot);
        if (c->left != UINT32_MAX)
            c->left--;
        c->begun++;
        smtp_session_submit(c->session, &slot->transaction, now);
        settle(c);
    }
    bool empty = queue_empty(&c->rows);
    if ((empty && c->last) || c->left == 0)
        smtp_session_finish(c->session, now);
    bool idle = empty && smtp_session_ready(c->session) && c->slots[0].rows_n == 0 &&
                c->slots[1].rows_n == 0;
    if (!idle)
        c->idle_until_us = NEVER;
    else if (c->idle_until_us == NEVER)
        c->idle_until_us = now + IDLE_US;
}

/* ---- bytes ---- */

static void session_over(struct connection *c)
{
    const struct smtp_result *fate = smtp_session_fate(c->session);
    if (c->moving && !c->finishing) {
        c->moving = false;
        c->moved = true;
        next_target(c);
        return;
    }
    if (smtp_session_greeted(c->session) || fate->how == SMTP_HOW_NONE ||
        fate->how == SMTP_HOW_UNTRIED) {
        bool left = fate->how == SMTP_HOW_LOST && !c->finishing;
        close_as(c,
                 c->trouble ? CLOSED_LOST
                 : left     ? CLOSED_ENOUGH
                            : CLOSED_CLEAN,
                 NULL);
        return;
    }
    struct verdict v = judge(c, fate);
    target_failed(c, &v);
}

static void mark_bodies(struct connection *c)
{
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &c->slots[i];
        if (!slot->rows_n || slot->marked || !slot->transaction.body_due)
            continue;
        slot->marked = true;
        for (int k = 0; k < slot->rows_n; k++)
            if (!slot->recipients[k].done)
                c->w->stories[slot->rows[k].row].flight = FLIGHT_DOT;
    }
}

static void write_out(struct connection *c)
{
    struct iovec pieces[WRITE_PIECES_MAX];
    for (;;) {
        int n = smtp_session_output(c->session, pieces, WRITE_PIECES_MAX, c->w->now_us);
        size_t taken = n ? wire_write(c->w, c->wire, pieces, n) : 0;
        if (taken == 0)
            return;
        smtp_session_sent(c->session, taken, c->w->now_us);
    }
}

static void drive(struct connection *c)
{
    unsigned signals;
    do {
        signals = smtp_session_take(c->session);
        if (signals & SMTP_SETTLED)
            settle(c);
        if (signals & SMTP_OVER) {
            session_over(c);
            return;
        }
        begin_rows(c);
    } while (signals);
    mark_bodies(c);
    write_out(c);
    promise(smtp_session_deadline(c->session) > c->w->now_us, c->w,
            "connection %u: no session outlives its deadline", c->number);
    set_timer(c);
}

void connection_read(struct connection *c, const char *data, size_t n)
{
    if (smtp_session_asks_wire(c->session))
        smtp_session_wire(c->session, wire_where(c->wire));
    smtp_session_receive(c->session, data, n, c->w->now_us);
    drive(c);
}

void connection_lost(struct connection *c, bool timed_out, const char *words)
{
    smtp_session_lost(c->session, words, timed_out, wire_where(c->wire), c->w->now_us);
    drive(c);
}

void connection_writable(struct connection *c)
{
    drive(c);
}

static void connected(struct connection *c, struct machine *m)
{
    c->connect_began_us = 0;
    desk_report(c->w, &(struct news){.kind = NEWS_CONNECTED, .connection = c->number});
    c->params = c->w->plan->smtp;
    if (c->order->avoid & AVOID_AHEAD && c->params.pipelining == SMTP_PIPELINING_AUTO)
        c->params.pipelining = SMTP_PIPELINING_GROUP;
    if (c->order->avoid & AVOID_BDAT)
        c->params.chunking = false;
    c->params.paced = gates_limit(c->order->mail_gates, c->order->gates_n);
    c->session = smtp_session_create(&c->params, c->w->now_us);
    c->session_began_us = c->w->now_us;
    c->wire = wire_open(c->w, m, c);
    drive(c);
}

static void expire(struct connection *c)
{
    int64_t limit = c->params.session_limit_us;
    promise(!limit || c->w->now_us - c->session_began_us <=
                          limit + c->params.limit_us[SMTP_QUIT],
            c->w, "connection %u: the whole session has its limit", c->number);
    smtp_session_expire(c->session, c->w->now_us, wire_where(c->wire));
}

void connection_timer(struct connection *c)
{
    int64_t now = c->w->now_us;
    c->wake_us = NEVER;
    if (c->connect_began_us) {
        if (now >= c->connect_at_us) {
            struct machine *m =
                plan_machine(c->w->plan, &c->order->targets[c->target].address);
            if (c->door == DOOR_OPEN)
                connected(c, m);
            else
                connect_failed(c, c->door == DOOR_DROPPED);
            return;
        }
    } else if (c->session) {
        if (now >= smtp_session_deadline(c->session))
            expire(c);
        if (now >= c->idle_until_us)
            c->last = true;
        if (now >= c->finish_until_us)
            break_off_idle(c);
        drive(c);
        return;
    } else if (now >= c->again_us) {
        try_target(c);
        return;
    }
    set_timer(c);
}

static void try_target(struct connection *c)
{
    struct world *w = c->w;
    c->again_us = NEVER;
    if (!gates_pass(c->order->connect_gates, c->order->gates_n, w->now_us,
                    &c->again_us)) {
        set_timer(c);
        return;
    }
    struct machine *m = plan_machine(w->plan, &c->order->targets[c->target].address);
    if ((int)rng_below(&w->rng, 1000) < w->plan->no_sockets) {
        struct verdict v = verdict_of_code(609, "socket", false);
        close_as(c, CLOSED_OURS, &v);
        return;
    }
    m->tried++;
    record_connect(w, c);
    c->connect_began_us = w->now_us;
    c->door = w->now_us < m->door_until_us ? m->door : DOOR_OPEN;
    if (c->door == DOOR_SPEECHLESS)
        c->door = DOOR_OPEN;
    if ((int)rng_below(&m->rng, 100) < m->refuse_percent)
        c->door = DOOR_REFUSED;
    if (world_is_cut(w, w->now_us)) {
        c->door = DOOR_DROPPED;
        if (w->plan->cut_is_known) {
            connect_failed(c, false);
            return;
        }
    }
    c->connect_at_us = w->now_us + (c->door == DOOR_DROPPED ? w->plan->connect_limit_us
                                                            : 2 * m->latency_us);
    set_timer(c);
}

/* ---- verbs ---- */

void connection_open(struct world *w, struct order *order)
{
    struct connection *c = mem_zero(1, sizeof *c);
    c->w = w;
    c->order = order;
    c->number = order->connection;
    c->generation = ++w->connection_generations;
    c->wake_us = c->idle_until_us = c->finish_until_us = c->again_us = NEVER;
    c->left = order->messages ? order->messages : UINT32_MAX;
    uint32_t together = plan_policy(w->plan, w->policies[order->policy])->recipients;
    c->together = together ? (int)together : 1;
    w->connections[c->number] = c;
    c->last = order->last;
    queue_add(&c->rows, order->rows, order->rows_n);
    try_target(c);
}

void connection_lend(struct connection *c, const struct order *order)
{
    queue_add(&c->rows, order->rows, order->rows_n);
    c->last = c->last || order->last;
    if (c->finishing)
        return_rows(c);
    else if (c->session)
        drive(c);
}

void connection_recall(struct connection *c)
{
    bool greeted = c->session && smtp_session_greeted(c->session);
    if (!greeted && !queue_empty(&c->rows)) {
        uint32_t first = take_first(&c->rows);
        return_rows(c);
        queue_add(&c->rows, &first, 1);
        return;
    }
    return_rows(c);
}

void connection_finish(struct connection *c)
{
    c->finishing = true;
    c->last = true;
    return_rows(c);
    if (c->session && smtp_session_greeted(c->session)) {
        c->finish_until_us = c->w->now_us + c->params.limit_us[SMTP_QUIT];
        smtp_session_stop(c->session, c->w->now_us);
        drive(c);
    } else {
        close_as(c, CLOSED_CLEAN, NULL);
    }
}

void connection_abort(struct connection *c)
{
    c->finishing = true;
    return_rows(c);
    if (c->session) {
        break_off(c);
        drive(c);
    } else {
        close_as(c, CLOSED_CLEAN, NULL);
    }
}
