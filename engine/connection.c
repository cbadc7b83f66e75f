#include "engine/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/dial.h"

static void drive(struct connection *c);

int64_t connection_now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

/* ---- reports ---- */

/* recipient: whose result it is, or NULL. */
struct verdict connection_judge(const struct connection *c, const struct smtp_result *r,
                                const struct address *recipient)
{
    struct verdict_policy policy = c->task->destination->verdict;
    if (recipient)
        policy.domain = span_of(recipient->text + recipient->domain_at);
    return verdict_of_result(r, true, &policy);
}

/* Is it the first to tell of its message? */
static bool heads(struct slot *slot)
{
    bool first = !slot->told;
    slot->told = true;
    return first;
}

void connection_returned(struct connection *c, struct slot *slot, struct lent lent)
{
    flight_set(c->worker->params->flight, lent.entry, FLIGHT_OTHER);
    struct event e = {.kind = EVENT_RETURNED,
                      .connection = c->number,
                      .lent = lent,
                      .heads = slot && heads(slot)};
    report_add(&c->worker->report, &e, NULL);
}

static void return_rows(struct connection *c)
{
    while (!lent_empty(&c->rows)) /* the last first: they go to the front of the FIFO */
        connection_returned(c, NULL, lent_take_last(&c->rows));
}

struct span connection_words(const struct smtp_result *r)
{
    return (struct span){r->reply.text, r->reply.text_n};
}

static int last_target(const struct connection *c)
{
    return c->target < c->task->targets_n ? c->target : c->task->targets_n - 1;
}

/* A result of the slot's i-th row, or, with slot NULL, of one that has none. */
void connection_settled(struct connection *c, struct slot *slot, int i,
                        struct lent lent, const struct verdict *verdict,
                        struct span words)
{
    /* What is not known to be taken stays as it stood: its dot may have left. */
    if (!verdict->in_doubt && !verdict->assumed)
        flight_set(c->worker->params->flight, lent.entry,
                   verdict->outcome == OUTCOME_DELIVERED ? FLIGHT_TAKEN : FLIGHT_OTHER);
    struct event e = {
        .kind = EVENT_SETTLED,
        .connection = c->number,
        .lent = lent,
        .target = last_target(c),
        .verdict = *verdict,
        .heads = !slot || heads(slot),
        .dns_us = -1,
        .connect_us = -1,
    };
    struct event_texts texts = {.text[EVENT_WORDS] = words};
    if (c->stream.tls)
        texts.text[EVENT_TLS] = span_of(tls_name(c->stream.tls));
    if (slot) {
        e.timings = slot->transaction.timings;
        e.reused = slot->transaction.reused;
        texts.text[EVENT_EMAIL] = (struct span){slot->rows[i].fields.address.text,
                                                slot->rows[i].fields.address.n};
        texts.text[EVENT_MESSAGE_ID] = span_of(slot->rendering.message_id);
    } else {
        memset(&e.timings, 0xff, sizeof e.timings);
    }
    if (!c->begun_first) {
        c->begun_first = true;
        e.dns_us = c->task->dns_us;
        e.connect_us = c->connect_us;
        if (c->session) {
            const struct smtp_timings *opening = smtp_session_timings(c->session);
            for (int stage = 0; stage < SMTP_MAIL; stage++) /* before MAIL */
                e.timings.us[stage] = opening->us[stage];
        }
    }
    report_add(&c->worker->report, &e, &texts);
}

/* ---- the end ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    for (int i = 0; i < SLOTS; i++)
        slot_finish(&c->slots[i]);
    lent_finish(&c->rows);
    free(c->task);
    free(c);
}

/* how the peer or the kernel ended it; NULL: we did. */
static void end_talk(struct connection *c, const char *how)
{
    trace_talk_end(c->stream.talk, how, connection_now_us());
    c->stream.talk = NULL;
}

void connection_end_session(struct connection *c)
{
    if (!c->session)
        return;
    const struct smtp_result *epilogue = smtp_session_epilogue(c->session);
    if (epilogue->how != SMTP_HOW_NONE) {
        struct event e = {.kind = EVENT_EPILOGUE,
                          .connection = c->number,
                          .target = c->target,
                          .verdict = connection_judge(c, epilogue, NULL)};
        struct event_texts texts = {.text[EVENT_WORDS] = connection_words(epilogue)};
        report_add(&c->worker->report, &e, &texts);
    }
    c->avoid |= smtp_session_wants_group(c->session) ? AVOID_AHEAD : 0u;
    c->avoid |= smtp_session_wants_data(c->session) ? AVOID_BDAT : 0u;
    smtp_session_destroy(c->session);
    c->session = NULL;
    end_talk(c, NULL);
}

/* why and words say what a CLOSED_FAILED or _OURS failed with; else NULL and nothing.
 */
void connection_close(struct connection *c, enum close_kind how,
                      const struct verdict *why, struct span words)
{
    connection_end_session(c);
    stream_close(&c->stream);
    return_rows(c);
    struct event e = {.kind = EVENT_CLOSED,
                      .connection = c->number,
                      .target = last_target(c),
                      .closed = how,
                      .avoid = c->avoid};
    if (why)
        e.verdict = *why;
    struct event_texts texts = {.text[EVENT_WORDS] = words};
    report_add(&c->worker->report, &e, &texts);
    c->worker->connections[c->number] = NULL;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void close_connection(struct connection *c, enum close_kind how)
{
    connection_close(c, how, NULL, (struct span){0});
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer);
static void expire(struct connection *c, int64_t now);

/* The timer is moved only to an earlier time: when it fires early it looks again. */
void connection_set_timer(struct connection *c, int64_t now)
{
    int64_t deadline = c->idle_until_us;
    if (c->connect_began_us)
        deadline = c->connect_began_us + c->task->destination->connect_limit_us;
    else if (c->session && smtp_session_deadline(c->session) < deadline)
        deadline = smtp_session_deadline(c->session);
    if (c->finish_until_us < deadline)
        deadline = c->finish_until_us;
    if (c->again_us < deadline)
        deadline = c->again_us;
    if (deadline >= c->timer_us || deadline == INT64_MAX)
        return;
    c->timer_us = deadline;
    int64_t wait_ms = deadline > now ? (deadline - now + 999) / 1000 : 0;
    uv_update_time(c->worker->loop);
    uv_timer_start(&c->timer, on_timer, (uint64_t)wait_ms, 0);
}

/* We end the session. What had not left is nobody's attempt, the rest is in doubt. */
static void break_off(struct connection *c, int64_t now)
{
    c->broken_off = true;
    smtp_session_lost(c->session, "stopped by us", false, stream_wire(&c->stream), now);
}

/* It had time to end what it began: a tarpit with nothing at stake holds nobody. A dot
 * that has left is waited for. */
static void break_off_idle(struct connection *c, int64_t now)
{
    c->finish_until_us = INT64_MAX;
    for (int i = 0; i < SLOTS; i++)
        if (c->slots[i].rows_n && c->slots[i].marked)
            return;
    break_off(c, now);
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    int64_t now = connection_now_us();
    c->timer_us = INT64_MAX;
    if (c->connect_began_us) {
        if (now - c->connect_began_us >= c->task->destination->connect_limit_us) {
            /* After a suspend the answer may be there, and nobody has looked yet. */
            if (stream_decided(&c->stream))
                connection_on_event(c->stream.poll, 0, UV_WRITABLE);
            else
                dial_refused(c, true, "connection timed out");
            return;
        }
    } else if (c->session) {
        if (now >= smtp_session_deadline(c->session))
            expire(c, now);
        if (now >= c->idle_until_us)
            c->last = true;
        if (now >= c->finish_until_us)
            break_off_idle(c, now);
        drive(c);
        return;
    } else if (now >= c->again_us) {
        dial_target(c);
        return;
    }
    connection_set_timer(c, now);
}

/* ---- bytes ---- */

static void lost(struct connection *c, int error)
{
    const char *words = error ? stream_words(error) : "connection closed by the peer";
    end_talk(c, !error ? "close" : error == ETIMEDOUT ? "timeout" : "reset");
    smtp_session_lost(c->session, words, error == ETIMEDOUT, stream_wire(&c->stream),
                      connection_now_us());
}

/* TLS failed where it only may be used: once more to the same target, in clear, on a
 * new connection (RFC 7435). */
static bool falls_back(const struct connection *c, const struct smtp_result *fate)
{
    return fate->how == SMTP_HOW_TLS && c->params.tls == SMTP_TLS_MAY && !c->finishing;
}

static void session_over(struct connection *c)
{
    const struct smtp_result *fate = smtp_session_fate(c->session);
    if (falls_back(c, fate)) {
        connection_end_session(c);
        stream_close(&c->stream);
        c->in_clear = true;
        dial_target(c);
        return;
    }
    if (c->moving && !c->finishing) {
        c->moving = false;
        c->moved = true;
        dial_next(c);
        return;
    }
    if (smtp_session_greeted(c->session) || fate->how == SMTP_HOW_NONE ||
        fate->how == SMTP_HOW_UNTRIED) {
        bool left = fate->how == SMTP_HOW_LOST && !c->finishing;
        close_connection(c, c->trouble ? CLOSED_LOST
                            : left     ? CLOSED_ENOUGH
                                       : CLOSED_CLEAN);
        return;
    }
    struct verdict v = connection_judge(c, fate, NULL);
    char words[REPLY_TEXT_MAX + 1]; /* the fate goes with its session */
    memcpy(words, fate->reply.text, sizeof words);
    dial_failed(c, &v, (struct span){words, fate->reply.text_n});
}

void connection_begin_tls(struct connection *c)
{
    const struct destination *d = c->task->destination;
    stream_secure(&c->stream, tls_client(worker_tls(c->worker, d->tls),
                                         c->task->targets[c->target].host,
                                         d->tls_verify, c->task->source));
}

/* Everything that follows from what the session has read or was told. The only place
 * where a session ends. */
static void drive(struct connection *c)
{
    int64_t now = connection_now_us();
    unsigned signals;
    do {
        signals = smtp_session_take(c->session);
        if (signals & SMTP_SETTLED)
            messages_settle(c);
        if (signals & SMTP_OVER) {
            session_over(c);
            return;
        }
        if (signals & SMTP_WANTS_TLS)
            connection_begin_tls(c);
        messages_begin(c, now);
    } while (signals);
    messages_mark(c);
    bool written = stream_write(&c->stream, c->session, now);
    stream_want(&c->stream, written ? UV_READABLE : UV_READABLE | UV_WRITABLE);
    connection_set_timer(c, now);
}

/* Plaintext that was read. What the kernel has sent is asked after reading: a reply
 * that came before the peer had the dot is not about it. */
static void receive(struct connection *c, size_t n)
{
    int64_t now = connection_now_us();
    if (smtp_session_asks_wire(c->session))
        smtp_session_wire(c->session, stream_wire(&c->stream));
    trace_talk_heard(c->stream.talk, c->worker->read_buffer, n, now);
    smtp_session_receive(c->session, c->worker->read_buffer, n, now);
}

static void secured(struct connection *c)
{
    int64_t now = connection_now_us();
    trace_talk_secured(c->stream.talk, tls_name(c->stream.tls), now);
    smtp_session_secured(c->session, now);
}

/* A reply in front of a broken record was a reply: this comes after receive. */
static void tls_broke(struct connection *c)
{
    smtp_session_wire(c->session, stream_wire(&c->stream));
    smtp_session_tls_failed(c->session, tls_words(c->stream.tls), connection_now_us());
}

/* Read what is there. False: nothing will come any more; *error: errno, 0 for EOF. */
static bool read_in(struct connection *c, int *error)
{
    const struct worker *w = c->worker;
    for (;;) {
        ssize_t n = stream_read(&c->stream, w->read_buffer, w->cipher_buffer,
                                WORKER_READ_MAX, error);
        const struct tls *tls = c->stream.tls;
        if (tls && tls_state(tls) == TLS_OPEN && !smtp_session_is_secured(c->session))
            secured(c);
        if (n > 0)
            receive(c, (size_t)n);
        if (tls && tls_state(tls) == TLS_FAILED) {
            tls_broke(c);
            return true;
        }
        if (n == STREAM_END)
            return false;
        if (n == STREAM_AGAIN ||
            !tls) /* what is left wakes us again, after the others */
            return true;
    }
}

/* The answer may have come in time while we were not there to read it: stopped by ^Z,
 * suspended with the machine, or busy. */
static void expire(struct connection *c, int64_t now)
{
    int error;
    if (!read_in(c, &error))
        lost(c, error);
    smtp_session_expire(c->session, now, stream_wire(&c->stream));
}

void connection_on_event(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    int error = status < 0 ? -status : 0;
    if (c->connect_began_us) {
        int why = stream_connected(&c->stream);
        if (why) /* libuv itself says EBADF to all that goes wrong */
            error = why;
        if (error) {
            dial_refused(c, error == ETIMEDOUT, stream_words(error));
            return;
        }
        dial_connected(c);
    } else if (events & UV_READABLE || status < 0) {
        if (!read_in(c, &error))
            lost(c, error);
    }
    drive(c);
}

/* ---- verbs ---- */

void connection_open(struct worker *w, struct task *task)
{
    struct connection *c = mem_zero(1, sizeof *c);
    c->worker = w;
    c->task = task;
    c->number = task->connection;
    stream_init(&c->stream);
    c->connect_us = -1;
    c->timer_us = c->idle_until_us = c->finish_until_us = c->again_us = INT64_MAX;
    c->left = task->messages ? task->messages : UINT32_MAX;
    uv_timer_init(w->loop, &c->timer);
    c->timer.data = c;
    w->connections[c->number] = c;
    c->last = task->last;
    lent_add(&c->rows, task->rows, task->rows_n);
    dial_first(c);
}

void connection_lend(struct connection *c, const struct task *task)
{
    lent_add(&c->rows, task->rows, task->rows_n);
    c->last = c->last || task->last;
    if (c->finishing)
        return_rows(c);
    else if (c->session)
        drive(c);
}

void connection_recall(struct connection *c)
{
    bool greeted = c->session && smtp_session_greeted(c->session);
    if (!greeted && !lent_empty(&c->rows)) {
        /* Not there yet: the first row stays, it is the one that the attempt is for. A
         * connection without rows would QUIT when a slow greeting comes at last. */
        struct lent first = lent_take_first(&c->rows);
        return_rows(c);
        lent_add(&c->rows, &first, 1);
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
        int64_t now = connection_now_us();
        c->finish_until_us = now + c->params.limit_us[SMTP_QUIT];
        smtp_session_stop(c->session, now);
        drive(c);
    } else { /* a slow greeting holds nobody */
        close_connection(c, CLOSED_CLEAN);
    }
}

void connection_abort(struct connection *c)
{
    c->finishing = true;
    return_rows(c);
    if (c->session) {
        break_off(c, connection_now_us());
        drive(c);
    } else {
        close_connection(c, CLOSED_CLEAN);
    }
}
