/* The messages of a connection: rows are rendered into slots, submitted to the session
 * when it has room and the rate allows it, and settled when it has decided. */
#include <assert.h>

#include "engine/dial.h"

static struct slot *free_slot(struct connection *c)
{
    for (int i = 0; i < SLOTS; i++)
        if (c->slots[i].rows_n == 0)
            return &c->slots[i];
    assert(false); /* the session holds at most two transactions */
    return NULL;
}

/* How many rows may share a message. */
static int rows_together(const struct connection *c)
{
    int n = c->task->destination->recipients;
    return n > 1 && template_is_common(c->worker->params->template) ? n : 1;
}

/* A message for the first row that is lent, and for those behind it that may share it.
 * False: the row was settled with its own code, nothing was sent. */
static bool prepare_message(struct connection *c, struct slot *slot)
{
    const struct worker_params *params = c->worker->params;
    struct lent lent = lent_take_first(&c->rows);
    struct fault f = {0};
    int code;
    if (!slot_prepare(slot, params, lent, rows_together(c),
                      smtp_session_wants_dots(c->session), &code, &f)) {
        struct verdict v = verdict_of_code(code, code == 800 ? "addr" : "queue", false);
        connection_settled(c, code == 800 ? slot : NULL, 0, lent, &v, span_of(f.words));
        return false;
    }
    while (slot->rows_n < slot->rows_cap && !lent_empty(&c->rows)) {
        lent = lent_take_first(&c->rows);
        if (!slot_join(slot, params, lent)) {
            lent_put_first(&c->rows, lent);
            break;
        }
    }
    return true;
}

/* A 5xx to MAIL is about us, and another host may see us otherwise: once the next one
 * within the attempt (codes rule 8). */
static bool moves_on(const struct connection *c, const struct smtp_result *r,
                     const struct verdict *v)
{
    return v->next_host && r->how == SMTP_HOW_REPLY && r->stage == SMTP_MAIL &&
           !c->moved && !c->finishing && dial_has_next(c);
}

/* We broke it off before its dot: nobody's attempt. */
static bool was_broken_off(const struct connection *c, const struct smtp_result *r)
{
    return c->broken_off && r->how == SMTP_HOW_LOST && !r->dot_left;
}

static void settle_message(struct connection *c, struct slot *slot)
{
    bool moves = false;
    for (int i = 0; i < slot->rows_n; i++) {
        const struct smtp_result *r = &slot->recipients[i].result;
        struct verdict v = connection_judge(c, r, &slot->rows[i].fields.address);
        if (was_broken_off(c, r))
            continue;
        moves = moves_on(c, r, &v); /* MAIL was refused: to all of them or to none */
        if (moves)
            break;
        c->trouble = c->trouble || r->how == SMTP_HOW_LOST ||
                     r->how == SMTP_HOW_TIMEOUT || r->how == SMTP_HOW_GARBAGE ||
                     (r->how == SMTP_HOW_REPLY && r->reply.code == 421);
        connection_settled(c, slot, i, slot->rows[i].lent, &v, connection_words(r));
    }
    for (int i = slot->rows_n - 1; i >= 0; i--) /* the last first: to the front */
        if (moves)
            lent_put_first(&c->rows, slot->rows[i].lent);
        else if (was_broken_off(c, &slot->recipients[i].result))
            connection_returned(c, slot, slot->rows[i].lent);
    slot->rows_n = 0;
    if (!moves)
        return;
    c->moving = true;
    if (c->left != UINT32_MAX)
        c->left++;
    smtp_session_stop(c->session, connection_now_us());
}

void messages_settle(struct connection *c)
{
    for (struct smtp_transaction *t; (t = smtp_session_settled(c->session));)
        settle_message(c, CONTAINER_OF(t, struct slot, transaction));
}

/* May MAIL be said now? Under a rate it is submitted only when it leaves at once: its
 * turn is spent then, and not while it would wait behind a body. */
static bool mail_may_leave(struct connection *c, int64_t now)
{
    const struct task *task = c->task;
    return !gates_limit(task->mail_gates, task->gates_n) ||
           (smtp_session_idle(c->session) &&
            gates_pass(task->mail_gates, task->gates_n, now, &c->again_us));
}

void messages_begin(struct connection *c, int64_t now)
{
    bool passed = false; /* the gate, for a MAIL that was not said yet */
    c->again_us = INT64_MAX;
    while (smtp_session_ready(c->session) && c->left > 0 && !lent_empty(&c->rows) &&
           (passed || mail_may_leave(c, now))) {
        passed = true;
        struct slot *slot = free_slot(c);
        if (!prepare_message(c, slot))
            continue;
        if (c->left != UINT32_MAX)
            c->left--;
        smtp_session_submit(c->session, &slot->transaction, now);
        messages_settle(c); /* larger than the server takes: decided already */
        passed = slot->rows_n == 0;
    }
    bool empty = lent_empty(&c->rows);
    if ((empty && c->last) || c->left == 0)
        smtp_session_finish(c->session, now);
    bool idle = empty && smtp_session_ready(c->session) && c->slots[0].rows_n == 0 &&
                c->slots[1].rows_n == 0;
    if (!idle)
        c->idle_until_us = INT64_MAX;
    else if (c->idle_until_us == INT64_MAX)
        c->idle_until_us = now + IDLE_US;
}

/* A body is about to be written: from now on its dot may have left. */
void messages_mark(struct connection *c)
{
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &c->slots[i];
        if (slot->rows_n == 0 || slot->marked || !slot->transaction.body_due)
            continue;
        slot->marked = true;
        for (int k = 0; k < slot->rows_n; k++)
            if (!slot->recipients[k].done) /* else refused already */
                flight_set(c->worker->params->flight, slot->rows[k].lent.entry,
                           FLIGHT_DOT);
    }
}
