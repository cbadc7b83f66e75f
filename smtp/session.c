#include "smtp/inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* ---- the ring of commands whose replies are owed ---- */

struct command *session_owed(struct smtp_session *s, unsigned i)
{
    assert(i < s->ring_n);
    return &s->ring[(s->ring_first + i) % COMMANDS_MAX];
}

void session_push(struct smtp_session *s, enum smtp_stage stage, int recipient,
                  int64_t now_us)
{
    assert(s->ring_n < COMMANDS_MAX);
    s->ring_n++;
    *session_owed(s, s->ring_n - 1) = (struct command){
        .end = s->composed,
        .since_us = now_us,
        .stage = (uint8_t)stage,
        .recipient = (uint8_t)recipient,
    };
    if (s->ring_n == 1)
        session_set_deadline(s, now_us);
}

struct command session_pop(struct smtp_session *s, int64_t now_us)
{
    struct command c = *session_owed(s, 0);
    s->ring_first = (s->ring_first + 1) % COMMANDS_MAX;
    s->ring_n--;
    session_set_deadline(s, now_us);
    return c;
}

/* ---- results ---- */

void result_set(struct smtp_result *r, enum smtp_how how, enum smtp_stage stage,
                const struct reply *reply)
{
    r->how = how;
    r->stage = stage;
    r->timed_out = false;
    r->sending = false;
    r->dot_left = false;
    reply_copy(&r->reply, reply);
}

void result_copy(struct smtp_result *to, const struct smtp_result *from)
{
    result_set(to, from->how, from->stage, &from->reply);
    to->timed_out = from->timed_out;
    to->sending = from->sending;
    to->dot_left = from->dot_left;
}

void session_exchange_begin(struct exchange *x, struct smtp_transaction *t,
                            int recipients_n)
{
    *x = (struct exchange){
        .t = t,
        .next = SMTP_MAIL,
        .undecided = recipients_n,
        .recipients_n = recipients_n,
        .busy = true,
    };
}

void session_decide(struct smtp_session *s, struct exchange *x, int i,
                    const struct smtp_result *why)
{
    assert(x->t);
    struct smtp_recipient *r = &x->t->recipients[i];
    assert(!r->done && x->undecided > 0);
    result_copy(&r->result, why);
    r->done = true;
    if (--x->undecided > 0)
        return;
    link_append(&s->settled, &x->t->link);
    x->t = NULL;
    x->next = NOTHING;
    if (!s->held)
        s->signals |= SMTP_SETTLED;
}

void session_decide_rest(struct smtp_session *s, struct exchange *x,
                         const struct smtp_result *why)
{
    struct smtp_transaction *t = x->t;
    for (int i = 0; x->t; i++) {
        assert(i < t->recipients_n);
        if (!t->recipients[i].done)
            session_decide(s, x, i, why);
    }
}

static void decide_untried(struct smtp_session *s, struct exchange *x,
                           const struct smtp_result *why)
{
    struct smtp_result untried;
    result_set(&untried, SMTP_HOW_UNTRIED, why->stage, &why->reply);
    session_decide_rest(s, x, &untried);
}

void session_note_time(struct smtp_timings *timings, enum smtp_stage stage, int64_t us)
{
    int32_t v = us < 0 ? 0 : us > INT32_MAX ? INT32_MAX : (int32_t)us;
    if (v > timings->us[stage]) /* of several RCPT the slowest */
        timings->us[stage] = v;
}

/* ---- the end of the session ---- */

/* codes rule 5: the connection had served before, and went away before it answered this
 * MAIL. A MAIL that was left without an answer in time, or got nonsense, is tried;
 * unless the nonsense was there before it. */
static bool is_untried(struct smtp_session *s, const struct exchange *x,
                       const struct smtp_result *why)
{
    if (!x->t->reused || x->mail_answered)
        return false;
    bool unsent = x->next == SMTP_MAIL ||
                  (why->how == SMTP_HOW_GARBAGE && session_owed(s, 0)->end > s->sent);
    return unsent || why->stage == SMTP_RSET || why->how == SMTP_HOW_LOST ||
           why->how == SMTP_HOW_REPLY || why->how == SMTP_HOW_SESSION_TIMEOUT;
}

/* A group of replies opens with one to a dot. When a later one turns out to be out of
 * place, each may have been another's: whether the message was taken is not known. */
static void doubt_held(struct smtp_session *s, const struct smtp_result *why)
{
    struct smtp_result doubt;
    result_set(&doubt, SMTP_HOW_GARBAGE, SMTP_END, &why->reply);
    doubt.dot_left = true;
    for (int i = 0; i < s->held->recipients_n; i++) {
        struct smtp_result *r = &s->held->recipients[i].result;
        if (r->how == SMTP_HOW_REPLY && r->stage == SMTP_END)
            result_copy(r, &doubt);
    }
}

void session_release(struct smtp_session *s, const struct smtp_result *why)
{
    if (!s->held)
        return;
    if (s->shifted)
        doubt_held(s, why);
    s->held = NULL;
    s->signals |= SMTP_SETTLED;
}

/* What ends a group before all of it is answered. Nonsense, or silence: a reply may be
 * missing, and which one nobody can tell. A goodbye or a close is what servers do who
 * have had enough: the replies before it stand. */
static bool is_shifted(const struct smtp_result *why)
{
    return why->how == SMTP_HOW_GARBAGE || why->how == SMTP_HOW_TIMEOUT ||
           why->how == SMTP_HOW_SESSION_TIMEOUT;
}

static bool deserves_group(const struct smtp_session *s, const struct smtp_result *why)
{
    bool lost = why->how == SMTP_HOW_LOST;
    bool over_envelope = s->pair[0].behind_dot || s->pair[1].behind_dot;
    bool broken = lost || why->how == SMTP_HOW_REPLY || why->how == SMTP_HOW_GARBAGE;
    return (broken && over_envelope) || (lost && why->dot_left) || s->shifted;
}

/* Whatever came instead of a reply to the first BDAT of this connection, that may be
 * what is wrong. */
static bool deserves_data(struct smtp_session *s, const struct smtp_result *why)
{
    bool broken = why->how == SMTP_HOW_LOST || why->how == SMTP_HOW_TIMEOUT ||
                  why->how == SMTP_HOW_GARBAGE;
    return broken && session_chunks(s) && !s->chunk_known && s->ring_n > 0 &&
           session_owed(s, 0)->stage == SMTP_END;
}

void session_end(struct smtp_session *s, const struct smtp_result *why)
{
    assert(!s->over);
    s->shifted = s->held && is_shifted(why);
    s->wants_group |= deserves_group(s, why);
    s->wants_data |= deserves_data(s, why);

    bool aside = why->stage == SMTP_RSET || why->stage == SMTP_QUIT;
    result_copy(aside ? &s->epilogue : &s->fate, why);
    session_release(s, why);

    for (int i = 0; i < 2; i++) {
        struct exchange *x = &s->pair[i];
        if (!x->t)
            continue;
        if (i == 1 || is_untried(s, x, why))
            decide_untried(s, x, why);
        else
            session_decide_rest(s, x, why);
    }
    s->handshake = false;
    s->over = true;
    s->signals |= SMTP_OVER;
}

void session_end_quietly(struct smtp_session *s)
{
    assert(!s->pair[0].t && !s->pair[1].t);
    session_release(s, NULL);
    s->over = true;
    s->signals |= SMTP_OVER;
}

static bool dot_left(struct smtp_session *s, struct smtp_wire wire)
{
    return s->ring_n > 0 && session_owed(s, 0)->stage == SMTP_END && s->pair[0].t &&
           session_owed(s, 0)->end <= session_behind(s, wire.untransmitted);
}

/* Nobody can tell what the peer means, so nothing it says may count: codes rule 6. */
void session_end_garbage(struct smtp_session *s, enum smtp_stage stage,
                         const char *words, const struct reply *reply)
{
    struct smtp_result why = {.how = SMTP_HOW_GARBAGE, .stage = stage};
    reply_explain(&why.reply, words, reply);
    why.dot_left = dot_left(s, s->wire);
    session_end(s, &why);
}

void session_break(struct smtp_session *s, struct smtp_result *why)
{
    bool silent = why->how == SMTP_HOW_LOST || why->how == SMTP_HOW_TIMEOUT;
    if (silent && reply_is_hopeless(&s->parser)) {
        session_hide_credentials(s, &s->parser.reply);
        why->how = SMTP_HOW_GARBAGE;
        reply_explain(&why->reply, "this is no SMTP reply", &s->parser.reply);
    }
    session_end(s, why);
}

void session_give_up(struct smtp_session *s, enum smtp_how how, enum smtp_stage stage,
                     const char *words)
{
    s->fate.how = how;
    s->fate.stage = stage;
    reply_words(&s->fate.reply, words);
    s->finishing = true;
}

/* The stage that an unexpected event belongs to. *sending_out: its bytes are still
 * ours. */
enum smtp_stage session_stage_now(const struct smtp_session *s, bool *sending_out)
{
    int which;
    *sending_out = false;
    if (s->handshake)
        return SMTP_STARTTLS;
    if (s->ring_n > 0)
        return s->ring[s->ring_first].stage;
    enum smtp_stage stage = session_next_stage(s, &which);
    *sending_out = stage != NOTHING;
    return stage == NOTHING ? SMTP_MAIL : stage; /* idle: it would have been next */
}

/* codes rule 1: the first command with a byte that the peer's kernel has not
 * acknowledged was still being sent; else the oldest one was waited for. What lies
 * behind a dot or a RSET belongs to another transaction. Rule 4: dot_left. */
void session_locate(struct smtp_session *s, struct smtp_wire wire,
                    struct smtp_result *why)
{
    uint64_t acknowledged = session_behind(s, wire.unacknowledged);
    const struct exchange *x = &s->pair[0];

    why->stage = session_stage_now(s, &why->sending);
    for (unsigned i = 0; i < s->ring_n; i++) {
        const struct command *c = session_owed(s, i);
        if (c->end > acknowledged) {
            bool body = c->stage == SMTP_END && x->body_end > acknowledged;
            why->stage = body ? SMTP_BODY : (enum smtp_stage)c->stage;
            why->sending = true;
            break;
        }
        if (c->stage == SMTP_END || c->stage == SMTP_RSET)
            break;
    }
    why->dot_left = dot_left(s, wire);
}

/* ---- the contract of session.h ---- */

static void note_ready(struct smtp_session *s)
{
    bool ready = smtp_session_ready(s);
    if (ready && !s->was_ready)
        s->signals |= SMTP_READY;
    s->was_ready = ready;
}

static void timings_init(struct smtp_timings *timings)
{
    for (int i = 0; i < SMTP_STAGE_COUNT; i++)
        timings->us[i] = -1;
}

struct smtp_session *smtp_session_create(const struct smtp_params *params,
                                         int64_t now_us)
{
    struct smtp_session *s = mem_zero(1, sizeof *s);
    s->params = params;
    reply_parser_init(&s->parser);
    s->parser.on_line_arg = s;
    s->pair[0].next = s->pair[1].next = NOTHING;
    s->due = NOTHING;
    s->secured = params->secured;
    s->session_end_us =
        params->session_limit_us ? now_us + params->session_limit_us : INT64_MAX;
    s->dot_at = DOT_SIZE;
    link_init(&s->settled);
    timings_init(&s->timings);
    session_push(s, SMTP_OPENING, 0, now_us);
    return s;
}

void smtp_session_destroy(struct smtp_session *s)
{
    if (!s)
        return;
    buf_finish(&s->text);
    free(s);
}

bool smtp_session_asks_wire(const struct smtp_session *s)
{
    return !s->over && s->ring_n > 0 && s->ring[s->ring_first].stage == SMTP_END;
}

void smtp_session_wire(struct smtp_session *s, struct smtp_wire wire)
{
    s->wire = wire;
}

static void read_replies(struct smtp_session *s, const char *data, size_t n,
                         int64_t now_us)
{
    while (n > 0 && !s->over && !s->handshake) {
        size_t used;
        if (!reply_unfinished(&s->parser))
            s->asked = session_is_asked(s);
        enum reply_result result = reply_feed(&s->parser, data, n, &used);
        data += used;
        n -= used;
        if (result == REPLY_MORE)
            break;
        session_hide_credentials(s, &s->parser.reply);
        if (result == REPLY_DONE) {
            session_on_reply(s, &s->parser.reply, now_us);
        } else {
            bool sending;
            session_end_garbage(s, session_stage_now(s, &sending),
                                "this is no SMTP reply", &s->parser.reply);
        }
    }
    if (n == 0 || s->over)
        return;
    /* RFC 3207 4.2, CVE-2021-38371: anybody in between could have said it. */
    struct smtp_result why = {.how = SMTP_HOW_TLS, .stage = SMTP_STARTTLS};
    reply_words(&why.reply, "plaintext after STARTTLS");
    session_end(s, &why);
}

void smtp_session_receive(struct smtp_session *s, const char *data, size_t n,
                          int64_t now_us)
{
    if (!s->over && n > 0)
        read_replies(s, data, n, now_us);
    /* Half a line that nothing had asked for: nothing is written until it is known what
     * it is. A goodbye (421) is soon complete. */
    if (s->ring_n == 0 && s->deadline_us == INT64_MAX && reply_unfinished(&s->parser))
        s->deadline_us = now_us + s->params->limit_us[SMTP_RSET];
    s->wire = (struct smtp_wire){0};
    note_ready(s);
}

void smtp_session_lost(struct smtp_session *s, const char *words, bool timed_out,
                       struct smtp_wire wire, int64_t now_us)
{
    (void)now_us;
    if (s->over)
        return;
    struct smtp_result why = {.how = timed_out ? SMTP_HOW_TIMEOUT : SMTP_HOW_LOST};
    reply_words(&why.reply, words);
    session_locate(s, wire, &why);
    if (s->handshake) {
        why.how = SMTP_HOW_TLS;
        why.timed_out = timed_out;
    }
    session_break(s, &why);
}

void smtp_session_secured(struct smtp_session *s, int64_t now_us)
{
    if (s->over)
        return;
    assert(s->handshake && s->ring_n == 0 && !reply_unfinished(&s->parser));
    s->handshake = false;
    s->secured = true;
    s->plain = false;
    memset(&s->offers, 0, sizeof s->offers); /* said in clear: void, RFC 3207 4.2 */
    s->due = SMTP_HELO;
    s->deadline_us = INT64_MAX;
    session_note_time(&s->timings, SMTP_STARTTLS, now_us - s->handshake_us);
}

void smtp_session_tls_failed(struct smtp_session *s, const char *words, int64_t now_us)
{
    (void)now_us;
    if (s->over)
        return;
    struct smtp_result why = {.how = SMTP_HOW_TLS};
    reply_words(&why.reply, words);
    why.stage = session_stage_now(s, &why.sending);
    why.dot_left = dot_left(s, s->wire);
    session_end(s, &why);
}

bool smtp_session_is_secured(const struct smtp_session *s)
{
    return s->secured;
}

unsigned smtp_session_take(struct smtp_session *s)
{
    unsigned signals = s->signals;
    s->signals = 0;
    return signals;
}

bool smtp_session_ready(const struct smtp_session *s)
{
    return s->greeted && !s->finishing && !s->over && !s->pair[1].busy && !s->held;
}

bool smtp_session_wants_dots(const struct smtp_session *s)
{
    return !session_chunks(s);
}

bool smtp_session_idle(const struct smtp_session *s)
{
    return smtp_session_ready(s) && !s->pair[0].busy && s->ring_n == 0 &&
           !(s->params->paced && s->reset_due);
}

/* RFC 9422 4.2: those over RCPTMAX go in another transaction. */
static void leave_out(struct smtp_session *s, struct exchange *x)
{
    if (s->offers.rcpt_max == 0 || s->offers.rcpt_max >= (uint64_t)x->recipients_n)
        return;
    struct smtp_result why = {.how = SMTP_HOW_UNTRIED, .stage = SMTP_RCPT};
    reply_words(&why.reply, "more recipients than the server's RCPTMAX");
    int n = x->recipients_n;
    x->recipients_n = (int)s->offers.rcpt_max;
    for (int i = x->recipients_n; i < n; i++)
        session_decide(s, x, i, &why);
}

void smtp_session_submit(struct smtp_session *s, struct smtp_transaction *t,
                         int64_t now_us)
{
    (void)now_us;
    assert(smtp_session_ready(s));
    assert(t->recipients_n > 0 && t->recipients_n <= SMTP_RECIPIENTS_MAX);
    assert(t->dotted == smtp_session_wants_dots(s));
    struct exchange *x = &s->pair[s->pair[0].busy];
    session_exchange_begin(x, t, t->recipients_n);
    link_init(&t->link);
    timings_init(&t->timings);
    t->reused = s->used;
    t->body_due = false;
    for (int i = 0; i < t->recipients_n; i++) {
        t->recipients[i].done = false;
        t->recipients[i].result.how = SMTP_HOW_NONE;
    }
    size_t size = t->body_size - t->dots;
    if (s->offers.size_max > 0 && size > s->offers.size_max) {
        struct smtp_result why = {.how = SMTP_HOW_LOCAL_SIZE, .stage = SMTP_MAIL};
        char words[80];
        snprintf(words, sizeof words, "message of %zu bytes, the server takes %llu",
                 size, (unsigned long long)s->offers.size_max);
        reply_words(&why.reply, words); /* RFC 1870 6.1 */
        session_decide_rest(s, x, &why);
        *x = (struct exchange){.next = NOTHING};
    } else {
        s->used = true;
        s->finishing |= ++s->begun == s->offers.mail_max;
        leave_out(s, x);
    }
    s->was_ready = false;
    note_ready(s);
}

struct smtp_transaction *smtp_session_settled(struct smtp_session *s)
{
    if (link_alone(&s->settled))
        return NULL;
    struct smtp_transaction *t =
        CONTAINER_OF(s->settled.next, struct smtp_transaction, link);
    if (t == s->held)
        return NULL;
    link_remove(&t->link);
    return t;
}

void smtp_session_finish(struct smtp_session *s, int64_t now_us)
{
    (void)now_us;
    s->finishing = true;
    note_ready(s);
}

void smtp_session_stop(struct smtp_session *s, int64_t now_us)
{
    smtp_session_finish(s, now_us);
    struct smtp_result why = {.how = SMTP_HOW_UNTRIED, .stage = SMTP_MAIL};
    reply_words(&why.reply, "stopped before its body");
    if (s->pair[1].t)
        session_decide_rest(s, &s->pair[1], &why);
    bool in_body = s->ring_n > 0 && session_owed(s, 0)->stage == SMTP_END;
    if (s->pair[0].t && !in_body)
        session_decide_rest(s, &s->pair[0], &why);
    session_turn_back(s);
}

const struct smtp_result *smtp_session_fate(const struct smtp_session *s)
{
    return &s->fate;
}

const struct smtp_result *smtp_session_epilogue(const struct smtp_session *s)
{
    return &s->epilogue;
}

bool smtp_session_greeted(const struct smtp_session *s)
{
    return s->greeted;
}

bool smtp_session_wants_group(const struct smtp_session *s)
{
    return s->wants_group;
}

bool smtp_session_wants_data(const struct smtp_session *s)
{
    return s->wants_data;
}

enum smtp_stage smtp_session_stage(const struct smtp_session *s)
{
    bool sending;
    return session_stage_now(s, &sending);
}

const struct smtp_timings *smtp_session_timings(const struct smtp_session *s)
{
    return &s->timings;
}
